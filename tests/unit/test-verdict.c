/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "protocol/words.h"
#include "quota/verdict.h"
#include "random.h"

#define MAX  SIZE_BYTES_MAX
#define FULL UINT64_MAX
#define NO_GRACE                                                                                   \
    {                                                                                              \
        0, 0                                                                                       \
    }

struct situation {
    uint64_t bytes, messages;
    struct quota_limit limit;
    uint64_t size;
    struct verdict_grace grace;
};

static enum verdict decide(const struct situation *s, uint64_t warn_percent)
{
    struct verdict_policy policy = {.grace = s->grace, .warn_percent = warn_percent};

    return verdict_decide(s->bytes, s->messages, s->limit, s->size, &policy);
}

static void at_the_edges(void **state)
{
    static const struct {
        struct situation s;
        enum verdict verdict;
    } cases[] = {
        /* no size, no grace: the bytes alone decide, and the limit itself may be reached */
        {{0, 0, {100, 0}, 0, NO_GRACE}, VERDICT_OK},
        {{89, 0, {100, 0}, 0, NO_GRACE}, VERDICT_OK},
        {{90, 0, {100, 0}, 0, NO_GRACE}, VERDICT_WARN},
        {{99, 0, {100, 0}, 0, NO_GRACE}, VERDICT_WARN},
        {{100, 0, {100, 0}, 0, NO_GRACE}, VERDICT_WARN},
        {{101, 0, {100, 0}, 0, NO_GRACE}, VERDICT_OVER},
        {{1, 0, {1, 0}, 0, NO_GRACE}, VERDICT_WARN},
        {{2, 0, {1, 0}, 0, NO_GRACE}, VERDICT_OVER},
        /* a size */
        {{50, 0, {100, 0}, 49, NO_GRACE}, VERDICT_OK},
        {{50, 0, {100, 0}, 50, NO_GRACE}, VERDICT_OK},
        {{50, 0, {100, 0}, 51, NO_GRACE}, VERDICT_OVER},
        {{50, 0, {100, 0}, 100, NO_GRACE}, VERDICT_OVER},
        {{50, 0, {100, 0}, 101, NO_GRACE}, VERDICT_TOOLARGE},
        {{0, 0, {100, 0}, 100, NO_GRACE}, VERDICT_OK},
        {{0, 0, {100, 0}, 101, NO_GRACE}, VERDICT_TOOLARGE},
        {{101, 0, {100, 0}, 101, NO_GRACE}, VERDICT_TOOLARGE},
        {{95, 0, {100, 0}, 5, NO_GRACE}, VERDICT_WARN},
        {{95, 0, {100, 0}, 6, NO_GRACE}, VERDICT_OVER},
        /* grace in bytes helps a message past the limit, not a mailbox that is past it */
        {{50, 0, {100, 0}, 59, {10, 0}}, VERDICT_OK},
        {{50, 0, {100, 0}, 60, {10, 0}}, VERDICT_OK},
        {{50, 0, {100, 0}, 61, {10, 0}}, VERDICT_OVER},
        {{50, 0, {100, 0}, 110, {10, 0}}, VERDICT_OVER},
        {{50, 0, {100, 0}, 111, {10, 0}}, VERDICT_TOOLARGE},
        {{100, 0, {100, 0}, 10, {10, 0}}, VERDICT_WARN},
        {{100, 0, {100, 0}, 11, {10, 0}}, VERDICT_OVER},
        {{101, 0, {100, 0}, 0, {10, 0}}, VERDICT_OVER},
        {{101, 0, {100, 0}, 1, {10, 0}}, VERDICT_OVER},
        /* grace in percent, rounded down */
        {{50, 0, {100, 0}, 60, {0, 10}}, VERDICT_OK},
        {{50, 0, {100, 0}, 61, {0, 10}}, VERDICT_OVER},
        {{50, 0, {109, 0}, 69, {0, 10}}, VERDICT_OK},
        {{50, 0, {109, 0}, 70, {0, 10}}, VERDICT_OVER},
        {{0, 0, {109, 0}, 120, {0, 10}}, VERDICT_TOOLARGE},
        {{0, 0, {9, 0}, 10, {0, 10}}, VERDICT_TOOLARGE},
        {{0, 0, {100, 0}, 300, {0, 200}}, VERDICT_OK},
        {{0, 0, {100, 0}, 301, {0, 200}}, VERDICT_TOOLARGE},
        /* messages: at the exact count there is no room for another */
        {{0, 8, {0, 10}, 0, NO_GRACE}, VERDICT_OK},
        {{0, 9, {0, 10}, 0, NO_GRACE}, VERDICT_OK},
        {{0, 10, {0, 10}, 0, NO_GRACE}, VERDICT_OVER},
        {{0, 11, {0, 10}, 0, NO_GRACE}, VERDICT_OVER},
        {{0, 10, {0, 10}, 0, {10, 10}}, VERDICT_OVER},
        {{0, 10, {0, 10}, MAX, NO_GRACE}, VERDICT_OVER},
        {{MAX, 9, {0, 10}, MAX, NO_GRACE}, VERDICT_OK},
        {{90, 10, {100, 10}, 0, NO_GRACE}, VERDICT_OVER},
        {{90, 9, {100, 10}, 0, NO_GRACE}, VERDICT_WARN},
        {{90, 10, {100, 10}, 101, NO_GRACE}, VERDICT_TOOLARGE},
        /* no limit */
        {{FULL, FULL, {0, 0}, FULL, NO_GRACE}, VERDICT_OK},
        {{FULL, FULL, {0, 0}, FULL, {FULL, FULL}}, VERDICT_OK},
        /* the largest numbers */
        {{MAX, 0, {MAX, 0}, 0, NO_GRACE}, VERDICT_WARN},
        {{MAX, 0, {MAX, 0}, 1, NO_GRACE}, VERDICT_OVER},
        {{MAX, 0, {MAX, 0}, MAX, NO_GRACE}, VERDICT_OVER},
        {{1, 0, {MAX, 0}, MAX, NO_GRACE}, VERDICT_OVER},
        {{0, 0, {MAX, 0}, MAX, NO_GRACE}, VERDICT_OK},
        {{1, 0, {MAX, 0}, MAX - 1, NO_GRACE}, VERDICT_OK},
        {{MAX, 0, {MAX - 1, 0}, 0, {MAX, 0}}, VERDICT_OVER},
        {{MAX, 0, {MAX, 0}, MAX, {MAX, 0}}, VERDICT_WARN},
        {{MAX, 0, {MAX, 0}, MAX, {MAX - 1, 0}}, VERDICT_OVER},
        {{MAX, 0, {MAX, 0}, MAX, {0, 100}}, VERDICT_WARN},
        {{MAX, 0, {MAX, 0}, MAX, {0, 99}}, VERDICT_OVER},
        {{MAX, 0, {MAX, 0}, MAX, {0, FULL}}, VERDICT_WARN},
        {{1, 0, {1, 0}, MAX, {MAX, 0}}, VERDICT_WARN},
        {{1, 0, {1, 0}, MAX, {MAX - 1, 0}}, VERDICT_OVER},
        {{0, MAX, {0, MAX}, 0, NO_GRACE}, VERDICT_OVER},
        {{0, MAX - 1, {0, MAX}, 0, NO_GRACE}, VERDICT_OK},
        {{FULL, 0, {FULL, 0}, 0, NO_GRACE}, VERDICT_WARN},
        {{FULL, 0, {FULL, 0}, 1, NO_GRACE}, VERDICT_OVER},
        {{FULL, 0, {FULL, 0}, FULL, {FULL, 0}}, VERDICT_WARN},
        {{FULL, 0, {FULL, 0}, FULL, {FULL - 1, 0}}, VERDICT_OVER},
        {{FULL, 0, {FULL, 0}, FULL, {FULL, FULL}}, VERDICT_WARN},
        {{FULL - 1, 0, {FULL, 0}, FULL, NO_GRACE}, VERDICT_OVER},
        {{0, FULL, {0, FULL}, 0, NO_GRACE}, VERDICT_OVER},
        {{0, FULL - 1, {0, FULL}, 0, NO_GRACE}, VERDICT_OK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct situation *s = &cases[i].s;
        enum verdict verdict = decide(s, 90);

        if (verdict != cases[i].verdict)
            fail_msg("case %zu: %s instead of %s", i, verdict_to_string(verdict),
                     verdict_to_string(cases[i].verdict));
        if (verdict != VERDICT_TOOLARGE)
            assert_int_equal(verdict_is_over(s->bytes, s->messages, s->limit, s->size, s->grace),
                             verdict == VERDICT_OVER);
    }
}

static void percent(void **state)
{
    static const struct {
        uint64_t bytes, limit, percent;
    } cases[] = {
        {0, 0, 0},
        {FULL, 0, 0},
        {0, 1, 0},
        {1, 1, 100},
        {1, 3, 33},
        {2, 3, 66},
        {99, 100, 99},
        {999, 1000, 99},
        {1000, 1000, 100},
        {1001, 1000, 100},
        {MAX - 1, MAX, 99},
        {MAX, MAX, 100},
        {MAX / 2, MAX, 49},
        {FULL, MAX, 200},
        {FULL / 100, 1, FULL / 100 * 100},
        {FULL / 100 + 1, 1, FULL},
        {MAX, 1, FULL},
        {FULL, 1, FULL},
        {FULL, 99, FULL},
        {FULL, 100, FULL},
        {FULL, 101, UINT64_C(18264103043276783777)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(verdict_percent(cases[i].bytes, (struct quota_limit){cases[i].limit, 7}),
                         cases[i].percent);
}

static void warns_from_the_given_share_on(void **state)
{
    static const struct situation half = {50, 0, {100, 0}, 0, NO_GRACE};
    static const struct situation empty = {0, 0, {100, 0}, 0, NO_GRACE};
    static const struct situation without_limit = {50, 1, {0, 10}, 0, NO_GRACE};

    (void)state;
    assert_int_equal(decide(&half, 51), VERDICT_OK);
    assert_int_equal(decide(&half, 50), VERDICT_WARN);
    assert_int_equal(decide(&half, 49), VERDICT_WARN);
    assert_int_equal(decide(&half, FULL), VERDICT_OK);
    assert_int_equal(decide(&empty, 1), VERDICT_OK);
    assert_int_equal(decide(&empty, 0), VERDICT_WARN);
    assert_int_equal(decide(&without_limit, 0), VERDICT_OK);
}

/*
 * The reference: a number of 192 bits in digits, added and multiplied by hand, so that nothing
 * of the arithmetic under test is used to judge it.
 */
struct number {
    uint32_t digits[6]; /* the least first */
};

static struct number number_of(uint64_t value)
{
    return (struct number){{(uint32_t)value, (uint32_t)(value >> 32)}};
}

static struct number number_add(struct number a, struct number b)
{
    uint64_t carry = 0;

    for (size_t i = 0; i < ARRAY_SIZE(a.digits); i++) {
        carry += (uint64_t)a.digits[i] + b.digits[i];
        a.digits[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return a;
}

static struct number number_multiply(struct number a, struct number b)
{
    struct number product = {};

    for (size_t i = 0; i < ARRAY_SIZE(a.digits); i++) {
        uint64_t carry = 0;

        for (size_t j = 0; i + j < ARRAY_SIZE(a.digits); j++) {
            carry += (uint64_t)a.digits[i] * b.digits[j] + product.digits[i + j];
            product.digits[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    return product;
}

static int number_compare(struct number a, struct number b)
{
    for (size_t i = ARRAY_SIZE(a.digits); i-- > 0;)
        if (a.digits[i] != b.digits[i])
            return a.digits[i] < b.digits[i] ? -1 : 1;
    return 0;
}

static struct number hundred_times(struct number a)
{
    return number_multiply(a, number_of(100));
}

/*
 * Returns whether amount > limit + grace.bytes + floor(limit * grace.percent / 100), without a
 * division: a hundred times that, the product less its remainder, the remainder on the other side.
 */
static int reference_exceeds(struct number amount, uint64_t limit, struct verdict_grace grace)
{
    struct number fixed = number_add(number_of(limit), number_of(grace.bytes));
    struct number product = number_multiply(number_of(limit), number_of(grace.percent));
    uint64_t remainder = limit % 100 * (grace.percent % 100) % 100;
    struct number left = number_add(hundred_times(amount), number_of(remainder));
    struct number right = number_add(hundred_times(fixed), product);

    return number_compare(left, right) > 0;
}

static enum verdict reference_decide(const struct situation *s, uint64_t warn_percent)
{
    struct number together = number_add(number_of(s->bytes), number_of(s->size));

    if (s->limit.bytes > 0 && reference_exceeds(number_of(s->size), s->limit.bytes, s->grace))
        return VERDICT_TOOLARGE;
    if (s->limit.bytes > 0 && s->bytes > s->limit.bytes)
        return VERDICT_OVER;
    if (s->limit.bytes > 0 && reference_exceeds(together, s->limit.bytes, s->grace))
        return VERDICT_OVER;
    if (s->limit.messages > 0 && number_compare(number_add(number_of(s->messages), number_of(1)),
                                                number_of(s->limit.messages)) > 0)
        return VERDICT_OVER;
    if (s->limit.bytes > 0 &&
        number_compare(hundred_times(number_of(s->bytes)),
                       number_multiply(number_of(warn_percent), number_of(s->limit.bytes))) >= 0)
        return VERDICT_WARN;
    return VERDICT_OK;
}

/* Returns a number that is small, anything, or beside a power of two or another number. */
static uint64_t interesting(struct random *random, uint64_t other)
{
    uint64_t jitter = random_below(random, 5) - 2;

    switch (random_below(random, 6)) {
    case 0:
        return random_below(random, 4);
    case 1:
        return random_below(random, 1000);
    case 2:
        return (UINT64_C(1) << random_below(random, 64)) + jitter;
    case 3:
        return other + jitter;
    case 4:
        return MAX + jitter;
    default:
        return random_next(random) >> random_below(random, 64);
    }
}

static struct situation random_situation(struct random *random)
{
    struct situation s = {};

    s.limit.bytes = interesting(random, 100);
    s.grace.bytes = random_below(random, 2) ? interesting(random, s.limit.bytes) : 0;
    s.grace.percent = random_below(random, 2) ? interesting(random, 10) : 0;
    s.bytes = interesting(random, s.limit.bytes);
    s.size = interesting(random, s.limit.bytes - s.bytes + s.grace.bytes);
    s.limit.messages = random_below(random, 2) ? interesting(random, 10) : 0;
    s.messages = interesting(random, s.limit.messages);
    return s;
}

static void agrees_with_the_reference(void **state)
{
    struct random random = random_begin("verdict");
    size_t seen[VERDICT_COUNT_] = {};

    (void)state;
    for (size_t i = 0; i < 1000000; i++) {
        struct situation s = random_situation(&random);
        uint64_t warn_percent = interesting(&random, 90);
        enum verdict verdict = decide(&s, warn_percent);
        enum verdict expected = reference_decide(&s, warn_percent);

        seen[expected]++;
        if (verdict != expected)
            fail_msg("%s instead of %s: bytes %" PRIu64 " messages %" PRIu64 " limit %" PRIu64
                     ",%" PRIu64 "C size %" PRIu64 " grace %" PRIu64 " + %" PRIu64
                     "%% warn %" PRIu64,
                     verdict_to_string(verdict), verdict_to_string(expected), s.bytes, s.messages,
                     s.limit.bytes, s.limit.messages, s.size, s.grace.bytes, s.grace.percent,
                     warn_percent);
    }
    for (size_t verdict = 0; verdict < VERDICT_COUNT_; verdict++)
        assert_true(seen[verdict] > 10000);
}

static void every_verdict_has_its_word(void **state)
{
    (void)state;
    assert_string_equal(verdict_to_string(VERDICT_OK), "ok");
    assert_string_equal(verdict_to_string(VERDICT_WARN), "warn");
    assert_string_equal(verdict_to_string(VERDICT_OVER), "over");
    assert_string_equal(verdict_to_string(VERDICT_TOOLARGE), "toolarge");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_edges),
        cmocka_unit_test(percent),
        cmocka_unit_test(warns_from_the_given_share_on),
        cmocka_unit_test(agrees_with_the_reference),
        cmocka_unit_test(every_verdict_has_its_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
