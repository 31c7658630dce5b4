/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/table.h"

#define OK "status=ok bytes=1503238554 messages=12345 limit=2147483648 message_limit=0 percent=70 "
#define FULL                                                                                       \
    "status=over bytes=534773760 messages=3100 limit=524288000 message_limit=9 percent=102 "
#define REST "source=maildirsize mailbox=/var/mail/x text=\"x\"\n"

static const struct screen wide = {.columns = SIZE_MAX, .has_utf8 = true};
static const struct screen plain = {.columns = SIZE_MAX};

struct rows {
    struct answer answers[4];
    size_t count;
};

static void add(struct rows *rows, const char *target, const char *line)
{
    struct answer *answer = &rows->answers[rows->count++];

    *answer = (struct answer){.target = target};
    assert_int_equal(answer_read(answer, REQUEST_CHECK, line, strlen(line)), 0);
}

static struct rows sample(void)
{
    struct rows rows = {};

    add(&rows, "joe@example.org", OK REST);
    add(&rows, "zo\xc3\xab@example.org", FULL REST);
    add(&rows, "new@example.org",
        "status=ok bytes=0 messages=0 limit=0 message_limit=0 percent=0 source=none mailbox=/x\n");
    add(&rows, "/etc/passwd", "status=error reason=outside-root text=\"leads outside\"\n");
    return rows;
}

static void rows_deinit(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        answer_deinit(&rows->answers[i]);
}

static const struct answer *get_answer(void *userdata, size_t i)
{
    const struct rows *rows = userdata;

    return &rows->answers[i];
}

/* Returns the table, which the caller frees. */
static char *printed(const struct screen *screen, struct rows *rows)
{
    const struct table_answers answers = {rows->count, get_answer, rows};
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);

    assert_non_null(file);
    assert_int_equal(table_print_mailboxes(file, screen, &answers), 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

#define BLOCK "\xe2\x96\x88"
#define SHADE "\xe2\x96\x91"
#define SEVEN BLOCK BLOCK BLOCK BLOCK BLOCK BLOCK BLOCK

static void a_table(void **state)
{
    struct rows rows = sample();
    char *text = printed(&wide, &rows);

    (void)state;
    assert_string_equal(
        text, "TARGET           USED  LIMIT                 %  MESSAGES  STATUS  SOURCE\n"
              "joe@example.org  1.4G     2G  " SEVEN SHADE SHADE SHADE
              "   70%     12345  ok      maildirsize\n"
              "zo\xc3\xab@example.org  510M   500M  " SEVEN BLOCK BLOCK BLOCK
              "  102%    3100/9  over    maildirsize\n"
              "new@example.org     0      -                 -         0  ok      none\n"
              "/etc/passwd         -      -                 -         -  error   outside-root\n");
    free(text);
    rows_deinit(&rows);
}

static void without_utf8(void **state)
{
    struct rows rows = {};
    char *text;

    (void)state;
    add(&rows, "zo\xc3\xab", OK REST);
    text = printed(&plain, &rows);
    assert_string_equal(text,
                        "TARGET    USED  LIMIT                %  MESSAGES  STATUS  SOURCE\n"
                        "zo\\u00eb  1.4G     2G  #######---  70%     12345  ok      maildirsize\n");
    free(text);
    rows_deinit(&rows);
}

static void in_colour(void **state)
{
    struct screen screen = {.columns = SIZE_MAX, .has_colour = true};
    struct rows rows = {};
    char *text;

    (void)state;
    add(&rows, "a", OK REST);
    add(&rows, "b", "status=warn bytes=1 messages=0 limit=1 message_limit=0 percent=100 " REST);
    add(&rows, "c", FULL REST);
    add(&rows, "d", "status=error reason=timeout text=\"late\"\n");
    text = printed(&screen, &rows);
    assert_non_null(strstr(text, "\x1b[1mTARGET\x1b[0m  "));
    assert_non_null(strstr(text, "\x1b[32m#######---\x1b[0m"));
    assert_non_null(strstr(text, "\x1b[32mok\x1b[0m"));
    assert_non_null(strstr(text, "\x1b[33mwarn\x1b[0m"));
    assert_non_null(strstr(text, "\x1b[31mover\x1b[0m"));
    assert_non_null(strstr(text, "\x1b[31merror\x1b[0m"));
    free(text);
    rows_deinit(&rows);
}

static void usage_beyond_the_limit_is_red(void **state)
{
    struct screen screen = {.columns = SIZE_MAX, .has_colour = true};
    struct rows rows = {};
    char *text;

    (void)state;
    add(&rows, "a", "status=ok bytes=2 messages=0 limit=1 message_limit=0 percent=200 " REST);
    text = printed(&screen, &rows);
    assert_non_null(strstr(text, "\x1b[31m##########\x1b[0m"));
    free(text);
    rows_deinit(&rows);
}

/* Checks each line: it is no wider than that, and ends without a blank. */
static void assert_lines(const char *text, size_t width)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        char *line = strndup(text, length);

        assert_int_equal(text[length], '\n');
        assert_in_range(screen_width(line), 1, width);
        assert_int_not_equal(line[length - 1], ' ');
        free(line);
        text += length + 1;
    }
}

