/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the service caches of mailboxes, by their paths: counts (struct maildir_cache) and the
 * contents of maildirsize files. The cache is bounded in bytes; what was put longest ago is dropped
 * first. Not thread-safe: the event loop owns it.
 *
 * Two spellings of a path are two mailboxes. Each value takes at most 48 bytes here, up to 16 in
 * the table, and what malloc(3) adds.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "system/cleanup.h"

struct cache;

/* What a value is: there may be one of each kind for a mailbox. */
enum cache_kind {
    CACHE_COUNT,
    CACHE_MAILDIRSIZE,
    CACHE_KINDS,
};

/*
 * Makes a cache of at most bytes_max (0: it stays empty), which is allocated as it fills. A value
 * that would take more than 1/32 of that is not cached. Returns 0 and the cache, which the caller
 * releases with cache_free(); -ENOMEM; or the negative errno of getrandom(2).
 */
int cache_new(size_t bytes_max, struct cache **ret);

/* Releases the cache and everything that it holds. NULL is allowed. */
void cache_free(struct cache *cache);
DEFINE_FREEP(cache)

/* Returns the value, which stays the cache's until the next call that puts or takes; or NULL. */
const void *cache_find(const struct cache *cache, enum cache_kind kind, const char *path);

/* Takes the value out of the cache. Returns it, which the caller frees, or NULL. */
void *cache_take(struct cache *cache, enum cache_kind kind, const char *path);

/*
 * Stores a value of that many bytes, allocated by malloc(3), in place of an older one, and takes
 * ownership of it. If there is no room or no memory for it, it is released. NULL: nothing happens.
 */
void cache_put(struct cache *cache, enum cache_kind kind, const char *path, void *value,
               size_t bytes);

/* Returns how many mailboxes have a value of that kind. */
size_t cache_count(const struct cache *cache, enum cache_kind kind);

/* Returns the bytes that the cache has allocated, including the overhead of malloc(3). */
size_t cache_bytes(const struct cache *cache);
