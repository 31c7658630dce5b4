/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct ctl_query verbs[] = {
    {.verb = "check", .type = REQUEST_CHECK, .has_targets = true},
    {.verb = "usage", .type = REQUEST_USAGE, .has_targets = true},
    {.verb = "explain", .type = REQUEST_EXPLAIN, .has_targets = true},
    {.verb = "ping", .type = REQUEST_PING},
    {.verb = "stats", .type = REQUEST_STATS},
};

int ctl_query_from_verb(const char *verb, struct ctl_query *ret)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].verb, verb) == 0) {
            *ret = verbs[i];
            return 0;
        }
    }
    return -EINVAL;
}

/*
 * Whether the beginning of the target could be taken for a pair, as in the address
 * `size=1 b@example.org`. It is not if all pairs that there are come before it.
 */
static bool is_ambiguous(const char *target)
{
    const char *blank = strchr(target, ' ');

    return blank && *target != '/' && memchr(target, '=', (size_t)(blank - target));
}

int ctl_query_write(const struct ctl_query *query, const char *target,
                    char line[CTL_QUERY_BYTES_MAX], size_t *ret_length)
{
    bool all = target && is_ambiguous(target);
    const char *recount = "";
    char size[sizeof(" size=18446744073709551615")] = "";
    int length;

    if (target && strchr(target, '\n'))
        return -EINVAL;
    if (query->have_size)
        snprintf(size, sizeof(size), " size=%" PRIu64, query->size_bytes);
    else if (all)
        snprintf(size, sizeof(size), " size=");
    if (query->type == REQUEST_EXPLAIN && (query->recount || all))
        recount = query->recount ? " recount=yes" : " recount=";
    length = snprintf(line, CTL_QUERY_BYTES_MAX, "%s%s%s%s%s%s%s\n", query->verb, size,
                      query->quota || all ? " quota=" : "", query->quota ? query->quota : "",
                      recount, target ? " " : "", target ? target : "");
    if (length >= CTL_QUERY_BYTES_MAX)
        return -EMSGSIZE;
    *ret_length = (size_t)length;
    return 0;
}
