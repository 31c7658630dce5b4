/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long answers take, as a histogram of fixed size: each power of two of microseconds in four.
 */
#pragma once

#include <stdint.h>

#define LATENCY_BUCKETS 128

struct latency {
    uint64_t counts[LATENCY_BUCKETS];
    uint64_t total;
    uint64_t sum_usec;
};

/* Adds one answer that took so long. */
void latency_add(struct latency *latency, uint64_t usec);

/*
 * Returns the time below which `permille` of a thousand answers stayed, at most a quarter too high;
 * 0 without an answer.
 */
uint64_t latency_quantile_usec(const struct latency *latency, unsigned int permille);

/* Returns how many answers took less than end_usec, which is a power of two. */
uint64_t latency_count_below(const struct latency *latency, uint64_t end_usec);
