/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "ctl/human.h"
#include "system/cleanup.h"

/* Between two columns. */
#define GAP 2

#define BAR_CELLS 10

/* Targets are not shortened further while a column can be left out. */
#define TARGET_WIDTH_MIN 16

enum column { TARGET, USED, LIMIT, BAR, PERCENT, MESSAGES, STATUS, SOURCE, COLUMNS_COUNT };

static const struct {
    const char *title;
    bool is_right;
} columns[COLUMNS_COUNT] = {
    [TARGET] = {"TARGET", false}, [USED] = {"USED", true},      [LIMIT] = {"LIMIT", true},
    [BAR] = {"", false},          [PERCENT] = {"%", true},      [MESSAGES] = {"MESSAGES", true},
    [STATUS] = {"STATUS", false}, [SOURCE] = {"SOURCE", false},
};

/* The columns that may be left out on a narrow screen, in this order. */
static const enum column expendable[] = {BAR, SOURCE, MESSAGES, LIMIT, PERCENT};

struct row {
    char *cells[COLUMNS_COUNT]; /* as screen_text() makes them; that of the bar stays NULL */
    size_t bar_filled;          /* its cells that are full */
    bool has_bar;
    enum screen_tone tone;
};

struct table {
    const struct screen *screen;
    const struct table_answers *answers;
    size_t widths[COLUMNS_COUNT]; /* 0: left out */
};

/* A line that is being printed. It has no blanks at its end. */
struct line {
    FILE *file;
    size_t blanks;
};

static void line_put(struct line *line, const struct screen *screen, enum screen_tone tone,
                     const char *text)
{
    if (*text == '\0')
        return;
    fprintf(line->file, "%*s%s%s%s", (int)line->blanks, "", screen_tone_on(screen, tone), text,
            screen_tone_off(screen, tone));
    line->blanks = 0;
}

static void line_end(struct line *line)
{
    fputc('\n', line->file);
    line->blanks = 0;
}

static void row_deinit(struct row *row)
{
    for (size_t column = 0; column < COLUMNS_COUNT; column++)
        free(row->cells[column]);
}

static enum screen_tone tone_of(const struct answer *answer)
{
    switch (answer->status) {
    case ANSWER_OK:
        return answer->percent > 100 ? SCREEN_BAD : SCREEN_GOOD;
    case ANSWER_WARN:
        return SCREEN_WARNING;
    default:
        return SCREEN_BAD;
    }
}

static int set_cell(const struct table *table, struct row *row, enum column column,
                    const char *text)
{
    row->cells[column] = screen_text(table->screen, text);
    return row->cells[column] ? 0 : -ENOMEM;
}

static int set_size(const struct table *table, struct row *row, enum column column, uint64_t bytes)
{
    char text[HUMAN_BYTES_MAX];

    human_size(bytes, text);
    return set_cell(table, row, column, text);
}

static int set_messages(const struct table *table, struct row *row, const struct answer *answer)
{
    char text[sizeof("18446744073709551615/18446744073709551615")];

    if (answer->message_limit > 0)
        snprintf(text, sizeof(text), "%" PRIu64 "/%" PRIu64, answer->messages,
                 answer->message_limit);
    else
        snprintf(text, sizeof(text), "%" PRIu64, answer->messages);
    return set_cell(table, row, MESSAGES, text);
}

static int set_limit(const struct table *table, struct row *row, const struct answer *answer)
{
    char percent[sizeof("18446744073709551615%")];
    int r;

    if (answer->limit == 0)
        return 0;
    row->has_bar = true;
    row->bar_filled = human_bar(answer->percent, answer->bytes, BAR_CELLS);
    snprintf(percent, sizeof(percent), "%" PRIu64 "%%", answer->percent);
    r = set_size(table, row, LIMIT, answer->limit);
    return r < 0 ? r : set_cell(table, row, PERCENT, percent);
}

/* Fills the cells. An error has its reason in place of the source. */
static int fill_row(const struct table *table, struct row *row, const struct answer *answer)
{
    bool is_error = answer->status == ANSWER_ERROR;
    int r = set_cell(table, row, TARGET, answer->target);

    row->tone = tone_of(answer);
    if (r == 0)
        r = set_cell(table, row, STATUS, answer_get(answer, "status"));
    if (r == 0)
        r = set_cell(table, row, SOURCE, answer_get(answer, is_error ? "reason" : "source"));
    if (r < 0 || is_error)
        return r;
    r = set_size(table, row, USED, answer->bytes);
    if (r == 0)
        r = set_messages(table, row, answer);
    return r < 0 ? r : set_limit(table, row, answer);
}

