/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator reads of the queries: each event once at once, and how often it went on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "quota/reason.h"
#include "quota/target.h"
#include "server/lookups.h"
#include "system/journal.h"

struct report;

/* One answer, or what came instead of it. */
struct report_entry {
    const char *subject; /* the path of the mailbox, or whatever was asked */
    int peer_fd;         /* the socket of whoever asked */
    uint64_t usec;       /* what it took */
};

/*
 * Makes a report into the journal, which is the caller's and outlives it. Returns 0, or a negative
 * errno of throttle_new().
 */
int report_new(sd_event *event, struct journal *journal, struct report **ret);

/* Tells what was held back, and releases the report. NULL is allowed. */
void report_free(struct report *report);

/* Reports that a query failed. text says why, and answered what was replied instead. */
void report_error(struct report *report, const struct report_entry *entry, enum reason reason,
                  const char *text, const char *answered);

/*
 * Reports an answer: that a mailbox is over, that its maildirsize is unusable or not kept, that
 * part of it was not counted, or nothing.
 */
void report_answer(struct report *report, const struct report_entry *entry,
                   const struct target_decision *decision);

/*
 * Returns whether the mailbox at path is to be checked for messages that nobody adds to its
 * maildirsize: once a day.
 */
bool report_check_is_due(struct report *report, const char *path);

/* Reports once a day that addresses do not lead to mailboxes, for example not to that at path. */
void report_no_mailboxes(struct report *report, const struct lookups *lookups, const char *path);

/* Reports once a day that the recipients of Postfix cannot be checked without a template. */
void report_no_template(struct report *report);

/* Reports that an answer comes from maildirsize because counting takes too long. */
void report_late(struct report *report, const struct report_entry *entry, uint64_t timeout_msec);
