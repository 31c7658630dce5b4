/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "system/cleanup.h"
#include "system/hash_table.h"

/* What malloc(3) adds to an entry and its value. */
#define MALLOC_BYTES (3 * sizeof(size_t))

/* No value takes more than this part of the cache: few mailboxes would drive out all others. */
#define SHARE 32

struct cache_entry {
    struct hash_entry hash;
    TAILQ_ENTRY(cache_entry) link;
    void *value;
    uint32_t bytes; /* of the entry and its value */
    enum cache_kind kind;
};

TAILQ_HEAD(cache_entry_list, cache_entry);

struct cache {
    struct hash_key key;
    struct hash_table table;
    struct cache_entry_list entries; /* what was put first comes first */
    size_t counts[CACHE_KINDS];
    size_t bytes;
    size_t bytes_max;
};

static uint64_t id_of(const struct cache *cache, enum cache_kind kind, const char *path)
{
    return hash_bytes(&cache->key, path, strlen(path)) + kind;
}

static struct cache_entry *find(const struct cache *cache, uint64_t id)
{
    return (struct cache_entry *)hash_table_find(&cache->table, id);
}

/* Takes the entry out of the cache and releases it. Returns its value. */
static void *cache_remove(struct cache *cache, struct cache_entry *entry)
{
    void *value = entry->value;

    hash_table_remove(&cache->table, &entry->hash);
    TAILQ_REMOVE(&cache->entries, entry, link);
    cache->counts[entry->kind]--;
    cache->bytes -= entry->bytes;
    free(entry);
    return value;
}

static int cache_add(struct cache *cache, struct cache_entry *entry)
{
    size_t buckets = cache->table.buckets_count;
    int r = hash_table_add(&cache->table, &entry->hash);

    if (r < 0)
        return r;
    TAILQ_INSERT_TAIL(&cache->entries, entry, link);
    cache->counts[entry->kind]++;
    cache->bytes += entry->bytes + (cache->table.buckets_count - buckets) * sizeof(void *);
    return 0;
}

int cache_new(size_t bytes_max, struct cache **ret)
{
    _cleanup_(cache_freep) struct cache *cache = calloc(1, sizeof(*cache));
    int r;

    if (!cache)
        return -ENOMEM;
    TAILQ_INIT(&cache->entries);
    cache->bytes = sizeof(*cache);
    cache->bytes_max = bytes_max;
    r = hash_key_init(&cache->key);
    if (r < 0)
        return r;
    *ret = steal_pointer(&cache);
    return 0;
}

static void release(struct hash_entry *entry)
{
    free(((struct cache_entry *)entry)->value);
    free(entry);
}

void cache_free(struct cache *cache)
{
    if (cache)
        hash_table_clear(&cache->table, release);
    free(cache);
}

const void *cache_find(const struct cache *cache, enum cache_kind kind, const char *path)
{
    const struct cache_entry *entry = find(cache, id_of(cache, kind, path));

    return entry ? entry->value : NULL;
}

void *cache_take(struct cache *cache, enum cache_kind kind, const char *path)
{
    struct cache_entry *entry = find(cache, id_of(cache, kind, path));

    return entry ? cache_remove(cache, entry) : NULL;
}

void cache_put(struct cache *cache, enum cache_kind kind, const char *path, void *value,
               size_t bytes)
{
    _cleanup_(freep) void *owned = value;
    _cleanup_(freep) struct cache_entry *entry = NULL;
    size_t entry_bytes = sizeof(*entry) + bytes + MALLOC_BYTES;
    struct cache_entry *old;
    uint64_t id;

    if (!value)
        return;
    id = id_of(cache, kind, path);
    old = find(cache, id);
    if (old)
        free(cache_remove(cache, old));
    if (entry_bytes > cache->bytes_max / SHARE)
        return;
    entry = malloc(sizeof(*entry));
    if (!entry)
        return;
    *entry = (struct cache_entry){
        .hash.id = id,
        .value = value,
        .bytes = (uint32_t)entry_bytes,
        .kind = kind,
    };
    if (cache_add(cache, entry) < 0)
        return;
    (void)steal_pointer(&entry);
    (void)steal_pointer(&owned);
    while (cache->bytes > cache->bytes_max && !TAILQ_EMPTY(&cache->entries))
        free(cache_remove(cache, TAILQ_FIRST(&cache->entries)));
}

size_t cache_count(const struct cache *cache, enum cache_kind kind)
{
    return cache->counts[kind];
}

size_t cache_bytes(const struct cache *cache)
{
    return cache->bytes;
}
