/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts the messages of a Maildir and its folders, and caches the sums of each directory so that
 * only what has changed is read again. The caller makes sure that only one count at a time uses
 * what is cached of a mailbox. Nothing here writes to a mailbox or reads a message.
 *
 * What counts: every entry of `cur` and `new`, in the mailbox and in each folder, whose name does
 * not begin with a dot. (Exim and Dovecot's maildir driver also count most of those that do;
 * Dovecot's own view of a mailbox and the specification of Maildir do not.) quota/folders.h says
 * what a folder is.
 *
 * The size of a message is the number in its name (maildir_size_from_name()), and the file is not
 * examined then. Without a usable number it is the size that stat(2) returns for whatever is
 * there, so a subdirectory, a socket or a FIFO counts as one message. A hard link counts in full,
 * as in Dovecot; Exim divides by the number of links.
 *
 * A symbolic link, be it a message, a `cur`, a `new` or a folder, is counted where it leads, and
 * never leads out of the roots. One that leads outside or to nothing is left out and reported. A
 * tagged message counts by its name even then.
 *
 * A `cur` or `new` counts once, however many names or links lead to it. (Exim counts it by each
 * name, and so does Dovecot unless mailbox_list_index is off.) The mailbox itself comes first, then
 * excluded folders, directories, and links: what an excluded folder holds does not count by any
 * other name.
 *
 * While a mailbox changes: in each folder `cur` is read before `new`, so a message that moves from
 * `new` to `cur` may be missed, but never counts twice. A message that gets a flag gets another
 * name, and may appear twice where the file system does not read a directory at one time. So a
 * `cur` that changed while it was read, or less than STAMP_SETTLED_SEC before, is read twice; in
 * the second reading names that differ only in their flags and have the same inode count once, and
 * the lesser sums hold. Thus the sums never exceed the most that was there meanwhile: an unsure
 * answer is never "over". The exceptions are a directory of more than 131,072 messages whose flags
 * change in both readings, a message that moves back from `cur` to `new`, and one that is renamed
 * into another folder.
 *
 * What is cached: for each `cur` and `new` the sums, and the stamp (quota/stamp.h) of the
 * directory that they were read from; for a mailbox of Maildir++ also its list of folders. A count
 * checks each with one statx(2) and reads those that differ. That is safe only for settled stamps,
 * and not for a directory with an untagged entry that is no regular file: what a link leads to may
 * change by itself.
 *
 * With the layout fs, a folder deep in the mailbox may appear without a trace in the mailbox
 * itself. So the list of folders is not cached, and each count searches the whole tree; the same
 * holds for stray folders.
 *
 * A network file system is asked whether a directory has changed, not its cache in this kernel. Its
 * server's clock must not be behind ours by more than STAMP_SETTLED_SEC less one tick of its
 * stamps, or a second change within one tick of the first may be missed until the third.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/folder_list.h"
#include "quota/maildir_cache.h"
#include "quota/maildir_name.h"

struct budget;
struct confine;

/* A mailbox with more folders, or other subdirectories that are searched, is not counted. */
#define MAILDIR_FOLDERS_MAX FOLDER_LIST_MAX

/* How folders are laid out: see quota/folders.h. */
enum maildir_layout {
    MAILDIR_LAYOUT_MAILDIRPP, /* Maildir++: .Lists.exim */
    MAILDIR_LAYOUT_FS,        /* Lists/exim */
};

struct maildir_options {
    char **exclude_folders; /* patterns, see folder_pattern_matches(), of names as on disk, without
                               the leading dot: "Trash" is that folder alone, and "Trash.*" those
                               below it (with the layout fs a slash is in the place of the dot) */
    size_t exclude_folders_count;
    enum maildir_size_tag size_tag;
    enum maildir_layout layout;
    struct budget *budget; /* of this count; NULL: no bound */
};

struct maildir_count {
    uint64_t bytes;    /* saturates at SIZE_BYTES_MAX */
    uint64_t messages; /* saturates at SIZE_BYTES_MAX */

    /* The mailbox itself has `cur` or `new`, or with the layout fs there is a folder. */
    bool is_mailbox;

    /*
     * With Maildir++, folders of the layout fs, which are not in the sums: how many, what is in
     * them, and the path of the first from the mailbox on, cut off if need be.
     */
    uint32_t stray_folders;
    uint64_t stray_bytes;
    uint64_t stray_messages;
    char stray_name[96];

    /*
     * How many links lead outside or to nothing, or directories are too deep, and the path of the
     * first of them from the mailbox on, cut off if need be.
     */
    uint32_t left_out;
    char left_out_name[96];

    /*
     * How the sums were determined, for the journal. The directories are each existing `cur` and
     * `new`, and with Maildir++ the mailbox itself, which is read for its list of folders: each of
     * them was either read or found in the cache.
     */
    uint64_t files_counted; /* messages in the directories that were read this time */
    uint64_t files_stat;    /* of these, those without a usable tag */
    uint32_t directories_read;
    uint32_t directories_cached;
};

/*
 * Counts the mailbox that mailbox_fd is open on (O_PATH suffices; it stays the caller's). path is
 * the mailbox's absolute path, used with confine only for symbolic links. *cached is what an
 * earlier count of this mailbox with the same options left, or NULL; it is updated or replaced, and
 * the caller releases it with maildir_cache_free(). With cached NULL, nothing is cached. Waits for
 * a disk or a server as long as they take.
 *
 * Returns 0; -E2BIG if there are more than MAILDIR_FOLDERS_MAX folders, or they take more bytes
 * than the budget allows; -ETIME or an error of enter_device() if the budget ends the count; the
 * negative errno of the first directory or message that could not be read (-EACCES, -EIO, -ESTALE
 * if it occurs twice in a row, ...); or -ENOMEM. After an error, *ret is not written and *cached is
 * still valid: what was counted so far need not be counted again.
 */
int maildir_count(int mailbox_fd, const char *path, struct confine *confine,
                  const struct maildir_options *options, struct maildir_cache **cached,
                  struct maildir_count *ret);
