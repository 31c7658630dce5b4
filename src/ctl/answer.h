/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The answer to a query: the checked pairs of a reply, or an error in the same form. Anything else
 * that comes from a socket ends here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/pairs.h"
#include "protocol/request.h"
#include "quota/verdict.h"

/* Further words in reason=. */
#define ANSWER_UNREACHABLE "unreachable" /* the service cannot be reached */
#define ANSWER_NONE        "no-answer"   /* the connection was closed without a reply */
#define ANSWER_BAD         "bad-answer"  /* the reply is not one of exim-quotad */

enum answer_status {
    ANSWER_OK = VERDICT_OK,
    ANSWER_WARN = VERDICT_WARN,
    ANSWER_OVER = VERDICT_OVER,
    ANSWER_TOOLARGE = VERDICT_TOOLARGE,
    ANSWER_ERROR = VERDICT_COUNT_,
};

struct answer {
    const char *target; /* the caller's; NULL: none */
    enum answer_status status;
    struct pairs pairs; /* at least status; of an error also reason and text */

    /* about a mailbox, unless it is an error */
    uint64_t bytes;
    uint64_t messages;
    uint64_t limit;
    uint64_t message_limit;
    uint64_t percent;

    /* of explain: the lines before the last, each of which begins with step= */
    struct pairs *steps;
    size_t steps_count;
    struct answer *beside; /* the direct answer, without the service; NULL: not compared */

    char *raw; /* the bytes that came; NULL: none */
    size_t raw_length;
    char *line; /* what the pairs lie in */
    char *text; /* what the steps lie in */
};

/*
 * Reads the reply bytes[0..length) to a request of that type into answer, whose target is set. What
 * is no valid reply becomes an error. Returns 0 or -ENOMEM.
 */
int answer_read(struct answer *answer, enum request_type type, const char *bytes, size_t length);

/* Makes answer, whose target is set, an error. Returns 0 or -ENOMEM. */
int answer_fail(struct answer *answer, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns the value, which stays the answer's, of a key that every answer of its status has. */
const char *answer_get(const struct answer *answer, const char *key);

/* Returns whether it is an error for that reason. */
bool answer_failed_with(const struct answer *answer, const char *reason);

/* Returns the first step of that name, or the next one after `after`; NULL if there is none. */
const struct pairs *answer_step(const struct answer *answer, const char *name,
                                const struct pairs *after);

/* Releases what the answer owns. */
void answer_deinit(struct answer *answer);
