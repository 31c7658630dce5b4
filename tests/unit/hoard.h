/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running out of memory for real: after hoard_all(), malloc(3) has nothing to give but what is
 * freed to it. Call it in a child. Not for builds with a sanitizer, whose allocator goes its own
 * way.
 */
#pragma once

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HOARD_WORKS false
#else
#define HOARD_WORKS true
#endif

/* Makes later allocations of any size come from the heap and stay there. To be called first. */
static inline bool hoard_prepare(void)
{
    return mallopt(M_MMAP_THRESHOLD, 1 << 30) == 1 && mallopt(M_TRIM_THRESHOLD, 1 << 30) == 1;
}

/* Allocates everything. Returns whether the system lets it happen. */
static inline bool hoard_all(void)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    void *volatile hoard;

    if (setrlimit(RLIMIT_AS, &none) < 0)
        return false;
    /* Small pieces that were freed are kept by their size, and given out for that size alone. */
    for (size_t size = (size_t)1 << 20; size >= 16; size -= size > 2048 ? size / 2 : 16)
        do
            hoard = malloc(size);
        while (hoard);
    return true;
}
