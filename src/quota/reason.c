/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/reason.h"

#include <errno.h>

static const char *const words[REASON_COUNT_] = {
    [REASON_NONE] = "none",
    [REASON_BAD_REQUEST] = "bad-request",
    [REASON_TOO_LONG] = "too-long",
    [REASON_BAD_VALUE] = "bad-value",
    [REASON_BAD_ADDRESS] = "bad-address",
    [REASON_NO_TEMPLATE] = "no-template",
    [REASON_OUTSIDE_ROOT] = "outside-root",
    [REASON_PERMISSION_DENIED] = "permission-denied",
    [REASON_NOT_A_MAILBOX] = "not-a-mailbox",
    [REASON_IO_ERROR] = "io-error",
    [REASON_TIMEOUT] = "timeout",
    [REASON_OVERLOADED] = "overloaded",
};

const char *reason_to_string(enum reason reason)
{
    return words[reason];
}

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
    case -EMEDIUMTYPE:
        return REASON_NOT_A_MAILBOX;
    case -ENAMETOOLONG:
        return REASON_TOO_LONG;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EBUSY:
        return REASON_OVERLOADED;
    case -ETIMEDOUT:
        return REASON_TIMEOUT;
    default:
        return REASON_IO_ERROR;
    }
}
