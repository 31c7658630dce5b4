/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "child.h"
#include "hoard.h"
#include "server/throttle.h"
#include "system/clock.h"

/* A window that passes during a test, and one that does not. */
#define SHORT_USEC (20 * USEC_PER_MSEC)
#define LONG_USEC  (3600 * USEC_PER_SEC)

#define EVENT 7

struct summary {
    int event;
    char subject[32];
    uint64_t suppressed;
};

struct fixture {
    sd_event *event;
    struct throttle *throttle;
    struct summary summaries[THROTTLE_SUBJECTS_MAX + 16];
    size_t count;
};

static void on_summary(int event, const char *subject, uint64_t suppressed, void *userdata)
{
    struct fixture *fixture = userdata;
    struct summary *summary = &fixture->summaries[fixture->count++];

    assert_true(fixture->count <= ARRAY_SIZE(fixture->summaries));
    summary->event = event;
    summary->suppressed = suppressed;
    (void)snprintf(summary->subject, sizeof(summary->subject), "%s", subject);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    assert_true(sd_event_new(&fixture->event) >= 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    throttle_free(fixture->throttle);
    sd_event_unref(fixture->event);
    free(fixture);
    return 0;
}

static void begin(struct fixture *fixture, uint64_t window_usec)
{
    assert_int_equal(
        throttle_new(fixture->event, window_usec, on_summary, fixture, &fixture->throttle), 0);
}

static void assert_summary(const struct fixture *fixture, size_t index, int event,
                           const char *subject, uint64_t suppressed)
{
    assert_true(index < fixture->count);
    assert_int_equal(fixture->summaries[index].event, event);
    assert_string_equal(fixture->summaries[index].subject, subject);
    assert_int_equal(fixture->summaries[index].suppressed, suppressed);
}

/* Runs the loop until there are so many summaries. */
static void wait_for_summaries(struct fixture *fixture, size_t count)
{
    while (fixture->count < count)
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
}

static void ten_thousand_are_told_once(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, LONG_USEC);
    assert_true(throttle_admit(fixture->throttle, EVENT, "/joe"));
    for (size_t i = 1; i < 10000; i++)
        assert_false(throttle_admit(fixture->throttle, EVENT, "/joe"));
    assert_int_equal(fixture->count, 0);
    throttle_free(fixture->throttle);
    fixture->throttle = NULL;
    assert_int_equal(fixture->count, 1);
    assert_summary(fixture, 0, EVENT, "/joe", 9999);
}

static void nobody_mutes_another(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, LONG_USEC);
    for (size_t i = 0; i < 100; i++)
        (void)throttle_admit(fixture->throttle, EVENT, "/joe");
    assert_true(throttle_admit(fixture->throttle, EVENT, "/ann"));
    assert_true(throttle_admit(fixture->throttle, EVENT, "/jo"));
    assert_true(throttle_admit(fixture->throttle, EVENT, ""));
    assert_true(throttle_admit(fixture->throttle, EVENT + 1, "/joe"));
    assert_false(throttle_admit(fixture->throttle, EVENT, "/ann"));
    assert_false(throttle_admit(fixture->throttle, EVENT, ""));
    assert_false(throttle_admit(fixture->throttle, EVENT + 1, "/joe"));
}

/* What goes on is told anew after each window, where nobody wants a summary. */
static void without_summaries(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_usec = clock_usec(CLOCK_MONOTONIC);
    size_t told = 0;

    assert_int_equal(throttle_new(fixture->event, SHORT_USEC, NULL, NULL, &fixture->throttle), 0);
    while (told < 5) {
        told += throttle_admit(fixture->throttle, EVENT, "/joe");
        assert_false(throttle_admit(fixture->throttle, EVENT, "/joe"));
        assert_true(sd_event_run(fixture->event, USEC_PER_MSEC) >= 0);
    }
    assert_true(clock_usec(CLOCK_MONOTONIC) - start_usec >= 4 * SHORT_USEC);
}

