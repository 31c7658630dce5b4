/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/answer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/reply.h"
#include "protocol/words.h"
#include "system/cleanup.h"

/* Bytes of an invalid reply to show. */
#define SHOWN_BYTES_MAX 60

static const char *status_word(int status)
{
    return status == ANSWER_ERROR ? STATUS_ERROR : verdict_to_string((enum verdict)status);
}

static const struct {
    const char *key;
    size_t offset; /* in struct answer */
} numbers[] = {
    {"bytes", offsetof(struct answer, bytes)},
    {"messages", offsetof(struct answer, messages)},
    {"limit", offsetof(struct answer, limit)},
    {"message_limit", offsetof(struct answer, message_limit)},
    {"percent", offsetof(struct answer, percent)},
};

/* Parses a copy of a line without LF. Returns 0, -EBADMSG or -ENOMEM. */
static int take_line(struct answer *answer, const char *line, size_t length)
{
    answer->line = malloc(length + 1);
    if (!answer->line)
        return -ENOMEM;
    memcpy(answer->line, line, length);
    return pairs_parse(answer->line, length, &answer->pairs) < 0 ? -EBADMSG : 0;
}

int answer_fail(struct answer *answer, const char *reason, const char *format, ...)
{
    struct reply reply;
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    reply_init(&reply);
    reply_add_text(&reply, "status", STATUS_ERROR);
    reply_add_text(&reply, "reason", reason);
    reply_add_text(&reply, "text", text);
    free(answer->line);
    answer->steps_count = 0;
    answer->status = ANSWER_ERROR;
    return take_line(answer, reply.bytes, reply.length);
}

static int fail_garbage(struct answer *answer, const char *bytes, size_t length)
{
    char shown[SHOWN_BYTES_MAX + 1] = "";

    for (size_t i = 0; i < length && i < SHOWN_BYTES_MAX; i++)
        shown[i] = bytes[i] == '\0' ? ' ' : bytes[i];
    return answer_fail(answer, ANSWER_BAD, "this is not a reply from exim-quotad: %s%s", shown,
                       length > SHOWN_BYTES_MAX ? "..." : "");
}

static bool take_status(struct answer *answer)
{
    const char *word = pairs_find(&answer->pairs, "status");

    for (int status = ANSWER_OK; word && status <= ANSWER_ERROR; status++)
        if (strcmp(status_word(status), word) == 0) {
            answer->status = (enum answer_status)status;
            return true;
        }
    return false;
}

static bool take_mailbox(struct answer *answer)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint64_t *number = (uint64_t *)(void *)((char *)answer + numbers[i].offset);

        if (pairs_number(&answer->pairs, numbers[i].key, number) < 0)
            return false;
    }
    return pairs_find(&answer->pairs, "source") && pairs_find(&answer->pairs, "mailbox");
}

static bool take_pairs(struct answer *answer, enum request_type type)
{
    if (!take_status(answer))
        return false;
    if (answer->status == ANSWER_ERROR)
        return pairs_find(&answer->pairs, "reason") && pairs_find(&answer->pairs, "text");
    if (answer->status != ANSWER_OK && type != REQUEST_CHECK && type != REQUEST_EXPLAIN)
        return false;
    return type == REQUEST_PING || type == REQUEST_STATS || take_mailbox(answer);
}

/*
 * Parses a copy of the steps bytes[0..length), each of which ends with an LF. Returns 0, -EBADMSG
 * or -ENOMEM.
 */
static int take_steps(struct answer *answer, const char *bytes, size_t length)
{
    size_t count = 0;
    char *next;

    for (size_t i = 0; i < length; i++)
        count += bytes[i] == '\n';
    if (count == 0)
        return 0;
    answer->text = malloc(length);
    answer->steps = calloc(count, sizeof(*answer->steps));
    if (!answer->text || !answer->steps)
        return -ENOMEM;
    memcpy(answer->text, bytes, length);
    next = answer->text;
    while (answer->steps_count < count) {
        struct pairs *step = &answer->steps[answer->steps_count];
        char *end = memchr(next, '\n', length - (size_t)(next - answer->text));

        if (pairs_parse(next, (size_t)(end - next), step) < 0 ||
            strcmp(step->items[0].key, "step") != 0)
            return -EBADMSG;
        answer->steps_count++;
        next = end + 1;
    }
    return 0;
}

/* Returns where the last line begins. */
static const char *last_line(const char *bytes, size_t length)
{
    const char *end = memrchr(bytes, '\n', length - 1);

    return end ? end + 1 : bytes;
}

int answer_read(struct answer *answer, enum request_type type, const char *bytes, size_t length)
{
    const char *last = bytes;
    int r;

    if (length == 0)
        return answer_fail(answer, ANSWER_NONE,
                           "the connection was closed without a reply; the journal of the "
                           "service may say why");
    answer->raw = malloc(length);
    if (!answer->raw)
        return -ENOMEM;
    memcpy(answer->raw, bytes, length);
    answer->raw_length = length;
    if (bytes[length - 1] != '\n')
        return fail_garbage(answer, bytes, length);
    if (type == REQUEST_EXPLAIN)
        last = last_line(bytes, length);
    r = take_line(answer, last, length - 1 - (size_t)(last - bytes));
    if (r == 0)
        r = take_steps(answer, bytes, (size_t)(last - bytes));
    if (r == -ENOMEM)
        return r;
    return r == 0 && take_pairs(answer, type) ? 0 : fail_garbage(answer, bytes, length);
}

const char *answer_get(const struct answer *answer, const char *key)
{
    return pairs_find(&answer->pairs, key);
}

bool answer_failed_with(const struct answer *answer, const char *reason)
{
    return answer->status == ANSWER_ERROR && strcmp(answer_get(answer, "reason"), reason) == 0;
}

const struct pairs *answer_step(const struct answer *answer, const char *name,
                                const struct pairs *after)
{
    for (size_t i = after ? (size_t)(after - answer->steps) + 1 : 0; i < answer->steps_count; i++)
        if (strcmp(answer->steps[i].items[0].value, name) == 0)
            return &answer->steps[i];
    return NULL;
}

void answer_deinit(struct answer *answer)
{
    if (answer->beside)
        answer_deinit(answer->beside);
    free(answer->beside);
    free(answer->raw);
    free(answer->line);
    free(answer->steps);
    free(answer->text);
    *answer = (struct answer){};
}
