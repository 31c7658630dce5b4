/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a query could not be answered. */
#pragma once

enum reason {
    REASON_NONE, /* nothing went wrong */
    REASON_BAD_REQUEST,
    REASON_TOO_LONG,
    REASON_BAD_VALUE,
    REASON_BAD_ADDRESS,
    REASON_NO_TEMPLATE,
    REASON_OUTSIDE_ROOT,
    REASON_PERMISSION_DENIED,
    REASON_NOT_A_MAILBOX,
    REASON_IO_ERROR,
    REASON_TIMEOUT,
    REASON_OVERLOADED,
    REASON_MISCONFIGURED,
    REASON_COUNT_,
};

/* Returns the reason that stands for a negative errno of the file system. */
enum reason reason_from_errno(int error);

/* Returns what that errno means for a mailbox, in the words of an operator: a constant string. */
const char *reason_text_from_errno(int error);
