/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/latency.h"

/* Returns the bucket of a time: those below 4 have one each, then every power of two has four. */
static unsigned int bucket_of(uint64_t usec)
{
    unsigned int exponent, bucket;

    if (usec < 4)
        return (unsigned int)usec;
    exponent = 63 - (unsigned int)__builtin_clzll(usec);
    bucket = (exponent - 1) * 4 + (unsigned int)(usec >> (exponent - 2) & 3);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* Returns the first time that is beyond the bucket. */
static uint64_t end_of(unsigned int bucket)
{
    unsigned int exponent = bucket / 4 + 1;

    if (bucket < 4)
        return bucket + 1;
    return (UINT64_C(4) + bucket % 4 + 1) << (exponent - 2);
}

void latency_add(struct latency *latency, uint64_t usec)
{
    latency->counts[bucket_of(usec)]++;
    latency->total++;
    latency->sum_usec += usec;
}

uint64_t latency_quantile_usec(const struct latency *latency, unsigned int permille)
{
    uint64_t rank = latency->total - latency->total * (1000 - permille) / 1000;
    uint64_t seen = 0;

    for (unsigned int bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += latency->counts[bucket];
        if (seen >= rank && seen > 0)
            return end_of(bucket);
    }
    return 0;
}

uint64_t latency_count_below(const struct latency *latency, uint64_t end_usec)
{
    uint64_t count = 0;

    for (unsigned int bucket = 0; bucket < LATENCY_BUCKETS && end_of(bucket) <= end_usec; bucket++)
        count += latency->counts[bucket];
    return count;
}
