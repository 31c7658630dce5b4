/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "quota/maildirsize.h"
#include "random.h"

#define MAX      SIZE_BYTES_MAX
#define MAX_TEXT "9223372036854775807"

/* A text that may hold NUL bytes, and its length. */
#define TEXT(text) text, sizeof(text) - 1

#define NO_LIMIT                                                                                   \
    {                                                                                              \
        0, 0                                                                                       \
    }

struct row {
    const char *text;
    size_t length;
    int result;
    struct quota_limit limit;
    uint64_t bytes, messages;
    size_t entries;
};

static void print_text(const char *text, size_t length)
{
    print_error("the text: \"");
    for (size_t i = 0; i < length && i < 100; i++)
        print_error(text[i] >= ' ' && text[i] < '\x7f' ? "%c" : "\\x%02x", (unsigned char)text[i]);
    print_error("\"\n");
}

/* Parses a copy that ends where the text ends, so that a sanitizer sees what reads beyond it. */
static int parse(const char *text, size_t length, struct maildirsize *ret)
{
    char *copy = test_malloc(length + (length == 0));
    int r;

    if (length > 0)
        memcpy(copy, text, length);
    r = maildirsize_parse(copy, length, ret);
    test_free(copy);
    return r;
}

static void check(const struct row *row)
{
    struct maildirsize found;
    int r = parse(row->text, row->length, &found);
    bool same = r == row->result && found.limit.bytes == row->limit.bytes &&
                found.limit.messages == row->limit.messages;

    if (r == 0)
        same = same && found.bytes == row->bytes && found.messages == row->messages &&
               found.entries == row->entries;
    if (same)
        return;
    print_text(row->text, row->length);
    fail_msg(
        "%d: limit %" PRIu64 "S,%" PRIu64 "C, %" PRIu64 " bytes, %" PRIu64 " messages, %zu entries",
        r, found.limit.bytes, found.limit.messages, found.bytes, found.messages, found.entries);
}

static void check_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(&rows[i]);
}

