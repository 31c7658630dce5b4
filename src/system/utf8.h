/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UTF-8 (RFC 3629), as strangers send it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Reads the character that text[0..length) begins with; length is not 0. Returns how many bytes it
 * takes, and the character in *ret; or 0 if there is none: a byte that cannot stand there, a
 * sequence that is cut off, a longer form than needed, a surrogate, or a number past U+10FFFF.
 */
size_t utf8_decode(const char *text, size_t length, uint32_t *ret);

/*
 * Returns how many bytes to take of text[0..length) where there is room for max: all of them, or as
 * many as do not end within a character. No more than max bytes are read.
 */
size_t utf8_prefix(const char *text, size_t length, size_t max);

/* Returns the length of the byte order mark that text[0..length) begins with, or 0. */
size_t utf8_byte_order_mark(const char *text, size_t length);
