/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/request.h"
#include "protocol/words.h"
#include "random.h"

#define GIB UINT64_C(1073741824)

/* A text that may hold NUL bytes, and its length. */
#define TEXT(text) text, sizeof(text) - 1

/* What a client is answered with. */
enum form {
    NUMBER,
    PAIRS,
};

/* Looks for the end in a copy that ends where the text ends: a sanitizer sees what goes beyond. */
static ssize_t find_end(const char *text, size_t length, bool end)
{
    char *copy = test_malloc(length + (length == 0));
    ssize_t r;

    if (length > 0)
        memcpy(copy, text, length);
    r = request_find_end(copy, length, end);
    test_free(copy);
    return r;
}

static void finds_the_end_at_every_split(void **state)
{
    static const char *const requests[] = {
        "/var/mail/joe",
        "usage /var/mail/joe",
        "check size=100 quota=1G joe@example.org",
        "ping",
        "",
    };
    static const char *const behind[] = {"", "\n", "x", "ping\n", "\n\n\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        for (size_t j = 0; j < ARRAY_SIZE(behind); j++) {
            char text[128];
            ssize_t line = (ssize_t)strlen(requests[i]);
            ssize_t total = sprintf(text, "%s\n%s", requests[i], behind[j]);

            for (ssize_t n = 0; n <= total; n++) {
                assert_int_equal(find_end(text, (size_t)n, false), n > line ? line : -EAGAIN);
                assert_int_equal(find_end(text, (size_t)n, true), n > line ? line : n);
            }
        }
}

static void a_line_has_8192_bytes_at_most(void **state)
{
    static char text[3 * REQUEST_BYTES_MAX];
    const size_t max = REQUEST_BYTES_MAX;

    (void)state;
    assert_int_equal(max, 8192);
    memset(text, 'x', sizeof(text));
    assert_int_equal(find_end(text, max - 1, false), -EAGAIN);
    assert_int_equal(find_end(text, max, false), -EAGAIN);
    assert_int_equal(find_end(text, max + 1, false), -EMSGSIZE);
    assert_int_equal(find_end(text, sizeof(text), false), -EMSGSIZE);
    assert_int_equal(find_end(text, max - 1, true), max - 1);
    assert_int_equal(find_end(text, max, true), max);
    assert_int_equal(find_end(text, max + 1, true), -EMSGSIZE);
    assert_int_equal(find_end(text, sizeof(text), true), -EMSGSIZE);

    text[max + 1] = '\n'; /* a line of 8193 bytes */
    assert_int_equal(find_end(text, max + 2, false), -EMSGSIZE);
    assert_int_equal(find_end(text, max + 2, true), -EMSGSIZE);
    text[max] = '\n'; /* a line of 8192 bytes */
    assert_int_equal(find_end(text, max + 1, false), max);
    assert_int_equal(find_end(text, sizeof(text), false), max);
    text[max - 1] = '\n';
    assert_int_equal(find_end(text, max, false), max - 1);
    assert_int_equal(find_end(text, sizeof(text), true), max - 1);
}

static void a_nul_does_not_end_a_line(void **state)
{
    (void)state;
    assert_int_equal(find_end(TEXT("/a\0b\n"), false), 4);
    assert_int_equal(find_end(TEXT("\0"), false), -EAGAIN);
    assert_int_equal(find_end(TEXT("\0"), true), 1);
}

