/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Characters by ASCII alone, whatever the locale: what protocols and Exim's files mean by them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Returns whether c is white space: a blank, or one of tab, LF, VT, FF, CR. */
static inline bool ascii_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Returns whether c is a control character. Bytes of UTF-8 sequences are none. */
static inline bool ascii_is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Returns whether text[0..length) holds one of the letters A to Z. */
static inline bool ascii_has_upper(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            return true;
    return false;
}

/* Makes the letters A to Z of text[0..length) lower case. */
static inline void ascii_lower(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] - 'A' + 'a');
}
