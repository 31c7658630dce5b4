/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose query a scan answers, of those who share it; and what is answered where it is late.
 *
 *     test-scan-answers HANGFS
 */
#include "scanner.h"

/* The look does not begin until all are there. */
static void a_lower_limit_is_looked_at_for_itself(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 999);
    must_ask(fixture, 2, "~/m0", 1000);
    must_ask(fixture, 3, "~/m0", 500);
    release(fixture);
    run_until(fixture, 4);
    assert_trusted(fixture, 0, 1000);
    assert_counted(fixture, 1);
    assert_trusted(fixture, 2, 1000);
    assert_counted(fixture, 3);
    assert_int_equal(counters(fixture)->scans, 1); /* the two share the second look */
}

static void a_larger_message_is_looked_at_for_itself(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 1000);
    must_ask_with_size(fixture, 1, "~/m0", 1000, 1);
    release(fixture);
    run_until(fixture, 2);
    assert_trusted(fixture, 0, 1000);
    assert_counted(fixture, 1);
}

/* One needs no count, which another one has to wait for. */
static void a_message_that_is_too_large_is_answered_for_itself(void **state)
{
    static const char *const names[] = {"~/m0", "~/m1"};
    static const struct mailbox_policy usage = {
        .have_limit = true, .limit = {900, 0}, .size_bytes = 901};
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct scan_result *result;

        hold(fixture);
        must_ask_with_size(fixture, 0, names[i], 900, 901);
        must_ask_with_size(fixture, 1, names[i], 900, 900);
        must_ask_with_size(fixture, 2, names[i], 900, 902);
        /* whoever wants to know the usage too */
        assert_int_equal(ask_with(fixture, 3, names[i], usage), 0);
        release(fixture);
        run_until(fixture, 6 * i + 4);
        for (size_t asker = 0; asker < 3; asker += 2) {
            result = told(fixture, asker);
            assert_int_equal(result->error, 0);
            assert_false(result->counted);
            assert_int_equal(result->usage.rule, USAGE_RULE_TOOLARGE);
            assert_int_equal(result->usage.source, i == 0 ? USAGE_MAILDIRSIZE : USAGE_UNKNOWN);
            assert_int_equal(result->usage.bytes, i == 0 ? 1000 : 0);
        }
        assert_counted(fixture, 1);
        assert_counted(fixture, 3);
        assert_int_equal(counters(fixture)->scans, 2 * i + 1);

        /* the other way round a count is there, which is as good */
        hold(fixture);
        must_ask_with_size(fixture, 0, names[i], 900, 900);
        must_ask_with_size(fixture, 1, names[i], 900, 901);
        release(fixture);
        run_until(fixture, 6 * i + 6);
        assert_counted(fixture, 0);
        assert_counted(fixture, 1);
        assert_int_equal(counters(fixture)->scans, 2 * i + 2);
    }
}

/* A limit that only an old maildirsize gives needs no count; a sure one does. */
static void a_stale_limit_is_not_answered_for_another(void **state)
{
    static const struct mailbox_policy header = {.verdict_alone = true};
    static const struct mailbox_policy sure = {
        .have_limit = true, .limit = {999, 0}, .verdict_alone = true};
    static const struct mailbox_policy roomier = {.default_limit = {1000, 0},
                                                  .verdict_alone = true};
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "999S\n1000 9\n");
    box_touch(&fixture->box, "../m0/maildirsize", -2 * 86400);
    make_scanner(fixture, roomy);
    hold(fixture);
    assert_int_equal(ask_with(fixture, 0, "~/m0", header), 0);
    assert_int_equal(ask_with(fixture, 1, "~/m0", sure), 0);
    assert_int_equal(ask_with(fixture, 2, "~/m0", roomier), 0);
    assert_int_equal(ask_with(fixture, 3, "~/m0", header), 0);
    release(fixture);
    run_until(fixture, 4);
    assert_trusted(fixture, 0, 1000);
    assert_int_equal(told(fixture, 0)->usage.rule, USAGE_RULE_STALE_LIMIT);
    assert_counted(fixture, 1);
    assert_int_equal(told(fixture, 1)->usage.rule, USAGE_RULE_OVER);
    assert_true(told(fixture, 1)->usage.header.is_old);
    assert_trusted(fixture, 2, 1000);
    assert_int_equal(told(fixture, 2)->usage.rule, USAGE_RULE_TRUSTED);
    assert_trusted(fixture, 3, 1000);
    assert_int_equal(told(fixture, 3)->usage.rule, USAGE_RULE_STALE_LIMIT);
    assert_int_equal(counters(fixture)->scans, 1);

    hold(fixture);
    assert_int_equal(ask_with(fixture, 0, "~/m0", sure), 0);
    assert_int_equal(ask_with(fixture, 1, "~/m0", header), 0);
    release(fixture);
    run_until(fixture, 6);
    assert_counted(fixture, 0);
    assert_counted(fixture, 1);
}

