/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What exim-quotactl makes of an answer, whoever gave it. The first byte of the input chooses the
 * query, the rest is what came back.
 */
#include "fuzz.h"

#include <locale.h>

#include "ctl/answer.h"
#include "ctl/explain.h"
#include "ctl/json.h"
#include "ctl/table.h"
#include "system/utf8.h"

static const enum request_type types[] = {REQUEST_USAGE, REQUEST_CHECK, REQUEST_PING, REQUEST_STATS,
                                          REQUEST_EXPLAIN};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* What is printed is UTF-8, and nothing in it commands a terminal if that is who reads it. */
static void check_printed(const char *text, size_t length, bool on_terminal)
{
    for (size_t i = 0; i < length;) {
        uint32_t character;
        size_t step = utf8_decode(text + i, length - i, &character);

        require(step > 0);
        require(character == '\n' || (character >= ' ' && character != 0x7f));
        require(!on_terminal || character < 0x7f || character > 0x9f);
        i += step;
    }
}

/* No key comes twice: whoever reads the pairs cannot be told two things. */
static void check_keys(const struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        require(pairs->items[i]
                    .key[strspn(pairs->items[i].key, "abcdefghijklmnopqrstuvwxyz0123456789_")] ==
                '\0');
        for (size_t j = 0; j < i; j++)
            require(strcmp(pairs->items[i].key, pairs->items[j].key) != 0);
    }
}

static const char *skip_json_string(const char *at)
{
    require(*at == '"');
    for (at++; *at != '"'; at++) {
        require((unsigned char)*at >= ' ');
        if (*at != '\\')
            continue;
        at++;
        require(strchr("\"\\/bfnrtu", *at) && *at);
        for (int i = 0; *at == 'u' && i < 4; i++)
            require(strchr("0123456789abcdefABCDEF", at[1 + i]) && at[1 + i]);
    }
    return at + 1;
}

static const char *skip_json_space(const char *at)
{
    return at + strspn(at, " \n\r\t");
}

/* Skips an array of objects of strings and numbers, and requires that it is one (RFC 8259). */
static const char *skip_json(const char *at)
{
    at = skip_json_space(at);
    if (*at == '"')
        return skip_json_string(at);
    if (*at == '[' || *at == '{') {
        char end = *at == '[' ? ']' : '}';

        at = skip_json_space(at + 1);
        while (*at != end) {
            if (end == '}') {
                at = skip_json_space(skip_json_string(at));
                require(*at++ == ':');
            }
            at = skip_json_space(skip_json(at));
            require(*at == ',' || *at == end);
            if (*at == ',') {
                at = skip_json_space(at + 1);
                require(*at != end);
            }
        }
        return at + 1;
    }
    require(*at >= '0' && *at <= '9' && (*at != '0' || !(at[1] >= '0' && at[1] <= '9')));
    return at + strspn(at, "0123456789");
}

static void check_json(const struct answer *answer)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);

    require(file);
    json_print(file, answer, 1);
    require(fclose(file) == 0);
    check_printed(text, length, false);
    require(*skip_json_space(skip_json(text)) == '\0');
    free(text);
}

static const struct answer *get_answer(void *userdata, size_t i)
{
    (void)i;
    return userdata;
}

static void check_table(struct answer *answer, enum request_type type, size_t columns)
{
    const struct screen screen = {.columns = columns, .has_utf8 = columns % 2 == 0};
    const struct table_answers answers = {1, get_answer, answer};
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);

    require(file);
    if (type == REQUEST_USAGE || type == REQUEST_CHECK)
        require(table_print_mailboxes(file, &screen, &answers) == 0);
    else if (type == REQUEST_EXPLAIN)
        require(explain_print(file, &screen, answer) == 0);
    else if (answer->status != ANSWER_ERROR)
        require(table_print_pairs(file, &screen, answer) == 0);
    require(fclose(file) == 0);
    check_printed(text, length, true);
    free(text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(setlocale(LC_ALL, "C.UTF-8"));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum request_type type;
    struct answer answer = {.target = "joe@example.org"};
    char *bytes;

    if (size == 0)
        return 0;
    type = types[data[0] % TYPES];
    bytes = fuzz_copy(data + 1, size - 1, 0);
    require(answer_read(&answer, type, bytes, size - 1) == 0);
    free(bytes);
    require(pairs_find(&answer.pairs, "status"));
    require(answer.status <= ANSWER_ERROR);
    require(answer.raw_length == size - 1);
    require(size == 1 || memcmp(answer.raw, data + 1, size - 1) == 0);
    if (answer.status == ANSWER_ERROR)
        require(answer_get(&answer, "reason") && answer_get(&answer, "text"));
    else
        require(data[size - 1] == '\n' &&
                (type == REQUEST_EXPLAIN || !memchr(data + 1, '\n', size - 2)));
    check_keys(&answer.pairs);
    for (size_t i = 0; i < answer.steps_count; i++)
        check_keys(&answer.steps[i]);
    check_json(&answer);
    check_table(&answer, type, 80);
    check_table(&answer, type, 31);
    answer_deinit(&answer);
    return 0;
}
