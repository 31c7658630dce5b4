/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The progress of a long task, as one line on standard error, which must be a terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctl/screen.h"

/* How often to update it. */
#define PROGRESS_MSECS 100

struct progress {
    const struct screen *screen;
    bool is_wanted; /* otherwise nothing is ever shown */
    size_t width;   /* of the line that is there now, in columns */
};

/* Shows that `done` mailboxes are done, of `total` if has_total is true. */
void progress_show(struct progress *progress, size_t done, size_t total, bool has_total);

/* Removes the line, so that something else can be written. */
void progress_clear(struct progress *progress);
