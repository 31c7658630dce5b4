/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers as tables, for people. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "ctl/answer.h"
#include "ctl/screen.h"

/*
 * Prints answers about mailboxes, a row each. On a narrow screen the targets are shortened first,
 * then columns are left out. Those whom nobody could be asked for are left out as well: there is
 * nothing to show. Returns 0 or -ENOMEM.
 */
int table_print_mailboxes(FILE *file, const struct screen *screen, const struct answer *answers,
                          size_t count);

/* Prints the pairs of an answer that is no error, a row each. Returns 0 or -ENOMEM. */
int table_print_pairs(FILE *file, const struct screen *screen, const struct answer *answer);
