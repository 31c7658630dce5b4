/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "child.h"
#include "hoard.h"
#include "quota/inode_set.h"
#include "random.h"

static void an_inode_is_there_once_it_is_added(void **state)
{
    static const struct {
        dev_t device;
        ino_t inode;
    } cases[] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 1}, {1, UINT64_MAX}, {UINT32_MAX, 1}};
    struct inode_set set = {};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(cases); j++)
            assert_int_equal(inode_set_has(&set, cases[j].device, cases[j].inode), j < i);
        assert_int_equal(inode_set_add(&set, cases[i].device, cases[i].inode), 1);
        assert_int_equal(inode_set_add(&set, cases[i].device, cases[i].inode), 0);
    }
    assert_int_equal(set.table.count, ARRAY_SIZE(cases));
    inode_set_done(&set);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_false(inode_set_has(&set, cases[i].device, cases[i].inode));
    /* It serves again. */
    assert_int_equal(inode_set_add(&set, 5, 7), 1);
    assert_true(inode_set_has(&set, 5, 7));
    inode_set_done(&set);
}

/* Numbers as file systems give them: one after the other, far apart, or at random. */
static void all_stay_while_it_grows(void **state)
{
    struct random random = random_begin("all_stay_while_it_grows");
    uint64_t numbers[3000];
    struct inode_set set = {};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        numbers[i] = i % 3 == 0 ? i : i % 3 == 1 ? (uint64_t)i << 32 : random_next(&random) | 1;
        assert_int_equal(inode_set_add(&set, i % 2, numbers[i]), 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        assert_true(inode_set_has(&set, i % 2, numbers[i]));
        assert_false(inode_set_has(&set, i % 2 + 2, numbers[i]));
    }
    inode_set_done(&set);
}

/* Adds inodes until there is no memory left for more. */
static enum child_result add_with_little_memory(void *userdata)
{
    struct inode_set set = {};
    ino_t i = 0;
    void *block;
    int r;

    (void)userdata;
    CHECK(hoard_prepare());
    block = malloc((size_t)8 * 1024);
    CHECK(block && hoard_all());
    free(block);
    do
        r = inode_set_add(&set, 1, ++i);
    while (r == 1);
    CHECK(r == -ENOMEM && i > 32 && i < 512);
    CHECK(set.table.count == i - 1 && inode_set_has(&set, 1, i - 1) && !inode_set_has(&set, 1, i));
    return CHILD_PASSED;
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    if (!HOARD_WORKS)
        skip_because("the sanitizer has an allocator of its own");
    assert_child_passes(add_with_little_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inode_is_there_once_it_is_added),
        cmocka_unit_test(all_stay_while_it_grows),
        cmocka_unit_test(no_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
