/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What paths_check() finds at the start, in the journal. It is found out on a worker thread: a file
 * system that hangs keeps no service from starting.
 */
#pragma once

#include "quota/settings.h"
#include "server/pool.h"
#include "system/journal.h"

struct paths_report;

/*
 * Begins to check. Everything is the caller's and outlives the report. Returns 0 and the report,
 * which the caller releases with paths_report_free(), or -ENOMEM or the negative errno of
 * pool_submit().
 */
int paths_report_new(struct pool *pool, const struct quota_settings *settings,
                     struct journal *journal, struct paths_report **ret);

/* Releases the report, after its pool has ended. NULL is allowed. */
void paths_report_free(struct paths_report *report);
