/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is cached of one mailbox for the next count: for each `cur` and `new` the sums and the stamp
 * of the directory from which they were read; for the mailbox itself the list of its folders, with
 * a stamp too. Nothing here reads a mailbox.
 *
 * It takes at most 72 bytes, 64 more for each `cur` and `new`, and the paths of the folders, each
 * with two bytes more: 200 bytes for a mailbox without folders, about 3 KiB for one with twenty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/folder_list.h"
#include "quota/stamp.h"
#include "system/cleanup.h"

/* The mailbox itself and each of its folders have two directories, counted in this order. */
enum maildir_part {
    MAILDIR_CUR,
    MAILDIR_NEW,
    MAILDIR_PARTS,
};

enum maildir_directory_state {
    MAILDIR_UNKNOWN, /* never read, or read too soon after a change */
    MAILDIR_ABSENT,  /* missing, not a directory, or left out */
    MAILDIR_CACHED,  /* the sums are those of the directory with this stamp */
};

/* A `cur` or `new`. */
struct maildir_directory {
    struct stamp stamp;
    uint64_t bytes;
    uint64_t messages;
    enum maildir_directory_state state;
    bool linked; /* the `cur` or `new` is a symbolic link itself */
};

struct maildir_cache {
    size_t bytes;        /* of this struct and all that follows it */
    uint64_t since_usec; /* when the first of its directories was read, by CLOCK_MONOTONIC */
    size_t folders;      /* directories in the list */
    struct stamp stamp;  /* of the mailbox when it was read for its folders; or all zeroes */
    bool has_plain;      /* one of the entries is FOLDER_PLAIN */
    struct maildir_directory directories[]; /* MAILDIR_PARTS of the mailbox, then as many of each
                                               folder; behind them the entries of the folders, in
                                               the same, sorted order (quota/folder_list.h) */
};

/*
 * Makes a struct maildir_cache for the listed folders. What old (which may be NULL) has of the
 * mailbox and of folders that are in both is copied, and since_usec with it; all else is unknown.
 * Returns 0 and *ret, which the caller releases with maildir_cache_free(), or -ENOMEM.
 */
int maildir_cache_new(const struct folder_list *list, const struct maildir_cache *old,
                      struct maildir_cache **ret);

/* Returns the entry of the first folder, which follows the last directory. */
const char *maildir_cache_entries(const struct maildir_cache *cached);

/* Returns the directories of a folder by its number; those of the mailbox come before them. */
struct maildir_directory *maildir_cache_directories(struct maildir_cache *cached, size_t folder);

/* Releases it. NULL is allowed. */
void maildir_cache_free(struct maildir_cache *cached);
DEFINE_FREEP(maildir_cache)

/* Adds up what counts: the mailbox and its folders, without those of another layout. */
void maildir_cache_sums(const struct maildir_cache *cached, uint64_t *ret_bytes,
                        uint64_t *ret_messages);

/* Returns how many bytes it takes, itself included; 0 for NULL. */
size_t maildir_cache_bytes(const struct maildir_cache *cached);
