/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "quota/hash.h"

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
    assert_int_equal(hash_key_init_random(&one), 0);
    assert_int_equal(hash_key_init_random(&other), 0);
    assert_int_not_equal(one.words[0], other.words[0]);
    assert_int_not_equal(one.words[1], other.words[1]);
    assert_int_not_equal(hash_bytes(&one, "a", 1), hash_bytes(&other, "a", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_vectors),
        cmocka_unit_test(depends_on_its_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
