/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How full a mailbox is, and how that is known.
 */
#pragma once

#include <stdint.h>

#include "quota/maildir.h"
#include "quota/size.h"

/* Where the sums come from: the word behind source= in an answer. */
enum usage_source {
    USAGE_NONE,        /* there is no mailbox yet */
    USAGE_MAILDIRSIZE, /* the sums of maildirsize */
    USAGE_SCAN,        /* messages were counted, in at least one directory */
    USAGE_CACHE,       /* counted before, and no directory has changed since */
    USAGE_MBOX,        /* the size of an mbox file */
};

/* Which rule decided whether the messages were counted, for the journal. */
enum usage_rule {
    USAGE_RULE_TRUSTED,     /* not counted */
    USAGE_RULE_MISSING,     /* there is no maildirsize */
    USAGE_RULE_UNREADABLE,  /* it cannot be read, or is no regular file */
    USAGE_RULE_LARGE,       /* it has 5120 bytes or more */
    USAGE_RULE_MALFORMED,   /* it does not parse, or holds a NUL */
    USAGE_RULE_IMPLAUSIBLE, /* a sum is negative, or too large */
    USAGE_RULE_OVER,        /* over the limit, by a file that may be out of date */
    USAGE_RULE_COUNT_,
};

struct usage {
    uint64_t bytes;    /* at most SIZE_BYTES_MAX */
    uint64_t messages; /* at most SIZE_BYTES_MAX; 0 for an mbox */
    enum usage_source source;
    enum usage_rule rule;
    struct quota_limit header_limit; /* of maildirsize's first line */
    struct maildir_count count;      /* where messages were counted */
};

/* Returns the protocol's word for the source, a constant string. */
const char *usage_source_to_string(enum usage_source source);

/* Returns why messages were counted, a constant string for people. */
const char *usage_rule_to_string(enum usage_rule rule);
