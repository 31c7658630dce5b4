/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdlib.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "random.h"
#include "server/deadline.h"
#include "system/clock.h"

/* How far away the deadlines of the tests are. */
#define AFTER_USEC (20 * USEC_PER_MSEC)

#define GUARDS_MAX 8

struct fixture;

/* What a deadline guards. */
struct guard {
    struct deadline deadline;
    uint64_t at_usec; /* when it is to pass */
    void (*react)(struct fixture *fixture, struct guard *guard);
};

struct fixture {
    sd_event *event;
    struct deadline_queue queue;
    struct guard guards[GUARDS_MAX];
    struct guard *passed[4 * GUARDS_MAX]; /* in the order in which they did */
    size_t passed_count;
};

static uint64_t now_usec(const struct fixture *fixture)
{
    uint64_t now;

    assert_true(sd_event_now(fixture->event, CLOCK_MONOTONIC, &now) >= 0);
    return now;
}

static void on_passed(struct deadline *deadline, void *userdata)
{
    struct fixture *fixture = userdata;
    struct guard *guard = (struct guard *)deadline;

    assert_int_equal(deadline->at_usec, 0);
    assert_true(guard->at_usec <= now_usec(fixture));
    assert_true(guard->at_usec <= clock_usec(CLOCK_MONOTONIC));
    assert_true(fixture->passed_count < ARRAY_SIZE(fixture->passed));
    fixture->passed[fixture->passed_count++] = guard;
    if (guard->react)
        guard->react(fixture, guard);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    assert_int_equal(sd_event_new(&fixture->event), 0);
    assert_true(
        deadline_queue_init(&fixture->queue, fixture->event, AFTER_USEC, on_passed, fixture) >= 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    deadline_queue_deinit(&fixture->queue);
    sd_event_unref(fixture->event);
    free(fixture);
    return 0;
}

static void start(struct fixture *fixture, struct guard *guard)
{
    guard->at_usec = now_usec(fixture) + AFTER_USEC;
    deadline_start(&fixture->queue, &guard->deadline);
    assert_true(guard->deadline.at_usec >= guard->at_usec);
    guard->at_usec = guard->deadline.at_usec;
}

static void stop(struct fixture *fixture, struct guard *guard)
{
    deadline_stop(&fixture->queue, &guard->deadline);
    assert_int_equal(guard->deadline.at_usec, 0);
}

/* Runs the loop until so many have passed altogether. */
static void run_until(struct fixture *fixture, size_t count)
{
    while (fixture->passed_count < count)
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    assert_int_equal(fixture->passed_count, count);
}

/*
 * Runs the loop for longer than any deadline that is started now takes, so that those that must not
 * pass might. So many have passed altogether then.
 */
static void run_out(struct fixture *fixture, size_t count)
{
    struct guard last = {};

    start(fixture, &last);
    while (deadline_first(&fixture->queue))
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    assert_int_equal(fixture->passed_count, count + 1);
    assert_ptr_equal(fixture->passed[--fixture->passed_count], &last);
}

static void pass_in_the_order_of_their_start(void **state)
{
    struct fixture *fixture = *state;
    static const size_t order[] = {3, 0, 2, 1};

    assert_null(deadline_first(&fixture->queue));
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        start(fixture, &fixture->guards[order[i]]);
        assert_ptr_equal(deadline_first(&fixture->queue), &fixture->guards[order[0]].deadline);
    }
    run_until(fixture, ARRAY_SIZE(order));
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        assert_ptr_equal(fixture->passed[i], &fixture->guards[order[i]]);
    assert_null(deadline_first(&fixture->queue));
    run_out(fixture, ARRAY_SIZE(order));
}

static void none_passes_early(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, &fixture->guards[0]);
    for (size_t i = 1; i < GUARDS_MAX; i++) {
        /* the clock of the loop goes on from round to round */
        assert_int_equal(nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL), 0);
        assert_true(sd_event_run(fixture->event, 0) >= 0);
        start(fixture, &fixture->guards[i]);
    }
    run_until(fixture, GUARDS_MAX); /* on_passed() looks at the clock */
    for (size_t i = 0; i < GUARDS_MAX; i++)
        assert_ptr_equal(fixture->passed[i], &fixture->guards[i]);
}

static void what_is_stopped_does_not_pass(void **state)
{
    struct fixture *fixture = *state;
    struct guard *guards = fixture->guards;

    stop(fixture, &guards[0]); /* was never started */
    for (size_t i = 0; i < 4; i++)
        start(fixture, &guards[i]);
    stop(fixture, &guards[0]);
    assert_ptr_equal(deadline_first(&fixture->queue), &guards[1].deadline);
    stop(fixture, &guards[2]);
    stop(fixture, &guards[2]);
    run_out(fixture, 2);
    assert_ptr_equal(fixture->passed[0], &guards[1]);
    assert_ptr_equal(fixture->passed[1], &guards[3]);
}