/* Sums that a count could not overrule say so for the limit that it was asked about. */
static void sums_that_know_more_are_not_answered_for_another(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    box_mkdir(&fixture->box, "../m0/Sent");
    box_mkdir(&fixture->box, "../m0/Sent/cur");
    box_put(&fixture->box, "../m0/Sent/cur/a,S=50", 0);
    make_scanner(fixture, roomy);
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 749);
    must_ask(fixture, 1, "~/m0", 749);
    must_ask(fixture, 2, "~/m0", 750);
    must_ask(fixture, 3, "~/m0", 1000);
    release(fixture);
    run_until(fixture, 4);
    assert_trusted(fixture, 0, 1000);
    assert_int_equal(told(fixture, 0)->usage.rule, USAGE_RULE_LAYOUT);
    assert_trusted(fixture, 1, 1000);
    assert_int_equal(told(fixture, 1)->usage.rule, USAGE_RULE_LAYOUT);
    assert_int_equal(told(fixture, 2)->usage.rule, USAGE_RULE_OVER);
    assert_int_equal(told(fixture, 2)->usage.bytes, 750);
    assert_trusted(fixture, 3, 1000);
    assert_int_equal(told(fixture, 3)->usage.rule, USAGE_RULE_TRUSTED);
}

static void change_m0(struct asker *asker)
{
    box_touch(&asker->fixture->box, "../m0/cur", -3600);
}

/* A fresh "over" is sure only at the moment when a probe finds that nothing has changed since. */
static void a_fresh_over_is_not_answered_for_another(void **state)
{
    struct fixture *fixture = *state;

    box_settle();
    put_maildirsize(fixture, "m0", "\n1000 9\n");
    box_touch(&fixture->box, "../m0/maildirsize", -1);
    make_scanner(fixture, roomy);
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 500);
    must_ask(fixture, 1, "~/m0", 500);
    must_ask(fixture, 2, "~/m0", 400);
    fixture->askers[1].react = change_m0;
    release(fixture);
    run_until(fixture, 3);
    assert_trusted(fixture, 0, 1000);
    assert_trusted(fixture, 1, 1000);
    assert_counted(fixture, 2);
    assert_int_equal(counters(fixture)->scans, 1);
}

/* Who asked first, and made the look what it is, has gone. */
static void a_lower_limit_is_not_answered_for_another(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 500);
    leave(fixture, 0);
    release(fixture);
    run_until(fixture, 1);
    assert_counted(fixture, 1);

    /* nor has he come back with another question */
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 0);
    leave(fixture, 0);
    must_ask(fixture, 0, "~/m0", 500);
    release(fixture);
    run_until(fixture, 2);
    assert_counted(fixture, 0);
}

static void a_second_look_has_the_time_of_the_first(void **state)
{
    struct fixture *fixture = *state;
    uint64_t at_usec;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang list");
    hold(fixture);
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 500);
    at_usec = fixture->askers[1].waiter.deadline.at_usec;
    release(fixture);
    run_until(fixture, 1);
    hangfs_say(&fixture->hangfs, "await 1");
    assert_int_equal(fixture->askers[1].waiter.deadline.at_usec, at_usec);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 2);
    assert_trusted(fixture, 0, 1000);
    assert_counted(fixture, 1);
}

