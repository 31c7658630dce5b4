/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/answer.h"
#include "protocol/reply.h"
#include "protocol/words.h"

#define MAILBOX                                                                                    \
    "bytes=1 messages=2 limit=3 message_limit=4 percent=33 source=scan mailbox=/var/mail/joe"

static void an_answer_is_taken(void **state)
{
    static const char line[] = "status=over " MAILBOX " future=x text=\"Mailbox is full\"\n";
    struct answer answer = {.target = "joe"};

    (void)state;
    assert_int_equal(answer_read(&answer, REQUEST_CHECK, line, strlen(line)), 0);
    assert_int_equal(answer.status, ANSWER_OVER);
    assert_int_equal(answer.bytes, 1);
    assert_int_equal(answer.messages, 2);
    assert_int_equal(answer.limit, 3);
    assert_int_equal(answer.message_limit, 4);
    assert_int_equal(answer.percent, 33);
    assert_string_equal(answer_get(&answer, "text"), "Mailbox is full");
    assert_int_equal(answer.raw_length, strlen(line));
    assert_memory_equal(answer.raw, line, strlen(line));
    answer_deinit(&answer);
}

static void steps_come_before_the_last_line(void **state)
{
    static const char reply[] = "step=tried path=/a\nstep=smtp reply=\"250 Accepted\"\n"
                                "step=tried path=/b\nstatus=over " MAILBOX "\n";
    static const char *const wrong[] = {
        "status=ok " MAILBOX "\nstatus=ok " MAILBOX "\n",
        "step=a\n\nstatus=ok " MAILBOX "\n",
        "x=1 step=a\nstatus=ok " MAILBOX "\n",
        "step=a\n",
        "step=a\nstatus=ok " MAILBOX,
    };
    struct answer answer = {.target = "joe"};
    const struct pairs *step;

    (void)state;
    assert_int_equal(answer_read(&answer, REQUEST_EXPLAIN, reply, strlen(reply)), 0);
    assert_int_equal(answer.status, ANSWER_OVER);
    assert_int_equal(answer.steps_count, 3);
    step = answer_step(&answer, "tried", NULL);
    assert_string_equal(pairs_find(step, "path"), "/a");
    step = answer_step(&answer, "tried", step);
    assert_string_equal(pairs_find(step, "path"), "/b");
    assert_null(answer_step(&answer, "tried", step));
    assert_null(answer_step(&answer, "folder", NULL));
    answer_deinit(&answer);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(answer_read(&answer, REQUEST_EXPLAIN, wrong[i], strlen(wrong[i])), 0);
        assert_true(answer_failed_with(&answer, ANSWER_BAD));
        assert_int_equal(answer.steps_count, 0);
        answer_deinit(&answer);
    }
    /* Other replies have one line. */
    assert_int_equal(answer_read(&answer, REQUEST_CHECK, reply, strlen(reply)), 0);
    assert_true(answer_failed_with(&answer, ANSWER_BAD));
    answer_deinit(&answer);
}

