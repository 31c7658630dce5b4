/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the service manager is told, as by sd_notify(3). That one waits for a manager that does not
 * read, however long; this does not.
 */
#pragma once

/*
 * Sends assignments, as of sd_notify(3), to the socket that the variable NOTIFY_SOCKET names.
 * Returns 1; 0 where there is no such variable; or a negative errno: -EAGAIN where the manager
 * would have to be waited for, -EINVAL where the variable names no Unix socket.
 */
int notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