/* There is no room for the second look when the first is over. */
static void a_second_look_may_be_refused(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, (struct limits){1, 1, 1000, HOUR});
    hangfs_say(&fixture->hangfs, "hang read list");
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 2, "~/m1", 0);
    hangfs_say(&fixture->hangfs, "wake read"); /* the only thread goes on to m1 */
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 3, "~/m2", 0);
    run_until(fixture, 2);
    assert_trusted(fixture, 0, 1000);
    assert_int_equal(told(fixture, 1)->error, -EBUSY);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 4);
    assert_counted(fixture, 2);
    assert_counted(fixture, 3);
}

/* The deadline of a waiter has passed, and nothing is known that would answer its query. */
static void assert_timed_out(const struct fixture *fixture, size_t index)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, -ETIMEDOUT);
    assert_true(result->late);
    assert_false(result->counted);
}

/* The deadline has passed, but no count is needed for the answer. */
static void assert_late(const struct fixture *fixture, size_t index, enum usage_source source,
                        enum usage_rule rule, uint64_t bytes)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, 0);
    assert_true(result->late);
    assert_false(result->counted);
    assert_int_equal(result->usage.source, source);
    assert_int_equal(result->usage.rule, rule);
    assert_int_equal(result->usage.bytes, bytes);
}

/* Sums that say "over" wait for a count, and if that is late, for the next query. */
static void a_late_count_is_never_over(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    put_maildirsize(fixture, "m0", "10S,20C\n1000 9\n");
    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    box_settle();
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 500);
    must_ask(fixture, 1, "~/m0", 1000);
    must_ask_with_size(fixture, 2, "~/m0", 500, 501);
    must_ask(fixture, 3, "~/m0", 999);
    must_ask_with_size(fixture, 4, "~/m0", 1000, 1);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 5);
    assert_timed_out(fixture, 0);
    assert_late(fixture, 1, USAGE_MAILDIRSIZE, USAGE_RULE_TRUSTED, 1000);
    assert_int_equal(told(fixture, 1)->usage.messages, 9);
    assert_int_equal(told(fixture, 1)->usage.header.limit.bytes, 10);
    assert_late(fixture, 2, USAGE_MAILDIRSIZE, USAGE_RULE_TOOLARGE, 1000);
    assert_timed_out(fixture, 3);
    assert_timed_out(fixture, 4);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(told(fixture, i)->path, path_of(fixture, "~/m0", path));
    assert_int_equal(counters(fixture)->timeouts, 5);
    assert_int_equal(counters(fixture)->scans, 0);
    while (scanner_stuck(fixture->scanner) == 0)
        (void)sched_yield();
    assert_int_equal(scanner_stuck(fixture->scanner), 1);

    /* who asks now joins the count that hangs, and has a time of his own */
    must_ask(fixture, 0, "~/m0", 500);
    run_until(fixture, 6);
    assert_timed_out(fixture, 0);
    assert_int_equal(counters(fixture)->shared, 5);

    /* the count goes on, and the next query finds it done */
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 1);
    assert_int_equal(fixture->told, 6);
    assert_int_equal(scanner_stuck(fixture->scanner), 0);
}

/* Nothing is known of what it holds, but that a message is too large for it when empty. */
static void a_late_count_without_sums(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask_with_size(fixture, 0, "~/m0", 500, 500);
    must_ask_with_size(fixture, 1, "~/m0", 500, 501);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 2);
    assert_timed_out(fixture, 0);
    assert_late(fixture, 1, USAGE_UNKNOWN, USAGE_RULE_TOOLARGE, 0);
    hangfs_say(&fixture->hangfs, "wake");
}

