/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <inttypes.h>
#include <stdlib.h>

#include "random.h"
#include "server/latency.h"

/* The longest time that is told apart from longer ones, two hours and more. */
#define USEC_MAX ((UINT64_C(1) << 33) - 1)

#define TIMES 1000

static void nothing_yet(void **state)
{
    const struct latency latency = {};

    (void)state;
    assert_int_equal(latency_quantile_usec(&latency, 0), 0);
    assert_int_equal(latency_quantile_usec(&latency, 990), 0);
    assert_int_equal(latency_quantile_usec(&latency, 1000), 0);
}

/* One time alone is every quantile: above it, and by no more than a quarter. */
static void assert_alone(uint64_t usec)
{
    struct latency latency = {};

    latency_add(&latency, usec);
    for (unsigned int permille = 0; permille <= 1000; permille += 100) {
        uint64_t told_usec = latency_quantile_usec(&latency, permille);

        if (told_usec <= usec || told_usec > usec + usec / 4 + 1)
            fail_msg("%" PRIu64 " us is told as %" PRIu64, usec, told_usec);
    }
}

static void each_time_is_told_closely(void **state)
{
    struct random random = random_begin("each_time_is_told_closely");

    (void)state;
    for (uint64_t usec = 0; usec < 5000; usec++)
        assert_alone(usec);
    for (unsigned int bit = 12; bit < 33; bit++) {
        assert_alone((UINT64_C(1) << bit) - 1);
        assert_alone(UINT64_C(1) << bit);
        assert_alone((UINT64_C(1) << bit) + 1);
    }
    assert_alone(USEC_MAX);
    for (size_t i = 0; i < 10000; i++)
        assert_alone(random_next(&random) % (USEC_MAX + 1));
}

static void what_is_longer_is_told_as_the_longest(void **state)
{
    struct latency latency = {};

    (void)state;
    latency_add(&latency, USEC_MAX + 1);
    latency_add(&latency, UINT64_MAX);
    assert_int_equal(latency.total, 2);
    assert_int_equal(latency_quantile_usec(&latency, 1), USEC_MAX + 1);
    assert_int_equal(latency_quantile_usec(&latency, 1000), USEC_MAX + 1);
}

static void few_slow_ones_are_seen_where_they_are(void **state)
{
    struct latency latency = {};

    (void)state;
    for (size_t i = 0; i < 990; i++)
        latency_add(&latency, 100);
    for (size_t i = 0; i < 10; i++)
        latency_add(&latency, 1000000);
    assert_in_range(latency_quantile_usec(&latency, 500), 101, 126);
    assert_in_range(latency_quantile_usec(&latency, 990), 101, 126);
    assert_in_range(latency_quantile_usec(&latency, 991), 1000001, 1250001);
    assert_in_range(latency_quantile_usec(&latency, 1000), 1000001, 1250001);
    latency_add(&latency, 1000000);
    assert_in_range(latency_quantile_usec(&latency, 990), 1000001, 1250001);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void quantiles_are_those_of_the_sorted_times(void **state)
{
    struct random random = random_begin("quantiles_are_those_of_the_sorted_times");
    uint64_t times[TIMES];
    struct latency latency = {};

    (void)state;
    for (size_t i = 0; i < TIMES; i++) {
        times[i] = random_next(&random) >> (31 + random_below(&random, 32));
        latency_add(&latency, times[i]);
    }
    qsort(times, TIMES, sizeof(times[0]), compare);
    for (unsigned int permille = 1; permille <= 1000; permille++) {
        uint64_t usec = times[permille * TIMES / 1000 - 1];

        assert_in_range(latency_quantile_usec(&latency, permille), usec + 1, usec + usec / 4 + 1);
    }
}

static void counts_below_are_exact(void **state)
{
    struct random random = random_begin("counts_below_are_exact");
    uint64_t times[TIMES], sum_usec = 0;
    struct latency latency = {};

    (void)state;
    for (size_t i = 0; i < TIMES; i++) {
        times[i] = random_next(&random) >> (31 + random_below(&random, 32));
        if (i % 3 == 0) /* at the bounds and next to them */
            times[i] = (UINT64_C(1) << random_below(&random, 33)) - random_below(&random, 2);
        latency_add(&latency, times[i]);
        sum_usec += times[i];
    }
    assert_int_equal(latency.sum_usec, sum_usec);
    for (unsigned int bit = 0; bit <= 33; bit++) {
        uint64_t below = 0;

        for (size_t i = 0; i < TIMES; i++)
            below += times[i] < UINT64_C(1) << bit;
        assert_int_equal(latency_count_below(&latency, UINT64_C(1) << bit), below);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_yet),
        cmocka_unit_test(each_time_is_told_closely),
        cmocka_unit_test(what_is_longer_is_told_as_the_longest),
        cmocka_unit_test(few_slow_ones_are_seen_where_they_are),
        cmocka_unit_test(quantiles_are_those_of_the_sorted_times),
        cmocka_unit_test(counts_below_are_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
