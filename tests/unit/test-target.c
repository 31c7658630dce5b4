/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocol/words.h"
#include "quota/target.h"
#include "system/cleanup.h"

#define X16(x) x x x x x x x x x x x x x x x x

static char by_domain[] = "/mail/%d/%n", in_old[] = "/old/%u/Maildir", by_name[] = "/home/%n";
static char plus_minus[] = "+-";

/* What every test begins with: three templates, the last of which does not tell the domain. */
static struct quota_settings make_settings(void)
{
    static char *templates[] = {by_domain, in_old, by_name};

    return (struct quota_settings){
        .templates = templates,
        .templates_count = ARRAY_SIZE(templates),
        .delimiters = plus_minus,
        .verdict = {.warn_percent = 90},
    };
}

static struct limits *load_limits(const char *text)
{
    char path[] = "/tmp/test-target.XXXXXX", error[LIMITS_ERROR_BYTES_MAX];
    struct limits *limits = NULL;
    _cleanup_(closep) int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    if (limits_load(path, &limits, error) < 0)
        fail_msg("%s", error);
    assert_int_equal(unlink(path), 0);
    return limits;
}

/* Makes a target of text, which is kept in buffer. */
static void begin(struct target *target, const struct quota_settings *settings,
                  const struct limits *limits, const char *text, char buffer[8192])
{
    static const struct target_terms terms = {};
    const char *why = "";

    assert_true(strlen(text) < 8192);
    strcpy(buffer, text);
    if (target_begin(target, settings, limits, &terms, buffer, &why) != REASON_NONE)
        fail_msg("%s: %s", text, why);
}

static void spellings_and_templates_come_in_order(void **state)
{
    static const struct {
        const char *address;
        const char *paths[7];
    } cases[] = {
        {"joe@d", {"/mail/d/joe", "/old/joe@d/Maildir", "/home/joe"}},
        {"Jean-Luc@D",
         {"/mail/d/jean-luc", "/old/jean-luc@d/Maildir", "/home/jean-luc", "/mail/d/jean",
          "/old/jean@d/Maildir", "/home/jean"}},
        {"joe+" X16(X16("x")) "@d", {"/mail/d/joe", "/old/joe@d/Maildir", "/home/joe"}},
        {"+joe@d", {"/mail/d/+joe", "/old/+joe@d/Maildir", "/home/+joe"}},
        {"\"john doe+x\"@d",
         {"/mail/d/john doe+x", "/old/john doe+x@d/Maildir", "/home/john doe+x", "/mail/d/john doe",
          "/old/john doe@d/Maildir", "/home/john doe"}},
    };
    const struct quota_settings settings = make_settings();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct target target;
        char buffer[8192];

        begin(&target, &settings, NULL, cases[i].address, buffer);
        assert_false(target_is_path(&target));
        for (size_t j = 0; cases[i].paths[j]; j++) {
            bool is_last = !cases[i].paths[j + 1];
            char path[PATH_MAX];
            const char *why;

            assert_int_equal(target_path(&target, &settings, path, &why), REASON_NONE);
            assert_string_equal(path, cases[i].paths[j]);
            /* nothing is there */
            assert_int_equal(target_goes_on(&target, &settings, 0, USAGE_NONE), !is_last);
            assert_int_equal(target_goes_on(&target, &settings, -ENOTDIR, USAGE_NONE), !is_last);
            assert_int_equal(target_goes_on(&target, &settings, -ENAMETOOLONG, USAGE_NONE),
                             !is_last);
            /* something is there, or nobody knows */
            assert_false(target_goes_on(&target, &settings, 0, USAGE_SCAN));
            assert_false(target_goes_on(&target, &settings, 0, USAGE_MBOX));
            assert_false(target_goes_on(&target, &settings, -EACCES, USAGE_NONE));
            assert_false(target_goes_on(&target, &settings, -EIO, USAGE_NONE));
            target.candidate++;
        }
    }
}

