/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/entries.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

/* How much of a directory is read at once. */
#define BUFFER_BYTES ((size_t)256 * 1024)

void entries_begin(struct entries *entries)
{
    *entries = (struct entries){.budget = entries->budget, .buffer = entries->buffer};
}

/* Reads the next piece. Returns its bytes, 0 at the end, or a negative errno. */
static ssize_t read_piece(struct entries *entries, int fd)
{
    ssize_t n;

    if (!entries->buffer) {
        /* The kernel's entries are shorter than struct dirent64: no access goes past the end. */
        entries->buffer = malloc(BUFFER_BYTES + sizeof(struct dirent64));
        if (!entries->buffer)
            return -ENOMEM;
    }
    n = getdents64(fd, entries->buffer, BUFFER_BYTES);
    return n < 0 ? -errno : n;
}

const struct dirent64 *entries_next(struct entries *entries, int fd)
{
    const struct dirent64 *entry;

    if (entries->offset == entries->length) {
        ssize_t length = read_piece(entries, fd);

        entries->offset = 0;
        entries->length = length > 0 ? (size_t)length : 0;
        entries->error = length < 0 ? (int)length : 0;
        if (length <= 0)
            return NULL;
    }
    entries->error = budget_spend(entries->budget);
    if (entries->error < 0)
        return NULL;
    entry = (const void *)(entries->buffer + entries->offset);
    entries->offset += entry->d_reclen;
    return entry;
}

int entries_type(const struct dirent64 *entry, int fd)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? DT_UNKNOWN : -errno;
    return IFTODT(st.st_mode);
}

void entries_done(struct entries *entries)
{
    free(entries->buffer);
    *entries = (struct entries){};
}
