/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits that hold now: read at the start, read again on a thread, and exchanged whole. The
 * journal says what came of it: what was loaded, at most LIMITS_FAULTS_MAX lines about faults, or
 * why nothing was.
 */
#pragma once

#include <stdbool.h>

#include "quota/limits.h"
#include "server/pool.h"
#include "system/journal.h"

struct limits_store;

/* Called on the event loop when the file was read, whatever came of it. */
typedef void (*limits_store_done_fn)(void *userdata);

/*
 * Makes a store for the limits file at path (NULL: there is none). pool, journal and path are the
 * caller's and outlive it. Returns 0 or -ENOMEM.
 */
int limits_store_new(struct pool *pool, struct journal *journal, const char *path,
                     struct limits_store **ret);

/* Releases the store, after its pool has ended. NULL is allowed. */
void limits_store_free(struct limits_store *store);

/*
 * Reads the file, and waits for it. There are no limits where it cannot be read. With quiet only
 * that is reported.
 */
void limits_store_load(struct limits_store *store, bool quiet);

/*
 * Reads the file again, on a thread: neither its size nor the disk holds anybody up. The old limits
 * stay in force until it is done, and on if the file cannot be read. A file that changes while it
 * is read is read once more when it is asked for.
 */
void limits_store_reload(struct limits_store *store, limits_store_done_fn done, void *userdata);

/*
 * Finds out whether there are limits whose file can no longer be read. As limits_store_reload(),
 * but the limits stay, and the journal says only that it cannot. Where the file is being read
 * already, that does for both; done() is called once.
 */
void limits_store_probe(struct limits_store *store, limits_store_done_fn done, void *userdata);

/* Returns whether there are limits whose file could not be read again. */
bool limits_store_is_old(const struct limits_store *store);

/* Returns the limits that hold now, NULL where there are none. They stay the store's. */
const struct limits *limits_store_get(const struct limits_store *store);
