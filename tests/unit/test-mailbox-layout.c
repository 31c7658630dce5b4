/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mailboxes of either layout: where only a count tells whether it is one, and where a count may
 * have missed folders.
 */
#include "probe.h"
#include "protocol/words.h"

#include <inttypes.h>

/* Counts the mailbox at name, which a probe must leave to that. Returns as mailbox_count() does. */
static int count(const struct fixture *fixture, const char *name,
                 const struct mailbox_policy *policy, struct usage *ret,
                 char detail[static MAILBOX_DETAIL_BYTES_MAX])
{
    /* when sums that say "over" are no longer fresh */
    const uint64_t now_usec = fixture->written_usec + HOUR;
    struct mailbox mailbox;
    char path[PATH_MAX];
    int r;

    *ret = (struct usage){};
    assert_int_equal(probe_at(fixture, name, policy, now_usec, &mailbox), MAILBOX_NEEDS_COUNT);
    r = mailbox_count(&mailbox, path_of(fixture, name, path), &fixture->settings, policy, now_usec,
                      NULL, ret);
    strcpy(detail, mailbox.detail);
    mailbox_close(&mailbox);
    return r;
}

/* With --layout=fs folders alone make a mailbox, and may lie deep in it. */
static void what_a_maildir_of_layout_fs_has(void **state)
{
    static const struct {
        const char *made[4]; /* directories */
        const char *maildirsize;
        bool ignore;
        int result;
        enum usage_source source;
        enum usage_rule rule;
        uint64_t bytes;
    } cases[] = {
        {{"cur"}, NULL, false, 0, USAGE_SCAN, USAGE_RULE_MISSING, 0},
        {{"Sent", "Sent/cur"}, NULL, false, 0, USAGE_SCAN, USAGE_RULE_MISSING, 5},
        {{"Lists", "Lists/exim", "Lists/exim/new"},
         NULL,
         false,
         0,
         USAGE_SCAN,
         USAGE_RULE_MISSING,
         5},
        {{"Sent", "Sent/cur"}, NULL, true, 0, USAGE_SCAN, USAGE_RULE_IGNORED, 5},
        {{"Sent", "Sent/cur"}, "x\n", false, 0, USAGE_SCAN, USAGE_RULE_MALFORMED, 5},

        /* a maildirsize makes a mailbox too, whatever it says and whether it is used */
        {{NULL}, "x\n", false, 0, USAGE_SCAN, USAGE_RULE_MALFORMED, 0},
        {{NULL}, "x\n", true, 0, USAGE_SCAN, USAGE_RULE_IGNORED, 0},

        {{"mailboxes", "mailboxes/INBOX", "storage"}, NULL, false, -EMEDIUMTYPE, 0, 0, 0},
        {{"mailboxes", "mailboxes/INBOX", "storage"}, NULL, true, -EMEDIUMTYPE, 0, 0, 0},
        {{"tmp"}, NULL, false, -EMEDIUMTYPE, 0, 0, 0},
    };
    struct fixture *fixture = *state;

    fixture->settings.maildir.layout = MAILDIR_LAYOUT_FS;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[PATH_MAX], detail[MAILBOX_DETAIL_BYTES_MAX];
        const char *last = NULL;
        struct usage usage;
        int r;

        fixture->settings.ignore_maildirsize = cases[i].ignore;
        box_mkdir(&fixture->box, "../joe");
        for (size_t j = 0; j < ARRAY_SIZE(cases[i].made) && cases[i].made[j]; j++) {
            last = cases[i].made[j];
            (void)snprintf(name, sizeof(name), "../joe/%s", last);
            box_mkdir(&fixture->box, name);
        }
        if (cases[i].bytes > 0) {
            (void)snprintf(name, sizeof(name), "../joe/%s/a,S=%" PRIu64, last, cases[i].bytes);
            box_put(&fixture->box, name, 0);
        }
        if (cases[i].maildirsize)
            put_text(fixture, "@/joe/maildirsize", cases[i].maildirsize,
                     strlen(cases[i].maildirsize));
        r = count(fixture, "@/joe", &no_policy, &usage, detail);
        if (r != cases[i].result)
            fail_msg("case %zu: %d", i, r);
        assert_int_equal(detail[0] != '\0', r < 0);
        if (r == 0) {
            assert_int_equal(usage.source, cases[i].source);
            assert_int_equal(usage.rule, cases[i].rule);
            assert_int_equal(usage.bytes, cases[i].bytes);
        }
        box_remove(&fixture->box, "../joe");
    }
}

