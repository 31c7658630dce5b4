/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits that hold now: read at the start, read again on a thread, and exchanged whole.
 */
#pragma once

#include <stdbool.h>

#include "quota/limits.h"
#include "server/pool.h"
#include "system/journal.h"

struct limits_store;

/* Called on the event loop when a file was read again, whatever came of it. */
typedef void (*limits_store_reloaded_fn)(void *userdata);

/*
 * Makes a store for the limits file at path (NULL: there is none). pool, journal and path are the
 * caller's and outlive it. Returns 0 or -ENOMEM.
 */
int limits_store_new(struct pool *pool, struct journal *journal, const char *path,
                     struct limits_store **ret);

/* Releases the store, after its pool has ended. NULL is allowed. */
void limits_store_free(struct limits_store *store);

/*
 * Reads the file, and waits for it. Returns 0, also where there is none, or a negative errno of
 * limits_load() and *error filled.
 */
int limits_store_load(struct limits_store *store, struct limits_error *error);

/*
 * Reads the file again, on a thread: neither its size nor the disk holds anybody up. The old limits
 * hold until it is done, and on if the new ones cannot be read; the journal tells. A file that
 * changes while it is read is read once more when it is asked for.
 */
void limits_store_reload(struct limits_store *store, limits_store_reloaded_fn reloaded,
                         void *userdata);

/* Returns whether the limits that hold now are older than the file, which could not be read. */
bool limits_store_is_old(const struct limits_store *store);

/* Returns the limits that hold now, NULL where there are none. They stay the store's. */
const struct limits *limits_store_get(const struct limits_store *store);
