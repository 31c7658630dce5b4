/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "protocol/reply.h"
#include "protocol/words.h"
#include "random.h"

static struct reply reply;

static void assert_reply(const char *expected)
{
    assert_int_equal(reply.length, strlen(expected));
    assert_memory_equal(reply.bytes, expected, reply.length);
}

static void numbers(void **state)
{
    (void)state;
    reply_number(&reply, 0);
    assert_reply("0\n");
    reply_number(&reply, 10);
    assert_reply("10\n");
    reply_number(&reply, SIZE_BYTES_MAX);
    assert_reply("9223372036854775807\n");
    reply_number(&reply, UINT64_MAX);
    assert_reply("18446744073709551615\n");
}

static void usage_has_its_keys_in_order(void **state)
{
    static const struct {
        struct usage usage;
        struct target_decision decision;
        bool check;
        const char *line;
    } cases[] = {
        {{.bytes = 1, .messages = 2, .source = USAGE_MAILDIRSIZE},
         {.limit = {3, 4},
          .limit_from = LIMIT_SOURCE_HEADER,
          .percent = 33,
          .mailbox = "/var/mail/joe"},
         false,
         "status=ok bytes=1 messages=2 limit=3 message_limit=4 percent=33 source=maildirsize "
         "rule=trusted limit_from=header mailbox=/var/mail/joe\n"},
        {{.source = USAGE_NONE},
         {.mailbox = "/"},
         false,
         "status=ok bytes=0 messages=0 limit=0 message_limit=0 percent=0 source=none rule=trusted "
         "limit_from=none mailbox=/\n"},
        {{.bytes = SIZE_BYTES_MAX, .messages = SIZE_BYTES_MAX, .source = USAGE_SCAN},
         {.verdict = VERDICT_OVER,
          .rule = USAGE_RULE_OVER,
          .limit = {SIZE_BYTES_MAX, SIZE_BYTES_MAX},
          .limit_from = LIMIT_SOURCE_FILE,
          .percent = UINT64_MAX,
          .mailbox = "/a b"},
         true,
         "status=over bytes=9223372036854775807 messages=9223372036854775807 "
         "limit=9223372036854775807 message_limit=9223372036854775807 "
         "percent=18446744073709551615 source=scan rule=over limit_from=file mailbox=\"/a b\" "
         "text=\"Mailbox is full\"\n"},
        {{.source = USAGE_CACHE},
         {.verdict = VERDICT_WARN,
          .rule = USAGE_RULE_MISSING,
          .limit_from = LIMIT_SOURCE_DEFAULT,
          .mailbox = "/x"},
         true,
         "status=warn bytes=0 messages=0 limit=0 message_limit=0 percent=0 source=cache "
         "rule=missing limit_from=default mailbox=/x text=\"Mailbox is nearly full\"\n"},
        {{.source = USAGE_UNKNOWN},
         {.verdict = VERDICT_TOOLARGE,
          .rule = USAGE_RULE_TOOLARGE,
          .limit_from = LIMIT_SOURCE_REQUEST,
          .mailbox = "/x"},
         true,
         "status=toolarge bytes=0 messages=0 limit=0 message_limit=0 percent=0 source=unknown "
         "rule=toolarge limit_from=request mailbox=/x "
         "text=\"Message is larger than the mailbox may ever be\"\n"},
        /* the rule is the one of the decision, which need not be the usage's */
        {{.source = USAGE_MBOX, .rule = USAGE_RULE_TRUSTED},
         {.rule = USAGE_RULE_STALE_LIMIT, .limit_from = LIMIT_SOURCE_HEADER, .mailbox = "/x"},
         true,
         "status=ok bytes=0 messages=0 limit=0 message_limit=0 percent=0 source=mbox "
         "rule=stale-limit limit_from=header mailbox=/x text=\"Mailbox has room\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct target_decision decision = cases[i].decision;

        decision.usage = &cases[i].usage;
        reply_decision(&reply, cases[i].check, &decision);
        assert_reply(cases[i].line);
    }
}

/* Of a decision, `usage` tells all but the verdict. */
static void decisions(void **state)
{
    const struct usage usage = {
        .bytes = 7, .messages = 1, .source = USAGE_SCAN, .rule = USAGE_RULE_OVER};
    const struct target_decision decision = {
        .verdict = VERDICT_OVER,
        .usage = &usage,
        .rule = USAGE_RULE_OVER,
        .limit = {5, 6},
        .limit_from = LIMIT_SOURCE_FILE,
        .percent = 140,
        .mailbox = "/joe",
    };

    (void)state;
    reply_decision(&reply, true, &decision);
    assert_reply("status=over bytes=7 messages=1 limit=5 message_limit=6 percent=140 source=scan "
                 "rule=over limit_from=file mailbox=/joe text=\"Mailbox is full\"\n");
    reply_decision(&reply, false, &decision);
    assert_reply("status=ok bytes=7 messages=1 limit=5 message_limit=6 percent=140 source=scan "
                 "rule=over limit_from=file mailbox=/joe\n");
}

/* Clients may rely on them. */
static void every_rule_and_source_has_its_word(void **state)
{
    static const char *const rules[USAGE_RULE_COUNT_] = {
        [USAGE_RULE_TRUSTED] = "trusted",
        [USAGE_RULE_MISSING] = "missing",
        [USAGE_RULE_IGNORED] = "ignored",
        [USAGE_RULE_EMPTY] = "empty",
        [USAGE_RULE_UNREADABLE] = "unreadable",
        [USAGE_RULE_LARGE] = "large",
        [USAGE_RULE_MALFORMED] = "malformed",
        [USAGE_RULE_IMPLAUSIBLE] = "implausible",
        [USAGE_RULE_OVER] = "over",
        [USAGE_RULE_EVERYTHING] = "everything",
        [USAGE_RULE_LAYOUT] = "layout",
        [USAGE_RULE_STALE_LIMIT] = "stale-limit",
        [USAGE_RULE_TOOLARGE] = "toolarge",
    };
    static const char *const sources[] = {
        [USAGE_NONE] = "none", [USAGE_MAILDIRSIZE] = "maildirsize",
        [USAGE_SCAN] = "scan", [USAGE_CACHE] = "cache",
        [USAGE_MBOX] = "mbox", [USAGE_UNKNOWN] = "unknown",
    };

    (void)state;
    for (int rule = 0; rule < USAGE_RULE_COUNT_; rule++) {
        assert_string_equal(usage_rule_to_string((enum usage_rule)rule), rules[rule]);
        assert_true(strlen(usage_rule_text((enum usage_rule)rule)) > 10);
    }
    for (size_t source = 0; source < ARRAY_SIZE(sources); source++)
        assert_string_equal(usage_source_to_string((enum usage_source)source), sources[source]);
}

static void errors_have_their_keys_in_order(void **state)
{
    (void)state;
    reply_error(&reply, REASON_BAD_REQUEST, "what was expected");
    assert_reply("status=error reason=bad-request text=\"what was expected\"\n");
    reply_error(&reply, REASON_OVERLOADED, "busy");
    assert_reply("status=error reason=overloaded text=\"busy\"\n");
    for (int reason = REASON_NONE; reason < REASON_COUNT_; reason++) {
        char line[128];

        (void)sprintf(line, "status=error reason=%s text=\"\"\n",
                      reason_to_string((enum reason)reason));
        reply_error(&reply, (enum reason)reason, "");
        assert_reply(line);
    }
}

static void values_are_quoted_where_they_need_it(void **state)
{
    static const struct {
        const char *value, *quoted;
    } cases[] = {
        {"", "\"\""},
        {"x", "x"},
        {"/var/mail/joe", "/var/mail/joe"},
        {"a=b", "a=b"},
        {"it's,all:right;{$}", "it's,all:right;{$}"},
        {" ", "\" \""},
        {"a b", "\"a b\""},
        {" a", "\" a\""},
        {"a ", "\"a \""},
        {"\"", "\"\\\"\""},
        {"a\"b", "\"a\\\"b\""},
        {"\\", "\"\\\\\""},
        {"a\\b", "\"a\\\\b\""},
        {"\\\"", "\"\\\\\\\"\""},
        {"\x01", "\"\\001\""},
        {"a\tb", "\"a\\011b\""},
        {"a\nb", "\"a\\012b\""},
        {"a\rb", "\"a\\015b\""},
        {"\x1f", "\"\\037\""},
        {"\x7f", "\"\\177\""},
        {"\x01"
         "1",
         "\"\\0011\""}, /* a digit behind the three does not belong to them */
        {"\x80", "\x80"},
        {"\xff", "\xff"},
        {"\xc3\xa4", "\xc3\xa4"},
        {"\xc3\xa4 \xe2\x82\xac", "\"\xc3\xa4 \xe2\x82\xac\""},
        {"\xc2\xa0", "\xc2\xa0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char line[128];

        (void)sprintf(line, "key=%s\n", cases[i].quoted);
        reply_init(&reply);
        reply_add_text(&reply, "key", cases[i].value);
        reply_end(&reply);
        assert_reply(line);

        (void)sprintf(line, "one=1 key=%s two=2\n", cases[i].quoted);
        reply_init(&reply);
        reply_add_number(&reply, "one", 1);
        reply_add_text(&reply, "key", cases[i].value);
        reply_add_number(&reply, "two", 2);
        reply_end(&reply);
        assert_reply(line);
    }
}

/* Every byte that a value can hold. No control byte leaves but the LF at the end. */
static void control_bytes_never_appear(void **state)
{
    char value[256];

    (void)state;
    for (int c = 1; c < 256; c++)
        value[c - 1] = (char)c;
    value[255] = '\0';
    for (int error = 0; error < 2; error++) {
        if (error)
            reply_error(&reply, REASON_NONE, value);
        else
            reply_decision(&reply, true,
                           &(struct target_decision){
                               .usage = &(struct usage){},
                               .mailbox = value,
                           });
        assert_int_equal(reply.bytes[--reply.length], '\n');
        for (size_t i = 0; i < reply.length; i++)
            assert_false((unsigned char)reply.bytes[i] < ' ' || reply.bytes[i] == '\x7f');
    }
}

static void the_longest_reply_fits(void **state)
{
    static char path[4096], text[4096];

    (void)state;
    memset(path, '\x01', sizeof(path) - 1);
    memset(text, '\x01', sizeof(text) - 1);
    reply_decision(&reply, true,
                   &(struct target_decision){
                       .verdict = VERDICT_TOOLARGE,
                       .usage = &(struct usage){.bytes = SIZE_BYTES_MAX,
                                                .messages = SIZE_BYTES_MAX,
                                                .source = USAGE_MAILDIRSIZE},
                       .rule = USAGE_RULE_STALE_LIMIT,
                       .limit_from = LIMIT_SOURCE_DEFAULT,
                       .limit = {SIZE_BYTES_MAX, SIZE_BYTES_MAX},
                       .percent = UINT64_MAX,
                       .mailbox = path,
                   });
    assert_true(reply.length <= REPLY_BYTES_MAX);
    assert_int_equal(reply.bytes[reply.length - 1], '\n');
    reply_error(&reply, REASON_PERMISSION_DENIED, text);
    assert_true(reply.length <= REPLY_BYTES_MAX);
    assert_int_equal(reply.bytes[reply.length - 1], '\n');
}

/*
 * What Exim's ${extract{KEY}{LINE}} makes of a line, after its documentation: blanks, a name up to
 * `=` or a blank, `=` with blanks around it, a value; a value in double quotes ends at the next one
 * that has no backslash before it. A backslash and up to three octal digits, or one of b f n r t v,
 * is that byte, \x is followed by up to two hexadecimal digits, and any other byte stands for
 * itself. Keys match in any case.
 */
struct reader {
    const char *at;
    char value[4096];
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(struct reader *reader)
{
    while (is_blank(*reader->at))
        reader->at++;
}

/* Takes up to count digits of the base off the reader. */
static char take_digits(struct reader *reader, int count, int base)
{
    static const char digits[] = "0123456789abcdef";
    int value = 0;

    for (; count > 0; count--) {
        char lower = *reader->at >= 'A' && *reader->at <= 'F' ? *reader->at + 32 : *reader->at;
        const char *digit = lower ? memchr(digits, lower, (size_t)base) : NULL;

        if (!digit)
            break;
        value = value * base + (int)(digit - digits);
        reader->at++;
    }
    return (char)value;
}

/* Takes what stands behind a backslash off the reader. */
static char take_escape(struct reader *reader)
{
    static const char letters[] = "bfnrtv", bytes[] = "\b\f\n\r\t\v";
    const char *letter = *reader->at ? strchr(letters, *reader->at) : NULL;

    if (*reader->at >= '0' && *reader->at <= '7')
        return take_digits(reader, 3, 8);
    if (letter) {
        reader->at++;
        return bytes[letter - letters];
    }
    if (*reader->at == 'x') {
        reader->at++;
        return take_digits(reader, 2, 16);
    }
    return *reader->at ? *reader->at++ : '\\';
}

static void take_value(struct reader *reader)
{
    bool quoted = *reader->at == '"';
    size_t length = 0;

    reader->at += quoted;
    while (*reader->at && (quoted ? *reader->at != '"' : !is_blank(*reader->at))) {
        char c = *reader->at++;

        assert_true(length + 1 < sizeof(reader->value));
        reader->value[length++] = quoted && c == '\\' ? take_escape(reader) : c;
    }
    reader->at += quoted && *reader->at;
    reader->value[length] = '\0';
}

/* Returns the value of the key, or NULL. */
static const char *extract(struct reader *reader, const char *line, const char *key)
{
    reader->at = line;
    for (skip_blanks(reader); *reader->at; skip_blanks(reader)) {
        const char *name = reader->at;
        size_t length;

        while (*reader->at && *reader->at != '=' && !is_blank(*reader->at))
            reader->at++;
        length = (size_t)(reader->at - name);
        skip_blanks(reader);
        if (*reader->at == '=') {
            reader->at++;
            skip_blanks(reader);
        }
        take_value(reader);
        if (length == strlen(key) && strncasecmp(name, key, length) == 0)
            return reader->value;
    }
    return NULL;
}

static void assert_extracted(const char *line, const char *key, const char *value)
{
    static struct reader reader;
    const char *found = extract(&reader, line, key);

    assert_non_null(found);
    assert_string_equal(found, value);
}

/* A value that looks as much as possible like what it must not be taken for. */
static void random_value(struct random *random, char *value, size_t max)
{
    static const char odd[] = "\"\"\\\\  ==\n\t\r\v\x01\x7f\x1f"
                              "0127nx";
    size_t length = random_below(random, max);

    for (size_t i = 0; i < length; i++)
        value[i] = random_below(random, 3) ? odd[random_below(random, sizeof(odd) - 1)]
                                           : (char)(1 + random_below(random, 255));
    value[length] = '\0';
}

static void exim_extracts_what_went_in(void **state)
{
    struct random random = random_begin("reply");

    (void)state;
    for (size_t i = 0; i < 100000; i++) {
        char mailbox[64], text[64], number[32];
        struct usage usage = {.bytes = random_next(&random) >> random_below(&random, 64),
                              .messages = random_below(&random, 1000)};

        random_value(&random, mailbox, sizeof(mailbox));
        random_value(&random, text, sizeof(text));
        reply_decision(&reply, true,
                       &(struct target_decision){
                           .usage = &usage,
                           .rule = USAGE_RULE_IMPLAUSIBLE,
                           .limit = {i, 7},
                           .limit_from = LIMIT_SOURCE_FILE,
                           .percent = 12,
                           .mailbox = mailbox,
                       });
        reply.bytes[--reply.length] = '\0'; /* readsocket takes the LF away */
        assert_extracted(reply.bytes, "status", "ok");
        (void)sprintf(number, "%" PRIu64, usage.bytes);
        assert_extracted(reply.bytes, "bytes", number);
        (void)sprintf(number, "%" PRIu64, usage.messages);
        assert_extracted(reply.bytes, "messages", number);
        (void)sprintf(number, "%zu", i);
        assert_extracted(reply.bytes, "limit", number);
        assert_extracted(reply.bytes, "message_limit", "7");
        assert_extracted(reply.bytes, "percent", "12");
        assert_extracted(reply.bytes, "source", "none");
        assert_extracted(reply.bytes, "rule", "implausible");
        assert_extracted(reply.bytes, "limit_from", "file");
        assert_extracted(reply.bytes, "mailbox", mailbox);
        assert_extracted(reply.bytes, "text", "Mailbox has room");
        reply_error(&reply, REASON_IO_ERROR, text);
        reply.bytes[--reply.length] = '\0';
        assert_extracted(reply.bytes, "text", text);
    }
}

static void exim_extracts_every_byte(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++)
        for (int next = 1; next < 256; next++) {
            const char value[] = {(char)c, (char)next, '\0'};

            reply_init(&reply);
            reply_add_text(&reply, "before", value);
            reply_add_text(&reply, "key", value);
            reply_add_text(&reply, "behind", "1");
            reply.bytes[reply.length] = '\0';
            assert_extracted(reply.bytes, "key", value);
            assert_extracted(reply.bytes, "behind", "1");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(usage_has_its_keys_in_order),
        cmocka_unit_test(decisions),
        cmocka_unit_test(every_rule_and_source_has_its_word),
        cmocka_unit_test(errors_have_their_keys_in_order),
        cmocka_unit_test(values_are_quoted_where_they_need_it),
        cmocka_unit_test(control_bytes_never_appear),
        cmocka_unit_test(the_longest_reply_fits),
        cmocka_unit_test(exim_extracts_what_went_in),
        cmocka_unit_test(exim_extracts_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
