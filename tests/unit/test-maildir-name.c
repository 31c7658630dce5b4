/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "quota/maildir_name.h"
#include "quota/size.h"

static void sizes_in_names(void **state)
{
    static const struct {
        const char *name;
        bool usable_s, usable_w;
        uint64_t bytes_s, bytes_w;
    } cases[] = {
        {"1700000000.M1P2.host,S=1234,W=1260:2,S", true, true, 1234, 1260},
        {"1700000000.M1P2.host,W=1260,S=1234:2,S", true, true, 1234, 1260},
        {"1700000000.M1P2.host,S=1234", true, true, 1234, 1234},
        {"1700000000.M1P2.host,S=1234:2,", true, true, 1234, 1234},
        {"1700000000.M1P2.host,W=1260", false, true, 0, 1260},
        {"1700000000.M1P2.host", false, false, 0, 0},
        {"1700000000.M1P2.host:2,S", false, false, 0, 0},
        {"", false, false, 0, 0},
        {",", false, false, 0, 0},
        {",S", false, false, 0, 0},
        {",,S=3", true, true, 3, 3},
        {",S=,S=3", true, true, 0, 0},
        {",S=0", true, true, 0, 0},
        {",S=007", true, true, 7, 7},
        /* the end of the number */
        {"a,S=12x", false, false, 0, 0},
        {"a,S=12.5:2,", false, false, 0, 0},
        {"a,S=12K", false, false, 0, 0},
        {"a,S=12;2,S", false, false, 0, 0},
        {"a,S=12 ", false, false, 0, 0},
        {"a,S= 12", false, false, 0, 0},
        {"a,S=-12", false, false, 0, 0},
        {"a,S=+12", false, false, 0, 0},
        {"a,S=12,x", true, true, 12, 12},
        /* none */
        {"a,S=", true, true, 0, 0},
        {"a,S=:2,S", true, true, 0, 0},
        {"a,S=,W=5", true, true, 0, 5},
        {"a,S=5,W=", true, true, 5, 0},
        /* two */
        {"a,S=1,S=2", true, true, 1, 1},
        {"a,S=1x,S=2", false, false, 0, 0},
        {"a,W=1x,S=2", true, true, 2, 2},
        {"a,W=1x,W=2,S=3", true, true, 3, 3},
        {"a,S=1x,W=2", false, true, 0, 2},
        /* other tags and cases, and what only looks like a tag */
        {"a,s=12", false, false, 0, 0},
        {"a,SS=12", false, false, 0, 0},
        {"aS=12", false, false, 0, 0},
        {"a;S=12", false, false, 0, 0},
        {"a:2,S=12", true, true, 12, 12},
        {"a,X=1,S=2", true, true, 2, 2},
        /* too large */
        {"a,S=9223372036854775807", true, true, SIZE_BYTES_MAX, SIZE_BYTES_MAX},
        {"a,S=9223372036854775808", false, false, 0, 0},
        {"a,S=18446744073709551615", false, false, 0, 0},
        {"a,S=18446744073709551616", false, false, 0, 0},
        {"a,S=18446744073709551621:2,", false, false, 0, 0},
        {"a,S=99999999999999999999999999999", false, false, 0, 0},
        {"a,W=9223372036854775808,S=4", true, true, 4, 4},
        {"a,S=00000000000000000000000000000004", true, true, 4, 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t bytes_s = 0, bytes_w = 0;

        assert_int_equal(maildir_size_from_name(cases[i].name, MAILDIR_SIZE_TAG_S, &bytes_s),
                         cases[i].usable_s);
        assert_int_equal(maildir_size_from_name(cases[i].name, MAILDIR_SIZE_TAG_W, &bytes_w),
                         cases[i].usable_w);
        assert_int_equal(bytes_s, cases[i].bytes_s);
        assert_int_equal(bytes_w, cases[i].bytes_w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_in_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