static const char *cell_text(const struct row *row, enum column column)
{
    if (column == BAR)
        return "";
    return row->cells[column] ? row->cells[column] : "-";
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void measure_titles(struct table *table)
{
    for (size_t column = 0; column < COLUMNS_COUNT; column++)
        table->widths[column] = strlen(columns[column].title);
}

static int measure_row(struct table *table, const struct row *row)
{
    for (size_t column = 0; column < COLUMNS_COUNT; column++)
        table->widths[column] =
            larger(table->widths[column], screen_width(cell_text(row, (enum column)column)));
    if (row->has_bar)
        table->widths[BAR] = BAR_CELLS;
    return 0;
}

/* Returns the width of everything but the targets. */
static size_t width_beside_targets(const struct table *table)
{
    size_t width = 0;

    for (size_t column = TARGET + 1; column < COLUMNS_COUNT; column++)
        if (table->widths[column] > 0)
            width += GAP + table->widths[column];
    return width;
}

static void fit(struct table *table)
{
    size_t available = table->screen->columns;
    size_t least = table->widths[TARGET];
    size_t beside = width_beside_targets(table);

    if (least > TARGET_WIDTH_MIN)
        least = TARGET_WIDTH_MIN;
    for (size_t i = 0; i < sizeof(expendable) / sizeof(expendable[0]); i++) {
        if (beside <= available && available - beside >= least)
            break;
        table->widths[expendable[i]] = 0;
        beside = width_beside_targets(table);
    }
    if (beside >= available)
        table->widths[TARGET] = 1;
    else if (table->widths[TARGET] > available - beside)
        table->widths[TARGET] = available - beside;
}

static void print_bar(struct line *line, const struct table *table, const struct row *row)
{
    char bar[BAR_CELLS * 4 + 1];
    char *to = bar;

    if (!row->has_bar) {
        line->blanks += table->widths[BAR];
        return;
    }
    for (size_t i = 0; i < BAR_CELLS; i++)
        to = stpcpy(to, screen_bar_cell(table->screen, i < row->bar_filled));
    line_put(line, table->screen, row->tone, bar);
}

static int print_cell(struct line *line, const struct table *table, size_t column, const char *text,
                      enum screen_tone tone)
{
    _cleanup_(freep) char *shown = screen_shorten(table->screen, text, table->widths[column]);
    size_t padding;

    if (!shown)
        return -ENOMEM;
    padding = table->widths[column] - screen_width(shown);
    if (columns[column].is_right)
        line->blanks += padding;
    line_put(line, table->screen, tone, shown);
    if (!columns[column].is_right)
        line->blanks += padding;
    return 0;
}

/* Prints a row, or the titles if row is NULL. */
static int print_row(FILE *file, const struct table *table, const struct row *row)
{
    struct line line = {.file = file};

    for (size_t column = 0; column < COLUMNS_COUNT; column++) {
        enum screen_tone tone = !row ? SCREEN_TITLE : column == STATUS ? row->tone : SCREEN_PLAIN;
        int r = 0;

        if (table->widths[column] == 0)
            continue;
        if (column == BAR && row)
            print_bar(&line, table, row);
        else
            r = print_cell(&line, table, column,
                           row ? cell_text(row, (enum column)column) : columns[column].title, tone);
        if (r < 0)
            return r;
        line.blanks += GAP;
    }
    line_end(&line);
    return 0;
}

/*
 * Makes a row of each answer in turn and hands it to measure_row(), or to print_row() if there is a
 * file: no more than one is held. Returns the number of rows, or -ENOMEM.
 */
static ssize_t go_through(struct table *table, FILE *file)
{
    const struct table_answers *answers = table->answers;
    ssize_t count = 0;

    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *answer = answers->get(answers->userdata, i);
        _cleanup_(row_deinit) struct row row = {};
        int r;

        if (!answer)
            return -ENOMEM;
        if (answer_failed_with(answer, ANSWER_UNREACHABLE))
            continue;
        r = fill_row(table, &row, answer);
        if (r == 0)
            r = file ? print_row(file, table, &row) : measure_row(table, &row);
        if (r < 0)
            return r;
        count++;
    }
    return count;
}

int table_print_mailboxes(FILE *file, const struct screen *screen,
                          const struct table_answers *answers)
{
    struct table table = {.screen = screen, .answers = answers};
    ssize_t n;

    measure_titles(&table);
    n = go_through(&table, NULL);
    if (n <= 0)
        return (int)n;
    fit(&table);
    if (print_row(file, &table, NULL) < 0)
        return -ENOMEM;
    n = go_through(&table, file);
    return n < 0 ? (int)n : 0;
}

/* Returns the pair's value for people, which the caller frees, or NULL without memory. */
static char *shown_value(const struct screen *screen, const struct answer *answer,
                         const struct pair *pair)
{
    char duration[HUMAN_BYTES_MAX];
    uint64_t seconds;

    if (strcmp(pair->key, "uptime") != 0 || pairs_number(&answer->pairs, pair->key, &seconds) < 0)
        return screen_text(screen, pair->value);
    human_duration(seconds, duration);
    return strdup(duration);
}

static void print_pair(FILE *file, const struct screen *screen, const char *key, const char *value,
                       size_t keys_width, size_t values_width)
{
    struct line line = {.file = file};

    line_put(&line, screen, SCREEN_TITLE, key);
    line.blanks = keys_width - strlen(key) + GAP + values_width - screen_width(value);
    line_put(&line, screen, SCREEN_PLAIN, value);
    line_end(&line);
}

/* Whether it is a list of counts, as wide as a screen, which only programs want. */
static bool is_list(const struct pair *pair)
{
    return strchr(pair->value, ':');
}

int table_print_pairs(FILE *file, const struct screen *screen, const struct answer *answer)
{
    const struct pairs *pairs = &answer->pairs;
    char *values[PAIRS_MAX] = {};
    size_t keys_width = 0, values_width = 0;
    int r = 0;

    for (size_t i = 0; i < pairs->count; i++) {
        if (is_list(&pairs->items[i]))
            continue;
        values[i] = shown_value(screen, answer, &pairs->items[i]);
        if (!values[i]) {
            r = -ENOMEM;
            break;
        }
        keys_width = larger(keys_width, strlen(pairs->items[i].key));
        values_width = larger(values_width, screen_width(values[i]));
    }
    for (size_t i = 0; i < pairs->count; i++) {
        if (r == 0 && values[i])
            print_pair(file, screen, pairs->items[i].key, values[i], keys_width, values_width);
        free(values[i]);
    }
    return r;
}
