/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may be asked of a file system without waiting for it. */
#pragma once

#include <stdbool.h>

enum filesystem_kind {
    FILESYSTEM_UNKNOWN, /* may be a server, or a program, that does not answer: never on the loop */
    FILESYSTEM_DISK,    /* a local disk: what is not in memory may take a while */
    FILESYSTEM_MEMORY,  /* never waits */
};

/* Returns the kind of the file system that fd (O_PATH suffices) is on. May wait for it. */
enum filesystem_kind filesystem_kind(int fd);

/*
 * Returns whether every change of what fd (O_PATH suffices) is open on is made through this
 * kernel's files and directories, so that inotify(7) reports it. On ZFS it is not: a rollback
 * changes what is mounted. Nor in an encrypted directory: names change, appear or go when the
 * kernel is given the key, or loses it. May wait for the file system.
 */
bool filesystem_reports_changes(int fd);
