/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replies: whatever a value holds, whoever reads the line gets it back. The input is one value
 * after the other, each ended by a NUL; the first byte chooses what the reply is about.
 *
 * Exim's reader is written anew from its specification: "${extract{<key>}{<string>}}" in the
 * chapter "String expansions", and what it says there of quoted strings and their escapes.
 */
#include "fuzz.h"

#include "protocol/pairs.h"
#include "protocol/reply.h"

#define VALUES_MAX 20

static struct reply reply;

static bool is_exim_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Takes up to `most` digits of a base off *text. */
static unsigned int take_digits(const char **text, int base, int most)
{
    unsigned int number = 0;

    for (; most > 0; most--, (*text)++) {
        const char digit[] = {**text, '\0'};
        char *end;
        unsigned long value = strtoul(digit, &end, base);

        if (end == digit || **text == '+' || **text == '-')
            break;
        number = number * (unsigned int)base + (unsigned int)value;
    }
    return number;
}

/* Undoes an escape. *text is behind its backslash. */
static char exim_escape(const char **text)
{
    static const char letters[] = "bfnrtv", meant[] = "\b\f\n\r\t\v";
    char c = **text;
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;

    if (c >= '0' && c <= '7')
        return (char)take_digits(text, 8, 3);
    (*text)++;
    if (c == 'x')
        return (char)take_digits(text, 16, 2);
    return letter ? meant[letter - letters] : c;
}

/* Takes a value off *text: a word, or a quoted string. The caller frees it. */
static char *exim_value(const char **text)
{
    char *value = malloc(strlen(*text) + 1), *to = value;

    require(value);
    if (**text != '"') {
        while (**text && !is_exim_space(**text))
            *to++ = *(*text)++;
    } else {
        (*text)++;
        while (**text && **text != '"') {
            if (**text == '\\' && (*text)[1] != '\0') {
                (*text)++;
                *to++ = exim_escape(text);
            } else {
                *to++ = *(*text)++;
            }
        }
        if (**text == '"')
            (*text)++;
    }
    *to = '\0';
    return value;
}

/* Returns what ${extract{key}{text}} does, NULL if there is no such key. The caller frees it. */
static char *exim_extract(const char *key, const char *text)
{
    for (;;) {
        const char *found;
        size_t length;
        char *value;

        while (is_exim_space(*text))
            text++;
        if (*text == '\0')
            return NULL;
        found = text;
        while (*text && *text != '=' && !is_exim_space(*text))
            text++;
        length = (size_t)(text - found);
        while (is_exim_space(*text))
            text++;
        if (*text == '=')
            text++;
        while (is_exim_space(*text))
            text++;
        value = exim_value(&text);
        if (length == strlen(key) && strncasecmp(found, key, length) == 0)
            return value;
        free(value);
    }
}

/* A line for everybody: no control character but the LF at its end. */
static void check_line(void)
{
    require(reply.length > 0 && reply.length <= REPLY_BYTES_MAX);
    require(reply.bytes[reply.length - 1] == '\n');
    for (size_t i = 0; i + 1 < reply.length; i++)
        require((unsigned char)reply.bytes[i] >= ' ' && reply.bytes[i] != 0x7f);
}

static void check_value(const struct pairs *pairs, const char *line, const char *key,
                        const char *expected)
{
    const char *value = pairs_find(pairs, key);
    char *extracted = exim_extract(key, line);

    require(value && strcmp(value, expected) == 0);
    require(extracted && strcmp(extracted, expected) == 0);
    free(extracted);
}

/* Checks that the reply has these values, and no more pairs than so many. */
static void check_values(const char *const *keys, char *const *values, size_t count, size_t pairs)
{
    char *line = fuzz_string(reply.bytes, reply.length - 1);
    char *taken_apart = fuzz_copy(reply.bytes, reply.length - 1, 1);
    struct pairs parsed;

    check_line();
    require(pairs_parse(taken_apart, reply.length - 1, &parsed) == 0);
    require(parsed.count == pairs);
    for (size_t i = 0; i < count; i++)
        check_value(&parsed, line, keys[i], values[i]);
    free(taken_apart);
    free(line);
}

static void check_any(char **values, size_t count)
{
    static const char *const keys[VALUES_MAX] = {"a",  "b_", "c3", "text", "e",     "ee", "f",
                                                 "g",  "h",  "i",  "j",    "k",     "l",  "m",
                                                 "nn", "n",  "o",  "p",    "text2", "q_1"};

    reply_init(&reply);
    for (size_t i = 0; i < count; i++)
        reply_add_text(&reply, keys[i], values[i]);
    reply_add_number(&reply, "number", count);
    reply_end(&reply);
    check_values(keys, values, count, count + 1);
}

static void check_usage(char **values, size_t count)
{
    static const char *const keys[] = {"mailbox"};
    const struct usage usage = {.bytes = UINT64_MAX, .source = (enum usage_source)(count % 6)};
    const struct target_decision decision = {
        .verdict = VERDICT_OVER,
        .usage = &usage,
        .rule = (enum usage_rule)(count % USAGE_RULE_COUNT_),
        .limit_from = (enum limit_source)(count % 5),
        .percent = UINT64_MAX,
        .mailbox = values[0],
    };

    reply_decision(&reply, count > 1, &decision);
    check_values(keys, values, 1, count > 1 ? 11 : 10);
}

static void check_error(char **values, size_t count)
{
    static const char *const keys[] = {"text"};

    reply_error(&reply, (enum reason)(1 + count % (REASON_COUNT_ - 1)), values[0]);
    check_values(keys, values, 1, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {(const char *)data + 1, size - 1};
    char *values[VALUES_MAX];
    size_t count = 0;

    /* A reply has room for a path and a text, whatever has to be escaped in them. */
    if (size == 0 || size > 5000)
        return 0;
    do
        values[count++] = fuzz_take(&input, '\0');
    while (input.left > 0 && count < VALUES_MAX);
    switch (data[0] % 3) {
    case 0:
        check_any(values, count);
        break;
    case 1:
        check_usage(values, count);
        break;
    default:
        check_error(values, count);
        break;
    }
    while (count > 0)
        free(values[--count]);
    return 0;
}
