/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>

#include "random.h"
#include "server/lookups.h"

#define WINDOW LOOKUPS_WINDOW

static void add(struct lookups *lookups, unsigned int count, bool found)
{
    while (count-- > 0)
        lookups_add(lookups, found);
}

static void no_address_has_led_to_a_mailbox(void **state)
{
    struct lookups lookups = {};

    (void)state;
    assert_false(lookups_fail(&lookups));
    for (int i = 0; i < 3 * WINDOW; i++) {
        lookups_add(&lookups, false);
        assert_true(lookups_fail(&lookups));
    }

    /* until the first one does */
    lookups = (struct lookups){};
    add(&lookups, 10, false);
    lookups_add(&lookups, true);
    assert_false(lookups_fail(&lookups));
    add(&lookups, WINDOW - 12, false);
    assert_false(lookups_fail(&lookups)); /* so few say nothing */
    lookups_add(&lookups, false);
    assert_true(lookups_fail(&lookups));
}

static void most_of_the_last_did_not(void **state)
{
    struct lookups lookups = {};

    (void)state;
    add(&lookups, 5 * WINDOW, true);
    add(&lookups, WINDOW / 2, false);
    assert_int_equal(lookups.window_missed, WINDOW / 2);
    assert_false(lookups_fail(&lookups));
    lookups_add(&lookups, false);
    assert_true(lookups_fail(&lookups));

    /* what was long ago does not count, neither way */
    add(&lookups, WINDOW / 2 - 1, true);
    assert_true(lookups_fail(&lookups));
    lookups_add(&lookups, true);
    assert_false(lookups_fail(&lookups));
    add(&lookups, WINDOW, false);
    assert_int_equal(lookups.window_missed, WINDOW);
    assert_true(lookups_fail(&lookups));
    add(&lookups, WINDOW, true);
    assert_int_equal(lookups.window_missed, 0);
    assert_false(lookups_fail(&lookups));
}

/* Against a list of all that happened. */
static void counts_as_a_list_does(void **state)
{
    struct random random = random_begin("lookups");
    static bool list[10 * WINDOW];
    struct lookups lookups = {};
    size_t found = 0, verdicts[2] = {};
    unsigned int share = 50;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        unsigned int missed = 0;

        if (i % 500 == 0)
            share = (unsigned int)random_below(&random, 101);
        list[i] = random_below(&random, 100) < share;
        found += list[i];
        lookups_add(&lookups, list[i]);
        for (size_t j = i + 1 > WINDOW ? i + 1 - WINDOW : 0; j <= i; j++)
            missed += !list[j];
        assert_int_equal(lookups.window_missed, missed);
        assert_int_equal(lookups.found, found);
        assert_int_equal(lookups.total, i + 1);
        assert_int_equal(lookups_fail(&lookups),
                         found == 0 || (i + 1 >= WINDOW && missed > WINDOW / 2));
        verdicts[lookups_fail(&lookups)]++;
    }
    print_message("in vain %zu times of %zu\n", verdicts[1], ARRAY_SIZE(list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_address_has_led_to_a_mailbox),
        cmocka_unit_test(most_of_the_last_did_not),
        cmocka_unit_test(counts_as_a_list_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
