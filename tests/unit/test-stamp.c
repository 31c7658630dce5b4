/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <limits.h>

#include "quota/stamp.h"
#include "system/clock.h"

static const struct statx file = {
    .stx_ino = 1,
    .stx_mtime = {.tv_sec = 2, .tv_nsec = 3},
    .stx_ctime = {.tv_sec = 4, .tv_nsec = 5},
    .stx_dev_major = 6,
    .stx_dev_minor = 7,
    .stx_size = 8,
};

static void every_field_makes_a_difference(void **state)
{
    struct statx others[] = {file, file, file, file, file, file, file};
    const struct stamp stamp = stamp_from_statx(&file);

    (void)state;
    others[0].stx_ino++;
    others[1].stx_mtime.tv_sec++;
    others[2].stx_mtime.tv_nsec++;
    others[3].stx_ctime.tv_sec++;
    others[4].stx_ctime.tv_nsec++;
    others[5].stx_dev_major++;
    others[6].stx_dev_minor++;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        const struct stamp other = stamp_from_statx(&others[i]);

        assert_false(stamp_equal(&stamp, &other));
    }
    others[0] = file;
    others[0].stx_size++;
    others[1] = file;
    for (size_t i = 0; i < 2; i++) {
        const struct stamp other = stamp_from_statx(&others[i]);

        assert_true(stamp_equal(&stamp, &other));
    }
}

static void settled_by_the_newest_change(void **state)
{
    static const struct {
        int64_t mtime_sec, ctime_sec, read_sec;
        bool settled;
    } cases[] = {
        {100, 100, 103, true},
        {100, 100, 102, false}, /* may be no more than a second and a bit */
        {100, 100, 100, false},
        {101, 100, 103, false},
        {100, 101, 103, false},
        {1, 100, 103, true},
        {100, 1, 103, true},
        {200, 100, 103, false}, /* from the future */
        {100, 200, 103, false},
        {0, 0, 103, false}, /* no stamps are kept */
        {-5, -5, 103, false},
        {0, 1, 103, true},
        {INT64_MAX, 1, INT64_MAX, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct stamp stamp = {
            .mtime_sec = cases[i].mtime_sec,
            .ctime_sec = cases[i].ctime_sec,
            .mtime_nsec = 999999999,
            .ctime_nsec = 999999999,
        };

        assert_int_equal(stamp_is_settled(&stamp, cases[i].read_sec), cases[i].settled);
    }
}

static void the_clock_of_stamps(void **state)
{
    int64_t before = (int64_t)(clock_usec(CLOCK_REALTIME_COARSE) / USEC_PER_SEC);
    int64_t now = stamp_now_sec();

    (void)state;
    assert_in_range(now, before, clock_usec(CLOCK_REALTIME) / USEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_makes_a_difference),
        cmocka_unit_test(settled_by_the_newest_change),
        cmocka_unit_test(the_clock_of_stamps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
