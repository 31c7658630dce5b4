/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening files beneath a set of roots, and nothing else.
 *
 * The roots are directories, opened once when they are added. A path is answered by the root that
 * is its longest prefix, by whole components (`//` and `/./` in a path are ignored). What follows
 * the root is resolved beneath it: `..` that would leave it, absolute symbolic links and the magic
 * links of /proc are refused, a relative symbolic link that stays beneath works. The root `/`
 * confines nothing: there, absolute symbolic links and `..` mean what they always mean, and only
 * magic links are refused.
 *
 * openat2(2) does it in the kernel; where that is not to be had (ENOSYS: an old kernel, or a
 * system-call filter such as RestrictSUIDSGID=), a walk over the components does the same from
 * here. Nothing in this file writes to a file system.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum confine_method {
    CONFINE_AUTO,    /* openat2, or the walk once openat2 has failed with ENOSYS */
    CONFINE_OPENAT2, /* openat2 or an error */
    CONFINE_WALK,    /* always the walk */
};

struct confine;

/*
 * Makes a set of no roots. Returns 0 and the set, which the caller releases with confine_free(), or
 * -ENOMEM.
 */
int confine_new(enum confine_method method, struct confine **ret);

/* Releases the set and closes its roots. NULL is allowed. */
void confine_free(struct confine *confine);
void confine_freep(struct confine **confine);

/*
 * Opens the directory path, which must be absolute, and adds it as a root. Symbolic links in the
 * name of the root itself are followed, once, now. Returns 0, -EINVAL if path is not absolute,
 * -ENOTDIR, or the errno of open(2).
 */
int confine_add_root(struct confine *confine, const char *path);

/* Returns the number of roots, and the path of one as it was added (for messages). */
size_t confine_roots(const struct confine *confine);
const char *confine_root_path(const struct confine *confine, size_t index);
int confine_root_fd(const struct confine *confine, size_t index);

/*
 * Opens path beneath its root with the open(2) flags (O_CLOEXEC is added; O_CREAT and O_TMPFILE are
 * refused with -EINVAL). Safe to call from several threads at once.
 * Returns a descriptor that the caller closes, or
 * -EXDEV     the path is not absolute, lies beneath no root, or leads out of its root,
 * -ELOOP     too many symbolic links, a magic link, or with O_NOFOLLOW a symbolic link at the end,
 * -ENOENT, -ENOTDIR, -EACCES, -ENAMETOOLONG, -EMFILE, ... as open(2).
 */
int confine_open(struct confine *confine, const char *path, int flags);

/*
 * As confine_open(), but never waits for a disk or a server: only what the kernel holds in its
 * name cache is looked up. flags must hold O_PATH (opening a file proper may wait, whatever the
 * name cache holds).
 * Returns a descriptor, an error of confine_open(), or
 * -EAGAIN    the answer is not in memory; *ret_device is then the device number of the file system
 *            on which the resolution would have waited, as far as memory tells (0: unknown).
 * -EOPNOTSUPP  this kernel cannot tell (no openat2 with RESOLVE_CACHED).
 * ret_device may be NULL.
 */
int confine_open_cached(struct confine *confine, const char *path, int flags, dev_t *ret_device);

/*
 * Opens the file of that name (no slash in it) in the directory that directory_fd is open on, never
 * through a symbolic link: -ELOOP then. With cached it never waits, as confine_open_cached(), but
 * the caller must know that opening a file does not wait on this file system if flags have no
 * O_PATH. O_CLOEXEC and O_NOFOLLOW are added to flags. Returns a descriptor that the caller closes,
 * or a negative errno.
 */
int confine_open_name(int directory_fd, const char *name, int flags, bool cached);
