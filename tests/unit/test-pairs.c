/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/pairs.h"
#include "protocol/reply.h"
#include "random.h"

/*
 * Parses a copy of line[0..length) that ends where its memory ends, so that a sanitizer sees every
 * byte read or written too many. The copy is the caller's to free, and holds the pairs.
 */
static int parse(const char *line, size_t length, struct pairs *ret, char **ret_copy)
{
    char *copy = malloc(length + 1);

    assert_non_null(copy);
    memcpy(copy, line, length);
    copy[length] = 'x'; /* may be written, means nothing */
    *ret_copy = copy;
    return pairs_parse(copy, length, ret);
}

static void an_answer_is_read(void **state)
{
    static const char line[] = "status=over bytes=12 percent=18446744073709551615 limit=0 "
                               "mailbox=\"/var/mail/a \\\"b\\\"\\\\\\011c\" text=\"\"";
    struct pairs pairs;
    uint64_t number;
    char *copy;

    (void)state;
    assert_int_equal(parse(line, strlen(line), &pairs, &copy), 0);
    assert_int_equal(pairs.count, 6);
    assert_string_equal(pairs.items[0].key, "status");
    assert_string_equal(pairs_find(&pairs, "status"), "over");
    assert_string_equal(pairs_find(&pairs, "mailbox"), "/var/mail/a \"b\"\\\tc");
    assert_string_equal(pairs_find(&pairs, "text"), "");
    assert_true(pairs.items[5].is_quoted);
    assert_null(pairs_find(&pairs, "statu"));
    assert_int_equal(pairs_number(&pairs, "bytes", &number), 0);
    assert_int_equal(number, 12);
    assert_int_equal(pairs_number(&pairs, "percent", &number), 0);
    assert_int_equal(number, UINT64_MAX);
    assert_int_equal(pairs_number(&pairs, "limit", &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(pairs_number(&pairs, "status", &number), -EINVAL);
    assert_int_equal(pairs_number(&pairs, "text", &number), -EINVAL);
    assert_int_equal(pairs_number(&pairs, "messages", &number), -ENOENT);
    free(copy);
}

static void garbage_is_refused(void **state)
{
    static const struct {
        const char *line;
        size_t length; /* 0: up to its NUL */
    } cases[] = {
        {"", 0},
        {" ", 0},
        {"=", 0},
        {"=x", 0},
        {"status", 0},
        {"status=", 0},
        {"status=ok ", 0},
        {" status=ok", 0},
        {"status=ok  bytes=1", 0},
        {"status=ok bytes", 0},
        {"status=ok bytes=", 0},
        {"status=ok status=ok", 0},
        {"Status=ok", 0},
        {"9status=ok", 0},
        {"_status=ok", 0},
        {"sta-tus=ok", 0},
        {"status=o\"k", 0},
        {"status=o\\k", 0},
        {"status=o\tk", 0},
        {"status=o\x7fk", 0},
        {"status=o\0k", 11},
        {"sta\0tus=ok", 10},
        {"status=\"ok", 0},
        {"status=\"ok\\\"", 0},
        {"status=\"ok\\", 0},
        {"status=\"ok\"x", 0},
        {"status=\"ok\"\"x\"", 0},
        {"status=\"o\nk\"", 0},
        {"status=\"o\\nk\"", 0},
        {"status=\"\\01\"", 0},
        {"status=\"\\018\"", 0},
        {"status=\"\\000\"", 0},
        {"status=\"\\400\"", 0},
        {"status=\"\\777\"", 0},
        {"status=\"\\1", 0},
        {"status=\"", 0},
        {"HTTP/1.1 400 Bad Request", 0},
        {"0", 0},
        {"9223372036854775807", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = cases[i].length > 0 ? cases[i].length : strlen(cases[i].line);
        struct pairs pairs;
        char *copy;

        if (parse(cases[i].line, length, &pairs, &copy) != -EBADMSG)
            fail_msg("read as pairs: %s", cases[i].line);
        free(copy);
    }
}

static void numbers_are_plain_decimals(void **state)
{
    static const struct {
        const char *line;
        bool is_number; /* to pair_is_number() */
        int result;     /* of pairs_number() */
    } cases[] = {
        {"n=0", true, 0},
        {"n=10", true, 0},
        {"n=18446744073709551615", true, 0},
        {"n=18446744073709551616", true, -ERANGE},
        {"n=99999999999999999999999999999999", true, -ERANGE},
        {"n=00", false, -EINVAL},
        {"n=01", false, -EINVAL},
        {"n=-1", false, -EINVAL},
        {"n=+1", false, -EINVAL},
        {"n=1.5", false, -EINVAL},
        {"n=1e3", false, -EINVAL},
        {"n=0x1", false, -EINVAL},
        {"n=\"1\"", false, 0},
        {"n=\"\"", false, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pairs pairs;
        uint64_t number;
        char *copy;

        assert_int_equal(parse(cases[i].line, strlen(cases[i].line), &pairs, &copy), 0);
        assert_int_equal(pair_is_number(&pairs.items[0]), cases[i].is_number);
        assert_int_equal(pairs_number(&pairs, "n", &number), cases[i].result);
        free(copy);
    }
}

/* Writes `k0=v k1=v ...`. */
static size_t many_pairs(char *line, size_t count)
{
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += (size_t)sprintf(line + length, "%sk%zu=v", i > 0 ? " " : "", i);
    return length;
}

static void the_number_of_pairs_is_bounded(void **state)
{
    char line[(PAIRS_MAX + 1) * 8];
    struct pairs pairs;
    char *copy;

    (void)state;
    assert_int_equal(parse(line, many_pairs(line, PAIRS_MAX), &pairs, &copy), 0);
    assert_int_equal(pairs.count, PAIRS_MAX);
    free(copy);
    assert_int_equal(parse(line, many_pairs(line, PAIRS_MAX + 1), &pairs, &copy), -E2BIG);
    free(copy);
}

/* Any text that an answer may hold, favouring what has a meaning to the reader. */
static void random_text(struct random *random, char text[32])
{
    static const char special[] = " \"\\=\n\t\x7f\x1b/aK1\xc3\xa9\xff";
    size_t length = random_below(random, 31);

    for (size_t i = 0; i < length; i++)
        text[i] = random_below(random, 4) == 0 ? (char)(1 + random_below(random, 255))
                                               : special[random_below(random, sizeof(special) - 1)];
    text[length] = '\0';
}

static void what_a_reply_holds_is_read_back(void **state)
{
    struct random random = random_begin("what_a_reply_holds_is_read_back");
    static struct reply reply;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        char first[32], second[32];
        struct pairs pairs;
        uint64_t number, given = random_next(&random) >> random_below(&random, 64);
        char *copy;

        random_text(&random, first);
        random_text(&random, second);
        reply_init(&reply);
        reply_add_text(&reply, "first", first);
        reply_add_number(&reply, "number", given);
        reply_add_text(&reply, "second", second);
        reply_end(&reply);
        assert_int_equal(parse(reply.bytes, reply.length - 1, &pairs, &copy), 0);
        assert_int_equal(pairs.count, 3);
        assert_string_equal(pairs_find(&pairs, "first"), first);
        assert_string_equal(pairs_find(&pairs, "second"), second);
        assert_int_equal(pairs_number(&pairs, "number", &number), 0);
        assert_int_equal(number, given);
        assert_true(pair_is_number(&pairs.items[1]));
        free(copy);
    }
}

/* Whatever is read without an error could have been written so, one pair after the other. */
static void any_line_is_read_or_refused(void **state)
{
    static const char alphabet[] = "ak_= \"\\01\n\x01\x7f\xc3";
    struct random random = random_begin("any_line_is_read_or_refused");
    size_t taken = 0;

    (void)state;
    for (int i = 0; i < 300000; i++) {
        char line[16];
        size_t length = random_below(&random, sizeof(line));
        struct pairs pairs;
        char *copy;

        for (size_t j = 0; j < length; j++)
            line[j] = alphabet[random_below(&random, sizeof(alphabet) - 1)];
        if (parse(line, length, &pairs, &copy) == 0) {
            taken++;
            assert_in_range(pairs.count, 1, length / 3 + 1);
            assert_null(memchr(line, '\n', length));
        }
        free(copy);
    }
    assert_in_range(taken, 1, 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_read),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(numbers_are_plain_decimals),
        cmocka_unit_test(the_number_of_pairs_is_bounded),
        cmocka_unit_test(what_a_reply_holds_is_read_back),
        cmocka_unit_test(any_line_is_read_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
