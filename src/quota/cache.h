/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of many mailboxes: what maildir_count() remembers of each, by the
 * mailbox's path, bounded in number, the least recently used going first. Not for several threads:
 * the event loop owns it, takes a mailbox's memory out, lends it to the one count of that mailbox,
 * and puts it back.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quota/maildir.h"

struct cache;

/*
 * Makes a cache of at most max_mailboxes (0: remembers nothing). Its table is sized as it fills,
 * not now. Returns 0 and the cache, which the caller releases with cache_free(), or -ENOMEM.
 */
int cache_new(size_t max_mailboxes, struct cache **ret);

/* Releases the cache and everything that it holds. NULL is allowed. */
void cache_free(struct cache *cache);
void cache_freep(struct cache **cache);

/*
 * Takes the memory of the mailbox at path out of the cache. Returns it, the caller's from now on,
 * or NULL if there is none.
 */
struct maildir_memory *cache_take(struct cache *cache, const char *path);

/*
 * Puts memory under path, as the most recently used, and takes ownership of it. What stood there is
 * released; so are the least recently used beyond the bound. memory may be NULL: nothing happens.
 * Short of memory, or with a bound of 0, it is released and forgotten.
 */
void cache_put(struct cache *cache, const char *path, struct maildir_memory *memory);

/* Returns how many mailboxes are remembered. */
size_t cache_count(const struct cache *cache);

/* Returns the bytes of memory that the cache takes, everything included. */
size_t cache_bytes(const struct cache *cache);
