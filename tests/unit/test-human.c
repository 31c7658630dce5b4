/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "ctl/human.h"

static void sizes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "1"},
        {1023, "1023"},
        {1024, "1K"},
        {1025, "1.0K"},
        {1126, "1.0K"},
        {1127, "1.1K"},
        {1536, "1.5K"},
        {2047, "1.9K"},
        {2048, "2K"},
        {10240, "10K"},
        {(1 << 20) - 1, "1023.9K"},
        {1 << 20, "1M"},
        {500 << 20, "500M"},
        {(UINT64_C(1) << 30) - 1, "1023.9M"},
        {UINT64_C(2) << 30, "2G"},
        {(UINT64_C(2) << 30) + 1, "2.0G"},
        {(UINT64_C(2) << 30) - 1, "1.9G"},
        {UINT64_C(1503238554), "1.4G"},
        {UINT64_C(1) << 40, "1T"},
        {UINT64_C(1) << 50, "1P"},
        {UINT64_C(1) << 60, "1E"},
        {(UINT64_C(1) << 60) - 1, "1023.9P"},
        {INT64_MAX, "7.9E"},
        {UINT64_MAX, "15.9E"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[HUMAN_BYTES_MAX];

        human_size(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void durations(void **state)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {59, "59s"},
        {60, "1min 0s"},
        {125, "2min 5s"},
        {3599, "59min 59s"},
        {3600, "1h 0min"},
        {10859, "3h 0min"},
        {86399, "23h 59min"},
        {86400, "1d 0h"},
        {12 * 86400 + 4 * 3600 + 3599, "12d 4h"},
        {UINT64_MAX, "213503982334601d 7h"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[HUMAN_BYTES_MAX];

        human_duration(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void bars(void **state)
{
    static const struct {
        uint64_t percent;
        uint64_t bytes;
        size_t filled;
    } cases[] = {
        {0, 0, 0},    {0, 1, 1},    {9, 1, 1},     {10, 1, 1},
        {19, 1, 1},   {20, 1, 2},   {69, 1, 6},    {99, UINT64_MAX, 9},
        {100, 1, 10}, {101, 1, 10}, {1000, 1, 10}, {UINT64_MAX, UINT64_MAX, 10},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(human_bar(cases[i].percent, cases[i].bytes, 10), cases[i].filled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(bars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
