/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/size.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "quota/ascii.h"

int size_parse_number(const char *text, size_t length, uint64_t *ret)
{
    uint64_t value = 0;

    if (length == 0)
        return -EINVAL;
    for (size_t i = 0; i < length; i++)
        if (!ascii_is_digit(text[i]))
            return -EINVAL;
    for (size_t i = 0; i < length; i++)
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value) ||
            value > SIZE_BYTES_MAX)
            return -ERANGE;
    *ret = value;
    return 0;
}

/* Returns by how many bits the letter shifts a size to the left, 0 if it is none of K, M, G, T. */
static unsigned int multiplier_shift(char letter)
{
    switch (letter) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    case 't':
    case 'T':
        return 40;
    default:
        return 0;
    }
}

int size_parse(const char *text, size_t length, uint64_t *ret_bytes)
{
    unsigned int shift = length > 0 ? multiplier_shift(text[length - 1]) : 0;
    uint64_t value;
    int r;

    r = size_parse_number(text, shift > 0 ? length - 1 : length, &value);
    if (r < 0)
        return r;
    if (value > SIZE_BYTES_MAX >> shift)
        return -ERANGE;
    *ret_bytes = value << shift;
    return 0;
}

/* Returns whether text[0..length) is the word, which has lower-case letters alone, in any case. */
static bool is_word(const char *text, size_t length, const char *word)
{
    if (length != strlen(word))
        return false;
    for (size_t i = 0; i < length; i++)
        if ((text[i] | 0x20) != word[i])
            return false;
    return true;
}

int size_parse_limit(const char *text, size_t length, struct quota_limit *ret)
{
    struct quota_limit limit = {};
    bool have_bytes = false, have_messages = false;

    if (is_word(text, length, "unlimited") || is_word(text, length, "none"))
        length = 0;
    while (length > 0) {
        const char *comma = memchr(text, ',', length);
        size_t part = comma ? (size_t)(comma - text) : length;
        bool is_count = part > 0 && (text[part - 1] == 'C' || text[part - 1] == 'c');
        int r;

        if (is_count ? have_messages : have_bytes)
            return -EINVAL;
        r = is_count ? size_parse_number(text, part - 1, &limit.messages)
                     : size_parse(text, part, &limit.bytes);
        if (r < 0)
            return r;
        *(is_count ? &have_messages : &have_bytes) = true;
        if (comma && part + 1 == length)
            return -EINVAL; /* nothing behind the comma */
        text += part + (comma != NULL);
        length -= part + (comma != NULL);
    }
    *ret = limit;
    return 0;
}

uint64_t size_add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    if (__builtin_add_overflow(a, b, &sum) || sum > SIZE_BYTES_MAX)
        return SIZE_BYTES_MAX;
    return sum;
}
