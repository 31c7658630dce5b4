/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What many maildirsize files said, and the state that each said it in, so that one which has not
 * changed need not be read again. Bounded in number. Not for several threads.
 *
 * Neither paths nor stamps are kept but keyed hashes of them, 64 bits each: who does not know the
 * key cannot bring it about that two are taken for one, and by chance it happens to one in 2^64.
 *
 * A file takes 56 bytes, and up to twice as much again in room for others, which comes by doubling:
 * some milliseconds for the largest tables. A file has few places where it may be; where they are
 * taken, one that is there is forgotten, which in a table that is three quarters full has happened
 * to one in twenty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "quota/maildirsize.h"
#include "quota/stamp.h"

/* statx(2) must be asked for this wherever its result is taken here. */
#define MAILDIRSIZE_MEMORY_STATX_MASK (STAMP_STATX_MASK | STATX_SIZE)

struct maildirsize_memory;

/*
 * Makes a memory for as many files as fit into bytes_max, rounded down to a power of two; if fewer
 * than 8 fit, for none. It is allocated as it fills. Returns 0 and the memory, which the caller
 * releases with maildirsize_memory_free(), -ENOMEM, or the negative errno of getrandom(2).
 */
int maildirsize_memory_new(size_t bytes_max, struct maildirsize_memory **ret);

/* Releases the memory. NULL is allowed. */
void maildirsize_memory_free(struct maildirsize_memory *memory);
void maildirsize_memory_freep(struct maildirsize_memory **memory);

/* Returns by what the other functions know the maildirsize of the mailbox at path. */
uint64_t maildirsize_memory_id(const struct maildirsize_memory *memory, const char *path);

/* Says whether anything is known of that file. */
bool maildirsize_memory_has(const struct maildirsize_memory *memory, uint64_t id);

/*
 * Says whether the file, in the state that st tells, is known since today (in UTC; now_sec is the
 * time since the epoch), and in *ret what it says. What is known of another state of it, or from
 * another day, is forgotten: once a day, more than the file itself is to be looked at.
 */
bool maildirsize_memory_recall(struct maildirsize_memory *memory, uint64_t id,
                               const struct statx *st, int64_t now_sec, struct maildirsize *ret);

/*
 * Remembers what the file says. It was read after read_sec (stamp_now_sec()), and its state, st,
 * was asked for in between; where that was not settled then (quota/stamp.h), nothing is remembered.
 * Short of memory, something else may be forgotten.
 */
void maildirsize_memory_put(struct maildirsize_memory *memory, uint64_t id, const struct statx *st,
                            int64_t read_sec, const struct maildirsize *says);

/* Returns how many files are remembered. */
size_t maildirsize_memory_count(const struct maildirsize_memory *memory);

/* Returns the bytes that the memory has allocated, everything included but what malloc(3) adds. */
size_t maildirsize_memory_bytes(const struct maildirsize_memory *memory);
