/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits file. The input is the file; what is looked up afterwards comes from it as well.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "quota/limits.h"

static int file_fd = -1;
static char file_path[32];

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void check_error(int r, const struct limits_error *error, const char *text, size_t length)
{
    size_t lines = 0;

    require(r == -EBADMSG);
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n' || i + 1 == length;
    require(error->line >= 1 && error->line <= lines);
    require(memchr(error->text, '\0', sizeof(error->text)) && error->text[0] != '\0');
    for (const char *c = error->text; *c; c++)
        require(*c >= ' ' && *c <= '~');
}

/* Whether the file has nothing but comments and lines of `key: value`. */
static bool is_simple(const char *text, size_t length)
{
    bool line_begins = true;

    for (size_t i = 0; i < length; i++) {
        if (line_begins && (is_space(text[i]) || text[i] == '"') && text[i] != '\n')
            return false;
        line_begins = text[i] == '\n';
    }
    return true;
}

/* Looks up one key in a simple file, as one does by eye. Returns whether it is there. */
static bool find_line(const char *text, size_t length, const char *key, struct quota_limit *ret)
{
    size_t key_length = strlen(key);

    for (const char *line = text, *end = text + length; line < end;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        const char *stop = lf ? lf : end;
        char *value = fuzz_copy("", 0, (size_t)(stop - line));
        size_t used = 0;
        bool found = false;

        if ((size_t)(stop - line) > key_length && strncasecmp(line, key, key_length) == 0 &&
            (is_space(line[key_length]) || line[key_length] == ':')) {
            line += key_length;
            while (line < stop && is_space(*line))
                line++;
            line += line < stop && *line == ':';
            for (; line < stop; line++)
                if (!is_space(*line))
                    value[used++] = *line;
            require(size_parse_limit(value, used, ret) == 0);
            found = true;
        }
        free(value);
        if (found)
            return true;
        line = stop + 1;
    }
    return false;
}

static void expect_lookup(const char *text, size_t length, const struct address *address, int found,
                          struct quota_limit limit)
{
    char any[ADDRESS_MAX + 3];
    const char *domain = address_domain(address);
    const char *keys[] = {address->text, any, domain, "*"};
    struct quota_limit expected = {};

    (void)snprintf(any, sizeof(any), "*@%s", domain);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strpbrk(keys[i], ": \"#"))
            return; /* such a key must be quoted */
        if (!find_line(text, length, keys[i], &expected))
            continue;
        require(found == 1);
        require(limit.bytes == expected.bytes && limit.messages == expected.messages);
        return;
    }
    require(found == 0);
}

static void check_lookup(const struct limits *limits, const char *asked, const char *text,
                         size_t length)
{
    struct quota_limit limit = {UINT64_MAX, UINT64_MAX}, again = {};
    struct address address;
    const char *why;
    int found;

    if (address_parse(asked, strlen(asked), "", &address, &why) < 0)
        return;
    found = limits_lookup(limits, &address, &limit);
    require(found == 0 || found == 1);
    require(found == limits_lookup(limits, &address, &again));
    require(found == 0 || (limit.bytes <= SIZE_BYTES_MAX && limit.messages <= SIZE_BYTES_MAX));
    require(found == 1 || limits_lookup_default(limits, &again) == 0);
    if (is_simple(text, length))
        expect_lookup(text, length, &address, found, limit);
}

/* Looks up what each line begins with, and what it may have been meant for. */
static void check_lookups(const struct limits *limits, const char *text, size_t length)
{
    struct fuzz_input input = {text, length};
    size_t lookups = 0;

    check_lookup(limits, "joe@example.org", text, length);
    check_lookup(limits, "\"a b\"@example.net", text, length);
    while (input.left > 0 && lookups++ < 16) {
        char *line = fuzz_take(&input, '\n'), *asked = NULL;

        line[strcspn(line, ": \t")] = '\0';
        check_lookup(limits, line, text, length);
        require(asprintf(&asked, "nobody@%s", line) > 0);
        check_lookup(limits, asked, text, length);
        free(asked);
        free(line);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    file_fd = memfd_create("limits", MFD_CLOEXEC);
    require(file_fd >= 0);
    (void)snprintf(file_path, sizeof(file_path), "/proc/self/fd/%d", file_fd);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct limits_error error = {.line = SIZE_MAX};
    struct limits *limits = NULL;
    int r;

    require(ftruncate(file_fd, 0) == 0);
    require(pwrite(file_fd, data, size, 0) == (ssize_t)size);
    r = limits_load(file_path, &limits, &error);
    if (r < 0) {
        require(!limits);
        check_error(r, &error, text, size);
        return 0;
    }
    require(limits_count(limits) <= size / 2);
    require(limits_bytes(limits) <= 256 + size + (limits_count(limits) * 3 / 2 + 1) * 8);
    check_lookups(limits, text, size);
    limits_free(limits);
    return 0;
}
