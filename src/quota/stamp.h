/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a file or a directory, by which one can tell later whether it has changed. What was
 * read may be cached together with its stamp if that is settled: then every later change shows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * How old the last change must be for a stamp to be settled, in seconds. FAT keeps times to two
 * seconds, older disk formats and servers to one, others to a tick of the kernel's clock.
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

struct stamp stamp_from_statx(const struct statx *st);

/* Returns whether it is the same file in the same state, provided that either stamp is settled. */
bool stamp_equal(const struct stamp *a, const struct stamp *b);

/* Returns the time by the kernel's clock for stamps. Others may be ahead of it by a tick. */
int64_t stamp_now_sec(void);

/*
 * Returns whether every change after the time read_sec, when reading began, gives the file another
 * stamp than this one, which was taken later. One from the future is not settled, nor is one of the
 * epoch: such a file system keeps no stamps.
 */
bool stamp_is_settled(const struct stamp *stamp, int64_t read_sec);
