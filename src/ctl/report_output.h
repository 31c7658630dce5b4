/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a report prints: a table, JSON or CSV, and a total. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ctl/answer.h"
#include "ctl/options.h"
#include "ctl/report_rows.h"
#include "ctl/screen.h"

/* The total of all mailboxes that were read, whether they are printed or not. */
struct report_total {
    uint64_t mailboxes;
    uint64_t bytes;
    uint64_t messages;
    uint64_t over;
    uint64_t warn;
    uint64_t errors;    /* mailboxes and directories that could not be read */
    bool is_incomplete; /* it was interrupted */
};

struct report_output {
    FILE *file;
    const struct screen *screen;
    enum ctl_format format;
    size_t printed;
};

/* Begins JSON or CSV. */
void report_output_begin(struct report_output *output);

/* Prints a mailbox or an error as JSON or CSV. Returns 0 or -ENOMEM. */
int report_output_answer(struct report_output *output, const struct answer *answer);

/* Prints rows in any format, as JSON or CSV between begin and end. Returns 0 or -ENOMEM. */
int report_output_rows(struct report_output *output, const struct report_rows *rows);

/* Prints the total. CSV has none. */
void report_output_end(struct report_output *output, const struct report_total *total);
