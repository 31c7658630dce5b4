/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "bench/times.h"
#include "unit.h"

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct times));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void add_many(struct times *times, uint64_t nsec, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        times_add(times, nsec);
}

/* Fails unless the quantile is the exact one, or longer by a 128th at most. */
static void assert_quantile(const struct times *times, unsigned int permille, uint64_t exact_nsec)
{
    uint64_t nsec = times_quantile_nsec(times, permille);

    assert_true(nsec >= exact_nsec);
    assert_true(nsec - exact_nsec <= exact_nsec / 128);
}

static void test_none(void **state)
{
    const struct times *times = *state;

    assert_int_equal(times_quantile_nsec(times, 0), 0);
    assert_int_equal(times_quantile_nsec(times, 500), 0);
    assert_int_equal(times_quantile_nsec(times, 1000), 0);
}

static void test_one(void **state)
{
    struct times *times = *state;

    times_add(times, 123456789);
    for (unsigned int permille = 0; permille <= 1000; permille += 250)
        assert_int_equal(times_quantile_nsec(times, permille), 123456789);
    assert_int_equal(times->count, 1);
    assert_int_equal(times->longest_nsec, 123456789);
}

static void test_small_times_are_exact(void **state)
{
    struct times *times = *state;

    for (uint64_t nsec = 1; nsec <= 200; nsec++)
        times_add(times, nsec);
    assert_int_equal(times_quantile_nsec(times, 5), 1);
    assert_int_equal(times_quantile_nsec(times, 500), 100);
    assert_int_equal(times_quantile_nsec(times, 505), 101);
    assert_int_equal(times_quantile_nsec(times, 990), 198);
    assert_int_equal(times_quantile_nsec(times, 1000), 200);
}

/* A rank between two is rounded up: at least so many are within. */
static void test_rank_is_rounded_up(void **state)
{
    struct times *times = *state;

    add_many(times, 10, 999);
    times_add(times, 20);
    assert_int_equal(times_quantile_nsec(times, 999), 10);
    times_add(times, 20);
    assert_int_equal(times_quantile_nsec(times, 999), 20);
    assert_int_equal(times_quantile_nsec(times, 998), 10);
}

static void test_long_tail(void **state)
{
    struct times *times = *state;

    add_many(times, 30000, 9890);
    add_many(times, 2000000, 90);
    add_many(times, 70000000, 19);
    times_add(times, 5000000000);
    assert_quantile(times, 500, 30000);
    assert_quantile(times, 989, 30000);
    assert_quantile(times, 990, 2000000);
    assert_quantile(times, 998, 2000000);
    assert_quantile(times, 999, 70000000);
    assert_int_equal(times_quantile_nsec(times, 1000), 5000000000);
}

/* Around each power of two, where buckets change their width, and at the ends of the type. */
static void test_every_power(void **state)
{
    struct times *times = *state;

    for (unsigned int power = 1; power < 64; power++) {
        for (int beside = -1; beside <= 1; beside++) {
            uint64_t nsec = (UINT64_C(1) << power) + (uint64_t)(int64_t)beside;

            *times = (struct times){};
            times_add(times, nsec);
            times_add(times, UINT64_MAX);
            assert_quantile(times, 500, nsec);
            assert_int_equal(times_quantile_nsec(times, 1000), UINT64_MAX);
        }
    }
}

static void test_merge(void **state)
{
    struct times *times = *state, *others = calloc(1, sizeof(*others));

    assert_non_null(others);
    add_many(times, 50, 3);
    add_many(others, 50, 1);
    add_many(others, 100, 4);
    times_merge(times, others);
    assert_int_equal(times->count, 8);
    assert_int_equal(times->longest_nsec, 100);
    assert_int_equal(times_quantile_nsec(times, 500), 50);
    assert_int_equal(times_quantile_nsec(times, 501), 100);
    times_merge(others, &(struct times){});
    assert_int_equal(others->count, 5);
    assert_int_equal(others->longest_nsec, 100);
    free(others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_times_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rank_is_rounded_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_power, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
