/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "child.h"
#include "hoard.h"
#include "random.h"
#include "system/hash_table.h"

/* The key and the inputs (00 01 02 ...) of the reference implementation's vectors. */
static void matches_the_published_vectors(void **state)
{
    static const struct hash_key key = {
        {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    static const struct {
        size_t length;
        uint64_t hash;
    } cases[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
    };
    unsigned char bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(hash_bytes(&key, bytes, cases[i].length), cases[i].hash);
}

static void depends_on_its_key(void **state)
{
    struct hash_key one, other;

    (void)state;
    assert_int_equal(hash_key_init(&one), 0);
    assert_int_equal(hash_key_init(&other), 0);
    assert_int_not_equal(one.words[0], other.words[0]);
    assert_int_not_equal(one.words[1], other.words[1]);
    assert_int_not_equal(hash_bytes(&one, "a", 1), hash_bytes(&other, "a", 1));
}

enum { ENTRIES = 500 };

static unsigned int released;

static void on_release(struct hash_entry *entry)
{
    (void)entry;
    released++;
}

/* Against an array of flags. Ids fall together in any number of bits. */
static void a_random_history(void **state)
{
    struct random random = random_begin("a_random_history");
    struct hash_entry entries[ENTRIES] = {};
    bool is_there[ENTRIES] = {};
    struct hash_table table = {};
    size_t count = 0;

    (void)state;
    for (uint64_t i = 0; i < ENTRIES; i++)
        entries[i].id = i % 2 == 0 ? i : i << 32;
    for (int step = 0; step < 20000; step++) {
        size_t i = random_below(&random, ENTRIES);
        struct hash_entry *expected = is_there[i] ? &entries[i] : NULL;

        assert_ptr_equal(hash_table_find(&table, entries[i].id), expected);
        if (is_there[i])
            hash_table_remove(&table, &entries[i]);
        else
            assert_int_equal(hash_table_add(&table, &entries[i]), 0);
        is_there[i] = !is_there[i];
        count += is_there[i] ? 1 : (size_t)-1;
        assert_int_equal(table.count, count);
        assert_true(table.buckets_count >= table.count && table.buckets_count <= 2 * ENTRIES);
    }
    hash_table_clear(&table, on_release);
    assert_int_equal(released, count);
    assert_int_equal(table.count, 0);
    for (size_t i = 0; i < ENTRIES; i++)
        assert_null(hash_table_find(&table, entries[i].id));
}

static enum child_result add_without_memory(void *userdata)
{
    static struct hash_entry entries[100], other;
    struct hash_table table = {}, none = {};

    (void)userdata;
    CHECK(hoard_prepare());
    for (uint64_t i = 0; i < ARRAY_SIZE(entries); i++)
        entries[i].id = i;
    CHECK(hash_table_add(&table, &entries[0]) == 0);
    CHECK(hoard_all());
    CHECK(hash_table_add(&none, &other) == -ENOMEM && none.count == 0);
    for (size_t i = 1; i < ARRAY_SIZE(entries); i++)
        CHECK(hash_table_add(&table, &entries[i]) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        CHECK(hash_table_find(&table, i) == &entries[i]);
    return CHILD_PASSED;
}

static void without_memory_it_does_not_grow(void **state)
{
    (void)state;
    if (!HOARD_WORKS)
        skip();
    assert_child_passes(add_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_vectors),
        cmocka_unit_test(depends_on_its_key),
        cmocka_unit_test(a_random_history),
        cmocka_unit_test(without_memory_it_does_not_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