static void every_status_is_known(void **state)
{
    static const struct {
        const char *line;
        enum request_type type;
        enum answer_status status;
    } cases[] = {
        {"status=ok " MAILBOX "\n", REQUEST_USAGE, ANSWER_OK},
        {"status=ok " MAILBOX "\n", REQUEST_CHECK, ANSWER_OK},
        {"status=warn " MAILBOX "\n", REQUEST_CHECK, ANSWER_WARN},
        {"status=toolarge " MAILBOX "\n", REQUEST_CHECK, ANSWER_TOOLARGE},
        {"status=error reason=timeout text=\"late\"\n", REQUEST_CHECK, ANSWER_ERROR},
        {"status=error reason=unheard-of text=\"?\"\n", REQUEST_USAGE, ANSWER_ERROR},
        {"status=error reason=bad-request text=\"?\"\n", REQUEST_PING, ANSWER_ERROR},
        {"status=ok version=1\n", REQUEST_PING, ANSWER_OK},
        {"status=ok queries=1\n", REQUEST_STATS, ANSWER_OK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer answer = {};

        assert_int_equal(answer_read(&answer, cases[i].type, cases[i].line, strlen(cases[i].line)),
                         0);
        assert_int_equal(answer.status, cases[i].status);
        assert_false(answer_failed_with(&answer, ANSWER_BAD));
        answer_deinit(&answer);
    }
}

static void what_is_no_answer_becomes_an_error(void **state)
{
    static const struct {
        const char *bytes;
        size_t length; /* 0: up to its NUL */
        enum request_type type;
    } cases[] = {
        {"\n", 0, REQUEST_PING},
        {"0\n", 0, REQUEST_CHECK},
        {"status=ok version=1", 0, REQUEST_PING},
        {"status=ok version=1\r\n", 0, REQUEST_PING},
        {"status=ok version=1\n\n", 0, REQUEST_PING},
        {"status=ok version=1\nx", 0, REQUEST_PING},
        {"status=ok\nstatus=ok\n", 0, REQUEST_PING},
        {"status=ok\0\n", 11, REQUEST_PING},
        {"\0\n", 2, REQUEST_PING},
        {"status=OK version=1\n", 0, REQUEST_PING},
        {"status=maybe " MAILBOX "\n", 0, REQUEST_CHECK},
        {"version=1\n", 0, REQUEST_PING},
        {"status=over version=1\n", 0, REQUEST_PING},
        {"status=over " MAILBOX "\n", 0, REQUEST_USAGE},
        {"status=error reason=timeout\n", 0, REQUEST_CHECK},
        {"status=error text=\"late\"\n", 0, REQUEST_CHECK},
        {"status=ok\n", 0, REQUEST_CHECK},
        {"status=ok bytes=1 messages=2 limit=3 message_limit=4 percent=33 mailbox=/x\n", 0,
         REQUEST_USAGE},
        {"status=ok bytes=1 messages=2 limit=3 message_limit=4 percent=33 source=scan\n", 0,
         REQUEST_USAGE},
        {"status=ok bytes=x messages=2 limit=3 message_limit=4 percent=33 source=scan mailbox=/\n",
         0, REQUEST_USAGE},
        {"status=ok bytes=18446744073709551616 messages=2 limit=3 message_limit=4 percent=33 "
         "source=scan mailbox=/\n",
         0, REQUEST_USAGE},
        {"\xff\xfe\x1b[31mred and a great deal more of it than anybody wants to see in one line\n",
         0, REQUEST_STATS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = cases[i].length > 0 ? cases[i].length : strlen(cases[i].bytes);
        struct answer answer = {};

        assert_int_equal(answer_read(&answer, cases[i].type, cases[i].bytes, length), 0);
        if (!answer_failed_with(&answer, ANSWER_BAD))
            fail_msg("taken for an answer: %s", cases[i].bytes);
        assert_non_null(answer_get(&answer, "text"));
        assert_int_equal(answer.raw_length, length);
        assert_memory_equal(answer.raw, cases[i].bytes, length);
        answer_deinit(&answer);
    }
}

static void nothing_is_an_error_of_its_own(void **state)
{
    struct answer answer = {};

    (void)state;
    assert_int_equal(answer_read(&answer, REQUEST_PING, "", 0), 0);
    assert_true(answer_failed_with(&answer, ANSWER_NONE));
    assert_null(answer.raw);
    answer_deinit(&answer);
}

static void errors_hold_any_text(void **state)
{
    struct answer answer = {};
    char text[2048];

    (void)state;
    assert_int_equal(answer_fail(&answer, ANSWER_UNREACHABLE, "%s", "a \"b\" \\ \n \x1b \xff"), 0);
    assert_string_equal(answer_get(&answer, "status"), "error");
    assert_string_equal(answer_get(&answer, "text"), "a \"b\" \\ \n \x1b \xff");
    memset(text, '\x01', sizeof(text) - 1); /* each becomes four bytes in the line */
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(answer_fail(&answer, ANSWER_BAD, "%s", text), 0);
    assert_true(answer_failed_with(&answer, ANSWER_BAD));
    assert_int_equal(strspn(answer_get(&answer, "text"), "\x01"), 1023);
    answer_deinit(&answer);
}

/* The words of ours are none of the protocol's. */
static void own_reasons_differ(void **state)
{
    (void)state;
    for (int reason = 0; reason < REASON_COUNT_; reason++) {
        const char *word = reason_to_string((enum reason)reason);

        assert_string_not_equal(word, ANSWER_UNREACHABLE);
        assert_string_not_equal(word, ANSWER_NONE);
        assert_string_not_equal(word, ANSWER_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_taken),
        cmocka_unit_test(steps_come_before_the_last_line),
        cmocka_unit_test(every_status_is_known),
        cmocka_unit_test(what_is_no_answer_becomes_an_error),
        cmocka_unit_test(nothing_is_an_error_of_its_own),
        cmocka_unit_test(errors_hold_any_text),
        cmocka_unit_test(own_reasons_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
