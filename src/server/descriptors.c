/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/descriptors.h"

#include <stdint.h>
#include <sys/resource.h>

#include "server/pool.h"

/* Descriptors beyond the connections': sockets, the log, the loop's own. */
#define DESCRIPTORS_OWN 64

/* What a look into a mailbox may hold open. */
#define DESCRIPTORS_PROBE 8

/* Returns how many descriptors are not for connections. */
static rlim_t reserved_descriptors(const struct settings *settings)
{
    rlim_t threads = settings->scan_threads + POOL_SPARE_THREADS;

    /* The loop looks into mailboxes, too, and there are two lanes of threads. */
    return DESCRIPTORS_OWN + settings->quota.roots_count +
           (rlim_t)DESCRIPTORS_PROBE * (2 * threads + 1);
}

size_t descriptors_raise_limit(const struct settings *settings, struct journal *journal)
{
    rlim_t connections = settings->connections_max;
    rlim_t reserved = reserved_descriptors(settings), need = connections + reserved;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
        return connections;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= need)
        return connections;
    connections = limit.rlim_cur > 2 * reserved ? limit.rlim_cur - reserved : limit.rlim_cur / 2;
    journal_log(
        journal, LOG_WARNING,
        "--max-connections=%u needs %ju file descriptors, but only %ju are allowed: limited to "
        "%ju connections; raise LimitNOFILE= or lower --max-connections",
        settings->connections_max, (uintmax_t)need, (uintmax_t)limit.rlim_cur,
        (uintmax_t)connections);
    return connections;
}
