/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/lsearch.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "quota/ascii.h"

/* The rest of a line, without white space at its end. */
struct span {
    char *start;
    size_t length;
};

static void span_skip(struct span *span, size_t length)
{
    span->start += length;
    span->length -= length;
}

static void span_skip_space(struct span *span)
{
    while (span->length > 0 && ascii_is_space(span->start[0]))
        span_skip(span, 1);
}

static bool span_is_indented(struct span span)
{
    return span.length > 0 && ascii_is_space(span.start[0]);
}

struct lsearch lsearch_begin(char *text, size_t length)
{
    return (struct lsearch){.text = text, .length = length, .line = 1};
}

static bool take_line(struct lsearch *lsearch, struct span *ret)
{
    char *start = lsearch->text + lsearch->position;
    size_t left = lsearch->length - lsearch->position;
    const char *newline = memchr(start, '\n', left);
    size_t length = newline ? (size_t)(newline - start) : left;

    if (left == 0)
        return false;
    lsearch->position += length + (newline != NULL);
    lsearch->line++;
    while (length > 0 && ascii_is_space(start[length - 1]))
        length--;
    *ret = (struct span){start, length};
    return true;
}

/* Takes the next line if it begins with white space and holds more than that. */
static bool take_continuation(struct lsearch *lsearch, struct span *ret)
{
    struct lsearch ahead = *lsearch;

    if (!take_line(&ahead, ret) || !span_is_indented(*ret))
        return false;
    *lsearch = ahead;
    return true;
}

/* Takes a number to that base, of at most max_digits digits. Without digits, it is 0. */
static unsigned int take_number(struct span *span, size_t base, unsigned int max_digits)
{
    static const char digits[] = "0123456789abcdef";
    unsigned int value = 0;

    for (; max_digits > 0 && span->length > 0; max_digits--) {
        char digit = span->start[0];
        const char *found;

        ascii_lower(&digit, 1);
        found = memchr(digits, digit, base);
        if (!found)
            break;
        value = value * (unsigned int)base + (unsigned int)(found - digits);
        span_skip(span, 1);
    }
    return value;
}

/*
 * Takes an escape after its backslash. Returns the byte that it stands for. As in Exim, an unknown
 * escape stands for itself, and a number is cut to a byte.
 */
static char take_escape(struct span *span)
{
    static const char letters[] = "bfnrtv", bytes[] = "\b\f\n\r\t\v";
    char c = span->start[0];
    const char *letter = memchr(letters, c, sizeof(letters) - 1);

    if (c >= '0' && c <= '7')
        return (char)take_number(span, 8, 3);
    span_skip(span, 1);
    if (c == 'x')
        return (char)take_number(span, 16, 2);
    return letter ? bytes[letter - letters] : c;
}

/* Takes a quoted key, and undoes its escapes in place. Returns whether it has a closing quote. */
static bool take_quoted_key(struct span *line, struct lsearch_entry *entry)
{
    entry->key = line->start;
    entry->key_length = 0;
    span_skip(line, 1);
    while (line->length > 0) {
        char c = line->start[0];

        span_skip(line, 1);
        if (c == '"')
            return true;
        if (c == '\\' && line->length > 0)
            c = take_escape(line);
        entry->key[entry->key_length++] = c;
    }
    return false;
}

static void take_plain_key(struct span *line, struct lsearch_entry *entry)
{
    size_t length = 0;

    while (length < line->length && line->start[length] != ':' &&
           !ascii_is_space(line->start[length]))
        length++;
    entry->key = line->start;
    entry->key_length = length;
    span_skip(line, length);
}

/*
 * Takes the value that begins in this line, and the lines that continue it, which are moved up
 * behind it, each with one blank in place of its indentation.
 */
static void take_value(struct lsearch *lsearch, struct span line, struct lsearch_entry *entry)
{
    entry->value = line.start;
    entry->value_length = line.length;
    while (take_continuation(lsearch, &line)) {
        span_skip_space(&line);
        if (entry->value_length == 0)
            entry->value = line.start;
        else
            entry->value[entry->value_length++] = ' ';
        memmove(entry->value + entry->value_length, line.start, line.length);
        entry->value_length += line.length;
    }
}

/* Takes an entry that begins in this line. */
static int take_entry(struct lsearch *lsearch, struct span line, struct lsearch_entry *entry,
                      const char **ret_why)
{
    if (line.start[0] != '"') {
        take_plain_key(&line, entry);
    } else if (!take_quoted_key(&line, entry)) {
        while (take_continuation(lsearch, &line))
            ; /* what continues it is of no use either */
        *ret_why = "the key begins with a quote, but has no closing quote";
        return -EBADMSG;
    }
    span_skip_space(&line);
    if (line.length > 0 && line.start[0] == ':')
        span_skip(&line, 1);
    span_skip_space(&line);
    take_value(lsearch, line, entry);
    return 1;
}

int lsearch_next(struct lsearch *lsearch, struct lsearch_entry *ret, const char **ret_why)
{
    struct span line;

    for (;;) {
        bool is_indented;

        ret->line = lsearch->line;
        if (!take_line(lsearch, &line))
            return 0;
        is_indented = span_is_indented(line);
        span_skip_space(&line);
        if (line.length > 0 && line.start[0] != '#' && !is_indented)
            return take_entry(lsearch, line, ret, ret_why);
        if (memchr(line.start, '\0', line.length)) {
            *ret_why = "there is a NUL byte; a limits file is plain text";
            return -EBADMSG;
        }
        if (line.length > 0 && line.start[0] != '#') {
            *ret_why = "the line begins with white space, and there is no value directly above "
                       "that it could continue: Exim would leave it out";
            return -EBADMSG;
        }
    }
}
