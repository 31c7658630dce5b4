/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts the messages of a Maildir and its folders, and caches the sums of each directory so that
 * only what has changed is read again. No threads, no sockets, no globals: the caller makes sure
 * that only one count at a time uses what is cached of a mailbox. Nothing here writes to a mailbox
 * or reads a message.
 *
 * What is counted
 *
 * Every entry of `cur` and `new`, in the mailbox and in each folder, whose name does not start with
 * a dot (Exim and the maildir driver of Dovecot's quota plugin count most of those too; Dovecot's
 * own view of a mailbox does not, nor does the specification of Maildir). What a folder is depends
 * on the layout: see quota/folders.h.
 *
 * The size of a message is the number in its name, see maildir_size_from_name(): then the name
 * alone decides and the file is not looked at. Without a usable number it is the size that stat(2)
 * returns for whatever is there. A subdirectory, a socket or a FIFO thus counts as one message of
 * that size, as in Dovecot (Exim counts it as one message too, but adds what a subdirectory
 * contains). A hard link counts in full, as in Dovecot (Exim divides by the number of links).
 *
 * Symbolic links never lead out of the roots: confine_open() follows them. A message, a `cur`, a
 * `new` or a folder that is a link is counted where the link leads. One that leads outside, or to
 * nothing, is left out and reported. A tagged message is counted by its name even then.
 *
 * A `cur` or `new` counts once, however many names or links lead to it: a folder that is a link to
 * its neighbour (".Spam -> .Junk") adds nothing. (Exim counts it by each name, and so does Dovecot
 * unless mailbox_list_index is off.) First come the mailbox itself, then folders that are excluded,
 * then directories, then links: what an excluded folder holds is not counted by any other name.
 *
 * While a mailbox changes
 *
 * In each folder `cur` is read before `new`: a message that goes from `new` to `cur` meanwhile may
 * be missed, but is not counted twice. A message that gets a flag gets another name, and may be
 * missed or, where the file system does not read a directory at one time, be met twice. So a `cur`
 * that changed while it was read, or less than STAMP_SETTLED_SEC before, is read twice. In the
 * second reading names that differ in their flags alone, and have one inode, count once; and the
 * lesser sums hold. Thus the sums are never more than the most that was there meanwhile: an unsure
 * answer is never "over".
 *
 * There are three exceptions: flags change in both readings in a directory of more than 131,072
 * messages; a message goes back from `cur` to `new`; or it is renamed into another folder (mail
 * readers copy it, and there are two for a while).
 *
 * What is cached
 *
 * For each `cur` and `new` the sums, and the device, inode, mtime and ctime of the directory they
 * were read from; for a mailbox of Maildir++ the list of its folders in the same way. A count looks
 * at each with one statx(2) and reads those that differ. That is safe only if every later change
 * makes a difference, so a directory that had changed less than STAMP_SETTLED_SEC before it was
 * read is not remembered: a change after the reading could bear the same stamp. Nor is one whose
 * stamp lies in the future or at the epoch (there, the file system keeps no stamps), nor one with
 * an untagged entry that is no regular file, such as a link, since what it leads to may change by
 * itself.
 *
 * With the layout fs a folder deep in the mailbox may come without a trace in the mailbox itself.
 * So the list of folders is not remembered: each count searches the whole tree, which takes, for
 * each directory but `cur`, `new` and `tmp`, an open and a close for each level down to it and
 * about six system calls more. Counting a folder below another takes as many opens once more. The
 * same holds for stray folders, and where there are none, a mailbox of Maildir++ takes four calls
 * for each subdirectory without a dot.
 *
 * A network file system is asked, not its cache in this kernel, whether a directory changed. Its
 * server's clock must not run behind ours by more than STAMP_SETTLED_SEC less one tick of its
 * stamps, or a second change within one tick of the first may be missed until the third.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/folder_list.h"
#include "quota/maildir_memory.h"
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
    uint32_t directories_remembered;
};

/*
 * Counts the mailbox that the descriptor mailbox_fd is open on (O_PATH suffices; it stays the
 * caller's). path is the mailbox's absolute path, which is used, together with confine, only for
 * symbolic links. *memory is what an earlier count of this mailbox with the same options left, or
 * NULL. It is updated, replaced or released; the new *memory, which may be NULL, stays the caller's
 * to release with maildir_memory_free(). If memory itself is NULL, nothing is cached. May wait for
 * a disk or a server, for as long as they take.
 *
 * A mailbox without `cur` and `new` holds nothing.
 *
 * Returns 0; -E2BIG if there are more than MAILDIR_FOLDERS_MAX folders, or they take more bytes
 * than the budget allows; -ETIME or an error of enter_device() if the budget ends the count; the
 * negative errno of the first directory or message that could not be read (-EACCES, -EIO, -ESTALE
 * if it occurs twice in a row, ...); or -ENOMEM. After an error, *ret is not written and *memory is
 * still valid: what was counted so far need not be counted again.
 */
int maildir_count(int mailbox_fd, const char *path, struct confine *confine,
                  const struct maildir_options *options, struct maildir_memory **memory,
                  struct maildir_count *ret);
