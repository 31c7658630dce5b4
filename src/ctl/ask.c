/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/ask.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/client.h"
#include "protocol/steps.h"
#include "protocol/words.h"
#include "quota/size.h"
#include "system/cleanup.h"
#include "system/clock.h"

static int fail_timeout(const struct asker *asker, struct answer *answer)
{
    return answer_fail(answer, reason_to_string(REASON_TIMEOUT), "no answer within %" PRIu64 " ms",
                       asker->timeout_usec / USEC_PER_MSEC);
}

/* Returns the name of the group that may write to the socket, or NULL. */
static const char *group_of(const char *path)
{
    const struct group *group;
    struct stat st;

    if (stat(path, &st) < 0 || !(st.st_mode & S_IWGRP))
        return NULL;
    group = getgrgid(st.st_gid);
    return group ? group->gr_name : NULL;
}

static int fail_connect(struct answer *answer, const char *path, int error)
{
    const char *group;

    switch (error) {
    case -ENOENT:
        return answer_fail(answer, ANSWER_UNREACHABLE,
                           "cannot connect to %s: there is no such socket; is exim-quotad.socket "
                           "started?",
                           path);
    case -ECONNREFUSED:
        return answer_fail(answer, ANSWER_UNREACHABLE,
                           "cannot connect to %s: nobody answers there; is exim-quotad.socket "
                           "started?",
                           path);
    case -EACCES:
        group = group_of(path);
        return answer_fail(answer, ANSWER_UNREACHABLE,
                           "cannot connect to %s: permission denied; run this as root%s%s", path,
                           group ? ", or in the group " : "", group ? group : "");
    default:
        return answer_fail(answer, ANSWER_UNREACHABLE, "cannot connect to %s: %s", path,
                           strerror(-error));
    }
}

static int ask_service(const struct asker *asker, enum request_type type, const char *line,
                       size_t length, struct answer *answer)
{
    uint64_t deadline_usec = size_add(clock_usec(CLOCK_MONOTONIC), asker->timeout_usec);
    bool explains = type == REQUEST_EXPLAIN;
    size_t size = explains ? STEPS_BYTES_MAX : REPLY_BYTES_MAX;
    char buffer[STEPS_BYTES_MAX];
    _cleanup_(closep) int fd = client_connect(asker->socket_path, deadline_usec);
    ssize_t n;

    if (fd == -ETIMEDOUT)
        return fail_timeout(asker, answer);
    if (fd < 0)
        return fail_connect(answer, asker->socket_path, fd);
    n = client_exchange(fd, deadline_usec, line, length, explains, buffer, size);
    if (n == -ETIMEDOUT)
        return fail_timeout(asker, answer);
    if (n < 0)
        return answer_fail(answer, ANSWER_NONE, "the connection failed: %s", strerror((int)-n));
    return answer_read(answer, type, buffer, (size_t)n);
}

/* Overwrites the line. */
static int ask_direct(const struct direct *direct, enum request_type type, char *line,
                      size_t length, struct answer *answer)
{
    struct steps reply;

    if (direct_answer(direct, line, length - 1, &reply) < 0)
        return -ENOMEM;
    return answer_read(answer, type, reply.bytes, reply.length);
}

int ask(const struct asker *asker, const struct ctl_query *query, struct answer *answer)
{
    char line[CTL_QUERY_BYTES_MAX];
    size_t length;
    int r;

    switch (ctl_query_write(query, answer->target, line, &length)) {
    case -EINVAL:
        return answer_fail(answer, reason_to_string(REASON_BAD_REQUEST),
                           "a target must not contain a line end");
    case -EMSGSIZE:
        return answer_fail(answer, reason_to_string(REASON_TOO_LONG), "the target is too long");
    default:
        break;
    }
    if (asker->direct)
        return ask_direct(asker->direct, query->type, line, length, answer);
    r = ask_service(asker, query->type, line, length, answer);
    if (r < 0 || !asker->beside || answer_failed_with(answer, ANSWER_UNREACHABLE))
        return r;
    answer->beside = calloc(1, sizeof(*answer->beside));
    if (!answer->beside)
        return -ENOMEM;
    return ask_direct(asker->beside, query->type, line, length, answer->beside);
}
