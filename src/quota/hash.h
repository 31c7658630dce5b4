/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A keyed hash for tables whose keys come from elsewhere: SipHash-2-4. Who does not know the key
 * cannot choose strings that fall together, so that no file and no client can turn a lookup into a
 * search.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t words[2];
};

/* Draws a key from the kernel's random numbers. Returns 0, or the negative errno of getrandom(2).
 */
int hash_key_init_random(struct hash_key *key);

/* Returns the hash of data[0..length); every bit of it is as good as any other. */
uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length);
