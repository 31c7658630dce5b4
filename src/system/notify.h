/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notifies the service manager, as sd_notify(3) does, but never waits for a manager that does not
 * read.
 */
#pragma once

/*
 * Sends assignments, as described in sd_notify(3), to the socket that the environment variable
 * NOTIFY_SOCKET names. Returns 1; 0 if there is no such variable; or a negative errno, such as
 * -EAGAIN if it would have to wait for the manager, or -EINVAL if the variable names no Unix
 * socket.
 */
int notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
