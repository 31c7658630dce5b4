/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mailboxes of a report that are held to be sorted: all of them, or the first N. A mailbox
 * takes about 300 bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/answer.h"

/* The order; of equal mailboxes, the one whose target is the first by its bytes comes first. */
enum report_sort {
    REPORT_SORT_PERCENT, /* the larger share of the two limits; the fullest comes first */
    REPORT_SORT_BYTES,   /* the largest comes first */
    REPORT_SORT_MESSAGES,
};

struct report_row;

struct report_rows {
    enum report_sort sort;
    size_t top; /* how many are held at most; 0: all */
    struct report_row **items;
    size_t count;
    size_t size;
};

/* Returns the percentage that a mailbox uses of its limit in bytes or messages, the larger one. */
uint64_t report_rows_percent(const struct answer *answer);

/*
 * Adds a mailbox, or an error, which comes after all mailboxes. answer is what answer_read() has
 * made of a reply. Returns 0 or -ENOMEM.
 */
int report_rows_add(struct report_rows *rows, const struct answer *answer);

/* Sorts the rows, once there are no more. */
void report_rows_sort(struct report_rows *rows);

/*
 * Restores the answer of row i, which the caller releases before the rows. Returns 0 or -ENOMEM.
 */
int report_rows_get(const struct report_rows *rows, size_t i, struct answer *ret);

/* Releases the rows. */
void report_rows_deinit(struct report_rows *rows);
