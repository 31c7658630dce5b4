/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A query as the line of its request: exim-quotad-protocol(7). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/request.h"

/* A line with its LF, and a NUL. */
#define CTL_QUERY_BYTES_MAX (REQUEST_BYTES_MAX + 2)

struct ctl_query {
    const char *verb; /* the protocol's word */
    enum request_type type;
    bool has_targets; /* it is about mailboxes */
    bool have_size;
    uint64_t size_bytes;
    const char *quota; /* as it was given; NULL: not given */
    bool recount;      /* for explain */
};

/* Returns 0 and the query of the verb, or -EINVAL if there is none. */
int ctl_query_from_verb(const char *verb, struct ctl_query *ret);

/*
 * Writes the line, and its length with the LF to *ret_length. target NULL: none. Returns 0, -EINVAL
 * if the target holds a line end, or -EMSGSIZE if the line is too long.
 */
int ctl_query_write(const struct ctl_query *query, const char *target,
                    char line[CTL_QUERY_BYTES_MAX], size_t *ret_length);
