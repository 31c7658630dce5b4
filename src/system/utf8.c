/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/utf8.h"

#include <string.h>

/* Returns the length of a sequence that begins with that byte, or 0 if none does. */
static size_t length_by_lead(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc0 || lead > 0xf7)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t utf8_decode(const char *text, size_t length, uint32_t *ret)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    size_t needed = length_by_lead(bytes[0]);
    uint32_t character;

    if (needed == 0 || needed > length)
        return 0;
    character = needed == 1 ? bytes[0] : bytes[0] & (0x7fU >> needed);
    for (size_t i = 1; i < needed; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (bytes[i] & 0x3f);
    }
    if (character < smallest[needed] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff))
        return 0;
    *ret = character;
    return needed;
}

size_t utf8_prefix(const char *text, size_t length, size_t max)
{
    if (length <= max)
        return length;
    for (size_t back = 1; back <= 3 && back <= max; back++)
        if (length_by_lead((unsigned char)text[max - back]) > 0)
            return length_by_lead((unsigned char)text[max - back]) > back ? max - back : max;
    return max;
}

size_t utf8_byte_order_mark(const char *text, size_t length)
{
    static const char mark[3] = "\xef\xbb\xbf";

    return length >= sizeof(mark) && memcmp(text, mark, sizeof(mark)) == 0 ? sizeof(mark) : 0;
}
