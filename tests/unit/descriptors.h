/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether something has left descriptors open. */
#pragma once

#include <dirent.h>

#include "child.h"

/* Returns how many descriptors the process has open, and a constant more: for comparisons. */
static inline int descriptors_count(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    MUST(directory);
    while (readdir(directory))
        count++;
    (void)closedir(directory);
    return count;
}
