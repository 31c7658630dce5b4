/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up privileges for good, for those who start the daemon as root without a service manager.
 */
#pragma once

/*
 * Becomes a user: user is a login name, or else a decimal user id that has an entry among the
 * users. The process has the ids and the groups of that user then, no capability at all, and
 * neither it nor a program that it executes can get any of them back (no_new_privs). Whoever is
 * that user already keeps the groups, and gives up the rest. To be called before the first thread
 * is made.
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
