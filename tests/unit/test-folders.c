/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <fnmatch.h>
#include <stdbool.h>
#include <string.h>

#include "quota/folders.h"
#include "random.h"

static void patterns(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"Trash", "Trash", true},
        {"Trash", "Trash.old", false},
        {"Trash", "Trashed", false},
        {"Trash", "A.Trash", false},
        {"Trash", "trash", false},
        {"Trash", "Tras", false},
        {"Trash", "", false},
        {"", "", true},
        {"", "a", false},
        {"Trash.*", "Trash.old", true},
        {"Trash.*", "Trash.old.2024", true},
        {"Trash.*", "Trash.", true},
        {"Trash.*", "Trash", false},
        {"Trash.*", "Trashed.old", false},
        {"Trash/*", "Trash/old/2024", true},
        {"Trash*", "Trash", true},
        {"*Trash", "A/B.Trash", true},
        {"*Trash", "Trash.old", false},
        {"*", "", true},
        {"*", "anything/at.all", true},
        {"**", "a", true},
        {"*a*b", "xaxbxb", true},
        {"*a*b", "xbxa", false},
        {"a*", "ba", false},
        {"Deleted Items", "Deleted Items", true},
        {"Deleted?Items", "Deleted Items", true},
        {"Deleted?Items", "DeletedItems", false},
        {"?", "", false},
        {"?", "a", true},
        {"?", "ab", false},
        {"?", "\xc3\xa4", true},
        {"a?b",
         "a\xe2\x82\xac"
         "b",
         true},
        {"?a", "\xffxa", false},
        {"*?", "", false},
        {"*?b", "ab", true},
        /* Nothing else is special. */
        {"[ab]", "a", false},
        {"[ab]", "[ab]", true},
        {"\\*", "*", false},
        {"\\*", "\\x", true},
        {"~", "~", true},
        {"{a,b}", "a", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s %s\n", cases[i].pattern, cases[i].name);
        assert_int_equal(folder_pattern_matches(cases[i].pattern, cases[i].name), cases[i].matches);
    }
}

static void random_text(struct random *random, const char *characters, char text[static 13])
{
    size_t length = random_below(random, 13);

    for (size_t i = 0; i < length; i++)
        text[i] = characters[random_below(random, strlen(characters))];
    text[length] = '\0';
}

/* The C library knows such patterns, and more. */
static void patterns_at_random(void **state)
{
    struct random random = random_begin("patterns_at_random");
    int matches = 0;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        char pattern[13], name[13];
        bool expected;

        random_text(&random, "ab./*?", pattern);
        random_text(&random, "ab./*?", name);
        expected = fnmatch(pattern, name, FNM_NOESCAPE) == 0;
        matches += expected;
        if (folder_pattern_matches(pattern, name) != expected)
            fail_msg("%s %s %d", pattern, name, expected);
    }
    assert_in_range(matches, 10000, 500000);
}

/* What takes exponential time where every `*` is tried with every other. */
static void many_stars(void **state)
{
    char pattern[256] = "", name[256] = "";

    (void)state;
    for (int i = 0; i < 100; i++)
        (void)strcat(pattern, "*a");
    memset(name, 'a', 250);
    assert_true(folder_pattern_matches(pattern, name));
    (void)strcat(pattern, "b");
    assert_false(folder_pattern_matches(pattern, name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(patterns_at_random),
        cmocka_unit_test(many_stars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