static void a_client_is_answered_in_its_own_form(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        enum form form;
    } cases[] = {
        {TEXT(""), NUMBER},
        {TEXT("/"), NUMBER},
        {TEXT("/var/mail/joe"), NUMBER},
        {TEXT("/usage x"), NUMBER},
        {TEXT("mail/joe"), NUMBER},
        {TEXT("./joe"), NUMBER},
        {TEXT(" usage /x"), NUMBER},
        {TEXT("usage\t/x"), NUMBER},
        {TEXT("usage\r"), NUMBER},
        {TEXT("usage2 /x"), NUMBER},
        {TEXT("2usage /x"), NUMBER},
        {TEXT("us-age /x"), NUMBER},
        {TEXT("joe@example.org"), NUMBER},
        {TEXT("us\xc3\xa4ge /x"), NUMBER},
        {TEXT("\0"), NUMBER},
        {TEXT("\0usage"), NUMBER},
        {TEXT("usage@\0"), NUMBER},
        {TEXT("u"), PAIRS},
        {TEXT("usage"), PAIRS},
        {TEXT("usage "), PAIRS},
        {TEXT("usage /x"), PAIRS},
        {TEXT("USAGE /x"), PAIRS},
        {TEXT("nonsense /x"), PAIRS},
        {TEXT("usage\0 /x"), PAIRS},
        {TEXT("az AZ"), PAIRS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *copy = test_malloc(cases[i].length + 1);
        bool pairs;

        /* what stands behind the line must not matter */
        memcpy(copy, cases[i].text, cases[i].length);
        for (const char *c = " x@"; *c; c++) {
            copy[cases[i].length] = *c;
            pairs = request_wants_pairs(copy, cases[i].length);
            if (pairs != (cases[i].form == PAIRS))
                fail_msg("`%s' is answered with %s", cases[i].text, pairs ? "pairs" : "a number");
        }
        test_free(copy);
    }
}

struct row {
    const char *text;
    size_t length;
    enum reason reason;
    struct request request; /* of an error: its type alone */
};

#define NOTHING                                                                                    \
    {                                                                                              \
        0, 0                                                                                       \
    }

/* Shorthands for the rows. */
#define PATH(path)                                                                                 \
    {                                                                                              \
        REQUEST_PATH, (char *)(uintptr_t)(path), 0, false, NOTHING, false                          \
    }
#define USAGE(target)                                                                              \
    {                                                                                              \
        REQUEST_USAGE, (char *)(uintptr_t)(target), 0, false, NOTHING, false                       \
    }
#define LIMITED(type, size, have_limit, bytes, messages, recount, target)                          \
    {                                                                                              \
        type, (char *)(uintptr_t)(target), size, have_limit, {bytes, messages}, recount            \
    }
#define CHECK(size, have_limit, bytes, messages, target)                                           \
    LIMITED(REQUEST_CHECK, size, have_limit, bytes, messages, false, target)
#define EXPLAIN(size, have_limit, bytes, recount, target)                                          \
    LIMITED(REQUEST_EXPLAIN, size, have_limit, bytes, 0, recount, target)
#define WITHOUT_TARGET(type)                                                                       \
    {                                                                                              \
        type, NULL, 0, false, NOTHING, false                                                       \
    }
#define ANSWER_NUMBER WITHOUT_TARGET(REQUEST_PATH)
#define ANSWER_PAIRS  WITHOUT_TARGET(REQUEST_USAGE)

static void check(const struct row *row)
{
    const struct request *expected = &row->request;
    char *line = test_malloc(row->length + 1);
    struct request found = {};
    const char *text = NULL;
    enum reason reason;

    memcpy(line, row->text, row->length);
    line[row->length] = 'x';
    reason = request_parse(line, row->length, &found, &text);
    if (reason != row->reason)
        fail_msg("`%s': %s instead of %s", row->text, reason_to_string(reason),
                 reason_to_string(row->reason));
    if (reason != REASON_NONE) {
        assert_int_equal(found.type == REQUEST_PATH, expected->type == REQUEST_PATH);
        assert_non_null(text);
        assert_int_not_equal(text[0], '\0');
        test_free(line);
        return;
    }
    assert_int_equal(found.type, expected->type);
    assert_int_equal(found.size_bytes, expected->size_bytes);
    assert_int_equal(found.have_limit, expected->have_limit);
    assert_int_equal(found.limit.bytes, expected->limit.bytes);
    assert_int_equal(found.limit.messages, expected->limit.messages);
    assert_int_equal(found.recount, expected->recount);
    if (expected->target) {
        assert_string_equal(found.target, expected->target);
        assert_in_range((uintptr_t)found.target, (uintptr_t)line, (uintptr_t)(line + row->length));
    } else {
        assert_null(found.target);
    }
    test_free(line);
}

static void check_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(&rows[i]);
}

