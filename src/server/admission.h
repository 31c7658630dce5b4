/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watching a mailbox for the first time, on a worker thread: each directory from its root down to
 * the mailbox, what its usage was read from, and then that is read again. Unless an event came in
 * between, the usage is as it was when the last watch was added, and events tell how it goes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/mailbox.h"
#include "quota/maildir_cache.h"
#include "system/watch.h"

/* Directories from the root to a mailbox, both included. A deeper mailbox is not watched. */
#define ADMISSION_DEPTH_MAX 32

/* What is watched. */
enum admission_kind {
    ADMISSION_WAY,      /* a directory from the root on, down to the mailbox, or an mbox */
    ADMISSION_SUMS,     /* the file maildirsize */
    ADMISSION_FOLDER,   /* a folder */
    ADMISSION_MESSAGES, /* `cur` or `new` */
};

struct admission {
    /* Set before it begins. */
    const struct mailbox_settings *settings;
    struct mailbox_policy policy;
    char *path;                   /* of the mailbox, normalised */
    size_t known;                 /* directories from the root on that are watched already */
    struct maildir_cache *cached; /* what is cached of the mailbox, its own; or NULL */
    struct watch_batch batch;

    size_t ends[ADMISSION_DEPTH_MAX]; /* where each directory of the way ends in the path */
    size_t depth;                     /* how many */
    enum admission_kind *kinds;       /* of each watch of the batch */

    /* Results. */
    int error; /* 0; -EAGAIN: something changes; or why it cannot be watched */
    struct mailbox mailbox;
    bool is_counted;
    struct mailbox_sums sums; /* if it is counted */
};

/*
 * Prepares watching the mailbox at path, which is copied, with what was cached of it. Returns 0,
 * -EXDEV if the path lies below no root, -ENAMETOOLONG if it is too deep, or -ENOMEM. The batch is
 * to be begun after that, with as many kinds as it has watches at most.
 */
int admission_init(struct admission *admission, const struct mailbox_settings *settings,
                   const struct mailbox_policy *policy, const char *path,
                   const struct maildir_cache *cached);

/* Begins its batch of watches, of at most max. Returns 0 or a negative errno. */
int admission_begin(struct admission *admission, struct watch_set *set, size_t max);

/* Releases what it holds. */
void admission_done(struct admission *admission);

/* On a worker thread: adds the watches, and fills in the results. May wait. */
void admission_work(struct admission *admission);
