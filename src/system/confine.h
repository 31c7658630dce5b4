/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens files below a set of roots, and nowhere else. The kernel enforces this: openat2(2), of
 * Linux 5.6 and later, is required. Nothing here writes to a file system.
 *
 * A root is a directory, which is held open until confine_release() and then reopened by its name
 * when it is next needed. From then on, a directory that was renamed or mounted over that name is
 * used, and confine_moved() reports it. The root of a path is its longest prefix, in whole
 * components (`//` and `/./` are ignored, `..` never matches). What follows is resolved below the
 * root: `..` that would leave it and the magic links of /proc are refused, and a relative symbolic
 * link works if it stays below. An absolute symbolic link is followed to the root that is the
 * longest prefix of its text, or else refused. The root `/` refuses magic links only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "system/cleanup.h"

struct confine;

/* The error message for -ENOSYS of confine_new(). */
#define CONFINE_UNAVAILABLE                                                                        \
    "openat2(2) is unavailable: it keeps every path below its root, and needs Linux 5.6 or "       \
    "later; RestrictSUIDSGID= and the filters of some containers block it"

/*
 * Makes a set of no roots, to be released with confine_free(). Returns 0, -ENOMEM, or -ENOSYS if
 * the kernel has no openat2(2) or a filter blocks it.
 */
int confine_new(struct confine **ret);

/* Releases the set and closes its roots. NULL is allowed. */
void confine_free(struct confine *confine);
DEFINE_FREEP(confine)

/*
 * Opens the directory path and adds it as a root. Symbolic links in the name of the root itself are
 * followed. Must not be called while another thread uses the set. Returns 0, -EINVAL if path is not
 * absolute or has a component `..` (no path would ever match it), -ENOTDIR, -ENOMEM, or the
 * negative errno of open(2); after an error, the set is unchanged.
 */
int confine_add_root(struct confine *confine, const char *path);

/*
 * Returns how many bytes of path name its root, without a slash at the end (but for the root `/`);
 * or -EXDEV if it lies below no root, or is one, or has a component `..`.
 */
ssize_t confine_root_length(const struct confine *confine, const char *path);

/* Returns the number of roots, in the order in which they were added. */
size_t confine_roots(const struct confine *confine);

/* Returns the O_PATH descriptor of a root, which stays the set's, until confine_release(). */
int confine_root_fd(const struct confine *confine, size_t index);

/*
 * Closes the directories of all roots, so that their file systems can be unmounted; each is
 * reopened by its name when it is next needed. Calls under way on other threads keep theirs until
 * they end. Returns whether any was open.
 */
bool confine_release(struct confine *confine);

/*
 * Reopens, without waiting, the directories that confine_release() has closed. Returns whether all
 * are open, and the same ones as before.
 */
bool confine_hold(struct confine *confine);

/*
 * Checks, without waiting, where the names of the roots lead now. Returns the path (the set's own)
 * of a root whose name leads to another directory or another mount than when it was added or last
 * returned here; NULL if there is none, or none left. A name that leads to nothing, or that the
 * kernel cannot resolve from memory, is checked again by a later call.
 */
const char *confine_moved(struct confine *confine);

/*
 * Opens path below its root. flags are those of open(2): O_RDONLY with any of O_DIRECTORY,
 * O_NOFOLLOW, O_NONBLOCK, O_NOCTTY, O_NOATIME, or O_PATH with any of O_DIRECTORY, O_NOFOLLOW;
 * O_CLOEXEC is added. Safe to call from several threads at once. Waits as long as the file system
 * does.
 * Returns a descriptor that the caller closes, or
 * -EINVAL     any other flag,
 * -EXDEV      the path is not absolute, below no root, or leads out of its root,
 * -ELOOP      too many symbolic links, a magic link, or with O_NOFOLLOW a symbolic link at the end,
 * -ENOENT     nothing is there,
 * -ENODEV     the root itself no longer exists,
 * -ENOLINK    nothing is there because a symbolic link, on the way or at the end, leads to nothing,
 * -ECANCELED  directories (anywhere) kept being renamed while the path went through `..`,
 * -ENOTDIR, -EACCES, -ENAMETOOLONG, -EMFILE, ... as open(2). -EAGAIN, see confine_open_cached(), is
 * never returned.
 */
int confine_open(struct confine *confine, const char *path, int flags);

/*
 * Called with a device before it may have to be waited for; 0 if it is not known. Returns 0, or a
 * negative errno to stop.
 */
typedef int (*confine_visit_fn)(dev_t device, void *userdata);

/*
 * As confine_open(), but before it may wait for a device, including that of the file itself, it
 * calls visit() with it, unless visit is NULL. If visit() returns a negative errno, returns that.
 */
int confine_open_visiting(struct confine *confine, const char *path, int flags,
                          confine_visit_fn visit, void *userdata);

/*
 * As confine_open(), but never waits and follows no symbolic link: only the kernel's name cache is
 * used. flags must hold O_PATH (-EINVAL without it: opening the file itself may wait). With
 * O_NOFOLLOW, a symbolic link at the end is opened itself.
 * Returns a descriptor, an error of confine_open(), or
 * -EAGAIN      the answer is not in memory, or behind a symbolic link; *ret_device is then the
 *              device that would have to be waited for, or 0 if that is not known,
 * -EOPNOTSUPP  this system cannot tell (Linux before 5.12).
 * ret_device may be NULL; otherwise *ret_device is 0 unless -EAGAIN is returned.
 */
int confine_open_cached(struct confine *confine, const char *path, int flags, dev_t *ret_device);

/* How far opening a name may go. */
enum confine_reach {
    CONFINE_ANYWHERE,
    CONFINE_CACHED,     /* only the kernel's name cache is used, on the directory's own mount */
    CONFINE_SAME_MOUNT, /* what is mounted on the name may be a server that does not answer */
};

/*
 * Opens one name in the directory that directory_fd is open on (O_PATH suffices) with the flags of
 * open(2), never through a symbolic link; O_NOFOLLOW and O_CLOEXEC are added. With CONFINE_CACHED,
 * finding the name never waits; opening the file may, unless flags hold O_PATH or the directory's
 * file system never waits.
 * Returns a descriptor that the caller closes (with O_PATH alone, of a symbolic link too), or
 * -EINVAL    name is empty, `..` or a path,
 * -EAGAIN    with CONFINE_CACHED, as confine_open_cached(); with CONFINE_SAME_MOUNT too, another
 *            file system is mounted there,
 * -EOPNOTSUPP  with CONFINE_CACHED, as confine_open_cached(),
 * -ELOOP, -ENOTDIR, -ENOENT, ... as open(2).
 */
int confine_open_name(int directory_fd, const char *name, int flags, enum confine_reach reach);
