/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hash table of this project. Keys come from strangers, so they are hashed by SipHash-2-4 with
 * a secret key, and nobody can choose keys that fall together. The table knows an entry by the hash
 * of its key alone, its id: two of a billion keys have the same one with a chance of 3 in 100.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t words[2];
};

/* Draws a random key. Returns 0, or the negative errno of getrandom(2). */
int hash_key_init(struct hash_key *key);

/* Returns the hash of data[0..length); each bit of it is as good as any other. */
uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length);

/* An entry, the first member of what the caller keeps in the table. */
struct hash_entry {
    struct hash_entry *next; /* in the same bucket */
    uint64_t id;
};

/* All zero is an empty table; it takes no memory until it has an entry. */
struct hash_table {
    struct hash_entry **buckets;
    size_t buckets_count; /* a power of two, or 0 */
    size_t count;
};

/* Empties the table. release() is called with each entry. */
void hash_table_clear(struct hash_table *table, void (*release)(struct hash_entry *entry));

/* Returns the entry with that id, or NULL. */
struct hash_entry *hash_table_find(const struct hash_table *table, uint64_t id);

/*
 * Adds an entry whose id is set and not in the table. Returns 0, or -ENOMEM for the first entry; a
 * table that cannot grow later gets slower.
 */
int hash_table_add(struct hash_table *table, struct hash_entry *entry);

/* Removes an entry that is in the table. */
void hash_table_remove(struct hash_table *table, struct hash_entry *entry);
