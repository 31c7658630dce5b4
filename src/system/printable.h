/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes untrusted text (addresses, paths, request lines) safe for logs and terminals. Whatever a
 * terminal might interpret, or that changes how the text around it looks, is written as a visible
 * escape:
 *
 *     \\          a backslash
 *     \x1b        a byte: a control character of ASCII, or one that is not valid UTF-8
 *     \u202e      a character: a control character of the second set (U+0080 to U+009F), a line or
 *                 paragraph separator, a format character (marks of direction, joiners, ...)
 *     \U000e0041  one beyond U+FFFF
 *
 * Since a backslash is always doubled, the original text can be restored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The most bytes that printable_write() writes for one byte of text. */
#define PRINTABLE_GROWTH 4

/* Returns whether a Unicode character may be shown unchanged. */
bool printable_character(uint32_t character);

/*
 * Writes the text to `to`, which has room for PRINTABLE_GROWTH times its length and a NUL. can_show
 * may be NULL; else a character beyond ASCII is escaped, too, where it returns false. Returns the
 * length without the NUL.
 */
size_t printable_write(const char *text, char *to,
                       bool (*can_show)(uint32_t character, const void *userdata),
                       const void *userdata);

/* Writes a formatted text and a line end to the file. Without memory the text is left out. */
void printable_line(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
