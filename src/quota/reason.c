/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/reason.h"

#include <errno.h>
#include <string.h>

enum reason reason_from_errno(int error)
{
    switch (error) {
    case -EXDEV:
    case -ELOOP:
        return REASON_OUTSIDE_ROOT;
    case -EACCES:
    case -EPERM:
        return REASON_PERMISSION_DENIED;
    case -ENOTDIR:
    case -ENOLINK:
    case -EMEDIUMTYPE:
        return REASON_NOT_A_MAILBOX;
    case -ENAMETOOLONG:
        return REASON_TOO_LONG;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -ENOBUFS:
    case -EBUSY:
        return REASON_OVERLOADED;
    case -ETIMEDOUT:
        return REASON_TIMEOUT;
    default:
        return REASON_IO_ERROR;
    }
}

const char *reason_text_from_errno(int error)
{
    const char *text;

    switch (error) {
    case -EXDEV:
        return "leads outside the roots";
    case -ELOOP:
        return "leads through too many symbolic links, or through one of /proc";
    case -ENOLINK:
        return "leads through a symbolic link to nothing";
    case -ENODEV:
        return "lies in a root that no longer exists";
    case -ECANCELED:
        return "cannot be opened while directories keep being renamed";
    case -EMEDIUMTYPE:
        return "is neither a directory nor a regular file";
    case -E2BIG:
        return "has too many folders";
    case -EBUSY:
        return "too many mailboxes are waiting to be read";
    case -ETIMEDOUT:
        return "could not be read in time";
    default:
        text = strerrordesc_np(-error);
        return text ? text : "unknown error";
    }
}
