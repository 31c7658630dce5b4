/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the entries of one directory after the other, through one large buffer. */
#pragma once

#include <dirent.h>
#include <stddef.h>

#include "quota/budget.h"

struct entries {
    struct budget *budget; /* each entry is spent from it; NULL: no bound */
    char *buffer;          /* NULL until the first directory is read */
    size_t offset;
    size_t length;
    int error; /* the negative errno that ended the reading, or 0 */
};

/* Begins with the first entry of another directory. */
void entries_begin(struct entries *entries);

/*
 * Returns the next entry of the directory that is open on fd, valid until the next call, or NULL at
 * the end: of the directory, with an error of 0, or at what entries->error says (-ENOMEM, -ETIME of
 * the budget, or the negative errno of getdents64(2); -ENOENT if the directory has been removed).
 */
const struct dirent64 *entries_next(struct entries *entries, int fd);

/*
 * Returns the type of an entry of the directory: DT_DIR, DT_LNK, ..., DT_UNKNOWN if it has gone, or
 * a negative errno.
 */
int entries_type(const struct dirent64 *entry, int fd);

/* Releases the buffer. Entries of zeroes have none. */
void entries_done(struct entries *entries);
