/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mailbox of its own for each test: a temporary folder as the root of a confinement, a Maildir
 * called "box" in it, and the things that happen to mailboxes. What fails here fails the test.
 */
#pragma once

#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../tree.h"
#include "quota/maildir.h"
#include "quota/stamp.h"
#include "system/confine.h"

struct box {
    char root[64]; /* the temporary folder */
    char path[80]; /* the mailbox */
    int fd;        /* the same, O_PATH */
    struct confine *confine;
};

static const struct maildir_options box_options = {};

/* Writes the path of name, relative to the mailbox, into text. */
static inline const char *box_path(const struct box *box, const char *name,
                                   char text[static PATH_MAX])
{
    assert_in_range(snprintf(text, PATH_MAX, "%s/%s", box->path, name), 1, PATH_MAX - 1);
    return text;
}

static inline void box_mkdir(const struct box *box, const char *name)
{
    char path[PATH_MAX];

    assert_return_code(mkdir(box_path(box, name, path), 0755), errno);
}

/* Makes a folder ("" for the mailbox itself) with new, cur and tmp. */
static inline void box_folder(const struct box *box, const char *folder)
{
    static const char *const leaves[] = {"new", "cur", "tmp"};
    char name[NAME_MAX + 8];

    if (folder[0] != '\0')
        box_mkdir(box, folder);
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        (void)snprintf(name, sizeof(name), "%s/%s", folder, leaves[i]);
        box_mkdir(box, name);
    }
}

/* Makes a message of that size, or changes it. */
static inline void box_put(const struct box *box, const char *name, off_t bytes)
{
    char path[PATH_MAX];
    int fd = open(box_path(box, name, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_return_code(fd, errno);
    assert_return_code(ftruncate(fd, bytes), errno);
    assert_return_code(close(fd), errno);
}

static inline void box_link(const struct box *box, const char *target, const char *name)
{
    char path[PATH_MAX];

    assert_return_code(symlink(target, box_path(box, name, path)), errno);
}

static inline void box_move(const struct box *box, const char *from, const char *to)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];

    assert_return_code(rename(box_path(box, from, from_path), box_path(box, to, to_path)), errno);
}

static inline void box_chmod(const struct box *box, const char *name, mode_t mode)
{
    char path[PATH_MAX];

    assert_return_code(chmod(box_path(box, name, path), mode), errno);
}

/* Sets the mtime of name to the present and so many seconds; its ctime becomes the present. */
static inline void box_touch(const struct box *box, const char *name, time_t seconds)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) + seconds}};
    char path[PATH_MAX];

    assert_return_code(utimensat(AT_FDCWD, box_path(box, name, path), times, AT_SYMLINK_NOFOLLOW),
                       errno);
}

/* Removes name and all that is in it. */
static inline void box_remove(const struct box *box, const char *name)
{
    char path[PATH_MAX];

    assert_return_code(tree_remove(box_path(box, name, path)), errno);
}

/* Makes the temporary folder below parent, and names the mailbox, which is not there yet. */
static inline void box_init_root(struct box *box, const char *parent)
{
    assert_in_range(snprintf(box->root, sizeof(box->root), "%s/quotad-XXXXXX", parent), 1,
                    sizeof(box->root) - 1);
    assert_non_null(mkdtemp(box->root));
    assert_return_code(chmod(box->root, 0755), errno);
    assert_in_range(snprintf(box->path, sizeof(box->path), "%s/box", box->root), 1,
                    sizeof(box->path) - 1);
}

/* Opens the mailbox, and confines to its root. */
static inline void box_open(struct box *box)
{
    box->fd = open(box->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(box->fd, errno);
    assert_int_equal(confine_new(&box->confine), 0);
    assert_int_equal(confine_add_root(box->confine, box->root), 0);
}

/* Makes a mailbox without anything in it, in a folder of its own below parent. */
static inline void box_init_in(struct box *box, const char *parent)
{
    box_init_root(box, parent);
    assert_return_code(mkdir(box->path, 0755), errno);
    box_open(box);
}

static inline void box_init(struct box *box)
{
    box_init_in(box, tree_parent());
}

/* Makes a mailbox in memory, for tens of thousands of files: a disk takes minutes for them. */
static inline void box_init_many(struct box *box)
{
    static const char memory[] = "/dev/shm";

    box_init_in(box, access(memory, W_OK) == 0 ? memory : tree_parent());
    box_folder(box, "");
}

/* Makes a mailbox with new, cur and tmp. */
static inline void box_init_maildir(struct box *box)
{
    box_init(box);
    box_folder(box, "");
}

static inline void box_done(struct box *box)
{
    confine_free(box->confine);
    assert_return_code(close(box->fd), errno);
    assert_return_code(tree_remove(box->root), errno);
}

/* Counts the mailbox, which must work. */
static inline struct maildir_count box_count_with(const struct box *box,
                                                  const struct maildir_options *options,
                                                  struct maildir_cache **memory)
{
    struct maildir_count count = {};
    int r;

    do /* -ECANCELED: something else on this machine keeps renaming directories */
        r = maildir_count(box->fd, box->path, box->confine, options, memory, &count);
    while (r == -ECANCELED);
    assert_int_equal(r, 0);
    return count;
}

static inline struct maildir_count box_count(const struct box *box, struct maildir_cache **memory)
{
    return box_count_with(box, &box_options, memory);
}

/*
 * Waits until what changed up to now is old enough to be remembered: whole seconds are compared, by
 * a clock that is a tick behind.
 */
static inline void box_settle(void)
{
    struct timespec until;

    assert_return_code(clock_gettime(CLOCK_REALTIME, &until), errno);
    until.tv_sec += STAMP_SETTLED_SEC + 1;
    until.tv_nsec = 20000000;
    assert_int_equal(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL), 0);
}

/*
 * Changes a mailbox that is remembered, twice within each tick of the clock, and expects every
 * count in between to tell.
 */
static inline void box_change_within_ticks(int changes)
{
    struct maildir_cache *memory = NULL;
    struct box box;
    uint64_t expected = 0;
    char name[64];

    box_init_maildir(&box);
    box_settle();
    assert_int_equal(box_count(&box, &memory).messages, 0);
    for (int i = 0; i < changes; i++) {
        const char *leaf = i % 2 ? "cur" : "new";

        (void)snprintf(name, sizeof(name), "%s/%d,S=1", leaf, i);
        box_put(&box, name, 0);
        assert_int_equal(box_count(&box, &memory).messages, ++expected);
        if (i % 3 == 0) {
            box_remove(&box, name);
            expected--;
        } else {
            (void)snprintf(name, sizeof(name), "%s/again.%d,S=1", leaf, i);
            box_put(&box, name, 0);
            expected++;
        }
        assert_int_equal(box_count(&box, &memory).messages, expected);
        if (i % 50 == 0) {
            (void)snprintf(name, sizeof(name), ".%d", i);
            box_folder(&box, name);
            assert_int_equal(box_count(&box, &memory).messages, expected);
            (void)snprintf(name, sizeof(name), ".%d/new/a,S=1", i);
            box_put(&box, name, 0);
            assert_int_equal(box_count(&box, &memory).messages, ++expected);
        }
    }
    maildir_cache_free(memory);
    box_done(&box);
}
