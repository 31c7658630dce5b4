/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/folder_list.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The most that directories of one level can take. */
#define BYTES_MAX ((size_t)FOLDER_LIST_MAX * (NAME_MAX + 2))

static bool is_full(const struct folder_list *list, size_t size)
{
    if (list->count >= FOLDER_LIST_MAX || size > BYTES_MAX - list->length)
        return true;
    return list->bytes_max > 0 &&
           (list->count + 1) * FOLDER_BYTES + 2 * (list->length + size) > list->bytes_max;
}

int folder_list_add(struct folder_list *list, enum folder_kind kind, const char *path)
{
    size_t size = strlen(path) + 1;

    if (is_full(list, size + 1))
        return -E2BIG;
    if (list->capacity - list->length < size + 1) {
        size_t capacity = 2 * list->capacity + size + 1;
        char *text = realloc(list->text, capacity);

        if (!text)
            return -ENOMEM;
        list->text = text;
        list->capacity = capacity;
    }
    list->text[list->length] = (char)kind;
    memcpy(list->text + list->length + 1, path, size);
    list->length += size + 1;
    list->count++;
    return 0;
}

void folder_list_done(struct folder_list *list)
{
    free(list->text);
    *list = (struct folder_list){};
}

size_t folder_entry_size(const char *entry)
{
    return strlen(entry) + 1;
}
