/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watched mailboxes: what is known of them, so that a query about one that has not changed is
 * answered from memory, without asking the file system. Not thread-safe: the event loop owns it.
 *
 * A mailbox is watched from the second query about it on, if it lies on a local file system, no
 * symbolic link leads to it or to anything in it, and no directory is encrypted (fscrypt); the
 * mailbox for which no query came for the longest time makes room. All others are answered as if
 * there were no watches.
 *
 * What events say: a message that appears or goes, and whose name tells its size, changes the sums.
 * A maildirsize or an mbox that was written to is read again. Anything else, and the mailbox is no
 * longer watched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "quota/cache.h"
#include "quota/mailbox.h"
#include "server/pool.h"
#include "system/cleanup.h"
#include "system/journal.h"

struct watched;

/* Counters since the start, for stats. */
struct watched_counters {
    uint64_t hits;          /* queries that were answered from memory */
    uint64_t invalidations; /* mailboxes that are no longer watched because something changed */
    uint64_t overflows;     /* all watches were lost: too many events, or mounts changed */
};

struct watched_settings {
    const struct mailbox_settings *mailbox;
    size_t watches_max; /* 0: nothing is watched */
};

/*
 * Makes it. settings->mailbox, the pool, for watching mailboxes for the first time, the cache, in
 * which counts are found, and journal stay the caller's and must outlive it. Returns 0 or a
 * negative errno.
 */
int watched_new(const struct watched_settings *settings, struct pool *pool,
                const struct cache *cache, struct journal *journal, struct watched **ret);

/* Releases it, after its pool has ended. NULL is allowed. */
void watched_free(struct watched *watched);
DEFINE_FREEP(watched)

/*
 * Answers a query about the mailbox at path (normalised) from memory. Returns whether that was
 * possible, and the usage. If not, and mailbox_probe() is called without waiting for anything in
 * between, watched_refresh() is to be called with its result.
 */
bool watched_recall(struct watched *watched, const char *path, const struct mailbox_policy *policy,
                    uint64_t now_usec, struct usage *ret);

/* Takes over what mailbox_probe() returned and found, if that is why it was called. */
void watched_refresh(struct watched *watched, int probe, const struct mailbox *mailbox);

/*
 * Notes a query about the mailbox at path, which is on that device and was answered. It may begin
 * to watch the mailbox.
 */
void watched_note(struct watched *watched, const char *path, const struct mailbox_policy *policy,
                  dev_t device);

/*
 * The roots are going to be closed: nothing is answered from memory until they are open again, and
 * everything is forgotten unless they are the same directories then.
 */
void watched_suspend(struct watched *watched);

/* Returns how many watches there are. */
size_t watched_count(const struct watched *watched);

/* Returns the counters. */
struct watched_counters watched_counters(const struct watched *watched);