static void entries(void **state)
{
    static const struct row rows[] = {
        {TEXT("1000S,10C\n500 5\n"), 0, {1000, 10}, 500, 5, 1},
        {TEXT("1000S,10C\n500 5\n20 1\n-20 -1\n"), 0, {1000, 10}, 500, 5, 3},
        {TEXT("1000S\n1 1\n2 1\n3 1\n4 1\n"), 0, {1000, 0}, 10, 4, 4},
        {TEXT("1000S\n0 0\n"), 0, {1000, 0}, 0, 0, 1},
        {TEXT("1000S\n-0 -0\n"), 0, {1000, 0}, 0, 0, 1},
        {TEXT("1000S\n007 08\n"), 0, {1000, 0}, 7, 8, 1},
        {TEXT("1000S\n2000 20\n"), 0, {1000, 0}, 2000, 20, 1},

        /* sums come from any order, and only their end counts */
        {TEXT("1000S\n-5 -1\n6 2\n"), 0, {1000, 0}, 1, 1, 2},
        {TEXT("1000S\n5 1\n-5 -1\n"), 0, {1000, 0}, 0, 0, 2},
        {TEXT("1000S\n5 -1\n-5 1\n"), 0, {1000, 0}, 0, 0, 2},
        {TEXT("1000S\n5 1\n-6 0\n"), -ERANGE, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n5 1\n0 -2\n"), -ERANGE, {1000, 0}, 0, 0, 0},
        {TEXT("1000S,7C\n-1 -1\n"), -ERANGE, {1000, 7}, 0, 0, 0},

        /* blanks */
        {TEXT("1000S\n         500            5\n"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500\t5\n"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n\t 500 \t 5\n"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5 \n"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5\t\t\n"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500\v5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500\xa0"
              "5\n"),
         -EBADMSG,
         {1000, 0},
         0,
         0,
         0},

        /* blank lines */
        {TEXT("1000S\n\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 5\n\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n\n500 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 5\n   \n"), -EBADMSG, {1000, 0}, 0, 0, 0},

        /* what is no pair of numbers */
        {TEXT("1000S\n500\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 \n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 5 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500,5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 5x\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500x 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 five\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n+500 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 +5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n0x1f4 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500.0 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n5K 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n- 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n--5 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n- 5 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 5-\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 -\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500-5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n500 5\nhello\n500 5\n"), -EBADMSG, {1000, 0}, 0, 0, 0},

        /* lines that end with CR and LF */
        {TEXT("1000S\n500 5\r\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\r\n500 5\r\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000\r\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\r\n500 5\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void the_end_of_the_file(void **state)
{
    static const struct row rows[] = {
        {TEXT(""), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\n"), -ENODATA, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,10C\n"), -ENODATA, {1000, 10}, 0, 0, 0},
        {TEXT("0S,0C\n"), -ENODATA, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,10C"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,1"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("500 5\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},

        /* a last line without LF is still being written */
        {TEXT("1000S\n500 5\n12"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5\n12 1"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5\n-"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5\n-600 -6"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5\n "), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5\nx"), 0, {1000, 0}, 500, 5, 1},
        {TEXT("1000S\n500 5"), -ENODATA, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\nx"), -ENODATA, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n\0"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("\n5 1\n5"), 0, NO_LIMIT, 5, 1, 1},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void headers(void **state)
{
    static const struct row rows[] = {
        {TEXT("1000S,10C\n5 1\n"), 0, {1000, 10}, 5, 1, 1},
        {TEXT("10C,1000S\n5 1\n"), 0, {1000, 10}, 5, 1, 1},
        {TEXT("1000S\n5 1\n"), 0, {1000, 0}, 5, 1, 1},
        {TEXT("10C\n5 1\n"), 0, {0, 10}, 5, 1, 1},
        {TEXT("\n5 1\n"), 0, NO_LIMIT, 5, 1, 1},
        {TEXT("0S\n5 1\n"), 0, NO_LIMIT, 5, 1, 1},
        {TEXT("0S,0C\n5 1\n"), 0, NO_LIMIT, 5, 1, 1},
        {TEXT("0S,10C\n5 1\n"), 0, {0, 10}, 5, 1, 1},
        {TEXT("0001000S\n5 1\n"), 0, {1000, 0}, 5, 1, 1},
        {TEXT("1000S,2000S\n5 1\n"), 0, {2000, 0}, 5, 1, 1},

        /* unknown letters are ignored, and are letters */
        {TEXT("1000S,7X,10C\n5 1\n"), 0, {1000, 10}, 5, 1, 1},
        {TEXT("7X\n5 1\n"), 0, NO_LIMIT, 5, 1, 1},
        {TEXT("1000s,10c\n5 1\n"), 0, NO_LIMIT, 5, 1, 1},
        {TEXT("99999999999999999999X,10C\n5 1\n"), 0, {0, 10}, 5, 1, 1},
        {TEXT("1000%\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,7\xc3,10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,7 ,10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},

        /* too large to count */
        {TEXT(MAX_TEXT "S," MAX_TEXT "C\n5 1\n"), 0, {MAX, MAX}, 5, 1, 1},
        {TEXT("9223372036854775808S\n5 1\n"), 0, {MAX, 0}, 5, 1, 1},
        {TEXT("18446744073709551616S\n5 1\n"), 0, {MAX, 0}, 5, 1, 1},
        {TEXT("1S,99999999999999999999999999999999C\n5 1\n"), 0, {1, MAX}, 5, 1, 1},

        /* no header at all: the whole of it is ignored */
        {TEXT("1000\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("S1000\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000SX\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,10\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000,\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT(",1000S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT(",\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S,,10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000,,10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S, 10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT(" 1000S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000 S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S \n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT(" \n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("-1000S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("+1000S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("0x10S\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S;10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

/* What a first line says nothing about is something else than what it says 0 of. */
static void what_a_header_speaks_of(void **state)
{
    static const struct {
        const char *text;
        bool bytes, messages;
    } cases[] = {
        {"1000S,10C\n5 1\n", true, true},
        {"10C,1000S\n5 1\n", true, true},
        {"0S,0C\n5 1\n", true, true},
        {"0S,0C\n", true, true},
        {"0S\n5 1\n", true, false},
        {"1000S\n5 1\n", true, false},
        {"0C\n5 1\n", false, true},
        {"10C\n5 1\n", false, true},
        {"\n5 1\n", false, false},
        {"7X\n5 1\n", false, false},
        {"1000s,10c\n5 1\n", false, false},
        {"99999999999999999999S\n5 1\n", true, false},
        {"1000S,10C\nx\n", true, true},
        {"1000S,10C\n-5 1\n", true, true},

        /* one that does not parse says nothing */
        {"1000S,10\n5 1\n", false, false},
        {"1000S,10C", false, false},
        {"", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct maildirsize found;

        (void)parse(cases[i].text, strlen(cases[i].text), &found);
        if (found.has_bytes != cases[i].bytes || found.has_messages != cases[i].messages)
            fail_msg("case %zu", i);
    }
}

static void nul_bytes(void **state)
{
    static const struct row rows[] = {
        {TEXT("\0"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\0"
              "1000S\n5 1\n"),
         -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000\0,10C\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S\0\n5 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("1000S\n5 1\n\0"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n5 1\0\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n5\0"
              "1\n"),
         -EBADMSG,
         {1000, 0},
         0,
         0,
         0},
        {TEXT("1000S\n\0"
              "5 1\n"),
         -EBADMSG,
         {1000, 0},
         0,
         0,
         0},
        {TEXT("1000S\n5 1\n6\0"), -EBADMSG, {1000, 0}, 0, 0, 0},
        {TEXT("1000S\n5 1\n\0\0\0\0\0\0\0\0\n7 1\n"), -EBADMSG, {1000, 0}, 0, 0, 0},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void large_numbers(void **state)
{
    static const struct row rows[] = {
        {TEXT("\n" MAX_TEXT " " MAX_TEXT "\n"), 0, NO_LIMIT, MAX, MAX, 1},
        {TEXT("\n9223372036854775808 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\n1 9223372036854775808\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\n5 1\n-9223372036854775808 0\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\n18446744073709551621 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},
        {TEXT("\n99999999999999999999999999999999999999999999 1\n"), -EBADMSG, NO_LIMIT, 0, 0, 0},

        /* sums */
        {TEXT("\n" MAX_TEXT " 1\n0 1\n"), 0, NO_LIMIT, MAX, 2, 2},
        {TEXT("\n" MAX_TEXT " 1\n1 1\n"), -ERANGE, NO_LIMIT, 0, 0, 0},
        {TEXT("\n1 " MAX_TEXT "\n1 1\n"), -ERANGE, NO_LIMIT, 0, 0, 0},
        {TEXT("\n" MAX_TEXT " 1\n" MAX_TEXT " 1\n2 1\n"), -ERANGE, NO_LIMIT, 0, 0, 0},
        {TEXT("\n" MAX_TEXT " 1\n" MAX_TEXT " 1\n" MAX_TEXT " 1\n"), -ERANGE, NO_LIMIT, 0, 0, 0},
        {TEXT("\n-" MAX_TEXT " 1\n-" MAX_TEXT " 1\n-3 1\n"), -ERANGE, NO_LIMIT, 0, 0, 0},
        {TEXT("\n-" MAX_TEXT " 1\n"), -ERANGE, NO_LIMIT, 0, 0, 0},

        /* sums that come back in range */
        {TEXT("\n" MAX_TEXT " 1\n1 1\n-1 -1\n"), 0, NO_LIMIT, MAX, 1, 3},
        {TEXT("\n" MAX_TEXT " 1\n" MAX_TEXT " 1\n-" MAX_TEXT " 1\n"), 0, NO_LIMIT, MAX, 3, 3},
        {TEXT("\n-" MAX_TEXT " 0\n-" MAX_TEXT " 0\n" MAX_TEXT " 0\n" MAX_TEXT " 0\n7 0\n"), 0,
         NO_LIMIT, 7, 0, 5},
        {TEXT("\n0 -" MAX_TEXT "\n0 -5\n0 " MAX_TEXT "\n0 6\n"), 0, NO_LIMIT, 0, 1, 4},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

/* Fills text[0..length) with a header, entries of `1 1`, and one that makes the length right. */
static void fill(char *text, size_t length, uint64_t *ret_entries)
{
    size_t at = strlen("1000S\n");

    memcpy(text, "1000S\n", at);
    *ret_entries = 0;
    for (; length - at >= 8; at += 4, ++*ret_entries)
        memcpy(text + at, "1 1\n", 4);
    memset(text + at, ' ', length - at);
    memcpy(text + length - 4, "1 1\n", 4);
    ++*ret_entries;
}

static void sizes_of_the_file(void **state)
{
    static const struct {
        size_t length;
        int result;
    } cases[] = {
        {5118, 0}, {5119, 0}, {5120, -EFBIG}, {5121, -EFBIG}, {65536, -EFBIG},
    };
    static char text[65536];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t lines;

        fill(text, cases[i].length, &lines);
        check(&(struct row){
            text, cases[i].length, cases[i].result, {1000, 0}, lines, lines, (size_t)lines});
    }
}

static void large_files_that_do_not_parse(void **state)
{
    static char text[5120];
    uint64_t lines;

    (void)state;
    fill(text, sizeof(text), &lines);
    text[5000] = 'x';
    check(&(struct row){text, sizeof(text), -EFBIG, {1000, 0}, 0, 0, 0});
    text[5000] = '\0';
    check(&(struct row){text, sizeof(text), -EFBIG, {1000, 0}, 0, 0, 0});

    /* a first line that is too long to be one */
    memset(text, '1', sizeof(text));
    check(&(struct row){text, sizeof(text), -EFBIG, NO_LIMIT, 0, 0, 0});
    memset(text, ',', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    check(&(struct row){text, sizeof(text), -EFBIG, NO_LIMIT, 0, 0, 0});
}

/* As many entries as a file can hold, each as large as can be: no sum overflows on the way. */
static void the_largest_sums(void **state)
{
    static const char line[] = MAX_TEXT " " MAX_TEXT "\n";
    static const char minus[] = "-" MAX_TEXT " -" MAX_TEXT "\n";
    static char text[5120];
    size_t at = 1, up = 0, down = 0;

    (void)state;
    text[0] = '\n';
    for (; at + strlen(line) < 2500; at += strlen(line), up++)
        memcpy(text + at, line, strlen(line));
    check(&(struct row){text, at, -ERANGE, NO_LIMIT, 0, 0, 0});
    for (; down + 1 < up; at += strlen(minus), down++)
        memcpy(text + at, minus, strlen(minus));
    assert_true(at < MAILDIRSIZE_BYTES_MAX);
    check(&(struct row){text, at, 0, NO_LIMIT, MAX, MAX, up + down});
}

/* Random files, against sums that were taken while they were written. */
static void random_files(void **state)
{
    struct random random = random_begin("maildirsize");
    size_t good = 0, negative = 0;

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        struct row row = {.limit = {random_below(&random, 1000), random_below(&random, 1000)}};
        size_t lines = random_below(&random, 8);
        int64_t bytes = 0, messages = 0;
        char text[1024];
        int at = sprintf(text, "%" PRIu64 "S,%" PRIu64 "C\n", row.limit.bytes, row.limit.messages);

        for (size_t line = 0; line < lines; line++) {
            int64_t one = (int64_t)random_below(&random, 1000000) - 300000;
            int64_t other = (int64_t)random_below(&random, 100) - 30;

            at +=
                sprintf(text + at, "%*" PRId64 " %" PRId64 "%*s\n", (int)random_below(&random, 16),
                        one, other, (int)random_below(&random, 3), "");
            bytes += one;
            messages += other;
        }
        if (random_below(&random, 2))
            at += sprintf(text + at, "%zu", random_below(&random, 1000));
        row.text = text;
        row.length = (size_t)at;
        row.result = bytes < 0 || messages < 0 ? -ERANGE : lines == 0 ? -ENODATA : 0;
        row.bytes = (uint64_t)bytes;
        row.messages = (uint64_t)messages;
        row.entries = lines;
        *(row.result == 0 ? &good : &negative) += 1;
        check(&row);
    }
    assert_true(good > 1000 && negative > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries),           cmocka_unit_test(the_end_of_the_file),
        cmocka_unit_test(headers),           cmocka_unit_test(what_a_header_speaks_of),
        cmocka_unit_test(nul_bytes),         cmocka_unit_test(large_numbers),
        cmocka_unit_test(sizes_of_the_file), cmocka_unit_test(large_files_that_do_not_parse),
        cmocka_unit_test(the_largest_sums),  cmocka_unit_test(random_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
