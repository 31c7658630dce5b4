/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quota/ascii.h"
#include "quota/lsearch.h"
#include "system/cleanup.h"
#include "system/file.h"
#include "system/utf8.h"

_Static_assert(LIMITS_FILE_BYTES_MAX < UINT32_MAX, "an offset in the text has 32 bits");

/* What ends a key, instead of a NUL and its value, that is unusable. No key holds a control. */
#define UNUSABLE '\n'

struct key {
    uint32_t offset; /* in the text */
    uint32_t line;
};

/*
 * The text is that of the file, compacted: for each entry the key in lower case and the value, each
 * followed by a NUL; or the key and UNUSABLE; and a NUL at the end. A value stays text, which is
 * shorter than a struct quota_limit.
 */
struct limits {
    char *text;
    size_t text_length;
    size_t count;      /* of limits */
    struct key *keys;  /* sorted; of equal ones the first is first */
    size_t keys_count; /* usable or not */
    size_t keys_room;
    struct limits_faults faults;
};

static int fail_errno(char *error, int error_number, const char *what)
{
    errno = error_number;
    (void)snprintf(error, LIMITS_ERROR_BYTES_MAX, "%s: %m", what);
    return -error_number;
}

__attribute__((format(printf, 3, 4))) static void add_fault(struct limits *limits, size_t line,
                                                            const char *format, ...)
{
    struct limits_faults *faults = &limits->faults;
    struct limits_fault *fault;
    va_list arguments;

    if (faults->count++ >= LIMITS_FAULTS_MAX)
        return;
    fault = &faults->first[faults->count - 1];
    fault->line = line;
    va_start(arguments, format);
    (void)vsnprintf(fault->text, sizeof(fault->text), format, arguments);
    va_end(arguments);
}

/* Returns why no address can match the key, or NULL. */
static const char *key_fault(const char *key, size_t length)
{
    const char *at = memrchr(key, '@', length);
    size_t local_length = at ? (size_t)(at - key) : 0;
    const char *fault;

    if (length == 1 && key[0] == '*')
        return NULL;
    if (!at)
        return address_domain_fault(key, length);
    fault = address_local_fault(key, local_length);
    return fault ? fault : address_domain_fault(at + 1, length - local_length - 1);
}

static bool check_key(struct limits *limits, const struct lsearch_entry *entry)
{
    const char *fault = key_fault(entry->key, entry->key_length);

    if (fault)
        add_fault(limits, entry->line,
                  "no address can match the key: %s; a key is user@domain, *@domain, domain, or * "
                  "for all others",
                  fault);
    return !fault;
}

/*
 * Removes white space at the ends of text[0..length) and beside commas, and leaves one blank of it
 * elsewhere. Returns the new length.
 */
static size_t squeeze_spaces(char *text, size_t length)
{
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        bool is_space = ascii_is_space(text[i]);
        bool after_word = used > 0 && text[used - 1] != ' ' && text[used - 1] != ',';

        if (is_space && after_word)
            text[used++] = ' ';
        if (is_space)
            continue;
        if (text[i] == ',' && used > 0 && text[used - 1] == ' ')
            used--;
        text[used++] = text[i];
    }
    return used > 0 && text[used - 1] == ' ' ? used - 1 : used;
}