/* What the event loop found out already answers where a thread that looks further is late. */
static void what_is_known_before(void **state)
{
    static const struct usage known = {.bytes = 77, .source = USAGE_MAILDIRSIZE};
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, (struct limits){4, 1000, 1000, 40 * SOON});
    for (size_t i = 0; i < 2; i++) {
        fixture->askers[i].waiter.have_usage = true;
        fixture->askers[i].waiter.usage = known;
    }
    hangfs_say(&fixture->hangfs, "hang look");
    must_ask(fixture, 0, "~/m0", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 1);
    assert_late(fixture, 0, USAGE_MAILDIRSIZE, USAGE_RULE_TRUSTED, 77);
    hangfs_say(&fixture->hangfs, "wake");

    /* but what the thread finds in time is newer */
    must_ask(fixture, 1, "@/m0", 1000);
    run_until(fixture, 2);
    assert_trusted(fixture, 1, 1000);
}

static void what_was_counted_too_late_is_remembered(void **state)
{
    struct fixture *fixture = *state;
    uint64_t counted = 0;
    size_t asked = 0;

    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    box_settle();
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 1);
    assert_int_equal(told(fixture, 0)->error, -ETIMEDOUT); /* there is no maildirsize */
    assert_true(told(fixture, 0)->late);
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 1);
    assert_int_equal(counters(fixture)->scans, 1);

    /* on a slow machine even what is remembered may take too long, but not for ever */
    do {
        must_ask(fixture, 0, "~/m0", 0);
        run_until(fixture, ++asked + 1);
        run_until_counted(fixture, ++counted + 1);
    } while (told(fixture, 0)->error == -ETIMEDOUT);
    assert_counted(fixture, 0);
    assert_int_equal(told(fixture, 0)->usage.source, USAGE_CACHE);
}

static void let_threads_finish(struct asker *asker)
{
    static const struct timespec enough = {.tv_nsec = 4 * SOON * 1000};

    hangfs_say(&asker->fixture->hangfs, "wake");
    assert_return_code(nanosleep(&enough, NULL), errno);
}

/* A deadline that passes while an error waits to be handed out knows nothing of the mailbox. */
static void an_error_that_is_late(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    assert_return_code(mkfifo(path_of(fixture, "@/fifo", path), 0644), errno);
    make_scanner(fixture, (struct limits){4, 1000, 1000, 4 * SOON});
    must_ask(fixture, 2, "@/m0", 500); /* from now on the loop's clock stands still in between */
    run_until(fixture, 1);
    hangfs_say(&fixture->hangfs, "hang look");
    fixture->askers[0].react = let_threads_finish;
    must_ask(fixture, 0, "~/m0", 500);
    must_ask(fixture, 1, "~/fifo", 500);
    run_until(fixture, 3);
    assert_timed_out(fixture, 0);
    assert_timed_out(fixture, 1);
}

static void a_mailbox_that_cannot_even_be_found_times_out(void **state)
{
    struct fixture *fixture = *state;
    const struct scan_result *result;
    char path[PATH_MAX];

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    hangfs_say(&fixture->hangfs, "hang look");
    must_ask(fixture, 0, "~/m0/.Sub", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 1);
    result = told(fixture, 0);
    assert_int_equal(result->error, -ETIMEDOUT);
    assert_true(result->late);
    assert_string_equal(result->path, path_of(fixture, "~/m0/.Sub", path));
    assert_int_equal(counters(fixture)->timeouts, 1);
    hangfs_say(&fixture->hangfs, "wake");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lower_limit_is_looked_at_for_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_larger_message_is_looked_at_for_itself, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_message_that_is_too_large_is_answered_for_itself, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_stale_limit_is_not_answered_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(sums_that_know_more_are_not_answered_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_fresh_over_is_not_answered_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lower_limit_is_not_answered_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_second_look_has_the_time_of_the_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_look_may_be_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_count_is_never_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_count_without_sums, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_known_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_counted_too_late_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_that_is_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mailbox_that_cannot_even_be_found_times_out, set_up,
                                        tear_down),
    };

    return prepare_hangfs(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
