/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Goes into the background: the command returns when the daemon is ready, or with its error. */
#pragma once

struct daemon {
    int ready_fd; /* -1: in the foreground */
    int null_fd;  /* /dev/null */
};

#define DAEMON_NULL                                                                                \
    {                                                                                              \
        .ready_fd = -1, .null_fd = -1                                                              \
    }

/*
 * Forks. Returns 0 in the child, or a negative errno of fork(2) or pipe(2). The parent does not
 * return: it waits until the child is ready or gone, and exits with 0 or 1.
 */
int daemon_fork(struct daemon *ret);

/*
 * Leaves the terminal, its session and the working directory, and lets the parent exit. Opens
 * nothing, and does nothing in the foreground. Returns 0 or a negative errno.
 */
int daemon_ready(struct daemon *daemon);
