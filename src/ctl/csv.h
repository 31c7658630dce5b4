/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers about mailboxes as CSV (RFC 4180), for spreadsheets. Texts are made printable
 * (printable.h), and a first character that a spreadsheet would take for the beginning of a formula
 * is escaped in the same way, so that the original text can be restored.
 */
#pragma once

#include <stdio.h>

#include "ctl/answer.h"

/* Prints the line of titles. */
void csv_print_titles(FILE *file);

/* Prints the line of an answer about a target. Returns 0 or -ENOMEM. */
int csv_print_answer(FILE *file, const struct answer *answer);
