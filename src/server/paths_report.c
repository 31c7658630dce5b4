/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/paths_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quota/paths.h"
#include "system/cleanup.h"

struct paths_report {
    const struct quota_settings *settings;
    struct journal *journal;
    struct pool_job job;
    char *lines; /* each with a NUL behind it */
    size_t length;
};

static void add_line(const char *line, void *userdata)
{
    fputs(line, userdata);
    fputc('\0', userdata);
}

/* On a thread of the pool. */
static void on_work(struct pool_job *job)
{
    struct paths_report *report = container_of(job, struct paths_report, job);
    _cleanup_(fclosep) FILE *file = open_memstream(&report->lines, &report->length);

    if (file)
        paths_check(report->settings, add_line, file);
}

static void on_finished(struct pool_job *job)
{
    const struct paths_report *report = container_of(job, struct paths_report, job);

    for (size_t i = 0; i < report->length; i += strlen(report->lines + i) + 1)
        journal_log(report->journal, LOG_WARNING, "%s", report->lines + i);
}

int paths_report_new(struct pool *pool, const struct quota_settings *settings,
                     struct journal *journal, struct paths_report **ret)
{
    _cleanup_(freep) struct paths_report *report = calloc(1, sizeof(*report));
    int r;

    if (!report)
        return -ENOMEM;
    report->settings = settings;
    report->journal = journal;
    report->job =
        (struct pool_job){.device = POOL_DEVICE_PATHS, .work = on_work, .finished = on_finished};
    r = pool_submit(pool, &report->job);
    if (r < 0)
        return r;
    *ret = steal_pointer(&report);
    return 0;
}

void paths_report_free(struct paths_report *report)
{
    if (!report)
        return;
    free(report->lines);
    free(report);
}