static void it_fits_every_screen(void **state)
{
    /* Where one column of a target, how much it holds, and its status stand. */
    const size_t least = 1 + 2 + 4 + 2 + 6;
    struct rows rows = sample();

    (void)state;
    for (size_t columns = 1; columns < 120; columns++) {
        struct screen screen = {.columns = columns, .has_utf8 = true};
        char *text = printed(&screen, &rows);

        assert_lines(text, columns < least ? least : columns);
        assert_non_null(strstr(text, "over"));
        assert_non_null(strstr(text, "510M"));
        free(text);
    }
    rows_deinit(&rows);
}

static void targets_are_shortened_first(void **state)
{
    struct screen screen = {.columns = 80, .has_utf8 = true};
    struct rows rows = {};
    char *text;

    (void)state;
    add(&rows, "a.rather.long.name.for.somebody@department.example.org", OK REST);
    text = printed(&screen, &rows);
    assert_string_equal(
        text, "TARGET               USED  LIMIT                %  MESSAGES  STATUS  SOURCE\n"
              "a.rather.\xe2\x80\xa6"
              "ample.org  1.4G     2G  " SEVEN SHADE SHADE SHADE
              "  70%     12345  ok      maildirsize\n");
    free(text);
    rows_deinit(&rows);
}

static void nobody_to_ask_is_no_table(void **state)
{
    struct rows rows = {.count = 2};
    char *text;

    (void)state;
    for (size_t i = 0; i < rows.count; i++) {
        rows.answers[i].target = "a";
        assert_int_equal(answer_fail(&rows.answers[i], ANSWER_UNREACHABLE, "nobody"), 0);
    }
    text = printed(&wide, &rows);
    assert_string_equal(text, "");
    free(text);
    rows_deinit(&rows);
}

static void what_a_terminal_would_obey_is_escaped(void **state)
{
    static const struct {
        const char *text;
        const char *utf8;
        const char *ascii;
    } cases[] = {
        {"a\x1b[31mb", "a\\x1b[31mb", "a\\x1b[31mb"},
        {"a\\b", "a\\\\b", "a\\\\b"},
        {"\xc2\x9b"
         "1m",
         "\\u009b1m", "\\u009b1m"},
        {"\xff", "\\xff", "\\xff"},
        {"a\xe2\x80\xae"
         "b",
         "a\\u202eb", "a\\u202eb"},
        {"\xe6\x97\xa5", "\xe6\x97\xa5", "\\u65e5"},
        {"\xf0\x9f\x93\xab", "\xf0\x9f\x93\xab", "\\U0001f4eb"},
        {"\xcd\xb8", "\\u0378", "\\u0378"}, /* no character yet */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *utf8 = screen_text(&wide, cases[i].text);
        char *ascii = screen_text(&plain, cases[i].text);

        assert_string_equal(utf8, cases[i].utf8);
        assert_string_equal(ascii, cases[i].ascii);
        free(utf8);
        free(ascii);
    }
}

static void widths_are_columns(void **state)
{
    static const struct {
        const char *text;
        size_t columns;
        const char *shortened;
    } cases[] = {
        {"", 1, ""},
        {"a", 1, "a"},
        {"ab", 1, "\xe2\x80\xa6"},
        {"abc", 2, "a\xe2\x80\xa6"},
        {"abcd", 3,
         "a\xe2\x80\xa6"
         "d"},
        {"abcdefgh", 7,
         "abc\xe2\x80\xa6"
         "fgh"},
        {"abcdefgh", 8, "abcdefgh"},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 6, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 5, "\xe6\x97\xa5\xe2\x80\xa6\xe8\xaa\x9e"},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 3, "\xe2\x80\xa6"},
        /* escapes stay whole */
        {"a\\x1bbcdef\\u202e", 10,
         "a\\x1b"
         "\xe2\x80\xa6"},
        {"\\\\\\\\", 3, "\xe2\x80\xa6"},
        {"\\\\\\\\\\\\", 5,
         "\\\\"
         "\xe2\x80\xa6"
         "\\\\"},
        {"a\\U000e0041b", 11,
         "a"
         "\xe2\x80\xa6"
         "b"},
    };

    (void)state;
    assert_int_equal(screen_width("\xe6\x97\xa5"), 2);
    assert_int_equal(screen_width("e\xcc\x81"), 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *shortened = screen_shorten(&wide, cases[i].text, cases[i].columns);

        assert_string_equal(shortened, cases[i].shortened);
        assert_in_range(screen_width(shortened), 0, cases[i].columns);
        free(shortened);
    }
}

static void counters(void **state)
{
    static const char line[] = "status=ok queries=1234 cache_hits=7 uptime=7384 new=\"a b\"\n";
    struct answer answer = {};
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);

    (void)state;
    assert_int_equal(answer_read(&answer, REQUEST_STATS, line, strlen(line)), 0);
    assert_int_equal(table_print_pairs(file, &wide, &answer), 0);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "status           ok\n"
                              "queries        1234\n"
                              "cache_hits        7\n"
                              "uptime      2h 3min\n"
                              "new             a b\n");
    free(text);
    answer_deinit(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table),
        cmocka_unit_test(without_utf8),
        cmocka_unit_test(in_colour),
        cmocka_unit_test(usage_beyond_the_limit_is_red),
        cmocka_unit_test(it_fits_every_screen),
        cmocka_unit_test(targets_are_shortened_first),
        cmocka_unit_test(nobody_to_ask_is_no_table),
        cmocka_unit_test(what_a_terminal_would_obey_is_escaped),
        cmocka_unit_test(widths_are_columns),
        cmocka_unit_test(counters),
    };

    /* The widths of characters come from the locale. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return EXIT_FAILURE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
