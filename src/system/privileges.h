/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gives up privileges for good, for a daemon that is started as root without systemd. */
#pragma once

/*
 * Returns 0 if there is such a user, given as for privileges_drop(), or the error that it would
 * return: -ESRCH if there is none, another if that cannot be told.
 */
int privileges_find(const char *user);

/*
 * Becomes a user, given by login name or else by decimal user id. The process then has the ids and
 * groups of that user and no capability, and neither it nor a program that it executes can get them
 * back (no_new_privs). A process of that user keeps its groups. Call it before the first thread is
 * made.
 *
 * Returns 0, or
 * -ESRCH   there is no such user, as far as the sources of users can tell,
 * -EINVAL  the user is root, as whom nothing would be given up,
 * -EPERM   the process may not become another user; or it became one, but could be the old one
 *          again,
 * -EMFILE, -ENFILE, -ENOMEM, -EIO, -EINTR or -ERANGE   the sources cannot tell,
 * the errno of initgroups(3), setresgid(2), setresuid(2),
 * capset(2).
 * After an error the process may be anything between the two users: it must end.
 */
int privileges_drop(const char *user);
