/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/hash_table.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The buckets of the first table; a full one doubles. */
#define BUCKETS_MIN ((size_t)16)

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate_left(uint64_t word, unsigned int bits)
{
    return word << bits | word >> (64 - bits);
}

static void state_mix(struct state *state, unsigned int rounds)
{
    while (rounds-- > 0) {
        state->a += state->b;
        state->c += state->d;
        state->b = rotate_left(state->b, 13) ^ state->a;
        state->d = rotate_left(state->d, 16) ^ state->c;
        state->a = rotate_left(state->a, 32);

        state->c += state->b;
        state->a += state->d;
        state->b = rotate_left(state->b, 17) ^ state->c;
        state->d = rotate_left(state->d, 21) ^ state->a;
        state->c = rotate_left(state->c, 32);
    }
}

static void state_absorb(struct state *state, uint64_t word)
{
    state->d ^= word;
    state_mix(state, 2);
    state->a ^= word;
}

int hash_key_init(struct hash_key *key)
{
    /* Up to 256 bytes come whole or not at all, and no signal cuts them short. */
    return getrandom(key->words, sizeof(key->words), 0) < 0 ? -errno : 0;
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length)
{
    /* The four constants and the rounds are those of the SipHash paper (Aumasson, Bernstein). */
    struct state state = {
        .a = key->words[0] ^ UINT64_C(0x736f6d6570736575),
        .b = key->words[1] ^ UINT64_C(0x646f72616e646f6d),
        .c = key->words[0] ^ UINT64_C(0x6c7967656e657261),
        .d = key->words[1] ^ UINT64_C(0x7465646279746573),
    };
    const unsigned char *bytes = data;
    size_t left = length;
    uint64_t word;

    for (; left >= sizeof(word); left -= sizeof(word), bytes += sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        state_absorb(&state, le64toh(word));
    }
    word = 0;
    memcpy(&word, bytes, left);
    state_absorb(&state, le64toh(word) | (uint64_t)length << 56);
    state.c ^= 0xff;
    state_mix(&state, 4);
    return state.a ^ state.b ^ state.c ^ state.d;
}

static struct hash_entry **find_bucket(const struct hash_table *table, uint64_t id)
{
    return &table->buckets[id & (table->buckets_count - 1)];
}

static void insert(struct hash_table *table, struct hash_entry *entry)
{
    struct hash_entry **bucket = find_bucket(table, entry->id);

    entry->next = *bucket;
    *bucket = entry;
}

static int grow(struct hash_table *table)
{
    const struct hash_table old = *table;
    size_t count = old.buckets_count == 0 ? BUCKETS_MIN : 2 * old.buckets_count;
    struct hash_entry **buckets = calloc(count, sizeof(struct hash_entry *));

    if (!buckets)
        return old.buckets ? 0 : -ENOMEM;
    table->buckets = buckets;
    table->buckets_count = count;
    for (size_t i = 0; i < old.buckets_count; i++)
        for (struct hash_entry *entry = old.buckets[i], *next; entry; entry = next) {
            next = entry->next;
            insert(table, entry);
        }
    free(old.buckets);
    return 0;
}

void hash_table_clear(struct hash_table *table, void (*release)(struct hash_entry *entry))
{
    for (size_t i = 0; i < table->buckets_count; i++)
        for (struct hash_entry *entry = table->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            release(entry);
        }
    free(table->buckets);
    *table = (struct hash_table){};
}

struct hash_entry *hash_table_find(const struct hash_table *table, uint64_t id)
{
    struct hash_entry *entry = table->count > 0 ? *find_bucket(table, id) : NULL;

    while (entry && entry->id != id)
        entry = entry->next;
    return entry;
}

int hash_table_add(struct hash_table *table, struct hash_entry *entry)
{
    int r = table->count >= table->buckets_count ? grow(table) : 0;

    if (r < 0)
        return r;
    insert(table, entry);
    table->count++;
    return 0;
}

void hash_table_remove(struct hash_table *table, struct hash_entry *entry)
{
    struct hash_entry **link = find_bucket(table, entry->id);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    table->count--;
}
