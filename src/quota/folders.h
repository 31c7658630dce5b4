/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the folders of a mailbox, in either layout.
 *
 * Maildir++: a folder is a subdirectory of the mailbox, or a symbolic link to one, whose name
 * begins with one dot, not two. Folders nest by their names alone (".Lists.exim"). Stray folders
 * are found too, which a program with the other layout has made: subdirectories without a dot, not
 * links, that have `cur`, and the same within these.
 *
 * fs: a folder is any subdirectory, or a link to one, that has `cur` or `new`, at any depth up to
 * MAILDIR_DEPTH_MAX. All are searched but `cur`, `new` and `tmp`. A directory that several names
 * lead to is a folder by each, but searched once, by a name without a link if there is one.
 */
#pragma once

#include "quota/entries.h"
#include "quota/folder_list.h"
#include "quota/maildir.h"
#include "quota/maildir_access.h"

/*
 * Returns whether the pattern matches the whole name. `*` stands for any characters, including `/`
 * and `.`, and `?` for one.
 */
bool folder_pattern_matches(const char *pattern, const char *name);

/*
 * Returns the first pattern that excludes the folder at path (from the mailbox on), the options'
 * own, or NULL.
 */
const char *folder_excluded_by(const struct maildir_options *options, const char *path);

/*
 * Each of these adds folders to the list, including excluded ones, with their kind. fd is open on
 * the mailbox for reading, at its beginning. They return 0, -E2BIG for too many directories,
 * -ENOMEM, or the negative errno of reading a directory.
 *
 * The folders of Maildir++; other subdirectories of the mailbox are added as FOLDER_PLAIN.
 */
int folders_add_maildirpp(struct entries *entries, int fd, const struct maildir_options *options,
                          struct folder_list *list);

/* The stray folders below what is FOLDER_PLAIN in the list. What may not be read has none. */
int folders_add_strays(const struct maildir_access *access, struct entries *entries,
                       const struct maildir_options *options, struct folder_list *list);

/* The folders of the layout fs. */
int folders_add_fs(const struct maildir_access *access, struct entries *entries, int fd,
                   const struct maildir_options *options, struct folder_list *list);
