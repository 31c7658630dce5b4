/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report on all mailboxes. One thread finds them (report_walk.h), others look at them as
 * direct.h does, and the caller's thread shows the progress.
 *
 * A sorted report holds the mailboxes that it will print. One that is not sorted, as JSON or CSV,
 * holds none: each is printed as soon as it has been looked at. Between the threads is a queue of
 * REPORT_QUEUE_MAX paths.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctl/direct.h"
#include "ctl/options.h"
#include "ctl/report_output.h"
#include "ctl/report_walk.h"
#include "ctl/screen.h"

#define REPORT_QUEUE_MAX 256

/* Returns whether the mailboxes of such a report are held and sorted before any is printed. */
bool report_holds(const struct report_options *options, enum ctl_format format);

/*
 * Prints the report that the options ask for on standard output, with errors and, if
 * shows_progress, the progress on standard error. `threads`, at least one, look at mailboxes.
 *
 * SIGINT or SIGTERM ends it early: what has been read is printed, and *ret says that it is not
 * complete. Threads that use everything here may still be running, so the process must then end
 * with _exit(2) and release nothing. A second signal ends the process.
 *
 * Returns 0 and *ret, or -ENOMEM, or the negative errno of a system call that failed at the start.
 */
int report_run(const struct report_options *options, enum ctl_format format,
               const struct direct *direct, const struct screen *screen, unsigned int threads,
               bool shows_progress, struct report_total *ret);