static void paths_that_are_too_long_are_passed_over(void **state)
{
    char longer[PATH_MAX + 16], shorter[] = "/s/%n";
    char *templates[] = {longer, shorter};
    struct quota_settings settings = make_settings();
    struct target target;
    char buffer[8192], path[PATH_MAX];
    const char *why;

    (void)state;
    (void)snprintf(longer, sizeof(longer), "/%0*d/%%n", PATH_MAX - 4, 0); /* one byte is left */
    settings.templates = templates;
    settings.templates_count = 2;

    begin(&target, &settings, NULL, "ab+c@d", buffer);
    assert_int_equal(target_path(&target, &settings, path, &why), REASON_NONE);
    assert_string_equal(path, "/s/ab+c");
    target.candidate++;
    assert_int_equal(target_path(&target, &settings, path, &why), REASON_NONE);
    assert_string_equal(path, "/s/ab");

    begin(&target, &settings, NULL, "a+c@d", buffer);
    assert_int_equal(target_path(&target, &settings, path, &why), REASON_NONE);
    assert_string_equal(path, "/s/a+c");
    target.candidate++;
    assert_int_equal(target_path(&target, &settings, path, &why), REASON_NONE);
    assert_int_equal(strlen(path), PATH_MAX - 1);

    /* unless it is the last */
    templates[0] = shorter;
    templates[1] = longer;
    begin(&target, &settings, NULL, "abc+d@d", buffer);
    target.candidate = 3;
    assert_int_equal(target_path(&target, &settings, path, &why), REASON_BAD_ADDRESS);
    assert_string_equal(why, "the path of its mailbox is too long");
    assert_int_equal(target_reason(&target, -ENAMETOOLONG, &why), REASON_BAD_ADDRESS);
}

/* Writes where the limit comes from and what it is: "file 5,6C", "none". */
static void write_limit(const struct mailbox_policy *policy, char text[80])
{
    bool is_default = !policy->have_limit && policy->default_from != LIMIT_SOURCE_NONE;
    const struct quota_limit *limit = is_default ? &policy->default_limit : &policy->limit;
    enum limit_source from = is_default ? policy->default_from : policy->limit_from;

    assert_int_equal(policy->have_limit, policy->limit_from != LIMIT_SOURCE_NONE);
    if (from == LIMIT_SOURCE_NONE)
        strcpy(text, "none");
    else
        (void)snprintf(text, 80, "%s%s %" PRIu64 ",%" PRIu64 "C", is_default ? "default of " : "",
                       limit_source_to_string(from), limit->bytes, limit->messages);
}

static void assert_limit(const struct target *target, const char *about, const char *expected)
{
    char text[80];

    write_limit(&target->policy, text);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s instead of %s", about, text, expected);
}

static void limits_follow_the_spelling(void **state)
{
    static const struct {
        const char *file, *address;
        const char *whole, *base; /* the limit where the mailbox is of this name; NULL: none is */
    } cases[] = {
        {"joe@d: 1\n", "joe@d", "file 1,0C", NULL},
        {"joe@d: 1,2C\n*: 9\n", "jim@d", "file 9,0C", NULL},
        {"joe@d: 1\n", "jim@d", "none", NULL},
        {"joe@d: 0\n*: 9\n", "joe@d", "file 0,0C", NULL},
        /* a mailbox of the whole name does not have the limit of another */
        {"jean@d: 1\n*@d: 2\n*: 3\n", "jean-luc@d", "file 2,0C", "file 1,0C"},
        {"jean@d: 1\n", "jean-luc@d", "none", "file 1,0C"},
        {"jean@d: unlimited\n*: 3\n", "jean-luc@d", "file 3,0C", "file 0,0C"},
        /* a line about the whole address holds whoever's the mailbox is */
        {"jean@d: 1\njean-luc@d: 4\n*: 3\n", "jean-luc@d", "file 4,0C", "file 4,0C"},
        {"jean-luc@d: 4\n*: 3\n", "jean-luc@d", "file 4,0C", "file 4,0C"},
        {"*@d: 2\n*: 3\n", "jean-luc@d", "file 2,0C", "file 2,0C"},
        {"d: 2\n*: 3\n", "jean-luc@d", "file 2,0C", "file 2,0C"},
        /* what is unusable is no limit */
        {"joe@d: x\n*: 3\n", "joe@d", "none", NULL},
        {"jean@d: x\n*: 3\n", "jean-luc@d", "file 3,0C", "none"},
        {"jean@d: 1\njean-luc@d: x\n*: 3\n", "jean-luc@d", "none", "none"},
        {"jean@d: 1\n*@d: x\n*: 3\n", "jean-luc@d", "none", "file 1,0C"},
        /* a whole name that no mailbox can have is not looked up */
        {"jean@d: 1\n*: 3\n", "jean-" X16(X16("x")) "@d", "file 1,0C", NULL},
    };
    const struct quota_settings settings = make_settings();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(limits_freep) struct limits *limits = load_limits(cases[i].file);
        struct target target;
        char buffer[8192], path[PATH_MAX];
        const char *why;

        begin(&target, &settings, limits, cases[i].address, buffer);
        assert_limit(&target, cases[i].file, cases[i].whole);
        while (target_path(&target, &settings, path, &why) == REASON_NONE &&
               target_goes_on(&target, &settings, 0, USAGE_NONE)) {
            if (target.candidate < settings.templates_count)
                assert_limit(&target, cases[i].file, cases[i].whole);
            target.candidate++;
        }
        assert_limit(&target, cases[i].file, cases[i].base ? cases[i].base : cases[i].whole);
    }
}

