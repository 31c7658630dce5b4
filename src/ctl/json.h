/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers as JSON (RFC 8259), for programs. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "ctl/answer.h"

/*
 * Prints an array with an object for each answer: its target where it has one, then its pairs, of
 * which decimal numbers become numbers.
 */
void json_print(FILE *file, const struct answer *answers, size_t count);

/*
 * Prints a text as a string: valid UTF-8, whatever the text is. What is not becomes U+FFFD, one
 * for each byte.
 */
void json_print_string(FILE *file, const char *text);
