/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/reply.h"

#include <assert.h>
#include <string.h>

#include "protocol/words.h"
#include "quota/ascii.h"

static void add_bytes(struct reply *reply, const char *bytes, size_t length)
{
    assert(length <= sizeof(reply->bytes) - reply->length);
    memcpy(reply->bytes + reply->length, bytes, length);
    reply->length += length;
}

static void add_char(struct reply *reply, char c)
{
    add_bytes(reply, &c, 1);
}

static void add_decimal(struct reply *reply, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add_bytes(reply, digits + at, sizeof(digits) - at);
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0')
        return true;
    for (const char *c = value; *c; c++)
        if (ascii_is_control(*c) || *c == ' ' || *c == '"' || *c == '\\')
            return true;
    return false;
}

static void add_quoted(struct reply *reply, const char *value)
{
    add_char(reply, '"');
    for (const char *c = value; *c; c++) {
        if (ascii_is_control(*c)) {
            add_char(reply, '\\');
            add_char(reply, (char)('0' + ((unsigned char)*c >> 6)));
            add_char(reply, (char)('0' + ((unsigned char)*c >> 3 & 7)));
            add_char(reply, (char)('0' + ((unsigned char)*c & 7)));
            continue;
        }
        if (*c == '"' || *c == '\\')
            add_char(reply, '\\');
        add_char(reply, *c);
    }
    add_char(reply, '"');
}

static void add_key(struct reply *reply, const char *key)
{
    if (reply->length > 0)
        add_char(reply, ' ');
    add_bytes(reply, key, strlen(key));
    add_char(reply, '=');
}

void reply_init(struct reply *reply)
{
    reply->length = 0;
}

void reply_number(struct reply *reply, uint64_t number)
{
    reply_init(reply);
    add_decimal(reply, number);
    reply_end(reply);
}

void reply_add_text(struct reply *reply, const char *key, const char *value)
{
    add_key(reply, key);
    if (needs_quotes(value))
        add_quoted(reply, value);
    else
        add_bytes(reply, value, strlen(value));
}

void reply_add_number(struct reply *reply, const char *key, uint64_t value)
{
    add_key(reply, key);
    add_decimal(reply, value);
}

void reply_end(struct reply *reply)
{
    add_char(reply, '\n');
}

void reply_decision(struct reply *reply, bool check, const struct target_decision *decision)
{
    const struct usage *usage = decision->usage;
    enum verdict verdict = check ? decision->verdict : VERDICT_OK;
    enum usage_rule rule = check ? decision->rule : usage->rule;

    reply_init(reply);
    reply_add_text(reply, "status", verdict_to_string(verdict));
    reply_add_number(reply, "bytes", usage->bytes);
    reply_add_number(reply, "messages", usage->messages);
    reply_add_number(reply, "limit", decision->limit.bytes);
    reply_add_number(reply, "message_limit", decision->limit.messages);
    reply_add_number(reply, "percent", decision->percent);
    reply_add_text(reply, "source", usage_source_to_string(usage->source));
    reply_add_text(reply, "rule", usage_rule_to_string(rule));
    reply_add_text(reply, "limit_from", limit_source_to_string(decision->limit_from));
    reply_add_text(reply, "mailbox", decision->mailbox);
    if (check) {
        add_key(reply, "text");
        add_quoted(reply, verdict_text(verdict));
    }
    reply_end(reply);
}

void reply_error(struct reply *reply, enum reason reason, const char *text)
{
    reply_init(reply);
    reply_add_text(reply, "status", STATUS_ERROR);
    reply_add_text(reply, "reason", reason_to_string(reason));
    add_key(reply, "text");
    add_quoted(reply, text);
    reply_end(reply);
}
