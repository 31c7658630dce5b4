/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the options again, on a worker thread: neither the disk nor the size of the configuration
 * file holds anybody up.
 */
#pragma once

#include "server/pool.h"

/* Room for why the options could not be read. */
#define REREAD_ERROR_BYTES_MAX 1024

/*
 * Reads the options again. Called on a worker thread, one call at a time. Returns 1 if they are no
 * longer those that the service was started with, 0 if they are, or a negative errno and a line
 * about it in error[0..REREAD_ERROR_BYTES_MAX).
 */
typedef int (*reread_fn)(void *userdata, char *error);

/* Called on the event loop with the result; error is "" unless that is negative. */
typedef void (*reread_done_fn)(int result, const char *error, void *userdata);

struct reread;

/*
 * pool is the caller's and outlives it. read is called with read_userdata, and done with
 * done_userdata. Returns 0 or -ENOMEM.
 */
int reread_new(struct pool *pool, reread_fn read, void *read_userdata, reread_done_fn done,
               void *done_userdata, struct reread **ret);

/* Releases it, after its pool has ended. NULL is allowed. */
void reread_free(struct reread *reread);

/*
 * Begins to read. If that was begun already, the options are read once more before done() is
 * called.
 */
void reread_start(struct reread *reread);
