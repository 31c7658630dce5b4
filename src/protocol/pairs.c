/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/pairs.h"

#include <errno.h>
#include <string.h>

#include "quota/ascii.h"

/* What is being read. The values are unescaped to where they stand, which is never longer. */
struct reader {
    char *next;
    char *end; /* one byte may be written there */
};

static bool is_key(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!(text[i] >= 'a' && text[i] <= 'z') &&
            (i == 0 || !(ascii_is_digit(text[i]) || text[i] == '_')))
            return false;
    return length > 0;
}

static int read_key(struct reader *reader, const char **ret)
{
    char *equals = memchr(reader->next, '=', (size_t)(reader->end - reader->next));

    if (!equals || !is_key(reader->next, (size_t)(equals - reader->next)))
        return -EBADMSG;
    *equals = '\0';
    *ret = reader->next;
    reader->next = equals + 1;
    return 0;
}

static int read_plain(struct reader *reader, const char **ret)
{
    char *c = reader->next;

    while (c < reader->end && *c != ' ') {
        if (ascii_is_control(*c) || *c == '"' || *c == '\\')
            return -EBADMSG;
        c++;
    }
    if (c == reader->next)
        return -EBADMSG;
    *ret = reader->next;
    reader->next = c;
    return 0;
}

/* Reads what follows a backslash: a quote, a backslash, or the three octal digits of a byte. */
static int read_escape(struct reader *reader, char *ret)
{
    const char *c = reader->next;
    unsigned int byte = 0;

    if (c < reader->end && (*c == '"' || *c == '\\')) {
        *ret = *c;
        reader->next++;
        return 0;
    }
    if (reader->end - c < 3)
        return -EBADMSG;
    for (int i = 0; i < 3; i++) {
        if (c[i] < '0' || c[i] > '7')
            return -EBADMSG;
        byte = byte * 8 + (unsigned int)(c[i] - '0');
    }
    if (byte == 0 || byte > UINT8_MAX)
        return -EBADMSG;
    *ret = (char)byte;
    reader->next += 3;
    return 0;
}

static int read_quoted(struct reader *reader, const char **ret)
{
    char *to = ++reader->next;

    *ret = to;
    while (reader->next < reader->end) {
        char c = *reader->next++;

        if (c == '"') {
            *to = '\0';
            return 0;
        }
        if (ascii_is_control(c) || (c == '\\' && read_escape(reader, &c) < 0))
            return -EBADMSG;
        *to++ = c;
    }
    return -EBADMSG;
}

static int read_pair(struct reader *reader, struct pair *pair)
{
    int r = read_key(reader, &pair->key);

    if (r < 0)
        return r;
    pair->is_quoted = reader->next < reader->end && *reader->next == '"';
    return pair->is_quoted ? read_quoted(reader, &pair->value) : read_plain(reader, &pair->value);
}

int pairs_parse(char *line, size_t length, struct pairs *ret)
{
    struct reader reader = {.next = line, .end = line + length};

    ret->count = 0;
    for (;;) {
        struct pair pair;
        int r;

        if (ret->count == PAIRS_MAX)
            return -E2BIG;
        r = read_pair(&reader, &pair);
        if (r < 0)
            return r;
        if (pairs_find(ret, pair.key))
            return -EBADMSG;
        ret->items[ret->count++] = pair;
        if (reader.next < reader.end && *reader.next != ' ')
            return -EBADMSG;
        *reader.next = '\0';
        if (reader.next == reader.end)
            return 0;
        reader.next++;
    }
}

const char *pairs_find(const struct pairs *pairs, const char *key)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->items[i].key, key) == 0)
            return pairs->items[i].value;
    return NULL;
}

static bool is_number(const char *value)
{
    return *value != '\0' && value[strspn(value, "0123456789")] == '\0' &&
           (*value != '0' || value[1] == '\0');
}

bool pair_is_number(const struct pair *pair)
{
    return !pair->is_quoted && is_number(pair->value);
}

int pairs_number(const struct pairs *pairs, const char *key, uint64_t *ret)
{
    const char *value = pairs_find(pairs, key);
    uint64_t number = 0;

    if (!value)
        return -ENOENT;
    if (!is_number(value))
        return -EINVAL;
    for (; *value; value++)
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*value - '0'), &number))
            return -ERANGE;
    *ret = number;
    return 0;
}