/* Quotes the beginning of the value, in printable characters. */
static void quote_excerpt(const char *value, size_t length, char *buffer, size_t size)
{
    size_t shown = length < size ? length : size - 1;

    for (size_t i = 0; i < shown; i++)
        buffer[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
    buffer[shown] = '\0';
}

static bool check_value(struct limits *limits, const struct lsearch_entry *entry)
{
    struct quota_limit limit;
    char excerpt[41];
    int r = size_parse_limit(entry->value, entry->value_length, &limit);

    if (entry->value_length == 0) {
        add_fault(limits, entry->line, "there is no limit after the key; write 0 for none");
        return false;
    }
    if (r == 0)
        return true;
    quote_excerpt(entry->value, entry->value_length, excerpt, sizeof(excerpt));
    if (memchr(entry->value, '\0', entry->value_length))
        add_fault(limits, entry->line, "there is a NUL byte; a limits file is plain text");
    else if (r == -ERANGE)
        add_fault(limits, entry->line,
                  "\"%s\" is too large; the largest limit is 9223372036854775807", excerpt);
    else
        add_fault(limits, entry->line,
                  "\"%s\" is not a limit; write a size (500M; K, M, G, T), a number of messages "
                  "(1000C), both (500M,1000C), or 0 or unlimited for none; a comment has a line of "
                  "its own, and a line that begins with white space continues the one above",
                  excerpt);
    return false;
}

/*
 * Appends part[0..length) and its end to the compacted text, which comes before it in the same
 * buffer. It never overtakes what is still to be read: there is a byte between a key and its value,
 * and behind an entry the end of a line or a byte that file_read() left room for.
 */
static void append_compacted(struct limits *limits, const char *part, size_t length, char end)
{
    memmove(limits->text + limits->text_length, part, length);
    limits->text_length += length;
    limits->text[limits->text_length++] = end;
}

/* Makes room for keys[0..count). Returns 0 or -ENOMEM. */
static int keys_resize(struct limits *limits, size_t count)
{
    struct key *keys = reallocarray(limits->keys, count, sizeof(*keys));

    if (!keys)
        return -ENOMEM;
    limits->keys = keys;
    limits->keys_room = count;
    return 0;
}

/* Adds the key that begins at the end of the text. */
static int add_key(struct limits *limits, size_t line)
{
    if (limits->keys_count == limits->keys_room &&
        keys_resize(limits, limits->keys_room > 0 ? limits->keys_room * 2 : 64) < 0)
        return -ENOMEM;
    limits->keys[limits->keys_count++] = (struct key){
        .offset = (uint32_t)limits->text_length,
        .line = (uint32_t)line,
    };
    return 0;
}

static int add_entry(struct limits *limits, struct lsearch_entry *entry)
{
    bool is_usable;

    if (!check_key(limits, entry))
        return 0;
    if (add_key(limits, entry->line) < 0)
        return -ENOMEM;
    entry->value_length = squeeze_spaces(entry->value, entry->value_length);
    is_usable = check_value(limits, entry);
    ascii_lower(entry->key, entry->key_length);
    append_compacted(limits, entry->key, entry->key_length, is_usable ? '\0' : UNUSABLE);
    if (!is_usable)
        return 0;
    append_compacted(limits, entry->value, entry->value_length, '\0');
    limits->count++;
    return 0;
}

/* Reads, checks and compacts all entries of limits->text. Returns 0 or -ENOMEM. */
static int limits_parse(struct limits *limits, size_t length)
{
    size_t mark = utf8_byte_order_mark(limits->text, length);
    struct lsearch lsearch = lsearch_begin(limits->text + mark, length - mark);
    struct lsearch_entry entry;
    const char *why = NULL;
    char *smaller;
    int r;

    while ((r = lsearch_next(&lsearch, &entry, &why)) != 0) {
        if (r < 0)
            add_fault(limits, entry.line, "%s", why);
        else if (add_entry(limits, &entry) < 0)
            return -ENOMEM;
    }
    limits->text[limits->text_length] = '\0';
    smaller = realloc(limits->text, limits->text_length + 1);
    if (smaller)
        limits->text = smaller;
    (void)keys_resize(limits, limits->keys_count + 1); /* what is left over may stay */
    return 0;
}

/* Compares two keys, each of which ends with NUL or UNUSABLE. Returns as strcmp(3). */
static int compare_keys(const char *a, const char *b)
{
    while (*a == *b && !ascii_is_control(*a)) {
        a++;
        b++;
    }
    if (ascii_is_control(*a) || ascii_is_control(*b))
        return ascii_is_control(*b) - ascii_is_control(*a);
    return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

/* For qsort_r(3). */
static int order_of_keys(const void *a, const void *b, void *text)
{
    uint32_t left = ((const struct key *)a)->offset, right = ((const struct key *)b)->offset;
    int order = compare_keys((const char *)text + left, (const char *)text + right);

    return order != 0 ? order : left < right ? -1 : left > right;
}

int limits_load(const char *path, struct limits **ret, char error[static LIMITS_ERROR_BYTES_MAX])
{
    _cleanup_(limits_freep) struct limits *limits = NULL;
    size_t length = 0;
    int r;

    limits = calloc(1, sizeof(*limits));
    if (!limits)
        return fail_errno(error, ENOMEM, "cannot be held in memory");
    r = file_read(path, LIMITS_FILE_BYTES_MAX, &limits->text, &length, error);
    if (r < 0)
        return r;
    if (limits_parse(limits, length) < 0)
        return fail_errno(error, ENOMEM, "cannot be held in memory");
    qsort_r(limits->keys, limits->keys_count, sizeof(*limits->keys), order_of_keys, limits->text);
    *ret = steal_pointer(&limits);
    return 0;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    free(limits->keys);
    free(limits->text);
    free(limits);
}

const struct limits_faults *limits_faults(const struct limits *limits)
{
    return &limits->faults;
}

void limits_say_faults(const struct limits *limits, const char *path,
                       void (*say)(const char *line, void *userdata), void *userdata)
{
    const struct limits_faults *faults = &limits->faults;
    size_t shown = faults->count > LIMITS_FAULTS_MAX ? LIMITS_FAULTS_MAX - 1 : faults->count;
    char line[PATH_MAX + sizeof(faults->first[0].text) + 32];

    for (size_t i = 0; i < shown; i++) {
        (void)snprintf(line, sizeof(line), "%.*s:%zu: %s", PATH_MAX, path, faults->first[i].line,
                       faults->first[i].text);
        say(line, userdata);
    }
    if (shown == faults->count)
        return;
    (void)snprintf(line, sizeof(line), "%.*s: and %zu more", PATH_MAX, path, faults->count - shown);
    say(line, userdata);
}

/* Returns the first of the keys that are not less than key, or keys_count. */
static size_t find_key(const struct limits *limits, const char *key)
{
    size_t low = 0, high = limits->keys_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_keys(limits->text + limits->keys[middle].offset, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum limits_answer lookup_key(const struct limits *limits, enum limits_key kind,
                                     const char *key, struct limits_entry *ret)
{
    size_t i = find_key(limits, key);
    const char *end;

    if (i == limits->keys_count || compare_keys(limits->text + limits->keys[i].offset, key) != 0)
        return LIMITS_NONE;
    *ret = (struct limits_entry){.key = kind, .line = limits->keys[i].line};
    end = limits->text + limits->keys[i].offset + strlen(key);
    if (*end == UNUSABLE)
        return LIMITS_UNUSABLE;
    /* It was checked when it was loaded. */
    (void)size_parse_limit(end + 1, strlen(end + 1), &ret->limit);
    return LIMITS_FOUND;
}

enum limits_answer limits_lookup(const struct limits *limits, const struct address *address,
                                 struct limits_entry *ret)
{
    char any[sizeof("*@") + ADDRESS_DOMAIN_MAX] = "*@";
    enum limits_answer answer = limits_lookup_exact(limits, address, ret);

    (void)strcpy(any + 2, address_domain(address));
    if (answer == LIMITS_NONE)
        answer = lookup_key(limits, LIMITS_KEY_ANY, any, ret);
    if (answer == LIMITS_NONE)
        answer = lookup_key(limits, LIMITS_KEY_DOMAIN, any + 2, ret);
    if (answer == LIMITS_NONE)
        answer = limits_lookup_default(limits, ret);
    return answer;
}

enum limits_answer limits_lookup_exact(const struct limits *limits, const struct address *address,
                                       struct limits_entry *ret)
{
    return lookup_key(limits, LIMITS_KEY_ADDRESS, address->text, ret);
}

enum limits_answer limits_lookup_default(const struct limits *limits, struct limits_entry *ret)
{
    return lookup_key(limits, LIMITS_KEY_DEFAULT, "*", ret);
}

size_t limits_count(const struct limits *limits)
{
    return limits->count;
}

size_t limits_bytes(const struct limits *limits)
{
    return sizeof(*limits) + limits->text_length + 1 + limits->keys_count * sizeof(*limits->keys);
}
