/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "child.h"
#include "hoard.h"
#include "quota/names.h"

/* Hashes that all want the same slot, and those of a counter that does. */
#define SAME_SLOT(i) ((uint64_t)(i) << 32)

static void a_name_is_there_once_it_is_added(void **state)
{
    static const uint64_t hashes[] = {0, 2, 3, UINT64_MAX, SAME_SLOT(1), SAME_SLOT(2), 64, 128};
    struct names names = NAMES_NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hashes); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(hashes); j++)
            assert_int_equal(names_has(&names, hashes[j]), j < i);
        assert_int_equal(names_add(&names, hashes[i]), 1);
        assert_int_equal(names_add(&names, hashes[i]), 0);
    }
    assert_int_equal(names.count, ARRAY_SIZE(hashes));
    names_clear(&names);
    for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
        assert_false(names_has(&names, hashes[i]));
    /* It serves again. */
    assert_int_equal(names_add(&names, 5), 1);
    assert_true(names_has(&names, 5));
    names_clear(&names);
}

static void all_stay_while_it_grows(void **state)
{
    struct names names = NAMES_NULL;

    (void)state;
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(names_add(&names, i % 2 ? SAME_SLOT(i) : i), 1);
        assert_in_range(names.capacity, 2 * names.count, 4 * names.count + 64);
    }
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_true(names_has(&names, i % 2 ? SAME_SLOT(i) : i));
        assert_false(names_has(&names, i % 2 ? i : SAME_SLOT(i)));
    }
    names_clear(&names);
}

/* What it has it keeps, and takes no more room. */
static void it_is_bounded(void **state)
{
    const uint64_t spread = UINT64_C(0x9e3779b97f4a7c15);
    struct names names = NAMES_NULL;

    (void)state;
    for (uint64_t i = 1; i <= NAMES_MAX; i++)
        assert_int_equal(names_add(&names, i * spread), 1);
    assert_false(names.is_full);
    assert_int_equal(names_add(&names, NAMES_MAX * spread), 0);
    assert_false(names.is_full);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(names_add(&names, (NAMES_MAX + 1) * spread), 1);
        assert_true(names.is_full);
    }
    assert_int_equal(names_add(&names, spread), 0);
    assert_true(names.is_full);
    assert_true(names_has(&names, NAMES_MAX * spread));
    assert_false(names_has(&names, (NAMES_MAX + 1) * spread));
    assert_int_equal(names.count, NAMES_MAX);
    assert_int_equal(names.capacity * sizeof(*names.slots), 1 << 20);
    names_clear(&names);
    assert_false(names.is_full);
}

/* Adds names until there is no memory left for more. */
static enum child_result add_with_little_memory(void *userdata)
{
    struct names names = NAMES_NULL;
    uint64_t i = 0;
    void *block;
    int r;

    (void)userdata;
    CHECK(hoard_prepare());
    block = malloc((size_t)4 * 1024);
    CHECK(block && hoard_all());
    free(block);
    do
        r = names_add(&names, ++i);
    while (r == 1);
    CHECK(r == -ENOMEM && i > 32 && i < 512);
    CHECK(names.count == i - 1 && names_has(&names, i - 1) && !names_has(&names, i));
    return CHILD_PASSED;
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    if (!HOARD_WORKS)
        skip();
    assert_child_passes(add_with_little_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_there_once_it_is_added),
        cmocka_unit_test(all_stay_while_it_grows),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(no_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
