/* SPDX-License-Identifier: GPL-2.0-or-later */
/* That a mailbox was found in two ways, and each told the same of it. */
#pragma once

#include "unit.h"

#include "quota/mailbox.h"

static inline void assert_same_mailbox(const struct mailbox *a, const struct mailbox *b)
{
    struct usage usage_a = {}, usage_b = {};

    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->device, b->device);
    assert_int_equal(a->path_cut, b->path_cut);
    assert_int_equal(a->mbox_bytes, b->mbox_bytes);
    assert_int_equal(a->maildirsize_state, b->maildirsize_state);
    assert_int_equal(a->maildirsize_modified_usec, b->maildirsize_modified_usec);
    assert_int_equal(a->maildirsize.limit.bytes, b->maildirsize.limit.bytes);
    assert_int_equal(a->maildirsize.limit.messages, b->maildirsize.limit.messages);
    assert_int_equal(a->maildirsize.entries, b->maildirsize.entries);
    assert_int_equal(mailbox_usage(a, &usage_a), mailbox_usage(b, &usage_b));
    assert_int_equal(usage_a.bytes, usage_b.bytes);
    assert_int_equal(usage_a.messages, usage_b.messages);
}
