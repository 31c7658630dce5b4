/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quota/ascii.h"
#include "quota/hash.h"
#include "quota/lsearch.h"
#include "system/cleanup.h"
#include "system/file.h"
#include "system/utf8.h"

/* A place in the table. It names an entry by its offset in the text plus 1; 0 is a free place. */
struct slot {
    uint32_t entry;
    uint32_t tag; /* bits of the key's hash, which spare most comparisons with other keys */
};

_Static_assert(LIMITS_FILE_BYTES_MAX < UINT32_MAX, "an offset in the text fits in a slot");

/* What ends a key, instead of a NUL and its value, that is unusable. No key holds it. */
#define UNUSABLE '\n'

/*
 * The text is the file's own, squeezed: for each entry the key in lower case and the value, each
 * with a NUL behind it; or the key and UNUSABLE; and in the end a NUL. A value stays text, which is
 * shorter than the limit that it stands for and lies beside its key, where a lookup has to read
 * anyway.
 */
struct limits {
    char *text;
    size_t text_length;
    size_t count;         /* of limits */
    size_t entries_count; /* of keys, usable or not */
    struct slot *slots;
    size_t slots_count;
    struct hash_key hash_key;
    struct limits_faults faults;
};

/* Says what could not be done, and why. */
static int fail_errno(char *error, int error_number, const char *what)
{
    errno = error_number;
    (void)snprintf(error, LIMITS_ERROR_BYTES_MAX, "%s: %m", what);
    return -error_number;
}

/* Notes what is wrong with a line, unless enough is noted. */
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

/* Returns whether an address can match the key. */
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
 * Takes white space out of text[0..length) where it stands at an end or beside a comma; elsewhere
 * one blank is left of it. Returns the new length.
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

/* Writes what a message may quote of the value: its beginning, in characters that cannot harm. */
static void quote_excerpt(const char *value, size_t length, char *buffer, size_t size)
{
    size_t shown = length < size ? length : size - 1;

    for (size_t i = 0; i < shown; i++)
        buffer[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
    buffer[shown] = '\0';
}

/* Returns whether the value is a limit. */
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
                  "\"%s\" is no limit; write a size (500M; K, M, G, T), a number of messages "
                  "(1000C), both (500M,1000C), or 0 or unlimited for none; a comment has a line of "
                  "its own, and a line that begins with white space continues the one above",
                  excerpt);
    return false;
}

/*
 * Appends part[0..length) and its end to the squeezed text, which lies in the same memory before
 * it. It never catches up with what is still to be appended or read: between a key and its value
 * there is a byte, and behind an entry the end of a line or a byte that file_read() left room for.
 */
static void append_squeezed(struct limits *limits, const char *part, size_t length, char end)
{
    memmove(limits->text + limits->text_length, part, length);
    limits->text_length += length;
    limits->text[limits->text_length++] = end;
}

static void add_entry(struct limits *limits, struct lsearch_entry *entry)
{
    bool is_usable;

    if (!check_key(limits, entry))
        return;
    entry->value_length = squeeze_spaces(entry->value, entry->value_length);
    is_usable = check_value(limits, entry);
    ascii_lower(entry->key, entry->key_length);
    append_squeezed(limits, entry->key, entry->key_length, is_usable ? '\0' : UNUSABLE);
    limits->entries_count++;
    if (!is_usable)
        return;
    append_squeezed(limits, entry->value, entry->value_length, '\0');
    limits->count++;
}

/* Reads and checks every entry of the file that limits->text holds, and squeezes them. */
static void limits_parse(struct limits *limits, size_t length)
{
    size_t mark = utf8_byte_order_mark(limits->text, length);
    struct lsearch lsearch = lsearch_begin(limits->text + mark, length - mark);
    struct lsearch_entry entry;
    const char *why = NULL;
    char *smaller;
    int r;

    while ((r = lsearch_next(&lsearch, &entry, &why)) != 0) {
        if (r > 0)
            add_entry(limits, &entry);
        else
            add_fault(limits, entry.line, "%s", why);
    }
    limits->text[limits->text_length] = '\0';
    smaller = realloc(limits->text, limits->text_length + 1);
    if (smaller)
        limits->text = smaller;
}

