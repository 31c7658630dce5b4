/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/policy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "protocol/words.h"
#include "quota/size.h"

/* The attributes that matter. A value is NULL until it is found, and ends with a NUL. */
struct attributes {
    char *request;
    char *state;
    char *recipient;
    char *size;
};

/* Returns whether the line whose LF is at buffer[lf] is empty. */
static bool is_empty_line(const char *buffer, size_t lf)
{
    if (lf > 0 && buffer[lf - 1] == '\r')
        lf--;
    return lf == 0 || buffer[lf - 1] == '\n';
}

ssize_t policy_find_end(const char *buffer, size_t length, size_t searched)
{
    size_t within = length < POLICY_BYTES_MAX ? length : POLICY_BYTES_MAX;

    while (searched < within) {
        const char *lf = memchr(buffer + searched, '\n', within - searched);

        if (!lf)
            break;
        searched = (size_t)(lf - buffer) + 1;
        if (is_empty_line(buffer, searched - 1))
            return (ssize_t)searched;
    }
    return length < POLICY_BYTES_MAX ? -EAGAIN : -EMSGSIZE;
}

static char **find_attribute(struct attributes *attributes, const char *name)
{
    if (strcmp(name, "request") == 0)
        return &attributes->request;
    if (strcmp(name, "protocol_state") == 0)
        return &attributes->state;
    if (strcmp(name, "recipient") == 0)
        return &attributes->recipient;
    if (strcmp(name, "size") == 0)
        return &attributes->size;
    return NULL;
}

/* Takes the line, which ends with a NUL. Returns whether it is an attribute. */
static bool take_line(struct attributes *attributes, char *line)
{
    char *equals = strchr(line, '=');
    char **value;

    if (!equals || equals == line)
        return false;
    *equals = '\0';
    value = find_attribute(attributes, line);
    if (value)
        *value = equals + 1;
    return true;
}

static bool take_lines(struct attributes *attributes, char *bytes, size_t length)
{
    char *end = bytes + length, *lf;

    /* Each line, and the request, end with LF. */
    for (char *line = bytes; *line != '\n'; line = lf + 1) {
        lf = memchr(line, '\n', (size_t)(end - line));
        *lf = '\0';
        if (!take_line(attributes, line))
            return false;
    }
    return true;
}

/* Whether the mailbox of the recipient is to be checked: Postfix has other states, too. */
static bool is_checked(const struct attributes *attributes)
{
    static const char *const states[] = {"", "RCPT", "DATA", "END-OF-MESSAGE"};

    if (!attributes->recipient || attributes->recipient[0] == '\0')
        return false;
    if (!attributes->state)
        return true;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(attributes->state, states[i]) == 0)
            return true;
    return false;
}

static enum reason parse_size(const char *value, uint64_t *ret)
{
    int r;

    *ret = 0;
    if (!value || *value == '\0')
        return REASON_NONE;
    r = size_parse_number(value, strlen(value), ret);
    if (r == -ERANGE)
        *ret = SIZE_BYTES_MAX; /* larger than anything: it will not fit */
    return r == 0 || r == -ERANGE ? REASON_NONE : REASON_BAD_VALUE;
}

enum reason policy_parse(char *bytes, size_t length, struct request *ret, const char **ret_text)
{
    struct attributes attributes = {};

    *ret = (struct request){.type = REQUEST_POLICY};
    if (memchr(bytes, '\0', length)) {
        *ret_text = "a request must not contain a NUL byte";
        return REASON_BAD_REQUEST;
    }
    if (!take_lines(&attributes, bytes, length)) {
        *ret_text = "a request is lines name=value, without CR at their ends, and an empty line";
        return REASON_BAD_REQUEST;
    }
    if (!attributes.request || strcmp(attributes.request, "smtpd_access_policy") != 0) {
        *ret_text = "request=smtpd_access_policy is required";
        return REASON_BAD_REQUEST;
    }
    *ret_text = "size= takes a number of bytes";
    if (parse_size(attributes.size, &ret->size_bytes) != REASON_NONE)
        return REASON_BAD_VALUE;
    if (is_checked(&attributes))
        ret->target = attributes.recipient;
    return REASON_NONE;
}

void policy_reply_dunno(struct reply *reply)
{
    reply->length = (size_t)snprintf(reply->bytes, sizeof(reply->bytes), "action=DUNNO\n\n");
}

void policy_reply_decision(struct reply *reply, const struct target_decision *decision)
{
    const char *code = verdict_smtp_code(decision->verdict);

    if (!code || decision->usage->source == USAGE_NONE)
        policy_reply_dunno(reply);
    else
        reply->length = (size_t)snprintf(reply->bytes, sizeof(reply->bytes), "action=%s %s\n\n",
                                         code, verdict_text(decision->verdict));
}
