/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Would this message fit? Numbers in, a verdict out. Sums are not rounded before they are compared:
 * the verdict is right for every number that the arguments can hold.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "quota/size.h"

enum verdict {
    VERDICT_OK,       /* fits, or there is no limit */
    VERDICT_WARN,     /* fits, and the mailbox is nearly full */
    VERDICT_OVER,     /* does not fit now; it may once the user has made room */
    VERDICT_TOOLARGE, /* can never fit, however empty the mailbox is */
    VERDICT_COUNT_,
};

/*
 * How far a single message may exceed the limit in bytes: by a number of bytes, or by a
 * percentage of the limit (rounded down). One of the two is 0. A mailbox over its limit has no
 * grace.
 */
struct verdict_grace {
    uint64_t bytes;
    uint64_t percent;
};

/* What an administrator decides once, for every mailbox. */
struct verdict_policy {
    struct verdict_grace grace;
    uint64_t warn_percent; /* from this share of the limit on, VERDICT_WARN instead of VERDICT_OK */
};

/*
 * Returns whether a message of size bytes (0: unknown) is larger than the limit in bytes plus
 * grace, so that it can never fit. A limit of 0 is none.
 */
bool verdict_is_too_large(struct quota_limit limit, uint64_t size, struct verdict_grace grace);

/*
 * Returns whether a message of size bytes (0: unknown) is too much for a mailbox that holds bytes
 * and messages: over the limit in bytes already, over limit plus grace with this message, or
 * over the limit in messages with this message. A limit of 0 is none.
 */
bool verdict_is_over(uint64_t bytes, uint64_t messages, struct quota_limit limit, uint64_t size,
                     struct verdict_grace grace);

/*
 * Decides on a message of size bytes (0: unknown) for a mailbox that holds bytes and messages. The
 * first that is true holds: VERDICT_TOOLARGE where size alone is more than the limit in bytes plus
 * grace; VERDICT_OVER by verdict_is_over(); VERDICT_WARN where verdict_percent() has reached
 * policy->warn_percent and there is a limit in bytes; else VERDICT_OK.
 */
enum verdict verdict_decide(uint64_t bytes, uint64_t messages, struct quota_limit limit,
                            uint64_t size, const struct verdict_policy *policy);

/* Returns whether the verdict is that the message does not fit. */
static inline bool verdict_refuses(enum verdict verdict)
{
    return verdict == VERDICT_OVER || verdict == VERDICT_TOOLARGE;
}

/*
 * Returns floor(100 * bytes / limit.bytes), UINT64_MAX where that is smaller, or 0 without a limit
 * in bytes. Messages play no part in it.
 */
uint64_t verdict_percent(uint64_t bytes, struct quota_limit limit);
