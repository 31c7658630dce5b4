/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/verdict.h"

typedef unsigned __int128 wide;

/*
 * Returns the limit in bytes with its grace. It is not rounded to 64 bits: a sum that was cut off
 * would compare as equal with another that was cut off.
 */
static wide limit_with_grace(uint64_t limit_bytes, struct verdict_grace grace)
{
    return (wide)limit_bytes + grace.bytes + (wide)limit_bytes * grace.percent / 100;
}

bool verdict_is_too_large(struct quota_limit limit, uint64_t size, struct verdict_grace grace)
{
    return limit.bytes > 0 && size > limit_with_grace(limit.bytes, grace);
}

bool verdict_is_over(uint64_t bytes, uint64_t messages, struct quota_limit limit, uint64_t size,
                     struct verdict_grace grace)
{
    if (limit.messages > 0 && messages >= limit.messages)
        return true;
    if (limit.bytes == 0)
        return false;
    return bytes > limit.bytes || (wide)bytes + size > limit_with_grace(limit.bytes, grace);
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
    wide percent;

    if (limit.bytes == 0)
        return 0;
    percent = (wide)bytes * 100 / limit.bytes;
    return percent > UINT64_MAX ? UINT64_MAX : (uint64_t)percent;
}
