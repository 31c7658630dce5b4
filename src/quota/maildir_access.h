/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens what is in a mailbox, and never outside the roots: names are opened one by one and not
 * through a link; if one is a link, confine_open() follows it. A link that leads outside or to
 * nothing is left out of the count, and noted there.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct budget;
struct confine;
struct maildir_count;

/* A directory deeper than this many levels below the mailbox is left out of the count. */
#define MAILDIR_DEPTH_MAX 32

struct maildir_access {
    int fd;                      /* the mailbox (O_PATH suffices) */
    const char *path;            /* its absolute path */
    struct confine *confine;     /* for what is a link */
    struct maildir_count *count; /* notes what is left out */
    struct budget *budget;       /* NULL: no bound */
};

/*
 * Opens a directory with flags, O_RDONLY or O_PATH. path is its path from the mailbox, name its
 * path from parent_fd. If the way to it leads through a symbolic link, *linked is true or becomes
 * so, and only path matters. Returns a descriptor that the caller closes, -ENOENT if there is no
 * such directory or if it is left out, -ETIME or an error of enter_device() of the budget, or
 * another negative errno.
 */
int maildir_access_directory(const struct maildir_access *access, int parent_fd, const char *name,
                             const char *path, int flags, bool *linked);

/*
 * Opens with O_PATH what the symbolic link called name in the directory path leads to. Returns a
 * descriptor that the caller closes, -ENOENT if it is left out, or another negative errno.
 */
int maildir_access_link(const struct maildir_access *access, const char *path, const char *name);

/*
 * Writes the path of a directory called name in the directory path ("": the mailbox itself) into
 * text. Returns whether it is counted; a deeper one, or one with a longer path, is left out.
 */
bool maildir_access_join(const struct maildir_access *access, const char *path, const char *name,
                         char text[static PATH_MAX]);
