/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/stamp.h"

#include <string.h>

#include "system/clock.h"

_Static_assert(sizeof(struct stamp) == 40, "a stamp has no padding");

struct stamp stamp_from_statx(const struct statx *st)
{
    return (struct stamp){
        .inode = st->stx_ino,
        .mtime_sec = st->stx_mtime.tv_sec,
        .ctime_sec = st->stx_ctime.tv_sec,
        .mtime_nsec = st->stx_mtime.tv_nsec,
        .ctime_nsec = st->stx_ctime.tv_nsec,
        .device_major = st->stx_dev_major,
        .device_minor = st->stx_dev_minor,
    };
}

bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

int64_t stamp_now_sec(void)
{
    return (int64_t)(clock_usec(CLOCK_REALTIME_COARSE) / USEC_PER_SEC);
}

/* Whole seconds are compared, so that the age is more than the bound. */
bool stamp_is_settled(const struct stamp *stamp, int64_t read_sec)
{
    int64_t newest = stamp->mtime_sec > stamp->ctime_sec ? stamp->mtime_sec : stamp->ctime_sec;

    return newest > 0 && newest < read_sec - STAMP_SETTLED_SEC;
}
