/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/json.h"

#include <string.h>

#include "quota/ascii.h"
#include "quota/utf8.h"

/* Prints the character that text begins with. Returns how many bytes it takes. */
static size_t print_character(FILE *file, const char *text)
{
    uint32_t character;
    size_t bytes;

    if (*text == '"' || *text == '\\') {
        fprintf(file, "\\%c", *text);
        return 1;
    }
    if (ascii_is_control(*text)) {
        fprintf(file, "\\u%04x", (unsigned int)*text);
        return 1;
    }
    bytes = utf8_decode(text, strlen(text), &character);
    if (bytes == 0) {
        fputs("\xef\xbf\xbd", file);
        return 1;
    }
    fwrite(text, 1, bytes, file);
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

static void print_answer(FILE *file, const struct answer *answer)
{
    bool is_first = true;

    fputc('{', file);
    if (answer->target) {
        print_key(file, "target", &is_first);
        json_print_string(file, answer->target);
    }
    for (size_t i = 0; i < answer->pairs.count; i++) {
        const struct pair *pair = &answer->pairs.items[i];

        if (answer->target && strcmp(pair->key, "target") == 0)
            continue; /* it is there: no key comes twice */
        print_key(file, pair->key, &is_first);
        if (pair_is_number(pair))
            fputs(pair->value, file);
        else
            json_print_string(file, pair->value);
    }
    fputc('}', file);
}

void json_print(FILE *file, const struct answer *answers, size_t count)
{
    fputs("[\n", file);
    for (size_t i = 0; i < count; i++) {
        fputs("  ", file);
        print_answer(file, &answers[i]);
        fputs(i + 1 < count ? ",\n" : "\n", file);
    }
    fputs("]\n", file);
}
