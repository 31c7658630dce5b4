/* SPDX-License-Identifier: GPL-2.0-or-later */
/* That a mailbox was probed in two ways, and each said the same of it. */
#pragma once

#include "unit.h"

#include "quota/mailbox.h"

static inline void assert_same_usage(const struct usage *a, const struct usage *b)
{
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->messages, b->messages);
    assert_int_equal(a->source, b->source);
    assert_int_equal(a->rule, b->rule);
    assert_int_equal(a->header.limit.bytes, b->header.limit.bytes);
    assert_int_equal(a->header.limit.messages, b->header.limit.messages);
    assert_int_equal(a->header.has_bytes, b->header.has_bytes);
    assert_int_equal(a->header.has_messages, b->header.has_messages);
    assert_int_equal(a->header.is_old, b->header.is_old);
}

static inline void assert_same_mailbox(const struct mailbox *a, const struct mailbox *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->device, b->device);
    assert_int_equal(a->path_length, b->path_length);
    assert_int_equal(a->mbox_bytes, b->mbox_bytes);
    assert_int_equal(a->maildirsize_state, b->maildirsize_state);
    assert_int_equal(a->maildirsize_mtime_usec, b->maildirsize_mtime_usec);
    assert_int_equal(a->maildirsize_ctime_usec, b->maildirsize_ctime_usec);
    assert_int_equal(a->maildirsize.entries, b->maildirsize.entries);
    assert_int_equal(a->rule, b->rule);
    assert_same_usage(&a->usage, &b->usage);
}