static void what_goes_on_is_told_once_a_window(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, SHORT_USEC);
    assert_true(throttle_admit(fixture->throttle, EVENT, "/joe"));
    assert_false(throttle_admit(fixture->throttle, EVENT, "/joe"));
    wait_for_summaries(fixture, 1);
    assert_summary(fixture, 0, EVENT, "/joe", 1);
    /* It was told just now: the next ones wait for the next summary. */
    assert_false(throttle_admit(fixture->throttle, EVENT, "/joe"));
    assert_false(throttle_admit(fixture->throttle, EVENT, "/joe"));
    wait_for_summaries(fixture, 2);
    assert_summary(fixture, 1, EVENT, "/joe", 2);
}

static void what_has_ended_is_forgotten(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, SHORT_USEC);
    assert_true(throttle_admit(fixture->throttle, EVENT, "/joe"));
    /* Windows end in the order of their beginnings: when that of /ann has, that of /joe has. */
    assert_true(throttle_admit(fixture->throttle, EVENT, "/ann"));
    assert_false(throttle_admit(fixture->throttle, EVENT, "/ann"));
    wait_for_summaries(fixture, 1);
    assert_summary(fixture, 0, EVENT, "/ann", 1);
    assert_true(throttle_admit(fixture->throttle, EVENT, "/joe"));
}

static void the_oldest_are_summed_up_when_there_are_too_many(void **state)
{
    const size_t more = 10;
    struct fixture *fixture = *state;
    char subject[32];

    begin(fixture, LONG_USEC);
    for (size_t i = 0; i < THROTTLE_SUBJECTS_MAX + more; i++) {
        (void)snprintf(subject, sizeof(subject), "/user%zu", i);
        assert_true(throttle_admit(fixture->throttle, EVENT, subject));
        if (i % 2 == 0)
            assert_false(throttle_admit(fixture->throttle, EVENT, subject));
    }
    /* Of those that had to be forgotten, every other one had something to tell. */
    assert_int_equal(fixture->count, more / 2);
    for (size_t i = 0; i < more / 2; i++) {
        (void)snprintf(subject, sizeof(subject), "/user%zu", 2 * i);
        assert_summary(fixture, i, EVENT, subject, 1);
    }
    (void)snprintf(subject, sizeof(subject), "/user%zu", more);
    assert_false(throttle_admit(fixture->throttle, EVENT, subject));
    assert_true(throttle_admit(fixture->throttle, EVENT, "/user0"));
}

static void nothing_is_released(void **state)
{
    (void)state;
    throttle_free(NULL);
}

/* A child has an event loop of its own: that of its parent does not work there. */
static struct fixture *child_fixture(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    MUST(fixture && hoard_prepare() && sd_event_new(&fixture->event) >= 0);
    return fixture;
}

static enum child_result everything_is_told(void *userdata)
{
    struct fixture *fixture = child_fixture();

    (void)userdata;
    begin(fixture, LONG_USEC);
    CHECK(throttle_admit(fixture->throttle, EVENT, "/joe"));
    if (!hoard_all())
        return CHILD_SKIPPED;
    CHECK(throttle_admit(fixture->throttle, EVENT, "/ann"));
    CHECK(throttle_admit(fixture->throttle, EVENT, "/ann"));
    CHECK(!throttle_admit(fixture->throttle, EVENT, "/joe"));
    return CHILD_PASSED;
}

static enum child_result no_throttle(void *userdata)
{
    struct fixture *fixture = child_fixture();

    (void)userdata;
    if (!hoard_all())
        return CHILD_SKIPPED;
    CHECK(throttle_new(fixture->event, LONG_USEC, on_summary, fixture, &fixture->throttle) ==
          -ENOMEM);
    return CHILD_PASSED;
}

static void assert_short_of_memory(child_fn function)
{
    if (!HOARD_WORKS)
        skip_because("the sanitizer has an allocator of its own");
    assert_child_passes(function, NULL);
}

static void everything_is_told_short_of_memory(void **state)
{
    (void)state;
    assert_short_of_memory(everything_is_told);
}

static void none_is_made_short_of_memory(void **state)
{
    (void)state;
    assert_short_of_memory(no_throttle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ten_thousand_are_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_mutes_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_summaries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_goes_on_is_told_once_a_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_has_ended_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_are_summed_up_when_there_are_too_many, set_up,
                                        tear_down),
        cmocka_unit_test(nothing_is_released),
        cmocka_unit_test(everything_is_told_short_of_memory),
        cmocka_unit_test(none_is_made_short_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
