/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/report_output.h"

#include <errno.h>
#include <inttypes.h>

#include "ctl/csv.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/table.h"

void report_output_begin(struct report_output *output)
{
    if (output->format == CTL_FORMAT_JSON)
        fputs("{\"mailboxes\": [", output->file);
    else if (output->format == CTL_FORMAT_CSV)
        csv_print_titles(output->file);
}

int report_output_answer(struct report_output *output, const struct answer *answer)
{
    bool is_first = output->printed++ == 0;

    if (output->format == CTL_FORMAT_CSV)
        return csv_print_answer(output->file, answer);
    fputs(is_first ? "\n  " : ",\n  ", output->file);
    json_print_answer(output->file, answer);
    return 0;
}

/* The rows as a table takes them, made one at a time. */
struct source {
    const struct report_rows *rows;
    struct answer answer;
};

static const struct answer *get_answer(void *userdata, size_t i)
{
    struct source *source = userdata;

    answer_deinit(&source->answer);
    return report_rows_get(source->rows, i, &source->answer) < 0 ? NULL : &source->answer;
}

static int print_table(struct report_output *output, struct source *source)
{
    const struct table_answers answers = {source->rows->count, get_answer, source};

    output->printed = answers.count;
    return table_print_mailboxes(output->file, output->screen, &answers);
}

int report_output_rows(struct report_output *output, const struct report_rows *rows)
{
    struct source source = {.rows = rows};
    int r = 0;

    if (output->format == CTL_FORMAT_TABLE)
        r = print_table(output, &source);
    for (size_t i = 0; r == 0 && output->format != CTL_FORMAT_TABLE && i < rows->count; i++) {
        const struct answer *answer = get_answer(&source, i);

        r = answer ? report_output_answer(output, answer) : -ENOMEM;
    }
    answer_deinit(&source.answer);
    return r;
}

static void print_json_total(FILE *file, const struct report_total *total)
{
    fprintf(file,
            "\n],\n\"total\": {\"mailboxes\": %" PRIu64 ", \"bytes\": %" PRIu64
            ", \"messages\": %" PRIu64 ", \"over\": %" PRIu64 ", \"warn\": %" PRIu64
            ", \"errors\": %" PRIu64 ", \"complete\": %s}}\n",
            total->mailboxes, total->bytes, total->messages, total->over, total->warn,
            total->errors, total->is_incomplete ? "false" : "true");
}

static void print_total(const struct report_output *output, const struct report_total *total)
{
    char size[HUMAN_BYTES_MAX];

    human_size(total->bytes, size);
    fprintf(output->file, "%s%s", output->printed > 0 ? "\n" : "",
            screen_tone_on(output->screen, SCREEN_TITLE));
    fprintf(output->file,
            "%" PRIu64 " mailboxes, %s in %" PRIu64 " messages; %" PRIu64 " over, %" PRIu64
            " warn, %" PRIu64 " errors",
            total->mailboxes, size, total->messages, total->over, total->warn, total->errors);
    if (output->printed < size_add(total->mailboxes, total->errors))
        fprintf(output->file, "; %zu shown", output->printed);
    fprintf(output->file, "%s\n", screen_tone_off(output->screen, SCREEN_TITLE));
}

void report_output_end(struct report_output *output, const struct report_total *total)
{
    if (output->format == CTL_FORMAT_JSON)
        print_json_total(output->file, total);
    else if (output->format == CTL_FORMAT_TABLE)
        print_total(output, total);
}
