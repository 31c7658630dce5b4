/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers as JSON (RFC 8259), for programs. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "ctl/answer.h"

/* Prints an array with an object for each answer: its target, if any, and its pairs. */
void json_print(FILE *file, const struct answer *answers, size_t count);

/* Prints the object of one answer. */
void json_print_answer(FILE *file, const struct answer *answer);

/* Prints a text as a string. Each byte that is not valid UTF-8 becomes U+FFFD. */
void json_print_string(FILE *file, const char *text);
