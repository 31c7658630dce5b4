/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "server/devices.h"

static void unknown_until_learnt(void **state)
{
    struct devices devices = {};

    (void)state;
    assert_int_equal(devices_kind(&devices, 0), FILESYSTEM_UNKNOWN);
    assert_int_equal(devices_kind(&devices, 7), FILESYSTEM_UNKNOWN);
    devices_learn(&devices, 7, FILESYSTEM_DISK);
    assert_int_equal(devices_kind(&devices, 7), FILESYSTEM_DISK);
    assert_int_equal(devices_kind(&devices, 0), FILESYSTEM_UNKNOWN);
    assert_int_equal(devices_kind(&devices, 8), FILESYSTEM_UNKNOWN);
    devices_learn(&devices, 8, FILESYSTEM_MEMORY);
    assert_int_equal(devices_kind(&devices, 7), FILESYSTEM_DISK);
    assert_int_equal(devices_kind(&devices, 8), FILESYSTEM_MEMORY);
}

static void learnt_anew(void **state)
{
    struct devices devices = {};

    (void)state;
    devices_learn(&devices, 7, FILESYSTEM_DISK);
    devices_learn(&devices, 7, FILESYSTEM_MEMORY); /* another one was mounted */
    assert_int_equal(devices_kind(&devices, 7), FILESYSTEM_MEMORY);
    assert_int_equal(devices.count, 1);
}

static void the_oldest_are_forgotten_in_turn(void **state)
{
    const dev_t first = 1000;
    struct devices devices = {};

    (void)state;
    for (dev_t i = 0; i < 3 * DEVICES_MAX + 5; i++) {
        devices_learn(&devices, first + i, i % 2 ? FILESYSTEM_DISK : FILESYSTEM_MEMORY);
        for (dev_t j = 0; j <= i; j++) {
            enum filesystem_kind kind = j % 2 ? FILESYSTEM_DISK : FILESYSTEM_MEMORY;

            if (i - j >= DEVICES_MAX)
                kind = FILESYSTEM_UNKNOWN;
            assert_int_equal(devices_kind(&devices, first + j), kind);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_until_learnt),
        cmocka_unit_test(learnt_anew),
        cmocka_unit_test(the_oldest_are_forgotten_in_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
