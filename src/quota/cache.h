/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of many mailboxes: what maildir_count() remembers of each, by the mailbox's path,
 * bounded in bytes, the least recently used going first. Not for several threads: the event loop
 * owns it, takes a mailbox's memory out, lends it to the one count of that mailbox, and puts it
 * back.
 *
 * Taking and putting cost the same however many mailboxes there are. Paths are chosen by clients,
 * so they are hashed with a random key: none can be chosen to collide.
 *
 * A mailbox takes 48 bytes and its path here, up to 16 in the table, and the memory itself (see
 * maildir_memory.h): some 350 bytes for one without folders, the allocator's overhead included,
 * about 3 KiB for one with twenty.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quota/maildir.h"

struct cache;

/*
 * Makes a cache of at most bytes_max (0: remembers nothing). It takes memory as it fills, not now.
 * A mailbox with so many folders that it would take more than a 32nd part is not remembered.
 * Returns 0 and the cache, which the caller releases with cache_free(), -ENOMEM, or the negative
 * errno of getrandom(2), where the key comes from.
 */
int cache_new(size_t bytes_max, struct cache **ret);

/* Releases the cache and everything that it holds. NULL is allowed. */
void cache_free(struct cache *cache);
void cache_freep(struct cache **cache);

/*
 * Takes the memory of the mailbox at path out of the cache. Returns it, the caller's from now on,
 * or NULL if there is none. Two spellings of a path are two mailboxes.
 */
struct maildir_memory *cache_take(struct cache *cache, const char *path);

/*
 * Puts memory under path, as the most recently used, and takes ownership of it. What stood there is
 * released; so are the least recently used beyond the bound. memory may be NULL: nothing happens.
 * Short of memory, or where it is too large, it is released and forgotten.
 */
void cache_put(struct cache *cache, const char *path, struct maildir_memory *memory);

/* Returns how many mailboxes are remembered. */
size_t cache_count(const struct cache *cache);

/* Returns the bytes that the cache has allocated, with what malloc(3) adds to each mailbox. */
size_t cache_bytes(const struct cache *cache);
