/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a file or a directory as its inode tells it, by which a later look knows whether it
 * has changed since. What was read may be remembered together with its stamp if that is settled:
 * then every later change makes a difference.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * How old the last change must be for a stamp to be settled, in seconds. FAT keeps the time of a
 * change to two seconds, older disk formats and servers to one, the others to a tick of the
 * kernel's clock, at most 10 ms.
 */
#define STAMP_SETTLED_SEC 2

/* What statx(2) must be asked for. */
#define STAMP_STATX_MASK (STATX_INO | STATX_MTIME | STATX_CTIME)

/* Without padding, so that memcmp(3) compares it. */
struct stamp {
    uint64_t inode;
    int64_t mtime_sec;
    int64_t ctime_sec;
    uint32_t mtime_nsec;
    uint32_t ctime_nsec;
    uint32_t device_major;
    uint32_t device_minor;
};

/* Returns the stamp of what statx(2) told with STAMP_STATX_MASK. */
struct stamp stamp_from_statx(const struct statx *st);

/* Says whether it is the same file in the same state, if either stamp is settled. */
bool stamp_equal(const struct stamp *a, const struct stamp *b);

/*
 * Returns the time, in seconds since the epoch, by the clock that the kernel stamps changes with.
 * Any other may run ahead of it by a tick.
 */
int64_t stamp_now_sec(void);

/*
 * Says whether every change after the time read_sec, when a reading began, gives the file another
 * stamp than this one, which was taken not before. A stamp from the future is not settled, nor is
 * one of the epoch: there, the file system keeps no stamps.
 */
bool stamp_is_settled(const struct stamp *stamp, int64_t read_sec);
