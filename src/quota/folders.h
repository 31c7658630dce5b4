/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding the folders of a mailbox, in either layout.
 *
 * Maildir++: a folder is a subdirectory of the mailbox, or a symbolic link to one, whose name
 * starts with one dot, not two. Folders nest by their names alone (".Lists.exim"). Beside them,
 * stray folders are found, which somebody with the other layout has made: subdirectories without a
 * dot, no links, that have `cur`, and such ones in these.
 *
 * fs: a folder is any subdirectory at any depth to MAILDIR_DEPTH_MAX, or a link to one, that has
 * `cur` or `new`. All are searched but `cur`, `new` and `tmp`; a directory that several names or
 * links lead to is a folder by each, but searched once, by a name without a link if there is one.
 */
#pragma once

#include "quota/entries.h"
#include "quota/folder_list.h"
#include "quota/maildir.h"
#include "quota/maildir_access.h"

/*
 * Says whether the pattern is that of the whole name. `*` stands for any run of characters, `/` and
 * `.` included, `?` for one character, anything else for itself.
 */
bool folder_pattern_matches(const char *pattern, const char *name);

/*
 * Each of these adds to the list: folders, also those that are excluded, with their kind. fd is
 * open on the mailbox for reading, at its beginning. They return 0, or a negative errno: of reading
 * a directory or asking for the type of an entry, -E2BIG for too many directories, or -ENOMEM.
 *
 * By the rules of Maildir++. Other subdirectories of the mailbox are added as FOLDER_PLAIN.
 */
int folders_add_maildirpp(struct entries *entries, int fd, const struct maildir_options *options,
                          struct folder_list *list);

/*
 * The stray folders below what is FOLDER_PLAIN in the list. What may not be searched has none.
 */
int folders_add_strays(const struct maildir_access *access, struct entries *entries,
                       const struct maildir_options *options, struct folder_list *list);

/* By the rules of the layout fs. */
int folders_add_fs(const struct maildir_access *access, struct entries *entries, int fd,
                   const struct maildir_options *options, struct folder_list *list);
