/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quota/hash.h"
#include "system/cleanup.h"

/* The buckets of the first table; a table doubles when it holds as many mailboxes as buckets. */
#define BUCKETS_MIN ((size_t)16)

/* What malloc(3) adds to an entry and its memory. */
#define MALLOC_BYTES (3 * sizeof(size_t))

/* No mailbox has more than this part of the cache: few with many folders would drive out all. */
#define SHARE 32

struct entry {
    struct entry *chain; /* the next in the same bucket */
    struct entry *newer; /* the next in the order of use, either way */
    struct entry *older;
    struct maildir_memory *memory;
    uint64_t hash;
    size_t bytes; /* of the entry and its memory */
    char path[];
};

struct cache {
    struct hash_key key;
    size_t bytes_max;
    size_t count;
    size_t bytes;
    struct entry *newest;
    struct entry *oldest;
    struct entry **buckets; /* NULL until there is a mailbox */
    size_t buckets_count;   /* a power of two, or 0 */
};

static struct entry **cache_bucket(const struct cache *cache, uint64_t hash)
{
    return &cache->buckets[hash & (cache->buckets_count - 1)];
}

/* Returns the link that leads to the entry of path, or NULL if there is none. */
static struct entry **cache_find(const struct cache *cache, const char *path)
{
    uint64_t hash;

    if (cache->count == 0)
        return NULL;
    hash = hash_bytes(&cache->key, path, strlen(path));
    for (struct entry **link = cache_bucket(cache, hash); *link; link = &(*link)->chain)
        if ((*link)->hash == hash && strcmp((*link)->path, path) == 0)
            return link;
    return NULL;
}

/* Takes the entry that link leads to out of the cache and releases it. Returns its memory. */
static struct maildir_memory *cache_remove(struct cache *cache, struct entry **link)
{
    _cleanup_(freep) struct entry *entry = *link;

    *link = entry->chain;
    /* The neighbours in the order of use, or its ends, now point past the entry. */
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
    cache->count--;
    cache->bytes -= entry->bytes;
    return entry->memory;
}

static void cache_insert(struct cache *cache, struct entry *entry)
{
    struct entry **bucket = cache_bucket(cache, entry->hash);

    entry->chain = *bucket;
    *bucket = entry;
    entry->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
    cache->count++;
    cache->bytes += entry->bytes;
}

/*
 * Sees to it that the table has room for one more mailbox. A full table goes on working when there
 * is no memory for a larger one. Returns 0, or -ENOMEM if there is no table at all.
 */
static int cache_reserve(struct cache *cache)
{
    struct entry **old = cache->buckets;
    size_t count = old ? 2 * cache->buckets_count : BUCKETS_MIN;
    struct entry **buckets;

    if (old && cache->count < cache->buckets_count)
        return 0;
    buckets = calloc(count, sizeof(struct entry *));
    if (!buckets)
        return old ? 0 : -ENOMEM;
    cache->bytes += (count - cache->buckets_count) * sizeof(struct entry *);
    cache->buckets = buckets;
    cache->buckets_count = count;
    for (struct entry *entry = cache->oldest; entry; entry = entry->newer) {
        struct entry **bucket = cache_bucket(cache, entry->hash);

        entry->chain = *bucket;
        *bucket = entry;
    }
    free(old);
    return 0;
}

int cache_new(size_t bytes_max, struct cache **ret)
{
    _cleanup_(cache_freep) struct cache *cache = calloc(1, sizeof(*cache));
    int r;

    if (!cache)
        return -ENOMEM;
    cache->bytes_max = bytes_max;
    cache->bytes = sizeof(*cache);
    r = hash_key_init_random(&cache->key);
    if (r < 0)
        return r;
    *ret = steal_pointer(&cache);
    return 0;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    while (cache->oldest)
        maildir_memory_free(cache_remove(cache, cache_find(cache, cache->oldest->path)));
    free(cache->buckets);
    free(cache);
}

void cache_freep(struct cache **cache)
{
    cache_free(*cache);
}

struct maildir_memory *cache_take(struct cache *cache, const char *path)
{
    struct entry **link = cache_find(cache, path);

    return link ? cache_remove(cache, link) : NULL;
}

void cache_put(struct cache *cache, const char *path, struct maildir_memory *memory)
{
    _cleanup_(maildir_memory_freep) struct maildir_memory *owned = memory;
    size_t path_size = strlen(path) + 1;
    size_t bytes = sizeof(struct entry) + path_size + maildir_memory_bytes(memory) + MALLOC_BYTES;
    struct entry *entry;

    if (!memory)
        return;
    maildir_memory_free(cache_take(cache, path));
    if (bytes > cache->bytes_max / SHARE || cache_reserve(cache) < 0)
        return;
    entry = calloc(1, sizeof(*entry) + path_size);
    if (!entry)
        return;
    memcpy(entry->path, path, path_size);
    entry->hash = hash_bytes(&cache->key, path, path_size - 1);
    entry->bytes = bytes;
    entry->memory = steal_pointer(&owned);
    cache_insert(cache, entry);
    while (cache->bytes > cache->bytes_max && cache->count > 0)
        maildir_memory_free(cache_remove(cache, cache_find(cache, cache->oldest->path)));
}

size_t cache_count(const struct cache *cache)
{
    return cache->count;
}

size_t cache_bytes(const struct cache *cache)
{
    return cache->bytes;
}
