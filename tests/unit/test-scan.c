/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scanner with real threads, real mailboxes, and a file system that hangs for real.
 *
 *     test-scan HANGFS
 */
#include "scanner.h"

#include <sys/resource.h>

#include "child.h"
#include "hoard.h"

static void what_a_look_finds(void **state)
{
    static const struct {
        const char *name;
        uint64_t limit;
        int error;
        bool counted;
        enum usage_source source;
        uint64_t bytes;
        const char *found; /* NULL: what was asked for */
    } cases[] = {
        {"@/m0", 0, 0, true, USAGE_SCAN, 700, NULL},
        {"@/m1", 1000, 0, false, USAGE_MAILDIRSIZE, 1000, NULL},
        {"@/m1", 999, 0, true, USAGE_SCAN, 700, NULL},
        {"@/m1/.Sub", 1000, 0, false, USAGE_MAILDIRSIZE, 1000, "@/m1"},
        {"@/m1/.Sub", 999, 0, true, USAGE_SCAN, 700, "@/m1"},
        {"@/box", 1, 0, true, USAGE_SCAN, 0, NULL},
        {"@/mdbox", 1, -EMEDIUMTYPE, false, 0, 0, NULL},
        {"@/mbox", 1, 0, false, USAGE_MBOX, 12345, NULL},
        {"@/nothing", 1, 0, false, USAGE_NONE, 0, NULL},
        {"@/m1/maildirsize/x", 1, -ENOTDIR, false, 0, 0, NULL},
        {"@/fifo", 1, -EMEDIUMTYPE, false, 0, 0, NULL},
        {"@/../x", 1, -EXDEV, false, 0, 0, NULL},
    };
    struct fixture *fixture = *state;
    char path[PATH_MAX];
    uint64_t scans = 0;

    put_maildirsize(fixture, "m1", "1S\n1000 9\n");
    box_mkdir(&fixture->box, "../m1/.Sub");
    box_put(&fixture->box, "../m1/.Sub/maildirfolder", 0);
    box_put(&fixture->box, "../mbox", 12345);
    box_mkdir(&fixture->box, "../mdbox");
    box_mkdir(&fixture->box, "../mdbox/storage");
    assert_return_code(mkfifo(path_of(fixture, "@/fifo", path), 0644), errno);
    make_scanner(fixture, roomy);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct scan_result *result;

        must_ask(fixture, i, cases[i].name, cases[i].limit);
        run_until(fixture, i + 1);
        result = told(fixture, i);
        assert_int_equal(result->error, cases[i].error);
        assert_false(result->late);
        assert_int_equal(result->counted, cases[i].counted);
        assert_string_equal(
            result->path, path_of(fixture, cases[i].found ? cases[i].found : cases[i].name, path));
        assert_string_equal(fixture->askers[i].detail,
                            strcmp(cases[i].name, "@/mdbox") == 0
                                ? "is not a Maildir: it has no cur, new or maildirsize, but storage"
                                : "");
        if (cases[i].error < 0)
            continue;
        assert_int_equal(result->usage.source, cases[i].source);
        assert_int_equal(result->usage.bytes, cases[i].bytes);
        scans += cases[i].counted;
        assert_int_equal(counters(fixture)->scans, scans);
    }
    assert_int_equal(counters(fixture)->cached, 0);
    assert_int_equal(counters(fixture)->shared, 0);
    assert_int_equal(counters(fixture)->timeouts, 0);
    assert_int_equal(scanner_stuck(fixture->scanner), 0);
}

static void a_look_learns_the_device(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    assert_int_equal(devices_kind(&fixture->devices, fixture->disk), FILESYSTEM_UNKNOWN);
    must_ask(fixture, 0, "@/nothing", 0);
    run_until(fixture, 1);
    assert_int_equal(devices_kind(&fixture->devices, fixture->disk), FILESYSTEM_UNKNOWN);
    must_ask(fixture, 0, "@/m0", 0);
    run_until(fixture, 2);
    assert_int_equal(devices_kind(&fixture->devices, fixture->disk),
                     filesystem_kind(fixture->box.fd));
}

static void a_look_is_remembered(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    box_settle();
    for (size_t i = 0; i < 3; i++) {
        must_ask(fixture, i, "@/m0", 0);
        run_until(fixture, i + 1);
        assert_counted(fixture, i);
        assert_int_equal(told(fixture, i)->usage.source, i == 0 ? USAGE_SCAN : USAGE_CACHE);
    }
    assert_int_equal(counters(fixture)->scans, 1);
    assert_int_equal(counters(fixture)->cached, 2);
    assert_int_equal(cache_count(fixture->cache, CACHE_COUNT), 1);
}

