/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The usage of a mailbox, and how it was determined.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "quota/effective_limit.h"
#include "quota/maildir.h"

/* Where the usage comes from. */
enum usage_source {
    USAGE_NONE,        /* there is no mailbox yet */
    USAGE_MAILDIRSIZE, /* the sums of maildirsize */
    USAGE_SCAN,        /* a count */
    USAGE_CACHE,       /* a count of directories that have not changed since they were read */
    USAGE_MBOX,        /* the size of an mbox file */
    USAGE_UNKNOWN,     /* it was not determined: the message is too large for an empty mailbox */
};

/* Which rule decided how the usage was determined. */
enum usage_rule {
    USAGE_RULE_TRUSTED,     /* the sums of maildirsize, or no rule was needed */
    USAGE_RULE_MISSING,     /* counted: there is no maildirsize */
    USAGE_RULE_IGNORED,     /* counted: --maildirsize=ignore */
    USAGE_RULE_EMPTY,       /* counted: maildirsize has a first line and no other */
    USAGE_RULE_UNREADABLE,  /* counted: it cannot be read, or is not a regular file */
    USAGE_RULE_LARGE,       /* counted: it has 5120 bytes or more */
    USAGE_RULE_MALFORMED,   /* counted: it does not parse, or holds a NUL */
    USAGE_RULE_IMPLAUSIBLE, /* counted: a sum is negative, or too large */
    USAGE_RULE_OVER,        /* counted: over the limit by sums that may be out of date */
    USAGE_RULE_EVERYTHING,  /* counted: --count=everything */
    USAGE_RULE_LAYOUT,      /* the sums, over the limit: a count may have missed folders */
    USAGE_RULE_STALE_LIMIT, /* over a limit that only an old maildirsize gives, so not over */
    USAGE_RULE_TOOLARGE,    /* not counted: the message alone is larger than the limit */
    USAGE_RULE_COUNT_,
};

struct usage {
    uint64_t bytes;    /* at most SIZE_BYTES_MAX */
    uint64_t messages; /* at most SIZE_BYTES_MAX; 0 for an mbox */
    enum usage_source source;
    enum usage_rule rule;
    struct limit_header header;
    bool is_unkept; /* messages arrived after maildirsize was last written: nobody keeps it */
    struct maildir_count count; /* if messages were counted */
};
