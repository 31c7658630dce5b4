/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a long work is, as one line on the terminal that standard error is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctl/screen.h"

/* How often to show it again. */
#define PROGRESS_MSECS 100

struct progress {
    const struct screen *screen;
    bool is_wanted; /* otherwise nothing is ever shown */
    size_t width;   /* of the line that is there now, in columns */
};

/* Shows that `done` mailboxes of `total` are done, or if has_total is false, of many. */
void progress_show(struct progress *progress, size_t done, size_t total, bool has_total);

/* Removes the line, so that something else can be written. */
void progress_clear(struct progress *progress);
