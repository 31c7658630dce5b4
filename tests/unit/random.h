/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random numbers for tests that compare with a reference. The seed is printed; a run is repeated by
 * giving it back in the environment variable TEST_SEED.
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

struct random {
    uint64_t state;
};

/* Takes the seed from the environment or from the kernel, and prints it. */
static inline struct random random_begin(const char *test)
{
    const char *given = getenv("TEST_SEED");
    struct random random = {.state = given ? strtoull(given, NULL, 0) : 0};

    if (!given)
        assert_int_equal(getrandom(&random.state, sizeof(random.state), 0), sizeof(random.state));
    print_message("%s: TEST_SEED=%#" PRIx64 "\n", test, random.state);
    return random;
}

/* Returns the next number, by SplitMix64. */
static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Returns a number from 0 to bound - 1. */
static inline size_t random_below(struct random *random, size_t bound)
{
    return (size_t)(random_next(random) % bound);
}