static void starting_again_goes_to_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct guard *guards = fixture->guards;

    for (size_t i = 0; i < 3; i++)
        start(fixture, &guards[i]);
    start(fixture, &guards[0]);
    assert_ptr_equal(deadline_first(&fixture->queue), &guards[1].deadline);
    run_until(fixture, 3);
    assert_ptr_equal(fixture->passed[0], &guards[1]);
    assert_ptr_equal(fixture->passed[1], &guards[2]);
    assert_ptr_equal(fixture->passed[2], &guards[0]);
    run_out(fixture, 3);
}

static void the_timer_is_armed_again(void **state)
{
    struct fixture *fixture = *state;
    struct guard *guard = &fixture->guards[0];

    /* after all were stopped, and the timer went off for nothing */
    start(fixture, guard);
    stop(fixture, guard);
    assert_int_equal(sd_event_run(fixture->event, UINT64_MAX), 1);
    assert_int_equal(fixture->passed_count, 0);
    assert_null(deadline_first(&fixture->queue));
    for (size_t i = 1; i <= 3; i++) {
        start(fixture, guard);
        run_until(fixture, i);
    }
}

static void start_twice_more(struct fixture *fixture, struct guard *guard)
{
    if (fixture->passed_count < 3)
        start(fixture, guard);
}

static void start_the_next(struct fixture *fixture, struct guard *guard)
{
    start(fixture, guard + 1);
}

static void stop_the_next(struct fixture *fixture, struct guard *guard)
{
    stop(fixture, guard + 1);
}

static void what_passed_may_start_and_stop(void **state)
{
    struct fixture *fixture = *state;
    struct guard *guards = fixture->guards;

    guards[0].react = start_twice_more;
    start(fixture, &guards[0]);
    run_until(fixture, 3);
    run_out(fixture, 3);

    fixture->passed_count = 0;
    guards[1].react = start_the_next;
    start(fixture, &guards[1]);
    run_until(fixture, 2);
    assert_ptr_equal(fixture->passed[1], &guards[2]);

    fixture->passed_count = 0;
    guards[3].react = stop_the_next; /* due in the same round */
    start(fixture, &guards[3]);
    start(fixture, &guards[4]);
    run_out(fixture, 1);
    assert_ptr_equal(fixture->passed[0], &guards[3]);
}

/* The queue is in order, holds what is started, and its timer will not come too late. */
static void check_queue(const struct fixture *fixture)
{
    const struct deadline *first = deadline_first(&fixture->queue), *before = NULL, *deadline;
    uint64_t timer_usec;
    size_t started = 0;
    int enabled;

    TAILQ_FOREACH (deadline, &fixture->queue.list, link) {
        assert_true(!before || before->at_usec <= deadline->at_usec);
        before = deadline;
        started++;
    }
    for (size_t i = 0; i < GUARDS_MAX; i++)
        started -= fixture->guards[i].deadline.at_usec > 0;
    assert_int_equal(started, 0);
    if (!first)
        return;
    assert_true(sd_event_source_get_enabled(fixture->queue.timer, &enabled) >= 0);
    assert_int_equal(enabled, SD_EVENT_ONESHOT);
    assert_true(sd_event_source_get_time(fixture->queue.timer, &timer_usec) >= 0);
    assert_true(timer_usec <= first->at_usec);
}

static void random_starts_and_stops(void **state)
{
    struct fixture *fixture = *state;
    struct random random = random_begin("deadline");
    size_t passed = 0;

    for (size_t i = 0; i < 20000; i++) {
        struct guard *guard = &fixture->guards[random_below(&random, GUARDS_MAX)];

        if (random_below(&random, 3))
            start(fixture, guard);
        else
            stop(fixture, guard);
        check_queue(fixture);
        if (random_below(&random, 8) == 0)
            assert_true(sd_event_run(fixture->event, 0) >= 0);
        check_queue(fixture);
        passed += fixture->passed_count;
        fixture->passed_count = 0;
    }
    while (deadline_first(&fixture->queue))
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    assert_true(passed + fixture->passed_count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pass_in_the_order_of_their_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(none_passes_early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_stopped_does_not_pass, set_up, tear_down),
        cmocka_unit_test_setup_teardown(starting_again_goes_to_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_timer_is_armed_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_passed_may_start_and_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_starts_and_stops, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
