/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of names, by their hashes alone: eight bytes for each, and as much room again. Two names
 * are taken for one if their hashes are the same. With NAMES_MAX names in the set that happens to
 * one in 2^48 others, and no one can bring it about, since the hashes are keyed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set has at most so many names: it takes 1 MiB then, and half as much again while it grows. */
#define NAMES_MAX ((size_t)65536)

struct names {
    uint64_t *slots; /* hashes, 0 where there is none; NULL while the set is empty */
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    bool is_full; /* there were more than NAMES_MAX */
};

/* An empty set, which owns nothing. */
#define NAMES_NULL ((struct names){})

/*
 * Adds the name of that hash, any number, to the set. Returns 1, also if it was left out since the
 * set is full, 0 if it is in the set already, or -ENOMEM.
 */
int names_add(struct names *names, uint64_t hash);

/* Says whether the name of that hash is in the set. */
bool names_has(const struct names *names, uint64_t hash);

/* Makes the set empty and releases its memory. */
void names_clear(struct names *names);
