/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildirsize.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "quota/ascii.h"

/* A stretch of the file that is read from its start: [at, end). */
struct cursor {
    const char *at;
    const char *end;
};

/* Returns how many blanks were skipped. */
static size_t skip_blanks(struct cursor *cursor)
{
    const char *start = cursor->at;

    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t'))
        cursor->at++;
    return (size_t)(cursor->at - start);
}

/* Takes decimal digits. Returns whether there are any. */
static bool take_digits(struct cursor *cursor, struct cursor *ret_digits)
{
    ret_digits->at = cursor->at;
    while (cursor->at < cursor->end && ascii_is_digit(*cursor->at))
        cursor->at++;
    ret_digits->end = cursor->at;
    return ret_digits->at < ret_digits->end;
}

/* Takes a number with an optional minus sign. */
static int take_number(struct cursor *cursor, int64_t *ret)
{
    struct cursor digits;
    bool negative = cursor->at < cursor->end && *cursor->at == '-';
    uint64_t value;

    cursor->at += negative;
    if (!take_digits(cursor, &digits) ||
        size_parse_number(digits.at, (size_t)(digits.end - digits.at), &value) < 0)
        return -EBADMSG;
    *ret = negative ? -(int64_t)value : (int64_t)value;
    return 0;
}

/* Takes the next complete line, without its LF. Returns whether there is one. */
static bool take_line(struct cursor *file, struct cursor *ret_line)
{
    const char *lf = memchr(file->at, '\n', (size_t)(file->end - file->at));

    if (!lf)
        return false;
    *ret_line = (struct cursor){file->at, lf};
    file->at = lf + 1;
    return true;
}

static int parse_header(struct cursor line, struct maildirsize *ret)
{
    struct maildirsize header = {};

    while (line.at < line.end) {
        struct cursor digits;
        uint64_t value;

        if (!take_digits(&line, &digits) || line.at == line.end || !ascii_is_letter(*line.at))
            return -EBADMSG;
        if (size_parse_number(digits.at, (size_t)(digits.end - digits.at), &value) < 0)
            value = SIZE_BYTES_MAX;
        if (*line.at == 'S') {
            header.limit.bytes = value;
            header.has_bytes = true;
        } else if (*line.at == 'C') {
            header.limit.messages = value;
            header.has_messages = true;
        }
        line.at++;
        if (line.at == line.end)
            break;
        if (*line.at++ != ',' || line.at == line.end)
            return -EBADMSG;
    }
    *ret = header;
    return 0;
}

static int parse_entry(struct cursor line, int64_t *ret_bytes, int64_t *ret_messages)
{
    skip_blanks(&line);
    if (take_number(&line, ret_bytes) < 0 || skip_blanks(&line) == 0 ||
        take_number(&line, ret_messages) < 0)
        return -EBADMSG;
    skip_blanks(&line);
    return line.at == line.end ? 0 : -EBADMSG;
}

int maildirsize_parse(const char *text, size_t length, struct maildirsize *ret)
{
    struct cursor file = {text, text + length}, line;
    /* A file below the maximum has too few lines to overflow these. */
    __int128 bytes = 0, messages = 0;
    bool has_header;

    *ret = (struct maildirsize){};
    has_header = take_line(&file, &line) && parse_header(line, ret) == 0;

    if (length >= MAILDIRSIZE_BYTES_MAX)
        return -EFBIG;
    if (!has_header || memchr(file.at, '\0', (size_t)(file.end - file.at)))
        return -EBADMSG;
    for (; take_line(&file, &line); ret->entries++) {
        int64_t entry_bytes, entry_messages;

        if (parse_entry(line, &entry_bytes, &entry_messages) < 0)
            return -EBADMSG;
        bytes += entry_bytes;
        messages += entry_messages;
    }
    if (ret->entries == 0)
        return -ENODATA;
    if (bytes < 0 || bytes > (__int128)SIZE_BYTES_MAX || messages < 0 ||
        messages > (__int128)SIZE_BYTES_MAX)
        return -ERANGE;
    ret->bytes = (uint64_t)bytes;
    ret->messages = (uint64_t)messages;
    return 0;
}
