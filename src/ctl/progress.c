/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>

#include "ctl/human.h"

#define BAR_CELLS 20

/* Writes the bar and what follows it, and returns the columns that it takes. */
static size_t show_bar(const struct progress *progress, size_t done, size_t total)
{
    size_t filled = human_bar(total > 0 ? done * 100 / total : 0, done, BAR_CELLS);

    for (size_t i = 0; i < BAR_CELLS; i++)
        fputs(screen_bar_cell(progress->screen, i < filled), stderr);
    return BAR_CELLS + (size_t)fprintf(stderr, "  %zu of %zu mailboxes", done, total);
}

void progress_show(struct progress *progress, size_t done, size_t total, bool has_total)
{
    size_t width, before = progress->width;

    if (!progress->is_wanted)
        return;
    fputc('\r', stderr);
    width = has_total ? show_bar(progress, done, total)
                      : (size_t)fprintf(stderr, "%zu mailboxes so far", done);
    fprintf(stderr, "%*s", before > width ? (int)(before - width) : 0, "");
    progress->width = width;
    (void)fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (progress->width > 0)
        fprintf(stderr, "\r%*s\r", (int)progress->width, "");
    progress->width = 0;
    (void)fflush(stderr);
}
