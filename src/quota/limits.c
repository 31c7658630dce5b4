/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quota/ascii.h"
#include "quota/hash.h"
#include "quota/lsearch.h"
#include "system/cleanup.h"

/* A place in the table. It names an entry by its offset in the text plus 1; 0 is a free place. */
struct slot {
    uint32_t entry;
    uint32_t tag; /* bits of the key's hash, which spare most comparisons with other keys */
};

_Static_assert(LIMITS_FILE_BYTES_MAX < UINT32_MAX, "an offset in the text fits in a slot");

/*
 * The text is the file's own, squeezed: for each entry the key in lower case and the value, each
 * with a NUL behind it. A value stays text, which is shorter than the limit that it stands for and
 * lies beside its key, where a lookup has to read anyway.
 */
struct limits {
    char *text;
    size_t text_length;
    size_t count;
    struct slot *slots;
    size_t slots_count;
    struct hash_key hash_key;
};

__attribute__((format(printf, 4, 5))) static int fail(struct limits_error *error, int r,
                                                      size_t line, const char *format, ...)
{
    va_list arguments;

    error->line = line;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return r;
}

/* As fail(), for an errno: says what could not be done, and why. */
static int fail_errno(struct limits_error *error, int error_number, const char *what)
{
    errno = error_number;
    return fail(error, -error_number, 0, "%s: %m", what);
}

/*
 * Opens path if it is a regular file of a size that we take. Returns a descriptor and the size, or
 * a negative errno.
 */