static void many_share_one_look(void **state)
{
    struct fixture *fixture = *state;
    unsigned long lists_before, lists_of_one;

    make_scanner(fixture, roomy);
    lists_before = hangfs_lists(&fixture->hangfs);
    must_ask(fixture, 50, "~/m0", 0);
    run_until(fixture, 1);
    lists_of_one = hangfs_lists(&fixture->hangfs) - lists_before;
    assert_true(lists_of_one > 0);

    hangfs_say(&fixture->hangfs, "hang list");
    for (size_t i = 0; i < 50; i++) {
        /* whom the message's fitting satisfies, and, of those that come late, who wants to know */
        if (i < 40)
            must_ask_with_size(fixture, i, "~/m0", 1000, 1 + i);
        else
            must_ask(fixture, i, "~/m0", i);
        if (i == 24)
            hangfs_say(&fixture->hangfs, "await 1");
    }
    assert_int_equal(counters(fixture)->shared, 49);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 41);
    assert_int_equal(counters(fixture)->scans, 2);
    /* what was read before they came may have changed: all of them share the next */
    run_until(fixture, 51);
    for (size_t i = 0; i < 50; i++)
        assert_counted(fixture, i);
    assert_int_equal(counters(fixture)->scans, 3);
    assert_int_equal(hangfs_lists(&fixture->hangfs) - lists_before, 3 * lists_of_one);
}

static void others_are_looked_into_meanwhile(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang look list read");
    for (size_t i = 0; i < 10; i++)
        must_ask(fixture, i, (char[]){'~', '/', 'm', (char)('0' + i), '\0'}, 0);
    hangfs_say(&fixture->hangfs, "await 1");
    for (size_t i = 0; i < 30; i++)
        must_ask(fixture, 10 + i, (char[]){'@', '/', 'm', (char)('0' + i % 10), '\0'}, 0);
    run_until(fixture, 30);
    for (size_t i = 10; i < 40; i++)
        assert_counted(fixture, i);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 40);
    for (size_t i = 0; i < 10; i++)
        assert_counted(fixture, i);
}

static void who_leaves_is_not_told(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    leave(fixture, 0); /* waits for nothing */
    hangfs_say(&fixture->hangfs, "hang list");
    for (size_t i = 0; i < 3; i++)
        must_ask_with_size(fixture, i, "~/m0", 1000, 1); /* it fits, for who comes late, too */
    hangfs_say(&fixture->hangfs, "await 1");
    leave(fixture, 0);
    leave(fixture, 2);
    leave(fixture, 2);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 1);
    assert_counted(fixture, 1);
    assert_int_equal(fixture->askers[0].told, 0);
    assert_int_equal(fixture->askers[2].told, 0);

    /* a look that nobody waits for goes on */
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m1", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    leave(fixture, 0);
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 2);
    assert_int_equal(fixture->told, 1);
    assert_int_equal(cache_count(fixture->cache, CACHE_COUNT), 2);
}

static void make_others_leave(struct asker *asker)
{
    for (size_t i = 1; i < 5; i++)
        leave(asker->fixture, i);
}

static void ask_again(struct asker *asker)
{
    asker->react = NULL;
    must_ask(asker->fixture, 0, "@/m1", 0);
}

static void who_is_told_may_ask_and_make_others_leave(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    for (size_t i = 0; i < 6; i++)
        must_ask(fixture, i, "@/m0", 0);
    fixture->askers[0].react = make_others_leave;
    run_until(fixture, 2);
    assert_counted(fixture, 0);
    assert_counted(fixture, 5);

    fixture->askers[0].react = ask_again;
    must_ask(fixture, 0, "@/m0", 0);
    run_until(fixture, 4);
    assert_counted(fixture, 0);
    assert_int_equal(fixture->askers[0].result.path[strlen(fixture->box.root) + 2], '1');
}

static void a_hanging_device_takes_so_many_questions(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    make_scanner(fixture, (struct limits){4, 1000, 3, 10 * SOON});
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");

    /* a device that may yet answer takes them all */
    for (size_t i = 1; i < 10; i++)
        must_ask(fixture, i, "~/m0", 0);
    run_until(fixture, 10);
    while (scanner_stuck(fixture->scanner) == 0)
        (void)sched_yield();

    must_ask(fixture, 0, "~/m1", 0);
    must_ask(fixture, 1, "~/m0", 0);
    must_ask(fixture, 2, "~/m2", 0);
    assert_int_equal(ask(fixture, 3, "~/m3", 0), -EBUSY); /* a look of its own */
    assert_int_equal(ask(fixture, 3, "~/m1", 0), -EBUSY); /* one that is in flight */
    assert_null(fixture->askers[3].waiter.scan);
    leave(fixture, 3);

    /* others go on, and so does who leaves room */
    must_ask(fixture, 4, "@/m0", 0);
    must_ask(fixture, 5, "@/m1", 0);
    leave(fixture, 2);
    must_ask(fixture, 3, "~/m3", 0);
    assert_int_equal(ask(fixture, 2, "~/m2", 0), -EBUSY);
    leave(fixture, 0);
    leave(fixture, 1);
    leave(fixture, 3);
    run_until(fixture, 12);
    assert_string_equal(told(fixture, 4)->path, path_of(fixture, "@/m0", path));

    /* a device that is awake again takes them all again */
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 6);
    assert_int_equal(scanner_stuck(fixture->scanner), 0);
    for (size_t i = 0; i < 10; i++)
        must_ask(fixture, i, "~/m0", 0);
    run_until(fixture, 22);
}

