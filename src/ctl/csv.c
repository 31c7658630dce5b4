/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "system/cleanup.h"
#include "system/printable.h"

/* Behind the target; an answer may lack some. */
static const char *const keys[] = {
    "status", "bytes", "messages",   "limit",  "message_limit", "percent",
    "source", "rule",  "limit_from", "reason", "mailbox",
};

static void print_cell(FILE *file, const char *text)
{
    bool is_quoted = strpbrk(text, ",\"");

    if (is_quoted)
        fputc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    if (is_quoted)
        fputc('"', file);
}

/* Prints a text of somebody else's. */
static int print_text(FILE *file, const char *text)
{
    _cleanup_(freep) char *shown = malloc(strlen(text) * PRINTABLE_GROWTH + 1);
    const char *rest = shown;

    if (!shown)
        return -ENOMEM;
    (void)printable_write(text, shown, NULL, NULL);
    if (*shown != '\0' && strchr("=+-@", *shown))
        fprintf(file, "\\x%02x", (unsigned int)*rest++);
    print_cell(file, rest);
    return 0;
}

void csv_print_titles(FILE *file)
{
    fputs("target", file);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        fprintf(file, ",%s", keys[i]);
    fputs("\r\n", file);
}

int csv_print_answer(FILE *file, const struct answer *answer)
{
    int r = print_text(file, answer->target);

    for (size_t i = 0; r == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *value = answer_get(answer, keys[i]);

        fputc(',', file);
        if (value)
            r = print_text(file, value);
    }
    fputs("\r\n", file);
    return r;
}