static void paths_have_the_limit_of_their_address(void **state)
{
    static const struct {
        const char *path, *limit;
    } cases[] = {
        {"/mail/d/joe", "file 1,0C"},
        {"//mail/./d/joe/", "file 1,0C"},
        {"/old/joe@d/Maildir", "file 1,0C"},
        {"/mail/d/jim", "file 2,0C"},
        {"/mail/e/joe", "file 3,0C"},
        {"/mail/f/joe", "none"},
        {"/mail/f/jim", "file 3,0C"},
        /* whole, whatever its extension would be */
        {"/mail/d/joe+x", "file 2,0C"},
        {"/mail/d/jean-luc", "file 4,0C"},
        /* a folder */
        {"/mail/d/joe/.Sent", "file 1,0C"},
        {"/mail/d/joe/.Sent/", "file 1,0C"},
        {"/mail/d/joe/..odd", "file 1,0C"},
        {"/old/joe@d/Maildir/.Sent.2024", "file 1,0C"},
        {"/mail/f/joe/.Sent", "none"},
        /* what is no address's */
        {"/mail/d/joe/..", "default of file 3,0C"},
        {"/mail/d/joe/.", "file 1,0C"},
        {"/mail/d/joe/Sent", "default of file 3,0C"},
        {"/mail/d/joe/.Sent/cur", "default of file 3,0C"},
        {"/mail/d/joe/.Sent/.x", "default of file 3,0C"},
        {"/mail/d/Joe", "default of file 3,0C"},
        {"/mail/d", "default of file 3,0C"},
        {"/mail/d/.joe", "default of file 3,0C"},
        {"/mail/x/../d/joe", "default of file 3,0C"},
        {"/home/joe", "default of file 3,0C"},
        {"/.x", "default of file 3,0C"},
        {"/", "default of file 3,0C"},
    };
    _cleanup_(limits_freep) struct limits *limits =
        load_limits("joe@d: 1\n*@d: 2\n*: 3\njean-luc@d: 4\njoe@f: x\n");
    struct quota_settings settings = make_settings();
    struct target target;
    char buffer[8192], path[PATH_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin(&target, &settings, limits, cases[i].path, buffer);
        assert_true(target_is_path(&target));
        assert_false(target_goes_on(&target, &settings, 0, USAGE_NONE));
        assert_limit(&target, cases[i].path, cases[i].limit);
        strcpy(path, cases[i].path);
        mailbox_normalise_path(path);
        assert_string_equal(buffer, path);
    }
    settings.templates_count = 0;
    begin(&target, &settings, limits, "/mail/d/joe", buffer);
    assert_limit(&target, "without templates", "default of file 3,0C");
}

