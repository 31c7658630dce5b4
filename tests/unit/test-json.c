/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/json.h"
#include "random.h"
#include "system/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Returns what is printed for a text, which the caller frees. */
static char *printed(const char *text)
{
    char *buffer = NULL;
    size_t length;
    FILE *file = open_memstream(&buffer, &length);

    assert_non_null(file);
    json_print_string(file, text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(strlen(buffer), length);
    return buffer;
}

static void strings(void **state)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"", "\"\""},
        {"joe@example.org", "\"joe@example.org\""},
        {"a \"b\" \\c/", "\"a \\\"b\\\" \\\\c/\""},
        {"\x01\t\n\x1b\x1f\x7f", "\"\\u0001\\u0009\\u000a\\u001b\\u001f\\u007f\""},
        {"zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\xab",
         "\"zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\xab\""},
        {"\xc2\x85\xe2\x80\xae\xf3\xa0\x81\x81", "\"\\u0085\\u202e\\udb40\\udc41\""},
        {"a\xff"
         "b",
         "\"a" REPLACEMENT "b\""},
        {"\xc3", "\"" REPLACEMENT "\""},
        {"\xc3\"", "\"" REPLACEMENT "\\\"\""},
        {"\xe2\x82", "\"" REPLACEMENT REPLACEMENT "\""},
        {"\xc0\x80", "\"" REPLACEMENT REPLACEMENT "\""},
        {"\xed\xa0\x80", "\"" REPLACEMENT REPLACEMENT REPLACEMENT "\""},
        {"\xf4\x90\x80\x80", "\"" REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT "\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = printed(cases[i].text);

        assert_string_equal(json, cases[i].json);
        free(json);
    }
}

/* Fails unless it is a string of JSON, by the grammar of RFC 8259, in UTF-8. */
static void assert_string(const char *json)
{
    assert_int_equal(*json++, '"');
    while (*json != '"') {
        uint32_t character;
        size_t bytes = utf8_decode(json, strlen(json), &character);

        assert_in_range(bytes, 1, 4);
        assert_in_range(character, ' ', 0x10ffff);
        if (*json == '\\') {
            json++;
            assert_non_null(strchr("\"\\u", *json));
            if (*json == 'u') {
                assert_int_equal(strspn(json + 1, "0123456789abcdef") >= 4, true);
                json += 4;
            }
        }
        json += *json == '"' || *json == '\\' ? 1 : bytes;
    }
    assert_string_equal(json, "\"");
}

static void any_bytes_are_a_string(void **state)
{
    static const char special[] = "\"\\/u\x01\x1f\x7f\x80\xbf\xc2\xc3\xe0\xed\xf0\xf4\xff";
    struct random random = random_begin("any_bytes_are_a_string");

    (void)state;
    for (int i = 0; i < 50000; i++) {
        char text[16];
        size_t length = random_below(&random, sizeof(text));
        char *json;

        for (size_t j = 0; j < length; j++)
            text[j] = random_below(&random, 4) == 0
                          ? (char)(1 + random_below(&random, 255))
                          : special[random_below(&random, sizeof(special) - 1)];
        text[length] = '\0';
        json = printed(text);
        assert_string(json);
        free(json);
    }
}

static void read_line(struct answer *answer, const char *target, enum request_type type,
                      const char *line)
{
    *answer = (struct answer){.target = target};
    assert_int_equal(answer_read(answer, type, line, strlen(line)), 0);
}

static void answers(void **state)
{
    static const char expected[] =
        "[\n"
        "  {\"target\": \"a b\", \"status\": \"ok\", \"bytes\": 12, \"messages\": 0, "
        "\"limit\": 18446744073709551615, \"message_limit\": 0, \"percent\": 0, "
        "\"source\": \"scan\", \"mailbox\": \"/x \\\"y\\\"\", \"text\": \"12\"},\n"
        "  {\"target\": \"c\", \"status\": \"error\", \"reason\": \"bad-answer\", "
        "\"text\": \"this is not a reply from exim-quotad: 250 OK\\u000d\\u000a\"},\n"
        "  {\"status\": \"ok\", \"version\": \"0.1.0\", \"target\": 7, \"new\": 0, "
        "\"odd\": \"007\"}\n"
        "]\n";
    struct answer all[3];
    char *json = NULL;
    size_t length;
    FILE *file = open_memstream(&json, &length);

    (void)state;
    read_line(&all[0], "a b", REQUEST_CHECK,
              "status=ok bytes=12 messages=0 limit=18446744073709551615 message_limit=0 percent=0 "
              "source=scan mailbox=\"/x \\\"y\\\"\" target=x text=\"12\"\n");
    read_line(&all[1], "c", REQUEST_CHECK, "250 OK\r\n");
    read_line(&all[2], NULL, REQUEST_PING, "status=ok version=0.1.0 target=7 new=0 odd=007\n");
    json_print(file, all, ARRAY_SIZE(all));
    assert_int_equal(fclose(file), 0);
    assert_string_equal(json, expected);
    free(json);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        answer_deinit(&all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(any_bytes_are_a_string),
        cmocka_unit_test(answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
