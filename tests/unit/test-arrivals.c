/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When messages arrived, by their names; and by that, which maildirsize nobody keeps.
 */
#include "probe.h"

#include <inttypes.h>

#include "quota/arrivals.h"

#define DAY_SEC 86400

static void by_the_names_of_messages(void **state)
{
    static const struct {
        const char *name;
        bool after; /* 1700000000 */
    } cases[] = {
        {"1700000000.M1P2.host", false},
        {"1700000001.M1P2.host", true},
        {"1700000001.M1P2.host,S=5:2,S", true},
        {"1700000001.", true},
        {"1699999999.M1P2.host", false},
        {"01700000001.x", true},
        {"9223372036854775807.x", true},

        /* No delivery agent's name: the file is from now. */
        {"1700000001", true},
        {"1x.y", true},
        {"1700000001:2,S", true},
        {"x1700000001.y", true},
        {"9223372036854775808.x", true}, /* too large to be a number */
        {"message", true},
        {"1.x", true},
        {".1700000001.y", false}, /* no message */
    };
    struct fixture *fixture = *state;
    static const char *const leaves[] = {"new", "cur"};

    assert_true(arrivals_after(fixture->box.fd, 1699999999));
    assert_false(arrivals_after(fixture->box.fd, 1700000000));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t leaf = 0; leaf < ARRAY_SIZE(leaves); leaf++) {
            char name[128];

            (void)snprintf(name, sizeof(name), "%s/%s", leaves[leaf], cases[i].name);
            box_put(&fixture->box, name, 0);
            if (cases[i].after)
                assert_false(arrivals_after(fixture->box.fd, UINT64_MAX));
            if (arrivals_after(fixture->box.fd, 1700000000) != cases[i].after)
                fail_msg("%s", name);
            box_remove(&fixture->box, name);
        }
}

/* Only what lies in the mailbox itself counts, and only if it can be read. */
static void elsewhere_than_in_new_and_cur(void **state)
{
    struct fixture *fixture = *state;

    box_put(&fixture->box, "1700000001.x", 0);
    box_put(&fixture->box, "tmp/1700000001.x", 0);
    box_folder(&fixture->box, ".Sub");
    box_put(&fixture->box, ".Sub/new/1700000001.x", 0);
    assert_false(arrivals_after(fixture->box.fd, 1700000000));

    box_put(&fixture->box, "cur/1700000001.x", 0);
    assert_true(arrivals_after(fixture->box.fd, 1700000000));
    box_move(&fixture->box, "cur", "../cur");
    box_link(&fixture->box, "../cur", "cur");
    assert_false(arrivals_after(fixture->box.fd, 1700000000));
    box_put(&fixture->box, "new/1700000001.x", 0);
    assert_true(arrivals_after(fixture->box.fd, 1700000000));
    box_remove(&fixture->box, "new");
    assert_false(arrivals_after(fixture->box.fd, 1700000000));
}

/* Probes the mailbox without waiting, as soon as it is in memory. */
static void probe_on_the_loop(const struct fixture *fixture, uint64_t now_usec, struct mailbox *ret)
{
    for (int attempts = 0; attempts < 1000; attempts++) {
        int r =
            probe_cached_at(fixture, "", (struct kinds){FILESYSTEM_MEMORY, ALWAYS}, now_usec, ret);

        if (r == MAILBOX_ANSWERED)
            return;
        assert_int_equal(r, MAILBOX_WOULD_BLOCK);
        mailbox_close(ret);
        assert_int_equal(probe_at(fixture, "", &no_policy, now_usec, ret), MAILBOX_ANSWERED);
        mailbox_close(ret);
    }
    fail_msg("it is never in memory");
}

/* The event loop suspects, a thread finds out. */
static void check(const struct fixture *fixture, uint64_t now_usec, bool suspect, bool unkept)
{
    struct mailbox mailbox;

    assert_int_equal(probe_at(fixture, "", &no_policy, now_usec, &mailbox), MAILBOX_ANSWERED);
    assert_int_equal(mailbox.is_suspect, suspect);
    assert_int_equal(mailbox.is_unkept, unkept);
    assert_int_equal(mailbox.usage.is_unkept, unkept);
    mailbox_close(&mailbox);
    if (!has_cached(fixture))
        return;
    probe_on_the_loop(fixture, now_usec, &mailbox);
    assert_int_equal(mailbox.is_suspect, suspect);
    assert_false(mailbox.is_unkept);
    assert_false(mailbox.usage.is_unkept);
    mailbox_close(&mailbox);
}

