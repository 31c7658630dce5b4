/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that holds the process id of the daemon, and a lock by which a second daemon knows that
 * the first one runs. The lock alone counts: process ids are used again, so that the number in a
 * file that nobody has locked proves nothing. Nothing that is not a pid file is written to: no
 * symbolic link is followed, no file with a second name and nothing but a regular file is taken.
 */
#pragma once

#include <sys/types.h>

struct pidfile;

/*
 * Makes the pid file at path, or takes over one that nobody has locked. It is empty then, of mode
 * 0644 and locked for as long as it lives. The lock is the open file's: it stays with a child when
 * the parent ends, so a daemon may be forked afterwards (the parent must not release the pid file
 * then).
 *
 * Returns 0 and the pid file, which the caller releases with pidfile_release(), or
 * -EEXIST  another process has it locked: *ret_other is the process id in the file, or 0 where
 *          there is none (yet),
 * -EINVAL  path names no file or something other than a regular file with one name,
 * -ENOMEM, -EACCES, -ENOENT, -ENAMETOOLONG, ... as open(2), flock(2) and fchmod(2).
 * *ret_other is 0 unless -EEXIST is returned.
 */
int pidfile_acquire(const char *path, struct pidfile **ret, pid_t *ret_other);

/*
 * Writes pid to the pid file in place of what it holds. Returns 0 or the errno of write(2); the
 * file is empty then, as far as that can be had.
 */
int pidfile_write(struct pidfile *pidfile, pid_t pid);

/*
 * Removes the pid file (if it is still the one that was acquired), and empties it where it may not
 * be removed; then unlocks it. NULL is allowed.
 */
void pidfile_release(struct pidfile *pidfile);