static void a_full_queue_refuses(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, (struct limits){1, 1, 1000, HOUR});
    must_ask(fixture, 0, "~/m2", 0);
    run_until(fixture, 1);
    assert_int_equal(cache_count(fixture->cache, CACHE_COUNT), 1);
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 1, "~/m1", 0);
    assert_int_equal(ask(fixture, 2, "~/m2", 0), -EBUSY);
    assert_int_equal(ask(fixture, 3, "@/m2", 0), -EBUSY);
    assert_null(fixture->askers[2].waiter.scan);
    assert_int_equal(cache_count(fixture->cache, CACHE_COUNT), 1); /* nothing is forgotten for it */
    must_ask(fixture, 4, "~/m0", 0);                               /* looks in flight have room */
    must_ask(fixture, 5, "~/m1", 0);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 5);
    assert_int_equal(fixture->askers[2].told, 0);
    assert_int_equal(fixture->askers[3].told, 0);
    must_ask(fixture, 2, "~/m2", 0);
    run_until(fixture, 6);
    assert_counted(fixture, 2);
}

/* Looks that wait, that are done, and that nobody was told of, go with the scanner. */
static void ends_with_looks_in_flight(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, (struct limits){2, 1000, 1000, HOUR});
    hangfs_say(&fixture->hangfs, "hang list");
    for (size_t i = 0; i < 10; i++)
        must_ask(fixture, i, (char[]){'~', '/', 'm', (char)('0' + i), '\0'}, 0);
    hangfs_say(&fixture->hangfs, "await 1");
    assert_false(pool_end(fixture->fast));
    hangfs_say(&fixture->hangfs, "wake");
    end_scanner(fixture);
    fixture->scanner = NULL;
    assert_int_equal(fixture->told, 0);
}

/* A scanner without anything to scan, for a child in which something runs out. */
struct bare {
    sd_event *event;
    struct cache *cache;
    struct pool *fast, *slow;
    struct devices devices;
    struct scanner *scanner;
    struct scan_waiter waiter;
};

static const struct scanner_settings bare_settings = {.stuck_waiters_max = 10,
                                                      .timeout_usec = HOUR};
static const struct mailbox_policy bare_policy;

static enum child_result bare_init(struct bare *bare)
{
    *bare = (struct bare){.devices.mounts_fd = -1, .waiter = {.policy = &bare_policy}};
    CHECK(sd_event_new(&bare->event) == 0);
    CHECK(cache_new(100000, &bare->cache) == 0);
    CHECK(pool_new(bare->event, 1, 10, &bare->fast) == 0);
    CHECK(pool_new(bare->event, 1, 10, &bare->slow) == 0);
    return CHILD_PASSED;
}

static int bare_new(struct bare *bare)
{
    return scanner_new(bare->event, &bare_settings, bare->fast, bare->slow, bare->cache,
                       &bare->devices, &bare->scanner);
}

static enum child_result without_memory(void *userdata)
{
    struct bare bare;

    (void)userdata;
    if (!HOARD_WORKS)
        return CHILD_SKIPPED;
    CHECK(hoard_prepare());
    CHECK(bare_init(&bare) == CHILD_PASSED);
    CHECK(bare_new(&bare) == 0);
    CHECK(hoard_all());
    CHECK(scanner_ask(bare.scanner, &bare.waiter, "/x", 0) == -ENOMEM);
    CHECK(!bare.waiter.scan);
    CHECK(bare_new(&bare) == -ENOMEM);
    return CHILD_PASSED;
}

static enum child_result without_threads(void *userdata)
{
    struct bare bare;

    (void)userdata;
    CHECK(bare_init(&bare) == CHILD_PASSED);
    CHECK(bare_new(&bare) == 0);
    CHECK(child_stop_threads());
    CHECK(scanner_ask(bare.scanner, &bare.waiter, "/x", 0) == -EBUSY);
    CHECK(!bare.waiter.scan);
    return CHILD_PASSED;
}

static void memory_runs_out(void **state)
{
    (void)state;
    assert_child_passes(without_memory, NULL);
}

static void threads_run_out(void **state)
{
    (void)state;
    assert_child_passes(without_threads, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest anywhere[] = {
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(threads_run_out),
        cmocka_unit_test_setup_teardown(what_a_look_finds, set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(a_look_learns_the_device, set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(a_look_is_remembered, set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(who_is_told_may_ask_and_make_others_leave, set_up_disk,
                                        tear_down),
    };
    const struct CMUnitTest hanging[] = {
        cmocka_unit_test_setup_teardown(many_share_one_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_looked_into_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_leaves_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hanging_device_takes_so_many_questions, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_with_looks_in_flight, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(anywhere, NULL, NULL);

    if (!prepare_hangfs(argc, argv))
        return failed > 0 ? 1 : 77;
    failed += cmocka_run_group_tests(hanging, NULL, NULL);
    return failed > 0;
}
