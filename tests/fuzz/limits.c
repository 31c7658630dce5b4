/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits file. The input is the file; what is looked up afterwards comes from it as well.
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "quota/limits.h"

static int file_fd = -1;
static char file_path[32];

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t count_lines(const char *text, size_t length)
{
    size_t lines = 0;

    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n' || i + 1 == length;
    return lines;
}

static void check_said(const char *line, void *userdata)
{
    size_t *said = userdata;

    ++*said;
    require(strncmp(line, "/l:", 3) == 0);
    for (const char *c = line; *c; c++)
        require(*c >= ' ' && *c <= '~');
}

/* Each line is said to be wrong once at most, in plain text, and not too many of them. */
static void check_faults(const struct limits *limits, const char *text, size_t length)
{
    const struct limits_faults *faults = limits_faults(limits);
    size_t lines = count_lines(text, length), said = 0, last = 0;

    require(faults->count + limits_count(limits) <= lines);
    for (size_t i = 0; i < faults->count && i < LIMITS_FAULTS_MAX; i++) {
        require(faults->first[i].line > last && faults->first[i].line <= lines);
        require(faults->first[i].text[0] != '\0');
        last = faults->first[i].line;
    }
    limits_say_faults(limits, "/l", check_said, &said);
    require(said == (faults->count < LIMITS_FAULTS_MAX ? faults->count : LIMITS_FAULTS_MAX));
}

/* Whether the file has nothing but comments and lines of `key: value`. */
static bool is_simple(const char *text, size_t length)
{
    bool line_begins = true;

    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (line_begins && (is_space(text[i]) || text[i] == '"') && text[i] != '\n')
            return false;
        line_begins = text[i] == '\n';
    }
    return true;
}

/* Reads the value text[0..length), which may have blanks at its ends and beside its comma. */
static enum limits_answer read_value(const char *text, size_t length, struct quota_limit *ret)
{
    char *value = fuzz_copy("", 0, length);
    bool is_limit = true, was_space = false;
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        if (is_space(text[i])) {
            was_space = true;
            continue;
        }
        if (was_space && used > 0 && value[used - 1] != ',' && text[i] != ',')
            is_limit = false;
        was_space = false;
        value[used++] = text[i];
    }
    is_limit = is_limit && used > 0 && size_parse_limit(value, used, ret) == 0;
    free(value);
    return is_limit ? LIMITS_FOUND : LIMITS_UNUSABLE;
}

/* Looks up one key in a simple file, as one does by eye. */
static enum limits_answer find_line(const char *text, size_t length, const char *key,
                                    struct quota_limit *ret)
{
    size_t key_length = strlen(key);

    for (const char *line = text, *end = text + length; line < end;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        const char *stop = lf ? lf : end;

        if ((size_t)(stop - line) >= key_length && strncasecmp(line, key, key_length) == 0 &&
            (line + key_length == stop || is_space(line[key_length]) || line[key_length] == ':')) {
            line += key_length;
            while (line < stop && is_space(*line))
                line++;
            line += line < stop && *line == ':';
            return read_value(line, (size_t)(stop - line), ret);
        }
        line = stop + 1;
    }
    return LIMITS_NONE;
}

static void expect_lookup(const char *text, size_t length, const struct address *address,
                          enum limits_answer answer, struct quota_limit limit)
{
    char any[ADDRESS_MAX + 3];
    const char *domain = address_domain(address);
    const char *keys[] = {address->text, any, domain, "*"};
    struct quota_limit expected = {};

    (void)snprintf(any, sizeof(any), "*@%s", domain);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        enum limits_answer found;

        if (strpbrk(keys[i], ": \"#"))
            return; /* such a key must be quoted */
        found = find_line(text, length, keys[i], &expected);
        if (found == LIMITS_NONE)
            continue;
        require(answer == found);
        require(found == LIMITS_UNUSABLE ||
                (limit.bytes == expected.bytes && limit.messages == expected.messages));
        return;
    }
    require(answer == LIMITS_NONE);
}

static void check_lookup(const struct limits *limits, const char *asked, const char *text,
                         size_t length)
{
    struct limits_entry entry = {.limit = {UINT64_MAX, UINT64_MAX}}, again = {};
    enum limits_answer answer, exact;
    struct address address;
    const char *why;

    if (address_parse(asked, strlen(asked), "", &address, &why) < 0)
        return;
    answer = limits_lookup(limits, &address, &entry);
    exact = limits_lookup_exact(limits, &address, &again);
    require(answer == exact || exact == LIMITS_NONE);
    require(answer == LIMITS_NONE ||
            (entry.limit.bytes <= SIZE_BYTES_MAX && entry.limit.messages <= SIZE_BYTES_MAX));
    require(answer == LIMITS_NONE || (entry.line >= 1 && entry.line <= length + 1));
    require(answer != LIMITS_NONE || limits_lookup_default(limits, &again) == LIMITS_NONE);
    if (is_simple(text, length))
        expect_lookup(text, length, &address, answer, entry.limit);
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
    char error[LIMITS_ERROR_BYTES_MAX];
    struct limits *limits = NULL;

    require(ftruncate(file_fd, 0) == 0);
    require(pwrite(file_fd, data, size, 0) == (ssize_t)size);
    require(limits_load(file_path, &limits, error) == 0);
    require(limits_bytes(limits) <= 256 + sizeof(struct limits_faults) + size + (size / 2 + 1) * 8);
    check_faults(limits, text, size);
    check_lookups(limits, text, size);
    limits_free(limits);
    return 0;
}
