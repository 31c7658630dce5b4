/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What came of a question: the pairs of an answer that was checked, or an error in the same form.
 * Whatever else comes from a socket ends here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/pairs.h"
#include "protocol/request.h"
#include "quota/verdict.h"

/*
 * Why there is no answer: words beside those of the protocol, in reason=.
 */
#define ANSWER_UNREACHABLE "unreachable" /* nobody could be asked */
#define ANSWER_NONE        "no-answer"   /* the connection was closed without one */
#define ANSWER_BAD         "bad-answer"  /* it is none of exim-quotad's */

enum answer_status {
    ANSWER_OK = VERDICT_OK,
    ANSWER_WARN = VERDICT_WARN,
    ANSWER_OVER = VERDICT_OVER,
    ANSWER_TOOLARGE = VERDICT_TOOLARGE,
    ANSWER_ERROR = VERDICT_COUNT_,
};

/* All zero is an answer that holds nothing. */
struct answer {
    const char *target; /* the caller's; NULL where the question has none */
    enum answer_status status;
    struct pairs pairs; /* at least status; of an error also reason and text */

    /* of a mailbox, unless it is an error */
    uint64_t bytes;
    uint64_t messages;
    uint64_t limit;
    uint64_t message_limit;
    uint64_t percent;

    char *raw; /* what came, byte by byte; NULL if nothing did */
    size_t raw_length;
    char *line; /* what the pairs lie in */
};

/*
 * Makes answer, whose target is set, what bytes[0..length) say in reply to a question of that type.
 * What is no answer to it becomes an error. Returns 0 or -ENOMEM.
 */
int answer_read(struct answer *answer, enum request_type type, const char *bytes, size_t length);

/* Makes answer, whose target is set, an error. Returns 0 or -ENOMEM. */
int answer_fail(struct answer *answer, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns the value of a key that every answer of that status has. It stays the answer's. */
const char *answer_get(const struct answer *answer, const char *key);

/* Returns whether it is an error for that reason. */
bool answer_failed_with(const struct answer *answer, const char *reason);

/* Releases what the answer owns. */
void answer_deinit(struct answer *answer);
