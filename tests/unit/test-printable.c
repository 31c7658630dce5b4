/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "system/printable.h"
#include "system/utf8.h"

struct text {
    const char *text;
    const char *shown;
};

static void texts(void **state)
{
    static const struct text cases[] = {
        {"", ""},
        {"joe@example.org", "joe@example.org"},
        {"a b\"'%$", "a b\"'%$"},
        {"a\\b", "a\\\\b"},
        {"\\x9b", "\\\\x9b"}, /* is not what a byte 9B is shown as */
        {"\x01\t\n\r\x1b[31m\x1f\x7f", "\\x01\\x09\\x0a\\x0d\\x1b[31m\\x1f\\x7f"},
        {"zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\xab", "zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\xab"},
        {"e\xcc\x81", "e\xcc\x81"}, /* an accent of its own */
        /* controls of the second set */
        {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u0080\\u009b\\u009f\xc2\xa0"},
        /* what is no UTF-8, byte by byte */
        {"a\x9b"
         "31m",
         "a\\x9b31m"},
        {"\x80\xff\xc3", "\\x80\\xff\\xc3"},
        {"\xc3(", "\\xc3("},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xc0\x80", "\\xc0\\x80"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        /* characters that do not show */
        {"a\xe2\x80\xaegpj.exe", "a\\u202egpj.exe"},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
        {"\xef\xbb\xbf", "\\ufeff"},
        {"so\xc2\xadlid", "so\\u00adlid"},
        {"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7", "\xf0\x9f\x91\xa9\\u200d\xf0\x9f\x91\xa7"},
        {"\xef\xbf\xb9\xef\xbf\xbb", "\\ufff9\\ufffb"},
        {"\xf3\xa0\x81\x81", "\\U000e0041"},
    };
    char shown[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = printable_write(cases[i].text, shown, NULL, NULL);

        assert_string_equal(shown, cases[i].shown);
        assert_int_equal(length, strlen(shown));
        assert_true(length <= PRINTABLE_GROWTH * strlen(cases[i].text));
    }
}

/* What Unicode 15 calls Cc, Cf, Zl or Zp: the first and the last of each row. */
static void characters(void **state)
{
    static const uint32_t rows[][2] = {
        {0x0, 0x1f},        {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},
        {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
        {0x8e2, 0x8e2},     {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
        {0x2060, 0x2064},   {0x2066, 0x206f},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},
        {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
        {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f},
    };
    static const uint32_t shown[] = {' ',    '~',    0xa0,    0xac,    0xae,    0x5ff,   0x606,
                                     0x200a, 0x2010, 0x2027,  0x202f,  0x2070,  0xfefe,  0xff00,
                                     0xfffc, 0xfffd, 0x1f600, 0xdffff, 0xe1000, 0x10ffff};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (uint32_t character = rows[i][0]; character <= rows[i][1]; character++)
            assert_false(printable_character(character));
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
        assert_true(printable_character(shown[i]));
}

static bool is_latin(uint32_t character, const void *userdata)
{
    return character < *(const uint32_t *)userdata;
}

static void what_cannot_be_shown(void **state)
{
    const uint32_t end = 0x100;
    char shown[64];

    (void)state;
    (void)printable_write("a\xc3\xab\xe2\x82\xac\xf0\x9f\x93\xab", shown, is_latin, &end);
    assert_string_equal(shown, "a\xc3\xab\\u20ac\\U0001f4eb");
}

/* Reads one escape, or one byte. Returns its end, and what it stands for. */
static const char *read_back(const char *shown, char *to, size_t *length)
{
    unsigned long number;
    char digits[9] = "";
    size_t count;

    if (*shown != '\\' || shown[1] == '\\') {
        to[(*length)++] = *shown;
        return shown + (*shown == '\\' ? 2 : 1);
    }
    count = shown[1] == 'x' ? 2 : shown[1] == 'u' ? 4 : 8;
    memcpy(digits, shown + 2, count);
    number = strtoul(digits, NULL, 16);
    if (count == 2) {
        to[(*length)++] = (char)number;
    } else if (number < 0x800) {
        to[(*length)++] = (char)(0xc0 | number >> 6);
        to[(*length)++] = (char)(0x80 | (number & 0x3f));
    } else if (number < 0x10000) {
        to[(*length)++] = (char)(0xe0 | number >> 12);
        to[(*length)++] = (char)(0x80 | (number >> 6 & 0x3f));
        to[(*length)++] = (char)(0x80 | (number & 0x3f));
    } else {
        to[(*length)++] = (char)(0xf0 | number >> 18);
        to[(*length)++] = (char)(0x80 | (number >> 12 & 0x3f));
        to[(*length)++] = (char)(0x80 | (number >> 6 & 0x3f));
        to[(*length)++] = (char)(0x80 | (number & 0x3f));
    }
    return shown + 2 + count;
}

static void anything_can_be_read_back(void **state)
{
    static const char *const parts[] = {"a",    "\\",   "x",        "u00",      "\x9b",
                                        "\xc2", "\x80", "\xe2\x80", "\xae",     "\xf3\xa0\x81\x81",
                                        "\n",   "\xff", "\xc3\xab", "\xc2\x9b", "U0001"};
    struct random random = random_begin("anything_can_be_read_back");

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[64] = "", shown[PRINTABLE_GROWTH * sizeof(text)], back[sizeof(shown)];
        size_t length = 0;

        for (int i = 0; i < 12; i++)
            strcat(text, parts[random_below(&random, ARRAY_SIZE(parts))]);
        (void)printable_write(text, shown, NULL, NULL);
        for (const char *at = shown; *at;)
            at = read_back(at, back, &length);
        back[length] = '\0';
        assert_string_equal(back, text);
    }
}

static void lines(void **state)
{
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);

    (void)state;
    assert_non_null(file);
    printable_line(file, "%s: %d", "a\nb\x9b", 5);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "a\\x0ab\\x9b: 5\n");
    free(text);
}

static void beginnings(void **state)
{
    static const struct {
        const char *text;
        size_t max;
        size_t prefix;
    } cases[] = {
        {"abc", 3, 3},
        {"abcd", 3, 3},
        {"ab\xc3\xab", 4, 4},
        {"ab\xc3\xab", 3, 2},
        {"a\xe2\x82\xac", 3, 1},
        {"a\xe2\x82\xac", 2, 1},
        {"\xf0\x9f\x93\xab", 3, 0},
        {"\xf0\x9f\x93\xabz", 4, 4},
        {"a\xc3", 2, 2},                /* the whole text ends so */
        {"\x80\x80\x80\x80\x80", 4, 4}, /* no character is cut */
        {"abc", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(utf8_prefix(cases[i].text, strlen(cases[i].text), cases[i].max),
                         cases[i].prefix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(characters),
        cmocka_unit_test(what_cannot_be_shown),
        cmocka_unit_test(anything_can_be_read_back),
        cmocka_unit_test(lines),
        cmocka_unit_test(beginnings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
