/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether something has left descriptors open. */
#pragma once

#include <fcntl.h>
#include <sys/select.h>

/* Returns how many of its first FD_SETSIZE descriptors the process has open. */
static inline int descriptors_count(void)
{
    int count = 0;

    for (int fd = 0; fd < FD_SETSIZE; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}
