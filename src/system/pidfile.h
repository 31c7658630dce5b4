/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file with the process id of the daemon, and a lock that tells a second daemon that the first
 * one is running. Only the lock counts: process ids are reused. Only a regular file with one name
 * is used, and no symbolic link is followed.
 */
#pragma once

#include <sys/types.h>

struct pidfile;

/*
 * Makes the pid file at path, or takes over one that nobody has locked. It is empty then, of mode
 * 0644, and locked until it is released. The lock stays with a child when the parent ends, so a
 * daemon may be forked afterwards (the parent must not release the pid file then).
 *
 * Returns 0 and the pid file, which the caller releases with pidfile_release(), or
 * -EEXIST  another process has it locked: *ret_other is the process id in the file, or 0 where
 *          there is none (yet),
 * -EINVAL  path names no file or something other than a regular file with one name,
 * -ENOMEM, -EACCES, -ENOENT, -ENAMETOOLONG, ... as open(2), flock(2) and fchmod(2).
 * *ret_other is 0 unless -EEXIST is returned.
 */
int pidfile_acquire(const char *path, struct pidfile **ret, pid_t *ret_other);

/* Writes pid to the pid file. Returns 0, or the negative errno of write(2): it is empty then. */
int pidfile_write(struct pidfile *pidfile, pid_t pid);

/*
 * Removes the pid file if it is still the one that was acquired, or empties it if it must not be
 * removed; then unlocks it. NULL is allowed.
 */
void pidfile_release(struct pidfile *pidfile);
