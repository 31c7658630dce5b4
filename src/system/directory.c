/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "system/cleanup.h"

int directory_open_of(const char *path, int flags, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    _cleanup_(freep) char *directory = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    int fd;

    if (!directory)
        return -ENOMEM;
    fd = open(directory, flags | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ret_name)
        *ret_name = name;
    return fd;
}
