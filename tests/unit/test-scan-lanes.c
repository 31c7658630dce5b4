/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What large mailboxes, hanging devices and changes amid a look do to other queries: nothing.
 *
 *     test-scan-lanes HANGFS
 */
#include "scanner.h"

/* More than a look in the fast lane may read. */
#define LARGE 21000

static void fill(const struct fixture *fixture, const char *name)
{
    char path[PATH_MAX];

    for (int i = 0; i < LARGE; i++) {
        (void)snprintf(path, sizeof(path), "../%s/cur/%d,S=1", name, i);
        box_put(&fixture->box, path, 0);
    }
}

static void assert_counted_bytes(const struct fixture *fixture, size_t index, uint64_t bytes)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, 0);
    assert_true(result->counted);
    assert_int_equal(result->usage.bytes, bytes);
}

/* A large mailbox leaves the fast lane, and does not come back while it is large. */
static void a_large_mailbox_goes_to_the_slow_lane(void **state)
{
    struct fixture *fixture = *state;

    fill(fixture, "m1");
    make_scanner(fixture, (struct limits){1, 1000, 1000, HOUR});
    must_ask(fixture, 0, "@/m1", 0);
    run_until(fixture, 1);
    assert_counted_bytes(fixture, 0, 700 + LARGE);
    assert_int_equal(counters(fixture)->scans, 1);

    /* the only thread of the fast lane hangs */
    hangfs_say(&fixture->hangfs, "hang look list read");
    must_ask(fixture, 1, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    box_touch(&fixture->box, "../m1/cur", 0);
    must_ask(fixture, 2, "@/m1", 0);
    run_until(fixture, 2);
    assert_counted_bytes(fixture, 2, 700 + LARGE);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 3);
    assert_counted(fixture, 1);
}

/* What was large and is remembered, or was emptied, is small again. */
static void a_mailbox_that_is_small_again_is_fast(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    fill(fixture, "m1");
    make_scanner(fixture, (struct limits){1, 1000, 1000, HOUR});
    must_ask(fixture, 0, "@/m1", 0);
    run_until(fixture, 1);
    for (int i = 0; i < LARGE; i++) {
        (void)snprintf(path, sizeof(path), "../m1/cur/%d,S=1", i);
        box_remove(&fixture->box, path);
    }
    must_ask(fixture, 1, "@/m1", 0);
    run_until(fixture, 2);
    assert_counted(fixture, 1);

    /* now the only thread of the slow lane hangs: in a mailbox that was large */
    fill(fixture, "m2");
    must_ask(fixture, 2, "~/m2", 0);
    run_until(fixture, 3);
    hangfs_say(&fixture->hangfs, "hang look list read");
    must_ask(fixture, 3, "~/m2", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 4, "@/m1", 0);
    run_until(fixture, 4);
    assert_counted(fixture, 4);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 5);
}

/* Room that is made during a count is seen by whoever asks after it. */
static void what_was_read_before_refuses_nobody(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask_with_size(fixture, 0, "~/m0", 700, 1);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask_with_size(fixture, 1, "~/m0", 1000, 1);
    must_ask_with_size(fixture, 2, "~/m0", 700, 1);
    must_ask(fixture, 3, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "wake");
    fixture->askers[0].react = NULL;
    run_until(fixture, 2);
    assert_counted(fixture, 0);
    assert_counted(fixture, 1); /* it fits */
    assert_int_equal(fixture->askers[2].told, 0);
    assert_int_equal(fixture->askers[3].told, 0);
    run_until(fixture, 4);
    assert_counted(fixture, 2);
    assert_counted(fixture, 3);
    assert_int_equal(counters(fixture)->scans, 2);

    hangfs_say(&fixture->hangfs, "hang list");
    must_ask_with_size(fixture, 0, "~/m1", 700, 1);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask_with_size(fixture, 1, "~/m1", 700, 1);
    must_ask_with_size(fixture, 2, "~/m1", 700, 1);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 5);
    box_remove(&fixture->box, "../m1/cur/b,S=400:2,");
    run_until(fixture, 7);
    assert_counted_bytes(fixture, 1, 300);
    assert_counted_bytes(fixture, 2, 300);
}

/* Mailboxes of a disk that works, with a folder that is a link to where nothing does. */
static void what_hangs_behind_a_link_counts_there(void **state)
{
    struct fixture *fixture = *state;
    char name[64], target[PATH_MAX];

    for (int i = 0; i < 6; i++) {
        (void)snprintf(name, sizeof(name), "../m%d/.Linked", i);
        box_link(&fixture->box, path_of(fixture, "~/m9", target), name);
    }
    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang look list read");
    for (size_t i = 0; i < 6; i++)
        must_ask(fixture, i, (char[]){'@', '/', 'm', (char)('0' + i), '\0'}, 0);
    while (pool_stuck(fixture->fast, fixture->hanging, 0) < 2)
        (void)sched_yield();
    /* the disk has its whole share of the threads */
    for (size_t i = 6; i < 9; i++)
        must_ask(fixture, i, (char[]){'@', '/', 'm', (char)('0' + i), '\0'}, 0);
    run_until(fixture, 3);
    for (size_t i = 6; i < 9; i++)
        assert_counted(fixture, i);
    /* those whom the device had no share for wait for it outside */
    while (pool_stuck(fixture->fast, fixture->disk, 0) > 0)
        assert_true(sd_event_run(fixture->event, USEC_PER_MSEC) >= 0);
    assert_int_equal(pool_stuck(fixture->fast, fixture->hanging, 0), 2);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 9);
    for (size_t i = 0; i < 6; i++)
        assert_counted_bytes(fixture, i, 1400);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_mailbox_goes_to_the_slow_lane, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mailbox_that_is_small_again_is_fast, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_read_before_refuses_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_hangs_behind_a_link_counts_there, set_up, tear_down),
    };

    return prepare_hangfs(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