static void what_outranks_what(void **state)
{
    static const struct {
        const char *file; /* NULL: none */
        bool by_request, by_option;
        const char *address, *path; /* the limits of the two */
    } cases[] = {
        {NULL, false, false, "none", "none"},
        {NULL, false, true, "default of default 7,8C", "default of default 7,8C"},
        {NULL, true, true, "request 5,6C", "request 5,6C"},
        {"*: 3\n", false, false, "file 3,0C", "default of file 3,0C"},
        {"*: 3\n", false, true, "file 3,0C", "default of file 3,0C"},
        {"*: x\n", false, true, "default of default 7,8C", "default of default 7,8C"},
        {"jim@d: 1\n", false, true, "default of default 7,8C", "default of default 7,8C"},
        {"jean@d: 1\n*: 3\n", true, true, "request 5,6C", "request 5,6C"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(limits_freep) struct limits *limits =
            cases[i].file ? load_limits(cases[i].file) : NULL;
        const struct target_terms terms = {
            .size_bytes = 9,
            .have_limit = cases[i].by_request,
            .limit = {5, 6},
        };
        struct quota_settings settings = make_settings();
        char address[] = "jean-luc@d", anywhere[] = "/x", path[PATH_MAX];
        struct target target;
        const char *why;

        if (cases[i].by_option)
            settings.default_limit = (struct quota_limit){7, 8};
        assert_int_equal(target_begin(&target, &settings, limits, &terms, address, &why),
                         REASON_NONE);
        assert_limit(&target, "the address", cases[i].address);
        target.candidate = settings.templates_count;
        assert_int_equal(target_path(&target, &settings, path, &why), REASON_NONE);
        assert_string_equal(path, "/mail/d/jean");
        assert_limit(&target, "the base", cases[i].address);
        assert_int_equal(target.policy.size_bytes, 9);

        assert_int_equal(target_begin(&target, &settings, limits, &terms, anywhere, &why),
                         REASON_NONE);
        assert_limit(&target, "the path", cases[i].path);
    }
}

static void where_nothing_is_the_first_place_is_named(void **state)
{
    const struct quota_settings settings = make_settings();
    const struct usage nothing = {.source = USAGE_NONE};
    struct target_decision decision;
    struct target target;
    char buffer[8192], path[PATH_MAX];
    const char *why;

    (void)state;
    begin(&target, &settings, NULL, "jean-luc@d", buffer);
    while (target_path(&target, &settings, path, &why) == REASON_NONE &&
           target_goes_on(&target, &settings, 0, USAGE_NONE))
        target.candidate++;
    assert_string_equal(path, "/home/jean");
    target_decide(&target, &settings, path, &nothing, &decision);
    assert_string_equal(decision.mailbox, "/mail/d/jean");
}

/* A recipient of Postfix is an address, whatever it looks like. */
static void an_internal_address_is_never_a_path(void **state)
{
    static const struct target_terms terms = {.internal_address = true};
    const struct quota_settings settings = make_settings();
    struct target target;
    char path[] = "/var/mail/joe", odd[] = "/joe@d", quoted[] = "\"a@b\"@d", buffer[PATH_MAX];
    const char *why = "";

    (void)state;
    assert_int_equal(target_begin(&target, &settings, NULL, &terms, path, &why),
                     REASON_BAD_ADDRESS);
    assert_int_equal(target_begin(&target, &settings, NULL, &terms, odd, &why), REASON_BAD_ADDRESS);
    assert_int_equal(target_begin(&target, &settings, NULL, &terms, quoted, &why), REASON_NONE);
    assert_false(target_is_path(&target));
    assert_int_equal(target_path(&target, &settings, buffer, &why), REASON_NONE);
    assert_string_equal(buffer, "/mail/d/\"a@b\"");
}

static void what_is_no_target_is_refused(void **state)
{
    static const struct target_terms terms = {};
    struct quota_settings settings = make_settings();
    struct target target;
    char bad[] = "joe", good[] = "joe@d";
    const char *why;

    (void)state;
    assert_int_equal(target_begin(&target, &settings, NULL, &terms, bad, &why), REASON_BAD_ADDRESS);
    assert_string_equal(why, "it contains no @");
    settings.templates_count = 0;
    assert_int_equal(target_begin(&target, &settings, NULL, &terms, good, &why),
                     REASON_NO_TEMPLATE);
}

static void limit_sources_have_their_words(void **state)
{
    (void)state;
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_NONE), "none");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_REQUEST), "request");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_FILE), "file");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_HEADER), "header");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_DEFAULT), "default");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_and_templates_come_in_order),
        cmocka_unit_test(paths_that_are_too_long_are_passed_over),
        cmocka_unit_test(limits_follow_the_spelling),
        cmocka_unit_test(paths_have_the_limit_of_their_address),
        cmocka_unit_test(what_outranks_what),
        cmocka_unit_test(where_nothing_is_the_first_place_is_named),
        cmocka_unit_test(an_internal_address_is_never_a_path),
        cmocka_unit_test(what_is_no_target_is_refused),
        cmocka_unit_test(limit_sources_have_their_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
