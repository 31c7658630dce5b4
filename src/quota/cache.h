/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of counts: what maildir_count() leaves of each mailbox (a struct maildir_memory), by
 * the mailbox's path. It is bounded in bytes; the least recently used mailbox is dropped first. Not
 * thread-safe: the event loop owns the cache, takes a mailbox's entry out, lends it to the one
 * count of that mailbox, and puts it back.
 *
 * Taking and putting cost the same however many mailboxes there are. Paths are chosen by clients,
 * so they are hashed with a random key: none can be chosen to collide.
 *
 * A mailbox takes at most 48 bytes and its path here, up to 16 bytes in the table, and its struct
 * maildir_memory (see maildir_memory.h): about 350 bytes without folders, including the allocator's
 * overhead, and 3 KiB with twenty folders.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quota/maildir.h"

struct cache;

/*
 * Makes a cache of at most bytes_max (0: it stays empty), which is allocated as it fills. A mailbox
 * with so many folders that it would take more than 1/32 of that is not cached. Returns 0 and the
 * cache, which the caller releases with cache_free(); -ENOMEM; or the negative errno of
 * getrandom(2), from which the key comes.
 */
int cache_new(size_t bytes_max, struct cache **ret);

/* Releases the cache and everything that it holds. NULL is allowed. */
void cache_free(struct cache *cache);
void cache_freep(struct cache **cache);

/*
 * Takes the entry of the mailbox at path out of the cache. Returns it, which is then the caller's,
 * or NULL if there is none. Two spellings of a path are two mailboxes.
 */
struct maildir_memory *cache_take(struct cache *cache, const char *path);

/*
 * Stores memory under path as the most recently used entry, and takes ownership of it. An older
 * entry of that path is released, and so are the least recently used ones beyond the bound. If
 * memory is NULL, nothing happens. If it is too large, or cannot be stored for lack of memory, it
 * is released.
 */
void cache_put(struct cache *cache, const char *path, struct maildir_memory *memory);

/* Returns how many mailboxes are in the cache. */
size_t cache_count(const struct cache *cache);

/* Returns the bytes that the cache has allocated, including the overhead of malloc(3). */
size_t cache_bytes(const struct cache *cache);
