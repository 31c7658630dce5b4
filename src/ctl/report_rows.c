/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/report_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quota/verdict.h"

struct report_row {
    uint64_t key; /* the larger, the earlier */
    bool is_error;
    const char *reply; /* in text, behind the target */
    char text[];       /* the target, with a NUL */
};

uint64_t report_rows_percent(const struct answer *answer)
{
    const struct quota_limit messages = {.bytes = answer->message_limit};
    uint64_t percent = verdict_percent(answer->messages, messages);

    return percent > answer->percent ? percent : answer->percent;
}

static uint64_t key_of(const struct report_rows *rows, const struct answer *answer)
{
    switch (rows->sort) {
    case REPORT_SORT_BYTES:
        return answer->bytes;
    case REPORT_SORT_MESSAGES:
        return answer->messages;
    default:
        return report_rows_percent(answer);
    }
}

/* Returns less than 0 if a comes before b, more if it comes after it. */
static int compare(const struct report_row *a, const struct report_row *b)
{
    int r;

    if (a->is_error != b->is_error)
        return a->is_error ? 1 : -1;
    if (a->key != b->key)
        return a->key > b->key ? -1 : 1;
    r = strcmp(a->text, b->text);
    return r != 0 ? r : strcmp(a->reply, b->reply);
}

static int compare_items(const void *a, const void *b)
{
    return compare(*(struct report_row *const *)a, *(struct report_row *const *)b);
}

static struct report_row *row_new(const struct report_rows *rows, const struct answer *answer)
{
    size_t target_bytes = strlen(answer->target) + 1;
    struct report_row *row = malloc(sizeof(*row) + target_bytes + answer->raw_length + 1);
    char *reply;

    if (!row)
        return NULL;
    row->key = key_of(rows, answer);
    row->is_error = answer->status == ANSWER_ERROR;
    memcpy(row->text, answer->target, target_bytes);
    reply = row->text + target_bytes;
    memcpy(reply, answer->raw, answer->raw_length);
    reply[answer->raw_length] = '\0';
    row->reply = reply;
    return row;
}

/* Makes room for one more. */
static int grow(struct report_rows *rows)
{
    size_t size = rows->size > 0 ? 2 * rows->size : 64;
    struct report_row **items;

    if (rows->count < rows->size)
        return 0;
    items = reallocarray(rows->items, size, sizeof(*items));
    if (!items)
        return -ENOMEM;
    rows->items = items;
    rows->size = size;
    return 0;
}

/* The rows that are held at most are a heap, the last of them in their order at its top. */
static void sift_up(const struct report_rows *rows, size_t i)
{
    struct report_row *row = rows->items[i];

    for (; i > 0 && compare(row, rows->items[(i - 1) / 2]) > 0; i = (i - 1) / 2)
        rows->items[i] = rows->items[(i - 1) / 2];
    rows->items[i] = row;
}

static void sift_down(const struct report_rows *rows)
{
    struct report_row *row = rows->items[0];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < rows->count && compare(rows->items[child + 1], rows->items[child]) > 0)
            child++;
        if (child >= rows->count || compare(rows->items[child], row) <= 0)
            break;
        rows->items[i] = rows->items[child];
        i = child;
    }
    rows->items[i] = row;
}

int report_rows_add(struct report_rows *rows, const struct answer *answer)
{
    struct report_row *row = row_new(rows, answer);

    if (!row)
        return -ENOMEM;
    if (rows->top > 0 && rows->count == rows->top) {
        if (compare(row, rows->items[0]) < 0) {
            free(rows->items[0]);
            rows->items[0] = row;
            sift_down(rows);
        } else {
            free(row);
        }
        return 0;
    }
    if (grow(rows) < 0) {
        free(row);
        return -ENOMEM;
    }
    rows->items[rows->count++] = row;
    if (rows->top > 0)
        sift_up(rows, rows->count - 1);
    return 0;
}

void report_rows_sort(struct report_rows *rows)
{
    if (rows->count > 0)
        qsort(rows->items, rows->count, sizeof(*rows->items), compare_items);
}

int report_rows_get(const struct report_rows *rows, size_t i, struct answer *ret)
{
    const struct report_row *row = rows->items[i];

    *ret = (struct answer){.target = row->text};
    return answer_read(ret, REQUEST_CHECK, row->reply, strlen(row->reply));
}

void report_rows_deinit(struct report_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        free(rows->items[i]);
    free(rows->items);
    *rows = (struct report_rows){};
}
