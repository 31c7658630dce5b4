/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the effort that mailboxes take: which took long the last time, and which are not
 * to be counted for a while, since counting was given up. A table of fixed size: who falls together
 * with another is forgotten, which costs time and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "quota/hash.h"

#define EFFORT_MAILBOXES 4096

struct effort {
    struct hash_key key;
    struct {
        uint64_t id;         /* the hash of a path; 0: free */
        uint64_t until_usec; /* by CLOCK_MONOTONIC: not to be counted before */
    } large[EFFORT_MAILBOXES];
};

/* Begins with nothing known. Returns 0, or the negative errno of getrandom(2). */
int effort_init(struct effort *effort);

/* Says whether the mailbox at path took long the last time. */
bool effort_is_large(const struct effort *effort, const char *path);

/* Says whether the mailbox is not to be counted now, by CLOCK_MONOTONIC. */
bool effort_is_vain(const struct effort *effort, const char *path, uint64_t now_usec);

/* Notes that the mailbox took long, and is not to be counted until then (0: at any time). */
void effort_note_large(struct effort *effort, const char *path, uint64_t until_usec);

/* Notes that the mailbox did not take long. */
void effort_note_small(struct effort *effort, const char *path);
