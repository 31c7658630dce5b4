/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which limit counts: that of the request or the limits file, or else the larger of the default and
 * the first line of maildirsize. A delivery agent rewrites that line only when it delivers, so if
 * the lower one counted, a raised default would never reach a full mailbox.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "quota/size.h"
#include "quota/verdict.h"

/*
 * A limit that only maildirsize gives is believed for the first time after the file was written,
 * and then not for the second, so that the delivery agent decides and rewrites the file. That is
 * repeated each day until the file is written: Dovecot's maildir driver does not write it when it
 * refuses a message, unless the mailbox exceeds the limit without it. So a mailbox that stays full
 * costs one burst of refused deliveries a day.
 */
#define HEADER_LIMIT_BELIEVED_USEC (UINT64_C(24) * 3600 * 1000 * 1000)
#define HEADER_LIMIT_TRIED_USEC    (UINT64_C(2) * 3600 * 1000 * 1000)

/* Where a limit comes from. */
enum limit_source {
    LIMIT_SOURCE_NONE,    /* there is no limit */
    LIMIT_SOURCE_REQUEST, /* quota= of the request */
    LIMIT_SOURCE_FILE,    /* --limits */
    LIMIT_SOURCE_HEADER,  /* the first line of maildirsize */
    LIMIT_SOURCE_DEFAULT, /* --default-quota */
};

/* What is known of the limit apart from the mailbox, and what is to fit. */
struct mailbox_policy {
    bool have_limit;              /* a limit that outranks maildirsize and the default */
    struct quota_limit limit;     /* that limit */
    enum limit_source limit_from; /* where it comes from */
    struct quota_limit default_limit;
    enum limit_source default_from; /* where that comes from, if it limits anything */
    struct verdict_grace grace;
    uint64_t size_bytes; /* of the message that is to fit; 0: unknown */
    bool verdict_alone;  /* the usage need not be exact where the verdict is known without it */
};

/* What the first line of a maildirsize says; all zero if nothing, or if there is none. */
struct limit_header {
    struct quota_limit limit;
    bool has_bytes;    /* it says something about bytes; 0 there means no limit */
    bool has_messages; /* likewise about messages */
    bool is_old;       /* it is time to try whether the limit still holds */
};

struct effective_limit {
    struct quota_limit limit;
    enum limit_source from;  /* of the limit in bytes, or else in messages, or of "no limit" */
    struct quota_limit sure; /* the same without what an old header alone limits */
};

/*
 * Returns the limit that counts, for bytes and messages separately. A header that says 0 means that
 * there is no limit, and the default does not apply.
 */
struct effective_limit effective_limit(const struct mailbox_policy *policy,
                                       const struct limit_header *header);