static int open_file(const char *path, size_t *ret_length, struct limits_error *error)
{
    _cleanup_(closep) int fd = -1;
    struct stat status;

    /* O_NONBLOCK: a FIFO is refused below, and must not keep us waiting here. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(error, errno, "cannot be opened");
    if (fstat(fd, &status) < 0)
        return fail_errno(error, errno, "cannot be examined");
    if (!S_ISREG(status.st_mode))
        return fail(error, -EINVAL, 0, "is not a regular file");
    if ((uint64_t)status.st_size > LIMITS_FILE_BYTES_MAX)
        return fail(error, -EFBIG, 0, "is larger than 1 GiB");
    *ret_length = (size_t)status.st_size;
    return steal_fd(&fd);
}

/* Reads until the end of the file or until buffer[0..size) is full. Returns 0 and the length. */
static int read_all(int fd, char *buffer, size_t size, size_t *ret_length)
{
    size_t used = 0;

    while (used < size) {
        ssize_t got = read(fd, buffer + used, size - used);

        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -errno;
        used += got > 0 ? (size_t)got : 0;
    }
    *ret_length = used;
    return 0;
}

/*
 * Reads the file into memory. Returns 0 and the text with its length, and room for one byte more,
 * or a negative errno.
 */
static int read_file(const char *path, char **ret_text, size_t *ret_length,
                     struct limits_error *error)
{
    _cleanup_(closep) int fd = -1;
    _cleanup_(freep) char *text = NULL;
    size_t length = 0, got = 0;
    int r;

    fd = open_file(path, &length, error);
    if (fd < 0)
        return fd;
    text = malloc(length + 1);
    if (!text)
        return fail_errno(error, ENOMEM, "cannot be held in memory");
    r = read_all(fd, text, length + 1, &got);
    if (r < 0)
        return fail_errno(error, -r, "cannot be read");
    if (got != length)
        return fail(error, -EAGAIN, 0, "changed its size while it was read");
    *ret_text = steal_pointer(&text);
    *ret_length = length;
    return 0;
}

/* Checks what would make Exim read something else than what an editor shows. */
static int check_plain_text(const char *text, size_t length, struct limits_error *error)
{
    static const char byte_order_mark[3] = "\xef\xbb\xbf";
    const char *nul = memchr(text, '\0', length);
    size_t line = 1;

    if (length >= sizeof(byte_order_mark) &&
        memcmp(text, byte_order_mark, sizeof(byte_order_mark)) == 0)
        return fail(error, -EBADMSG, 1,
                    "there is a byte order mark, which Exim would read as part of the first line");
    if (!nul)
        return 0;
    for (const char *c = text; c < nul; c++)
        line += *c == '\n';
    return fail(error, -EBADMSG, line, "there is a NUL byte; a limits file is plain text");
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

static int check_key(const struct lsearch_entry *entry, struct limits_error *error)
{
    const char *fault = key_fault(entry->key, entry->key_length);

    if (!fault)
        return 0;
    return fail(error, -EBADMSG, entry->line,
                "no address can match the key: %s; a key is user@domain, *@domain, domain, or * "
                "for all others",
                fault);
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

static int check_value(const struct lsearch_entry *entry, struct limits_error *error)
{
    struct quota_limit limit;
    char excerpt[41];
    int r;

    if (entry->value_length == 0)
        return fail(error, -EBADMSG, entry->line,
                    "there is no limit behind the key; write 0 where there shall be none");
    r = size_parse_limit(entry->value, entry->value_length, &limit);
    if (r == 0)
        return 0;
    quote_excerpt(entry->value, entry->value_length, excerpt, sizeof(excerpt));
    if (r == -ERANGE)
        return fail(error, -EBADMSG, entry->line,
                    "\"%s\" is too large; the largest limit is 9223372036854775807", excerpt);
    return fail(error, -EBADMSG, entry->line,
                "\"%s\" is no limit; write a size (500M; K, M, G, T), a number of messages "
                "(1000C), both (500M,1000C), or 0 for none; a comment has a line of its own, and "
                "a line that begins with white space continues the one above",
                excerpt);
}

/*
 * Appends part[0..length) with a NUL to the squeezed text, which lies in the same memory before it.
 * It never catches up with what is still to be appended or read: between a key and its value there
 * is a byte, and behind a value the end of a line or the byte that read_file() left room for.
 */
static void append_squeezed(struct limits *limits, const char *part, size_t length)
{
    memmove(limits->text + limits->text_length, part, length);
    limits->text_length += length;
    limits->text[limits->text_length++] = '\0';
}

static int add_entry(struct limits *limits, struct lsearch_entry *entry, struct limits_error *error)
{
    int r;

    r = check_key(entry, error);
    if (r < 0)
        return r;
    entry->value_length = squeeze_spaces(entry->value, entry->value_length);
    r = check_value(entry, error);
    if (r < 0)
        return r;
    ascii_lower(entry->key, entry->key_length);
    append_squeezed(limits, entry->key, entry->key_length);
    append_squeezed(limits, entry->value, entry->value_length);
    limits->count++;
    return 0;
}

/* Reads and checks every entry of the file that limits->text holds, and squeezes them. */
static int limits_parse(struct limits *limits, size_t length, struct limits_error *error)
{
    struct lsearch lsearch = lsearch_begin(limits->text, length);
    struct lsearch_entry entry;
    const char *why = NULL;
    char *smaller;
    int r;

    while ((r = lsearch_next(&lsearch, &entry, &why)) > 0) {
        r = add_entry(limits, &entry, error);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return fail(error, r, entry.line, "%s", why);
    smaller = realloc(limits->text, limits->text_length + 1);
    if (smaller)
        limits->text = smaller;
    return 0;
}

/* Returns whether the entry in slot, which is taken, has the key. */
static bool slot_has_key(const struct limits *limits, const struct slot *slot, const char *key,
                         size_t length)
{
    const char *other = limits->text + slot->entry - 1;

    return strncmp(other, key, length) == 0 && other[length] == '\0';
}

/*
 * Returns the place of the key in the table: the one that holds it, or the free one where it
 * belongs. There always is a free one.
 */
static struct slot *find_slot(const struct limits *limits, const char *key, size_t length,
                              uint32_t *ret_tag)
{
    uint64_t hash = hash_bytes(&limits->hash_key, key, length);
    size_t index = (size_t)((unsigned __int128)hash * limits->slots_count >> 64);

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
    limits->slots_count = limits->count + limits->count / 2 + 1;
    limits->slots = calloc(limits->slots_count, sizeof(*limits->slots));
    if (!limits->slots)
        return -ENOMEM;
    for (size_t offset = 0; offset < limits->text_length;) {
        const char *key = limits->text + offset;
        size_t length = strlen(key);
        uint32_t tag;
        struct slot *slot = find_slot(limits, key, length, &tag);

        if (slot->entry == 0)
            *slot = (struct slot){.entry = (uint32_t)offset + 1, .tag = tag};
        offset += length + 1;
        offset += strlen(limits->text + offset) + 1;
    }
    return 0;
}

int limits_load(const char *path, struct limits **ret, struct limits_error *error)
{
    _cleanup_(limits_freep) struct limits *limits = NULL;
    size_t length = 0;
    int r;

    limits = calloc(1, sizeof(*limits));
    if (!limits)
        return fail_errno(error, ENOMEM, "cannot be held in memory");
    r = read_file(path, &limits->text, &length, error);
    if (r < 0)
        return r;
    r = check_plain_text(limits->text, length, error);
    if (r < 0)
        return r;
    r = limits_parse(limits, length, error);
    if (r < 0)
        return r;
    r = limits_index(limits);
    if (r < 0)
        return fail_errno(error, -r, "cannot be indexed");
    *ret = steal_pointer(&limits);
    return 0;
}

void limits_error_line(const struct limits_error *error, const char *path,
                       char line[static LIMITS_ERROR_LINE_BYTES_MAX])
{
    char number[32] = "";

    if (error->line > 0)
        (void)snprintf(number, sizeof(number), "line %zu: ", error->line);
    (void)snprintf(line, LIMITS_ERROR_LINE_BYTES_MAX, "--limits=%.*s: %s%s", PATH_MAX, path, number,
                   error->text);
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

/* Looks up one key. Returns 1 and its limit, or 0. */
static int lookup_key(const struct limits *limits, const char *key, size_t length,
                      struct quota_limit *ret)
{
    uint32_t tag;
    const struct slot *slot = find_slot(limits, key, length, &tag);
    const char *value;

    if (slot->entry == 0)
        return 0;
    value = limits->text + slot->entry - 1 + length + 1;
    /* It was checked when it was loaded. */
    (void)size_parse_limit(value, strlen(value), ret);
    return 1;
}

int limits_lookup(const struct limits *limits, const struct address *address,
                  struct quota_limit *ret)
{
    size_t local_length = address->local_length, domain_length = address->domain_length;
    char any[1 + 1 + ADDRESS_DOMAIN_MAX] = "*@";

    memcpy(any + 2, address_domain(address), domain_length);
    if (lookup_key(limits, address->text, local_length + 1 + domain_length, ret) > 0 ||
        lookup_key(limits, any, domain_length + 2, ret) > 0 ||
        lookup_key(limits, any + 2, domain_length, ret) > 0)
        return 1;
    return limits_lookup_default(limits, ret);
}

int limits_lookup_default(const struct limits *limits, struct quota_limit *ret)
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
