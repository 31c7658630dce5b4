/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How often something took how long, in little memory however often that was: up to 255 ns each
 * time is told apart, and beyond it those that differ by more than a 128th of themselves.
 */
#pragma once

#include <stdint.h>

/* A bucket for each of the small times, and 128 for each power of two from 256 on. */
#define TIMES_SMALL        256
#define TIMES_PER_POWER    128
#define TIMES_POWERS       56
#define TIMES_BUCKET_COUNT (TIMES_SMALL + TIMES_PER_POWER * TIMES_POWERS)

/* All zero: none yet. */
struct times {
    uint64_t buckets[TIMES_BUCKET_COUNT];
    uint64_t count;
    uint64_t longest_nsec;
};

/* Adds one time. */
void times_add(struct times *times, uint64_t nsec);

/* Adds all of others. */
void times_merge(struct times *times, const struct times *others);

/*
 * Returns the nanoseconds within which at least permille (0 to 1000) of a thousand are: no less
 * than the exact number, and no more than a 128th beyond it. 0 where there are none.
 */
uint64_t times_quantile_nsec(const struct times *times, unsigned int permille);
