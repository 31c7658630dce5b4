/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildir_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quota/size.h"
#include "system/cleanup.h"
#include "system/clock.h"

_Static_assert(sizeof(struct maildir_directory) <= 64, "the header says how many bytes it takes");
_Static_assert(sizeof(struct maildir_cache) <= 72, "the header says how many bytes it takes");

/* What is known of the mailbox itself or of one folder. */
#define PARTS_BYTES (MAILDIR_PARTS * sizeof(struct maildir_directory))

static int compare_entries(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * Makes an array of a list's entries, sorted, each once: a directory that changes while it is read
 * may show an entry twice. The caller frees the array, which points into the list. Returns the
 * number of entries or -ENOMEM.
 */
static ssize_t sort_entries(const struct folder_list *list, const char ***ret)
{
    const char **entries = calloc(list->count + 1, sizeof(*entries));
    const char *entry = list->text;
    size_t count = 0;

    if (!entries)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++, entry += folder_entry_size(entry))
        entries[i] = entry;
    qsort(entries, list->count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < list->count; i++)
        if (count == 0 || strcmp(entries[count - 1], entries[i]) != 0)
            entries[count++] = entries[i];
    *ret = entries;
    return (ssize_t)count;
}

const char *maildir_cache_entries(const struct maildir_cache *cached)
{
    return (const char *)(cached->directories + MAILDIR_PARTS * (cached->folders + 1));
}

struct maildir_directory *maildir_cache_directories(struct maildir_cache *cached, size_t folder)
{
    return cached->directories + MAILDIR_PARTS * (folder + 1);
}

/* Copies what old knows of the mailbox, and of the folders in both, of which both are sorted. */
static void carry_over(struct maildir_cache *cached, const struct maildir_cache *old)
{
    const char *entry = maildir_cache_entries(cached), *old_entry = maildir_cache_entries(old);
    size_t i = 0, j = 0;

    cached->since_usec = old->since_usec;
    memcpy(cached->directories, old->directories, PARTS_BYTES);
    while (i < cached->folders && j < old->folders) {
        int order = strcmp(entry, old_entry);

        if (order == 0)
            memcpy(maildir_cache_directories(cached, i), old->directories + MAILDIR_PARTS * (j + 1),
                   PARTS_BYTES);
        if (order <= 0) {
            entry += folder_entry_size(entry);
            i++;
        }
        if (order >= 0) {
            old_entry += folder_entry_size(old_entry);
            j++;
        }
    }
}

int maildir_cache_new(const struct folder_list *list, const struct maildir_cache *old,
                      struct maildir_cache **ret)
{
    _cleanup_(freep) const char **entries = NULL;
    struct maildir_cache *cached;
    ssize_t count;
    size_t bytes;
    char *text;

    count = sort_entries(list, &entries);
    if (count < 0)
        return (int)count;
    bytes = sizeof(*cached) + PARTS_BYTES * ((size_t)count + 1);
    for (ssize_t i = 0; i < count; i++)
        bytes += folder_entry_size(entries[i]);
    cached = calloc(1, bytes);
    if (!cached)
        return -ENOMEM;
    cached->bytes = bytes;
    cached->folders = (size_t)count;
    cached->since_usec = clock_usec(CLOCK_MONOTONIC);
    text = (char *)maildir_cache_directories(cached, cached->folders);
    for (ssize_t i = 0; i < count; i++) {
        cached->has_plain |= folder_entry_kind(entries[i]) == FOLDER_PLAIN;
        text = stpcpy(text, entries[i]) + 1;
    }
    if (old)
        carry_over(cached, old);
    *ret = cached;
    return 0;
}

void maildir_cache_sums(const struct maildir_cache *cached, uint64_t *ret_bytes,
                        uint64_t *ret_messages)
{
    const struct maildir_directory *directory = cached->directories;
    const char *entry = maildir_cache_entries(cached);
    bool counts = true; /* the mailbox itself, and then each folder */

    *ret_bytes = *ret_messages = 0;
    for (size_t i = 0; i <= cached->folders; i++) {
        for (int part = 0; part < MAILDIR_PARTS; part++, directory++) {
            *ret_bytes = size_add(*ret_bytes, counts ? directory->bytes : 0);
            *ret_messages = size_add(*ret_messages, counts ? directory->messages : 0);
        }
        if (i == cached->folders)
            break;
        counts = folder_entry_kind(entry) == FOLDER_COUNTED ||
                 folder_entry_kind(entry) == FOLDER_COUNTED_LINKED;
        entry += folder_entry_size(entry);
    }
}

void maildir_cache_free(struct maildir_cache *cached)
{
    free(cached);
}

size_t maildir_cache_bytes(const struct maildir_cache *cached)
{
    return cached ? cached->bytes : 0;
}