/* Messages arrive, and nobody adds them; what else happens to a mailbox says nothing. */
static void a_maildirsize_that_nobody_keeps(void **state)
{
    static const char *const leaves[] = {"new", "cur"};
    struct fixture *fixture = *state;
    const uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    const uint64_t written_sec = now_usec / USEC_PER_SEC - 3 * DAY_SEC;

    put_maildirsize(fixture, "1000S\n700 2\n");
    set_modified(fixture, "maildirsize", written_sec * USEC_PER_SEC + 999999);
    check(fixture, now_usec, true, false);
    box_move(&fixture->box, "cur/1700000000.a,S=300:2,S", "cur/1700000000.a,S=300:2,RS");
    box_move(&fixture->box, "new/1700000000.b,S=400", "cur/1700000000.b,S=400:2,");
    check(fixture, now_usec, true, false);
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
        for (unsigned int late = 0; late < 2; late++) {
            char name[64];

            (void)snprintf(name, sizeof(name), "%s/%" PRIu64 ".x,S=1", leaves[i],
                           written_sec + DAY_SEC + late);
            box_put(&fixture->box, name, 0);
            check(fixture, now_usec, true, late);
            box_remove(&fixture->box, name);
        }
}

/* It is said of those too whose messages are counted, unless the sums do not parse anyway. */
static void a_mailbox_that_is_counted(void **state)
{
    static const struct mailbox_policy policy = {.have_limit = true, .limit = {1000, 0}};
    struct fixture *fixture = *state;
    const uint64_t now_usec = clock_usec(CLOCK_REALTIME);

    box_put(&fixture->box, "new/9000000000.x,S=1", 0);
    for (int good = 0; good < 2; good++) {
        struct mailbox mailbox;
        struct usage usage = {};

        put_maildirsize(fixture, good ? "1000S\n1001 3\n" : "x\n");
        set_modified(fixture, "maildirsize", now_usec - 3 * DAY);
        assert_int_equal(probe_at(fixture, "", &policy, now_usec, &mailbox), MAILBOX_NEEDS_COUNT);
        assert_int_equal(mailbox.is_suspect, good);
        assert_int_equal(mailbox_count(&mailbox, fixture->box.path, &fixture->settings, &policy,
                                       now_usec, NULL, &usage),
                         0);
        assert_int_equal(usage.bytes, 701);
        assert_int_equal(usage.is_unkept, good);
        mailbox_close(&mailbox);
    }
}

/* Returns when the status of a directory changed last, which cannot be set. */
static uint64_t ctime_usec(const struct fixture *fixture, const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    assert_return_code(stat(path_of(fixture, name, path), &st), errno);
    return (uint64_t)st.st_ctim.tv_sec * USEC_PER_SEC + (uint64_t)st.st_ctim.tv_nsec / 1000;
}

/* A change up to a day after it was written is usual: a message is read, and moved. */
static void a_change_soon_after_is_not_suspect(void **state)
{
    static const char *const leaves[] = {"new", "cur"};
    struct fixture *fixture = *state;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME) + HOUR;

    /* whether one has arrived is found out only where it is suspect */
    box_put(&fixture->box, "new/9000000000.x,S=1", 0);
    put_maildirsize(fixture, "1000S\n700 2\n");
    check(fixture, fixture->written_usec + DAY + 1, false, false);
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        uint64_t changed_usec;

        /* by ctime */
        set_modified(fixture, "new", 0);
        set_modified(fixture, "cur", 0);
        changed_usec = ctime_usec(fixture, "new");
        if (changed_usec < ctime_usec(fixture, "cur"))
            changed_usec = ctime_usec(fixture, "cur");
        set_modified(fixture, "maildirsize", changed_usec - DAY);
        check(fixture, now_usec, false, false);
        set_modified(fixture, "maildirsize", changed_usec - DAY - 1);
        check(fixture, now_usec, true, true);

        /* by mtime */
        set_modified(fixture, "maildirsize", now_usec - 2 * DAY);
        set_modified(fixture, "maildirsize", now_usec + HOUR - DAY);
        now_usec += 2 * HOUR;
        set_modified(fixture, leaves[i], now_usec - HOUR);
        check(fixture, now_usec, false, false);
        set_modified(fixture, leaves[i], now_usec - HOUR + 1);
        check(fixture, now_usec, true, true);
        now_usec -= 2 * HOUR;
    }

    /* nor is anything before a day has passed, or while it is from the future */
    set_modified(fixture, "cur", now_usec + 1000 * DAY);
    set_modified(fixture, "maildirsize", now_usec - DAY);
    check(fixture, now_usec, false, false);
    set_modified(fixture, "maildirsize", now_usec - DAY - 1);
    check(fixture, now_usec, true, true);
    set_modified(fixture, "maildirsize", now_usec + 1);
    check(fixture, now_usec, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_the_names_of_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(elsewhere_than_in_new_and_cur, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_maildirsize_that_nobody_keeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mailbox_that_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_change_soon_after_is_not_suspect, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
