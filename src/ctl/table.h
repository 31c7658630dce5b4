/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers as tables, for people. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "ctl/answer.h"
#include "ctl/screen.h"

/* Answers about mailboxes, one at a time. */
struct table_answers {
    size_t count;
    /* Returns an answer, valid until the next call, or NULL if out of memory. */
    const struct answer *(*get)(void *userdata, size_t i);
    void *userdata;
};

/*
 * Prints answers about mailboxes, a row each, without those that are ANSWER_UNREACHABLE. Each is
 * got twice. On a narrow screen, targets are shortened first, and then columns are left out.
 * Returns 0 or -ENOMEM.
 */
int table_print_mailboxes(FILE *file, const struct screen *screen,
                          const struct table_answers *answers);

/* Prints the pairs of an answer that is no error, a row each, but for lists. Returns 0 or -ENOMEM.
 */
int table_print_pairs(FILE *file, const struct screen *screen, const struct answer *answer);
