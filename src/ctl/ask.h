/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries and their answers, from the service or without it. */
#pragma once

#include "ctl/answer.h"
#include "ctl/direct.h"
#include "ctl/query.h"

struct asker {
    const struct direct *direct; /* NULL: ask the service */
    const struct direct *beside; /* to compare an explanation of the service with; NULL: none */
    const char *socket_path;     /* of the service */
    uint64_t timeout_usec;       /* for each query */
};

/* Makes the query about answer->target, and fills answer. Returns 0 or -ENOMEM. */
int ask(const struct asker *asker, const struct ctl_query *query, struct answer *answer);
