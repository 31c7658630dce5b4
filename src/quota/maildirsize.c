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

/* A sum of 128 bits, as two's complement. A file has too few lines to overflow it. */
struct sum {
    uint64_t low;
    int64_t high;
};

static void sum_add(struct sum *sum, int64_t value)
{
    sum->high += __builtin_add_overflow(sum->low, (uint64_t)value, &sum->low);
    sum->high -= value < 0;
}

/* Says whether it is no size: negative or too large. */
static bool sum_is_implausible(const struct sum *sum)
{
    return sum->high != 0 || sum->low > SIZE_BYTES_MAX;
}

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
    struct sum bytes = {}, messages = {};
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
        sum_add(&bytes, entry_bytes);
        sum_add(&messages, entry_messages);
    }
    if (ret->entries == 0)
        return -ENODATA;
    if (sum_is_implausible(&bytes) || sum_is_implausible(&messages))
        return -ERANGE;
    ret->bytes = bytes.low;
    ret->messages = messages.low;
    return 0;
}
