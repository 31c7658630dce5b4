/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/printable.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "system/cleanup.h"
#include "system/utf8.h"

/*
 * What Unicode 15 calls controls (Cc), format characters (Cf), and line and paragraph separators
 * (Zl, Zp); and where it keeps room for more of them.
 */
static const struct {
    uint32_t first, last;
} unprintable[] = {
    {0x0000, 0x001f},   {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x0600, 0x0605},
    {0x061c, 0x061c},   {0x06dd, 0x06dd},   {0x070f, 0x070f},   {0x0890, 0x0891},
    {0x08e2, 0x08e2},   {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
    {0xe0000, 0xe0fff},
};

bool printable_character(uint32_t character)
{
    for (size_t i = 0; i < sizeof(unprintable) / sizeof(unprintable[0]); i++)
        if (character <= unprintable[i].last)
            return character < unprintable[i].first;
    return true;
}

/* Writes an escape of that many digits. Returns its end. */
static char *write_escape(char *to, char kind, unsigned int digits, uint32_t number)
{
    *to++ = '\\';
    *to++ = kind;
    while (digits-- > 0)
        *to++ = "0123456789abcdef"[number >> (4 * digits) & 0xf];
    return to;
}

/* Writes a character that is no byte of ASCII, and may not be shown. Returns the end. */
static char *write_character(char *to, uint32_t character)
{
    return character > 0xffff ? write_escape(to, 'U', 8, character)
                              : write_escape(to, 'u', 4, character);
}

size_t printable_write(const char *text, char *to,
                       bool (*can_show)(uint32_t character, const void *userdata),
                       const void *userdata)
{
    const char *start = to, *end = text + strlen(text);
    uint32_t character;
    size_t bytes;

    for (; text < end; text += bytes) {
        bytes = utf8_decode(text, (size_t)(end - text), &character);
        if (bytes == 0 || (bytes == 1 && !printable_character(character))) {
            to = write_escape(to, 'x', 2, (unsigned char)*text);
            bytes = 1;
        } else if (*text == '\\') {
            to = mempcpy(to, "\\\\", 2);
        } else if (bytes == 1 || (printable_character(character) &&
                                  (!can_show || can_show(character, userdata)))) {
            to = mempcpy(to, text, bytes);
        } else {
            to = write_character(to, character);
        }
    }
    *to = '\0';
    return (size_t)(to - start);
}

void printable_line(FILE *file, const char *format, ...)
{
    _cleanup_(freep) char *text = NULL, *shown = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    shown = text ? malloc(PRINTABLE_GROWTH * strlen(text) + 1) : NULL;
    if (shown)
        printable_write(text, shown, NULL, NULL);
    fprintf(file, "%s\n", shown ? shown : "out of memory");
}
