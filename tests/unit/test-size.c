/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "protocol/words.h"
#include "quota/size.h"

static void sizes(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"007", 0, 7},
        {"1K", 0, 1024},
        {"1k", 0, 1024},
        {"3M", 0, 3 << 20},
        {"2G", 0, UINT64_C(2) << 30},
        {"1T", 0, UINT64_C(1) << 40},
        {"0T", 0, 0},
        {"9223372036854775807", 0, SIZE_BYTES_MAX},
        {"9223372036854775808", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999999", -ERANGE, 0},
        {"8388607T", 0, UINT64_C(8388607) << 40},
        {"8388608T", -ERANGE, 0},
        {"9007199254740991K", 0, UINT64_C(9007199254740991) << 10},
        {"9007199254740992K", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1KB", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1.5G", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1P", -EINVAL, 0},
        {"99999999999999999999x", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t bytes = 0;

        assert_int_equal(size_parse(cases[i].text, strlen(cases[i].text), &bytes), cases[i].result);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void limits(void **state)
{
    static const struct {
        const char *text;
        int result;
        struct quota_limit limit;
    } cases[] = {
        {"", 0, {0, 0}},
        {"0", 0, {0, 0}},
        {"2G", 0, {UINT64_C(2) << 30, 0}},
        {"1000C", 0, {0, 1000}},
        {"1000c", 0, {0, 1000}},
        {"1G,100000C", 0, {UINT64_C(1) << 30, 100000}},
        {"5C,7", 0, {7, 5}},
        {"0,0C", 0, {0, 0}},
        {"1G,", -EINVAL, {0, 0}},
        {",1G", -EINVAL, {0, 0}},
        {",", -EINVAL, {0, 0}},
        {"1G,2G", -EINVAL, {0, 0}},
        {"1C,2C", -EINVAL, {0, 0}},
        {"1G,2C,3", -EINVAL, {0, 0}},
        {"1KC", -EINVAL, {0, 0}},
        {"C", -EINVAL, {0, 0}},
        {"1G 2C", -EINVAL, {0, 0}},
        {"unlimited", 0, {0, 0}},
        {"UnLimited", 0, {0, 0}},
        {"none", 0, {0, 0}},
        {"NONE", 0, {0, 0}},
        {"unlimited ", -EINVAL, {0, 0}},
        {"unlimite", -EINVAL, {0, 0}},
        {"unlimited,5C", -EINVAL, {0, 0}},
        {"5C,none", -EINVAL, {0, 0}},
        {"\x4eo\x0e\x05", -EINVAL, {0, 0}},
        {"9223372036854775808", -ERANGE, {0, 0}},
        {"1,9223372036854775808C", -ERANGE, {0, 0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quota_limit limit = {};

        assert_int_equal(size_parse_limit(cases[i].text, strlen(cases[i].text), &limit),
                         cases[i].result);
        assert_int_equal(limit.bytes, cases[i].limit.bytes);
        assert_int_equal(limit.messages, cases[i].limit.messages);
    }
}

static void arithmetic_saturates(void **state)
{
    (void)state;
    assert_int_equal(size_add(1, 2), 3);
    assert_int_equal(size_add(SIZE_BYTES_MAX, 0), SIZE_BYTES_MAX);
    assert_int_equal(size_add(SIZE_BYTES_MAX, 1), SIZE_BYTES_MAX);
    assert_int_equal(size_add(SIZE_BYTES_MAX, SIZE_BYTES_MAX), SIZE_BYTES_MAX);
    assert_int_equal(size_add(UINT64_MAX, UINT64_MAX), SIZE_BYTES_MAX);
}

static void every_reason_has_its_word(void **state)
{
    (void)state;
    for (int reason = 0; reason < REASON_COUNT_; reason++) {
        assert_non_null(reason_to_string((enum reason)reason));
        for (int other = 0; other < reason; other++)
            assert_string_not_equal(reason_to_string((enum reason)reason),
                                    reason_to_string((enum reason)other));
    }
    assert_int_equal(reason_from_errno(-EXDEV), REASON_OUTSIDE_ROOT);
    assert_int_equal(reason_from_errno(-EACCES), REASON_PERMISSION_DENIED);
    assert_int_equal(reason_from_errno(-ENOTDIR), REASON_NOT_A_MAILBOX);
    assert_int_equal(reason_from_errno(-EIO), REASON_IO_ERROR);
    assert_int_equal(reason_from_errno(-ESTALE), REASON_IO_ERROR);
    assert_int_equal(reason_from_errno(-EMFILE), REASON_OVERLOADED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(limits),
        cmocka_unit_test(arithmetic_saturates),
        cmocka_unit_test(every_reason_has_its_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
