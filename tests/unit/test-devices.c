/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "child.h"
#include "unit.h"

#include "server/devices.h"

#define DISK       makedev(8, 1)
#define OTHER_DISK makedev(8, 2)
#define ANONYMOUS  makedev(0, 77)

static int setup(void **state)
{
    static struct devices devices;

    devices_init(&devices);
    *state = &devices;
    return 0;
}

static int teardown(void **state)
{
    devices_deinit(*state);
    return 0;
}

static void learn(struct devices *devices, dev_t device, enum filesystem_kind kind)
{
    devices_learn(devices, device, kind, devices_changes(devices));
}

static void unknown_until_learnt(void **state)
{
    struct devices *devices = *state;

    assert_int_equal(devices_kind(devices, 0), FILESYSTEM_UNKNOWN);
    assert_int_equal(devices_kind(devices, DISK), FILESYSTEM_UNKNOWN);
    learn(devices, DISK, FILESYSTEM_DISK);
    assert_int_equal(devices_kind(devices, DISK), FILESYSTEM_DISK);
    assert_int_equal(devices_kind(devices, 0), FILESYSTEM_UNKNOWN);
    assert_int_equal(devices_kind(devices, OTHER_DISK), FILESYSTEM_UNKNOWN);
    learn(devices, OTHER_DISK, FILESYSTEM_MEMORY);
    assert_int_equal(devices_kind(devices, DISK), FILESYSTEM_DISK);
    assert_int_equal(devices_kind(devices, OTHER_DISK), FILESYSTEM_MEMORY);
}

static void learnt_anew(void **state)
{
    struct devices *devices = *state;

    learn(devices, DISK, FILESYSTEM_DISK);
    learn(devices, DISK, FILESYSTEM_MEMORY); /* another one was mounted */
    assert_int_equal(devices_kind(devices, DISK), FILESYSTEM_MEMORY);
    assert_int_equal(devices->count, 1);
}

static void the_oldest_are_forgotten_in_turn(void **state)
{
    struct devices *devices = *state;

    for (unsigned int i = 0; i < 3 * DEVICES_MAX + 5; i++) {
        learn(devices, makedev(8, i), i % 2 ? FILESYSTEM_DISK : FILESYSTEM_MEMORY);
        for (unsigned int j = 0; j <= i; j++) {
            enum filesystem_kind kind = j % 2 ? FILESYSTEM_DISK : FILESYSTEM_MEMORY;

            if (i - j >= DEVICES_MAX)
                kind = FILESYSTEM_UNKNOWN;
            assert_int_equal(devices_kind(devices, makedev(8, j)), kind);
        }
    }
}

/* Gives a child mounts of its own, which nobody else changes. */
static enum child_result own_mounts(struct devices *devices)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return CHILD_SKIPPED;
    devices_init(devices);
    return CHILD_PASSED;
}

static int mount_something(void)
{
    return mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
}

static enum child_result mount_amid(void *userdata)
{
    struct devices devices;
    uint64_t changes;
    enum child_result result = own_mounts(&devices);

    (void)userdata;
    if (result != CHILD_PASSED)
        return result;
    learn(&devices, ANONYMOUS, FILESYSTEM_MEMORY);
    learn(&devices, DISK, FILESYSTEM_DISK);
    CHECK(devices_kind(&devices, ANONYMOUS) == FILESYSTEM_MEMORY);
    CHECK(mount_something() == 0);
    CHECK(devices_kind(&devices, DISK) == FILESYSTEM_DISK);
    CHECK(devices_kind(&devices, ANONYMOUS) == FILESYSTEM_UNKNOWN);
    /* Whoever looked before the mount may have seen what is gone. */
    changes = devices_changes(&devices);
    CHECK(umount("/tmp") == 0);
    devices_learn(&devices, ANONYMOUS, FILESYSTEM_MEMORY, changes);
    CHECK(devices_kind(&devices, ANONYMOUS) == FILESYSTEM_UNKNOWN);
    devices_learn(&devices, OTHER_DISK, FILESYSTEM_DISK, changes);
    CHECK(devices_kind(&devices, OTHER_DISK) == FILESYSTEM_DISK);
    learn(&devices, ANONYMOUS, FILESYSTEM_MEMORY);
    CHECK(devices_kind(&devices, ANONYMOUS) == FILESYSTEM_MEMORY);
    devices_deinit(&devices);
    return CHILD_PASSED;
}

static void an_anonymous_one_is_forgotten_when_mounts_change(void **state)
{
    (void)state;
    assert_child_passes(mount_amid, NULL);
}

static void without_proc_no_anonymous_one_is_remembered(void **state)
{
    struct devices devices = {.mounts_fd = -1};

    (void)state;
    learn(&devices, ANONYMOUS, FILESYSTEM_MEMORY);
    assert_int_equal(devices_kind(&devices, ANONYMOUS), FILESYSTEM_UNKNOWN);
    learn(&devices, DISK, FILESYSTEM_DISK);
    assert_int_equal(devices_kind(&devices, DISK), FILESYSTEM_DISK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unknown_until_learnt, setup, teardown),
        cmocka_unit_test_setup_teardown(learnt_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_are_forgotten_in_turn, setup, teardown),
        cmocka_unit_test(an_anonymous_one_is_forgotten_when_mounts_change),
        cmocka_unit_test(without_proc_no_anonymous_one_is_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
