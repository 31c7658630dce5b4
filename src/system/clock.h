/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time, in the unit that this project counts it in. */
#pragma once

#include <stdint.h>
#include <time.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC  UINT64_C(1000000)

/* Returns the microseconds of the clock: CLOCK_MONOTONIC, or CLOCK_REALTIME since the epoch. */
static inline uint64_t clock_usec(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}
