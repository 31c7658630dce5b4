/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/json.h"

#include <inttypes.h>
#include <string.h>

#include "system/printable.h"
#include "system/utf8.h"

/* Prints the character that text begins with. Returns how many bytes it takes. */
static size_t print_character(FILE *file, const char *text)
{
    uint32_t character;
    size_t bytes;

    if (*text == '"' || *text == '\\') {
        fprintf(file, "\\%c", *text);
        return 1;
    }
    bytes = utf8_decode(text, strlen(text), &character);
    if (bytes == 0) {
        fputs("\xef\xbf\xbd", file);
        return 1;
    }
    if (printable_character(character))
        fwrite(text, 1, bytes, file);
    else if (character <= 0xffff)
        fprintf(file, "\\u%04" PRIx32, character);
    else /* as two halves of UTF-16 */
        fprintf(file, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((character - 0x10000) >> 10),
                0xdc00 + (character & 0x3ff));
    return bytes;
}

void json_print_string(FILE *file, const char *text)
{
    fputc('"', file);
    while (*text)
        text += print_character(file, text);
    fputc('"', file);
}

static void print_key(FILE *file, const char *key, bool *is_first)
{
    fputs(*is_first ? "" : ", ", file);
    *is_first = false;
    json_print_string(file, key);
    fputs(": ", file);
}

/* Prints the members of the pairs but for those whose key is one of ours. */
static void print_pairs(FILE *file, const struct pairs *pairs, const struct answer *answer,
                        bool *is_first)
{
    for (size_t i = 0; i < pairs->count; i++) {
        const struct pair *pair = &pairs->items[i];

        if (answer && ((answer->target && strcmp(pair->key, "target") == 0) ||
                       (answer->steps && strcmp(pair->key, "steps") == 0) ||
                       (answer->beside && strcmp(pair->key, "direct") == 0)))
            continue; /* it is there: no key comes twice */
        print_key(file, pair->key, is_first);
        if (pair_is_number(pair))
            fputs(pair->value, file);
        else
            json_print_string(file, pair->value);
    }
}

static void print_steps(FILE *file, const struct answer *answer, bool *is_first)
{
    print_key(file, "steps", is_first);
    fputc('[', file);
    for (size_t i = 0; i < answer->steps_count; i++) {
        bool is_first_pair = true;

        fputs(i > 0 ? ", {" : "{", file);
        print_pairs(file, &answer->steps[i], NULL, &is_first_pair);
        fputc('}', file);
    }
    fputc(']', file);
}

void json_print_answer(FILE *file, const struct answer *answer)
{
    bool is_first = true;

    fputc('{', file);
    if (answer->target) {
        print_key(file, "target", &is_first);
        json_print_string(file, answer->target);
    }
    print_pairs(file, &answer->pairs, answer, &is_first);
    if (answer->steps)
        print_steps(file, answer, &is_first);
    if (answer->beside) {
        print_key(file, "direct", &is_first);
        json_print_answer(file, answer->beside);
    }
    fputc('}', file);
}

void json_print(FILE *file, const struct answer *answers, size_t count)
{
    fputs("[\n", file);
    for (size_t i = 0; i < count; i++) {
        fputs("  ", file);
        json_print_answer(file, &answers[i]);
        fputs(i + 1 < count ? ",\n" : "\n", file);
    }
    fputs("]\n", file);
}