static void paths(void **state)
{
    static const struct row rows[] = {
        {TEXT("/"), REASON_NONE, PATH("/")},
        {TEXT("/var/mail/joe"), REASON_NONE, PATH("/var/mail/joe")},
        {TEXT("/var/mail/joe "), REASON_NONE, PATH("/var/mail/joe ")},
        {TEXT("/var/mail/a b  c"), REASON_NONE, PATH("/var/mail/a b  c")},
        {TEXT("/var/mail/joe\r"), REASON_NONE, PATH("/var/mail/joe\r")},
        {TEXT("/var/mail/\xc3\xa4\xff"), REASON_NONE, PATH("/var/mail/\xc3\xa4\xff")},
        {TEXT("/usage size=abc /x"), REASON_NONE, PATH("/usage size=abc /x")},
        {TEXT(""), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT(" "), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT(" /var/mail/joe"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("var/mail/joe"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("../joe"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("joe@example.org"), REASON_BAD_REQUEST, ANSWER_NUMBER},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void verbs(void **state)
{
    static const struct row rows[] = {
        {TEXT("usage /x"), REASON_NONE, USAGE("/x")},
        {TEXT("usage joe@example.org"), REASON_NONE, USAGE("joe@example.org")},
        {TEXT("check /x"), REASON_NONE, CHECK(0, false, 0, 0, "/x")},
        {TEXT("check joe@example.org"), REASON_NONE, CHECK(0, false, 0, 0, "joe@example.org")},
        {TEXT("ping"), REASON_NONE, WITHOUT_TARGET(REQUEST_PING)},
        {TEXT("ping  "), REASON_NONE, WITHOUT_TARGET(REQUEST_PING)},
        {TEXT("stats"), REASON_NONE, WITHOUT_TARGET(REQUEST_STATS)},
        {TEXT("stats "), REASON_NONE, WITHOUT_TARGET(REQUEST_STATS)},
        {TEXT("ping pong"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("ping /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("stats size=1"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("Ping"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("USAGE /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("usag /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("usages /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("nonsense"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("x /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("usage\t/x"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("ping\r"), REASON_BAD_REQUEST, ANSWER_NUMBER},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void targets(void **state)
{
    static const struct row rows[] = {
        {TEXT("usage /a b  c "), REASON_NONE, USAGE("/a b  c ")},
        {TEXT("usage    /x"), REASON_NONE, USAGE("/x")},
        {TEXT("usage /x size=1"), REASON_NONE, USAGE("/x size=1")},
        {TEXT("usage /x=y z"), REASON_NONE, USAGE("/x=y z")},
        {TEXT("usage 9=x y"), REASON_NONE, USAGE("9=x y")},
        {TEXT("usage =x y"), REASON_NONE, USAGE("=x y")},
        {TEXT("usage joe"), REASON_NONE, USAGE("joe")},
        {TEXT("usage \t/x"), REASON_NONE, USAGE("\t/x")},

        /* the last word is never a pair, and an address may begin like one */
        {TEXT("usage size=1"), REASON_NONE, USAGE("size=1")},
        {TEXT("check quota=bad"), REASON_NONE, CHECK(0, false, 0, 0, "quota=bad")},
        {TEXT("check prvs=1a2b=joe@example.org"), REASON_NONE,
         CHECK(0, false, 0, 0, "prvs=1a2b=joe@example.org")},
        {TEXT("check size=7 prvs=1a2b=joe@example.org"), REASON_NONE,
         CHECK(7, false, 0, 0, "prvs=1a2b=joe@example.org")},
        {TEXT("check prvs=1a2b=joe@example.org size=7"), REASON_NONE,
         CHECK(0, false, 0, 0, "prvs=1a2b=joe@example.org size=7")},
        {TEXT("usage prvs=joe@example.org "), REASON_NONE, USAGE("prvs=joe@example.org ")},

        /* a pair that comes a second time was not written by the asker: it is the target's */
        {TEXT("check size=100 size=200 joe@example.org"), REASON_NONE,
         CHECK(100, false, 0, 0, "size=200 joe@example.org")},
        {TEXT("check size=500 size=bad /x"), REASON_NONE, CHECK(500, false, 0, 0, "size=bad /x")},
        {TEXT("check quota=1G quota=0 joe@example.org"), REASON_NONE,
         CHECK(0, true, GIB, 0, "quota=0 joe@example.org")},
        {TEXT("check quota= quota=1G /x"), REASON_NONE, CHECK(0, false, 0, 0, "quota=1G /x")},
        {TEXT("check size=1 quota=1G size=2 quota=2G /x"), REASON_NONE,
         CHECK(1, true, GIB, 0, "size=2 quota=2G /x")},
        {TEXT("check size= quota= status=over x@example.org"), REASON_NONE,
         CHECK(0, false, 0, 0, "status=over x@example.org")},
        {TEXT("check quota= size= colour=red /x"), REASON_NONE,
         CHECK(0, false, 0, 0, "colour=red /x")},

        {TEXT("usage"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("usage "), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check   "), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check size=1 "), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check size=1 quota=1G  "), REASON_BAD_REQUEST, ANSWER_PAIRS},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void pairs(void **state)
{
    static const struct row rows[] = {
        {TEXT("check size=100 /x"), REASON_NONE, CHECK(100, false, 0, 0, "/x")},
        {TEXT("check quota=1G /x"), REASON_NONE, CHECK(0, true, GIB, 0, "/x")},
        {TEXT("check size=100 quota=1G /x"), REASON_NONE, CHECK(100, true, GIB, 0, "/x")},
        {TEXT("check quota=1G size=100 /x"), REASON_NONE, CHECK(100, true, GIB, 0, "/x")},
        {TEXT("check   size=100   quota=1G   /x y"), REASON_NONE, CHECK(100, true, GIB, 0, "/x y")},
        {TEXT("usage quota=2G,7C /x"), REASON_NONE,
         LIMITED(REQUEST_USAGE, 0, true, 2 * GIB, 7, false, "/x")},

        /* recount=, of explain alone */
        {TEXT("explain /x"), REASON_NONE, EXPLAIN(0, false, 0, false, "/x")},
        {TEXT("explain recount=yes /x"), REASON_NONE, EXPLAIN(0, false, 0, true, "/x")},
        {TEXT("explain recount=yes size=5 quota=1G a@b"), REASON_NONE,
         EXPLAIN(5, true, GIB, true, "a@b")},
        {TEXT("explain size= quota= recount= recount=yes a@b"), REASON_NONE,
         EXPLAIN(0, false, 0, false, "recount=yes a@b")},
        {TEXT("explain recount=no /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("explain recount=yess /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check recount=yes /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check size=1 quota=1 recount=yes /x"), REASON_NONE,
         CHECK(1, true, 1, 0, "recount=yes /x")},
        {TEXT("explain"), REASON_BAD_REQUEST, ANSWER_PAIRS},

        /* size= */
        {TEXT("check size=0 /x"), REASON_NONE, CHECK(0, false, 0, 0, "/x")},
        {TEXT("check size=-1 /x"), REASON_NONE, CHECK(0, false, 0, 0, "/x")},
        {TEXT("check size=-500 /x"), REASON_NONE, CHECK(0, false, 0, 0, "/x")},
        {TEXT("check size=-99999999999999999999999999 /x"), REASON_NONE,
         CHECK(0, false, 0, 0, "/x")},
        {TEXT("check size= /x"), REASON_NONE, CHECK(0, false, 0, 0, "/x")},
        {TEXT("check size=0010 /x"), REASON_NONE, CHECK(10, false, 0, 0, "/x")},
        {TEXT("check size=9223372036854775807 /x"), REASON_NONE,
         CHECK(SIZE_BYTES_MAX, false, 0, 0, "/x")},
        {TEXT("check size=9223372036854775808 /x"), REASON_NONE,
         CHECK(SIZE_BYTES_MAX, false, 0, 0, "/x")},
        {TEXT("check size=99999999999999999999999999 /x"), REASON_NONE,
         CHECK(SIZE_BYTES_MAX, false, 0, 0, "/x")},
        {TEXT("check size=abc /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=1K /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=+1 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=- /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=--1 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=-x /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=1.5 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=0x10 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=1\t /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size==1 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check size=1@2 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},

        /* quota= */
        {TEXT("check quota=1G,5C /x"), REASON_NONE, CHECK(0, true, GIB, 5, "/x")},
        {TEXT("check quota=5C,1G /x"), REASON_NONE, CHECK(0, true, GIB, 5, "/x")},
        {TEXT("check quota=5C /x"), REASON_NONE, CHECK(0, true, 0, 5, "/x")},
        {TEXT("check quota=0 /x"), REASON_NONE, CHECK(0, true, 0, 0, "/x")},
        {TEXT("check quota= /x"), REASON_NONE, CHECK(0, false, 0, 0, "/x")},
        {TEXT("check quota=bad /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check quota=-1 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check quota=1G, /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check quota=1G,2G /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check quota=10% /x"), REASON_BAD_VALUE, ANSWER_PAIRS},
        {TEXT("check quota=9223372036854775808 /x"), REASON_BAD_VALUE, ANSWER_PAIRS},

        /* other keys */
        {TEXT("check Size=1 /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check siz=1 /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check sizes=1 /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check color=red /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("check size=1 color=red /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("usage color= /x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void nul_bytes(void **state)
{
    static const struct row rows[] = {
        {TEXT("\0"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("/x\0"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("/x\0y"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("\0/x"), REASON_BAD_REQUEST, ANSWER_NUMBER},
        {TEXT("usage /x\0"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("usage\0/x"), REASON_BAD_REQUEST, ANSWER_PAIRS},
        {TEXT("ping\0"), REASON_BAD_REQUEST, ANSWER_PAIRS},
    };

    (void)state;
    check_all(rows, ARRAY_SIZE(rows));
}

static void the_longest_line(void **state)
{
    static char text[REQUEST_BYTES_MAX + 1], target[REQUEST_BYTES_MAX + 1];
    const size_t verb = strlen("usage ");

    (void)state;
    memset(text, 'x', REQUEST_BYTES_MAX);
    text[0] = '/';
    memcpy(target, text, REQUEST_BYTES_MAX);
    check(&(struct row){text, REQUEST_BYTES_MAX, REASON_NONE, PATH(target)});
    memcpy(text, "usage ", verb);
    check(&(struct row){text, REQUEST_BYTES_MAX, REASON_NONE, USAGE(text + verb)});
}

/* Lines made of the grammar's own pieces: whatever comes, what is parsed lies in the line. */
static void random_lines(void **state)
{
    static const char *const pieces[] = {
        "usage", "check",  "explain", "recount=", "yes", "ping", "stats", " ",  "  ",
        "size=", "quota=", "1G",      ",",        "5C",  "-",    "1",     "/x", "@",
        "\t",    "foo",    "=",       "prvs=",    "/",   "",     "\xff",
    };
    struct random random = random_begin("request");
    size_t good = 0, bad = 0;

    (void)state;
    for (size_t i = 0; i < 200000; i++) {
        struct request request = {};
        const char *text = NULL;
        char line[128];
        size_t length = 0;
        bool wanted_pairs;

        for (size_t count = random_below(&random, 10); count > 0; count--) {
            const char *piece = pieces[random_below(&random, ARRAY_SIZE(pieces))];

            memcpy(line + length, piece, strlen(piece));
            length += strlen(piece);
        }
        wanted_pairs = request_wants_pairs(line, length);
        if (request_parse(line, length, &request, &text) != REASON_NONE) {
            bad++;
            assert_non_null(text);
        } else {
            good++;
            if (request.target)
                assert_ptr_equal(strchr(request.target, '\0'), line + length);
            assert_true(request.size_bytes <= SIZE_BYTES_MAX);
            assert_true(request.limit.bytes <= SIZE_BYTES_MAX);
        }
        assert_int_equal(request.type != REQUEST_PATH, wanted_pairs);
    }
    assert_true(good > 1000 && bad > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_end_at_every_split),
        cmocka_unit_test(a_line_has_8192_bytes_at_most),
        cmocka_unit_test(a_nul_does_not_end_a_line),
        cmocka_unit_test(a_client_is_answered_in_its_own_form),
        cmocka_unit_test(paths),
        cmocka_unit_test(verbs),
        cmocka_unit_test(targets),
        cmocka_unit_test(pairs),
        cmocka_unit_test(nul_bytes),
        cmocka_unit_test(the_longest_line),
        cmocka_unit_test(random_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
