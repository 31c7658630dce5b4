/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much effort mailboxes take: which ones were large at the last scan, and which ones must not
 * be counted for a while because the last count was abandoned. The table has a fixed size: of two
 * mailboxes with the same slot, the older is forgotten, which costs time and nothing else.
 */
#pragma once

#include <stdint.h>

#include "system/hash_table.h"

#define EFFORT_MAILBOXES 4096

struct effort {
    struct hash_key key;
    struct {
        uint64_t id;         /* the hash of a path; 0: free */
        uint64_t until_usec; /* CLOCK_MONOTONIC; not counted before then */
    } large[EFFORT_MAILBOXES];
};

/* Makes an empty table. Returns 0, or the negative errno of getrandom(2). */
int effort_init(struct effort *effort);

enum effort_size {
    EFFORT_SMALL,    /* or not known */
    EFFORT_LARGE,    /* at the last scan */
    EFFORT_DEFERRED, /* large, and must not be counted now */
};

/* Returns what is known of the mailbox at path. now_usec is CLOCK_MONOTONIC. */
enum effort_size effort_get(const struct effort *effort, const char *path, uint64_t now_usec);

/* Records that the mailbox is large, and must not be counted until then (0: no such time). */
void effort_note_large(struct effort *effort, const char *path, uint64_t until_usec);

/* Records that the mailbox is not large. */
void effort_note_small(struct effort *effort, const char *path);
