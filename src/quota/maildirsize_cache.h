/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contents of maildirsize files in the cache, each with the state of the file that they were
 * read from, so that a file that has not changed need not be read again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "quota/cache.h"
#include "quota/maildirsize.h"
#include "quota/stamp.h"

/* What statx(2) must be asked for wherever its result is taken here. */
#define MAILDIRSIZE_CACHE_STATX_MASK (STAMP_STATX_MASK | STATX_SIZE)

struct maildirsize_cached;

/* Returns what is cached of the mailbox at path, until the cache is used again; or NULL. */
const struct maildirsize_cached *maildirsize_cache_find(const struct cache *cache,
                                                        const char *path);

/*
 * Returns whether the file is still in the state that it was read in, today (in UTC; now_sec is the
 * time since the epoch), and in *ret what it says. Once a day, more than the file itself is to be
 * looked at.
 */
bool maildirsize_cached_get(const struct maildirsize_cached *cached, const struct statx *st,
                            int64_t now_sec, struct maildirsize *ret);

/*
 * Caches what the file says. It was read after read_sec (stamp_now_sec()), and its state, st, was
 * asked for in between; where that was not settled then (quota/stamp.h), nothing is cached.
 */
void maildirsize_cache_put(struct cache *cache, const char *path, const struct statx *st,
                           int64_t read_sec, const struct maildirsize *says);