/* Returns whether the entry in slot, which is taken, has the key. */
static bool slot_has_key(const struct limits *limits, const struct slot *slot, const char *key,
                         size_t length)
{
    const char *other = limits->text + slot->entry - 1;

    return strncmp(other, key, length) == 0 && (other[length] == '\0' || other[length] == UNUSABLE);
}

/*
 * Returns the place of the key in the table: the one that holds it, or the free one where it
 * belongs. There always is a free one.
 */
static struct slot *find_slot(const struct limits *limits, const char *key, size_t length,
                              uint32_t *ret_tag)
{
    uint64_t hash = hash_bytes(&limits->hash_key, key, length);
    size_t index = (size_t)((hash >> 32) * limits->slots_count >> 32);

    *ret_tag = (uint32_t)hash;
    for (;;) {
        struct slot *slot = &limits->slots[index];

        if (slot->entry == 0 || (slot->tag == *ret_tag && slot_has_key(limits, slot, key, length)))
            return slot;
        index = index + 1 < limits->slots_count ? index + 1 : 0;
    }
}

/* Makes the table of the entries in the text. */
static int limits_index(struct limits *limits)
{
    int r;

    r = hash_key_init_random(&limits->hash_key);
    if (r < 0)
        return r;
    /* Two places in three are taken, so that a search ends soon. */
    limits->slots_count = limits->entries_count + limits->entries_count / 2 + 1;
    limits->slots = calloc(limits->slots_count, sizeof(*limits->slots));
    if (!limits->slots)
        return -ENOMEM;
    for (size_t offset = 0; offset < limits->text_length;) {
        const char *key = limits->text + offset;
        size_t length = strcspn(key, (const char[]){UNUSABLE, '\0'});
        bool is_usable = key[length] == '\0';
        uint32_t tag;
        struct slot *slot = find_slot(limits, key, length, &tag);

        if (slot->entry == 0)
            *slot = (struct slot){.entry = (uint32_t)offset + 1, .tag = tag};
        offset += length + 1;
        if (is_usable)
            offset += strlen(limits->text + offset) + 1;
    }
    return 0;
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
    limits_parse(limits, length);
    r = limits_index(limits);
    if (r < 0)
        return fail_errno(error, -r, "cannot be indexed");
    *ret = steal_pointer(&limits);
    return 0;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    free(limits->slots);
    free(limits->text);
    free(limits);
}

void limits_freep(struct limits **limits)
{
    limits_free(*limits);
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

static enum limits_answer lookup_key(const struct limits *limits, const char *key, size_t length,
                                     struct quota_limit *ret)
{
    uint32_t tag;
    const struct slot *slot = find_slot(limits, key, length, &tag);
    const char *end;

    if (slot->entry == 0)
        return LIMITS_NONE;
    end = limits->text + slot->entry - 1 + length;
    if (*end == UNUSABLE)
        return LIMITS_UNUSABLE;
    /* It was checked when it was loaded. */
    (void)size_parse_limit(end + 1, strlen(end + 1), ret);
    return LIMITS_FOUND;
}

enum limits_answer limits_lookup(const struct limits *limits, const struct address *address,
                                 struct quota_limit *ret)
{
    size_t domain_length = address->domain_length;
    char any[1 + 1 + ADDRESS_DOMAIN_MAX] = "*@";
    enum limits_answer answer = limits_lookup_exact(limits, address, ret);

    memcpy(any + 2, address_domain(address), domain_length);
    if (answer == LIMITS_NONE)
        answer = lookup_key(limits, any, domain_length + 2, ret);
    if (answer == LIMITS_NONE)
        answer = lookup_key(limits, any + 2, domain_length, ret);
    if (answer == LIMITS_NONE)
        answer = limits_lookup_default(limits, ret);
    return answer;
}

enum limits_answer limits_lookup_exact(const struct limits *limits, const struct address *address,
                                       struct quota_limit *ret)
{
    return lookup_key(limits, address->text, address->local_length + 1 + address->domain_length,
                      ret);
}

enum limits_answer limits_lookup_default(const struct limits *limits, struct quota_limit *ret)
{
    return lookup_key(limits, "*", 1, ret);
}

size_t limits_count(const struct limits *limits)
{
    return limits->count;
}

size_t limits_bytes(const struct limits *limits)
{
    return sizeof(*limits) + limits->text_length + 1 + limits->slots_count * sizeof(*limits->slots);
}