/* For that, an empty directory need not be counted. Nor is a message too large for what is none. */
static void what_is_no_maildir_of_layout_fs(void **state)
{
    static const struct mailbox_policy policy = {
        .default_limit = {10, 0}, .size_bytes = 11, .verdict_alone = true};
    struct fixture *fixture = *state;
    char detail[MAILBOX_DETAIL_BYTES_MAX];
    struct mailbox mailbox;
    struct usage usage;

    fixture->settings.maildir.layout = MAILDIR_LAYOUT_FS;
    box_mkdir(&fixture->box, "../joe");
    assert_int_equal(probe_at(fixture, "@/joe", &policy, fixture->written_usec, &mailbox),
                     MAILBOX_ANSWERED);
    assert_int_equal(mailbox.usage.source, USAGE_NONE);
    mailbox_close(&mailbox);
    box_mkdir(&fixture->box, "../joe/storage");
    assert_int_equal(count(fixture, "@/joe", &policy, &usage, detail), -EMEDIUMTYPE);
    box_mkdir(&fixture->box, "../joe/storage/cur");
    assert_int_equal(count(fixture, "@/joe", &policy, &usage, detail), 0);
    box_remove(&fixture->box, "../joe");
}

/*
 * A mailbox of 700 bytes in two messages, and folders that are not counted. Sums that say "over"
 * may know of them; what fits with them fits.
 */
static void sums_that_may_know_more(void **state)
{
    static const struct {
        const char *maildirsize; /* NULL: none */
        struct mailbox_policy policy;
        uint64_t stray_bytes; /* of one message in a folder without a dot; 0: no such folder */
        enum usage_rule rule;
        uint64_t bytes, messages;
    } cases[] = {
        {"\n1001 9\n", {.default_limit = {1000, 0}}, 0, USAGE_RULE_OVER, 700, 2},
        {"\n1001 9\n", {.default_limit = {1000, 0}}, 300, USAGE_RULE_OVER, 1000, 3},
        {"\n1001 9\n", {.default_limit = {1000, 0}}, 301, USAGE_RULE_LAYOUT, 1001, 9},
        {"\n1001 9\n",
         {.default_limit = {1000, 0}, .size_bytes = 50},
         250,
         USAGE_RULE_OVER,
         950,
         3},
        {"\n1001 9\n",
         {.default_limit = {1000, 0}, .size_bytes = 50},
         251,
         USAGE_RULE_LAYOUT,
         1001,
         9},
        {"\n1001 9\n",
         {.default_limit = {1000, 0}, .size_bytes = 50, .grace = {.bytes = 10}},
         260,
         USAGE_RULE_OVER,
         960,
         3},
        {"\n1001 9\n",
         {.default_limit = {1000, 0}, .size_bytes = 50, .grace = {.bytes = 10}},
         261,
         USAGE_RULE_LAYOUT,
         1001,
         9},
        {"\n1001 9\n", {.default_limit = {0, 4}}, 1, USAGE_RULE_OVER, 701, 3},
        {"\n1001 9\n", {.default_limit = {0, 3}}, 1, USAGE_RULE_LAYOUT, 1001, 9},
        {"1000S\n1001 9\n", {.default_limit = {0, 0}}, 300, USAGE_RULE_OVER, 1000, 3},
        {"1000S\n1001 9\n", {.default_limit = {0, 0}}, 301, USAGE_RULE_LAYOUT, 1001, 9},

        /* without sums that say so, what is not counted is not counted */
        {NULL, {.default_limit = {1000, 0}}, 301, USAGE_RULE_MISSING, 700, 2},
        {"x\n", {.default_limit = {1000, 0}}, 301, USAGE_RULE_MALFORMED, 700, 2},
        {"\n", {.default_limit = {1000, 0}}, 301, USAGE_RULE_EMPTY, 700, 2},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[64], path[PATH_MAX], detail[MAILBOX_DETAIL_BYTES_MAX];
        bool stray = cases[i].stray_bytes > 0;
        struct usage usage;

        if (stray) {
            box_mkdir(&fixture->box, "Sent");
            box_mkdir(&fixture->box, "Sent/cur");
            (void)snprintf(name, sizeof(name), "Sent/cur/a,S=%" PRIu64, cases[i].stray_bytes);
            box_put(&fixture->box, name, 0);
        }
        if (cases[i].maildirsize)
            put_maildirsize(fixture, cases[i].maildirsize);
        else
            (void)unlink(path_of(fixture, "maildirsize", path));
        assert_int_equal(count(fixture, "", &cases[i].policy, &usage, detail), 0);
        if (usage.rule != cases[i].rule)
            fail_msg("case %zu: %s", i, usage_rule_to_string(usage.rule));
        assert_int_equal(usage.bytes, cases[i].bytes);
        assert_int_equal(usage.messages, cases[i].messages);
        assert_int_equal(usage.source,
                         usage.rule == USAGE_RULE_LAYOUT ? USAGE_MAILDIRSIZE : USAGE_SCAN);
        assert_int_equal(usage.count.stray_folders, stray);
        if (stray)
            box_remove(&fixture->box, "Sent");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_maildir_of_layout_fs_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_maildir_of_layout_fs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sums_that_may_know_more, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
