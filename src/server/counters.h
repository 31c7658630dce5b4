/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters since the start, for `stats` and for metrics. */
#pragma once

#include <stdint.h>

#include "protocol/reply.h"
#include "quota/reason.h"
#include "quota/verdict.h"
#include "server/latency.h"

struct counters {
    uint64_t queries;     /* requests that got a reply */
    uint64_t connections; /* with or without a request */
    uint64_t
        verdicts[VERDICT_COUNT_];    /* queries about mailboxes, even if the reply has no verdict */
    uint64_t reasons[REASON_COUNT_]; /* queries that got an error */
    struct latency latency;          /* of queries about mailboxes */
};

/* Returns how many queries were about a mailbox that has no room. */
uint64_t counters_over(const struct counters *counters);

/* Returns how many queries got an error. */
uint64_t counters_errors(const struct counters *counters);

/*
 * Adds the pairs verdicts=, reasons=, latency= and latency_sum= to a reply. The first three are
 * lists of WORD:COUNT, separated by commas; the words of latency= are powers of two of microseconds
 * and `inf`, and each counts the queries that took less, and not less than the word before it.
 */
void counters_add_lists(const struct counters *counters, struct reply *reply);
