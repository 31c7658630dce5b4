/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/users.h"

#include <errno.h>

/* What errno means after nothing was found: many a source leaves anything there. */
static int reason_of_nothing(int error)
{
    switch (error) {
    case EINTR:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ERANGE:
        return -error;
    default:
        return -ESRCH;
    }
}

int users_find_name(const char *name, const struct passwd **ret)
{
    errno = 0;
    *ret = getpwnam(name);
    return *ret ? 0 : reason_of_nothing(errno);
}

int users_find_id(uid_t id, const struct passwd **ret)
{
    errno = 0;
    *ret = getpwuid(id);
    return *ret ? 0 : reason_of_nothing(errno);
}

int users_find_group(const char *name, const struct group **ret)
{
    errno = 0;
    *ret = getgrnam(name);
    return *ret ? 0 : reason_of_nothing(errno);
}
