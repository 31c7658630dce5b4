/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "times.h"

#include <stddef.h>

/* The powers of two of TIMES_SMALL and of TIMES_PER_POWER. */
#define SMALL_POWER     8
#define PER_POWER_POWER 7

static size_t bucket_of(uint64_t nsec)
{
    unsigned int power;

    if (nsec < TIMES_SMALL)
        return (size_t)nsec;
    power = 63 - (unsigned int)__builtin_clzll(nsec);
    return TIMES_SMALL + (size_t)(power - SMALL_POWER) * TIMES_PER_POWER +
           (size_t)((nsec >> (power - PER_POWER_POWER)) - TIMES_PER_POWER);
}

/* Returns the longest time that the bucket holds. */
static uint64_t bucket_end_nsec(size_t bucket)
{
    unsigned int power;
    uint64_t first;

    if (bucket < TIMES_SMALL)
        return bucket;
    power = SMALL_POWER + (unsigned int)((bucket - TIMES_SMALL) / TIMES_PER_POWER);
    first = TIMES_PER_POWER + (bucket - TIMES_SMALL) % TIMES_PER_POWER;
    /* The last bucket ends with the type: there, what is shifted out is wanted so. */
    return ((first + 1) << (power - PER_POWER_POWER)) - 1;
}

void times_add(struct times *times, uint64_t nsec)
{
    times->buckets[bucket_of(nsec)]++;
    times->count++;
    if (nsec > times->longest_nsec)
        times->longest_nsec = nsec;
}

void times_merge(struct times *times, const struct times *others)
{
    for (size_t i = 0; i < TIMES_BUCKET_COUNT; i++)
        times->buckets[i] += others->buckets[i];
    times->count += others->count;
    if (others->longest_nsec > times->longest_nsec)
        times->longest_nsec = others->longest_nsec;
}

uint64_t times_quantile_nsec(const struct times *times, unsigned int permille)
{
    /* Rounded up, and split so that no count is too large for it. */
    uint64_t rank = times->count - times->count / 1000 * (1000 - permille) -
                    times->count % 1000 * (1000 - permille) / 1000;
    uint64_t seen = 0, end_nsec;

    for (size_t i = 0; i < TIMES_BUCKET_COUNT; i++) {
        seen += times->buckets[i];
        if (times->buckets[i] == 0 || seen < rank)
            continue;
        end_nsec = bucket_end_nsec(i);
        return end_nsec < times->longest_nsec ? end_nsec : times->longest_nsec;
    }
    return 0;
}
