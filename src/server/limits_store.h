/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The current limits, which are read at the start and reloaded on a thread. The journal says what
 * was loaded, with at most LIMITS_FAULTS_MAX lines about faults, or why nothing was.
 */
#pragma once

#include <stdbool.h>

#include "quota/limits.h"
#include "server/pool.h"
#include "system/journal.h"

struct limits_store;

/* Called on the event loop when reading the file has succeeded or failed. */
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
 * Reads the file, and waits for it. If it cannot be read, there are no limits; with quiet, only
 * that is reported.
 */
void limits_store_load(struct limits_store *store, bool quiet);

/*
 * Reads the file again, on a thread. The old limits stay in force until that is done, and if the
 * file cannot be read. A call while the file is being read has it read once more.
 */
void limits_store_reload(struct limits_store *store, limits_store_done_fn done, void *userdata);

/*
 * As limits_store_reload(), but only finds out whether the file can still be read, and logs it once
 * if not. If the file is being read already, that serves for both; done() is called once.
 */
void limits_store_probe(struct limits_store *store, limits_store_done_fn done, void *userdata);

/* Returns whether the limits are old: their file could not be read again. */
bool limits_store_is_old(const struct limits_store *store);

/* Returns the current limits, which stay the store's; NULL: none. */
const struct limits *limits_store_get(const struct limits_store *store);
