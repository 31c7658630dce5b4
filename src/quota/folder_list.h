/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list of directories in a mailbox. Each entry is a letter for what the directory is, its path
 * from the mailbox on, as ".Sent" or "Lists/exim", and a NUL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "quota/budget.h"

/* No list is longer: no real mailbox has more directories, and their names take memory. */
#define FOLDER_LIST_MAX 65536

/*
 * What a directory is. Folders are counted in this order, so one with several names counts by the
 * first of them, and by none if one is excluded. Odd kinds are reached through a symbolic link.
 */
enum folder_kind {
    FOLDER_EXCLUDED = '0',
    FOLDER_EXCLUDED_LINKED,
    FOLDER_COUNTED,
    FOLDER_COUNTED_LINKED,
    FOLDER_PLAIN, /* no folder, or not known to be one */
    FOLDER_PLAIN_LINKED,
    FOLDER_STRAY, /* a folder, but by the rules of the other layout */
};

/* The bytes that a directory takes in the list and in the cache, beside its entry in each. */
#define FOLDER_BYTES 192

struct folder_list {
    size_t bytes_max; /* for all directories; 0: FOLDER_LIST_MAX alone is the bound */
    char *text;
    size_t length;
    size_t count;
    size_t capacity;
};

/* Returns an empty list that is bounded by the budget, which may be NULL. */
static inline struct folder_list folder_list_for(const struct budget *budget)
{
    return (struct folder_list){.bytes_max = budget ? budget->folders_bytes_max : 0};
}

/*
 * Adds a directory. Returns 0, -E2BIG if there are too many or they take too many bytes, or
 * -ENOMEM.
 */
int folder_list_add(struct folder_list *list, enum folder_kind kind, const char *path);

/* Releases the list. A list of all zeroes is empty and has no bytes_max. */
void folder_list_done(struct folder_list *list);

static inline enum folder_kind folder_entry_kind(const char *entry)
{
    return (enum folder_kind) * entry;
}

static inline bool folder_entry_is_linked(const char *entry)
{
    return *entry & 1;
}

static inline const char *folder_entry_path(const char *entry)
{
    return entry + 1;
}

/* Returns the bytes that an entry takes, to where the next one begins. */
size_t folder_entry_size(const char *entry);
