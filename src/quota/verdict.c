/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/verdict.h"

/* Returns a + b, or UINT64_MAX where that is smaller. */
static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* Returns floor(value * percent / 100), or UINT64_MAX where that is smaller. */
static uint64_t share(uint64_t value, uint64_t percent)
{
    uint64_t hundreds, rest = value % 100;

    if (__builtin_mul_overflow(value / 100, percent, &hundreds))
        return UINT64_MAX;
    return add(hundreds, rest * (percent / 100) + rest * (percent % 100) / 100);
}

/*
 * Returns whether the message is larger than the rest of the limit, with used bytes taken off, plus
 * the grace. A sum that does not fit into 64 bits is larger than any size.
 */
static bool exceeds_room(uint64_t size, uint64_t used, uint64_t limit_bytes,
                         struct verdict_grace grace)
{
    return size > add(add(limit_bytes - used, grace.bytes), share(limit_bytes, grace.percent));
}

bool verdict_is_too_large(struct quota_limit limit, uint64_t size, struct verdict_grace grace)
{
    return limit.bytes > 0 && exceeds_room(size, 0, limit.bytes, grace);
}

bool verdict_is_over(uint64_t bytes, uint64_t messages, struct quota_limit limit, uint64_t size,
                     struct verdict_grace grace)
{
    if (limit.messages > 0 && messages >= limit.messages)
        return true;
    if (limit.bytes == 0)
        return false;
    return bytes > limit.bytes || exceeds_room(size, bytes, limit.bytes, grace);
}

enum verdict verdict_decide(uint64_t bytes, uint64_t messages, struct quota_limit limit,
                            uint64_t size, const struct verdict_policy *policy)
{
    if (verdict_is_too_large(limit, size, policy->grace))
        return VERDICT_TOOLARGE;
    if (verdict_is_over(bytes, messages, limit, size, policy->grace))
        return VERDICT_OVER;
    if (limit.bytes > 0 && verdict_percent(bytes, limit) >= policy->warn_percent)
        return VERDICT_WARN;
    return VERDICT_OK;
}

uint64_t verdict_percent(uint64_t bytes, struct quota_limit limit)
{
    uint64_t percent, part, left = 0;

    if (limit.bytes == 0)
        return 0;
    if (!__builtin_mul_overflow(bytes, UINT64_C(100), &percent))
        return percent / limit.bytes;
    if (__builtin_mul_overflow(bytes / limit.bytes, UINT64_C(100), &percent))
        return UINT64_MAX;
    /* The rest a hundred times, which 64 bits may not hold: each whole limit in it is a percent. */
    part = bytes % limit.bytes;
    for (int i = 0; i < 100; i++) {
        bool is_whole = left >= limit.bytes - part;

        left = is_whole ? left - (limit.bytes - part) : left + part;
        percent = add(percent, is_whole);
    }
    return percent;
}
