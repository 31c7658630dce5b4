/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting the messages of a Maildir++ mailbox, remembering the sums of each directory so that only
 * what changed is read again. No threads, no sockets, no globals: a count has its memory to itself,
 * and the caller sees to that. Nothing here writes to a mailbox or reads a message.
 *
 * What is counted
 *
 * Every entry of `new` and `cur`, in the mailbox and in each folder, whose name does not start with
 * a dot (Exim and the maildir driver of Dovecot's quota plugin count most of those too; Dovecot's
 * own view of a mailbox does not, nor does the specification of Maildir). A folder is a
 * subdirectory of the mailbox whose name starts with one dot, not two. Folders nest by their names
 * alone (".Lists.exim"), so nothing is searched deeper than that.
 *
 * The size of a message is the number in its name, see maildir_size_from_name(): then the name
 * alone decides and the file is not looked at. Without a usable number it is the size that stat(2)
 * tells of whatever stands there. A subdirectory, a socket or a FIFO thus counts as one message of
 * that size, as in Dovecot (Exim counts it as one message too, but adds what a subdirectory
 * contains). A hard link counts in full, as in Dovecot (Exim divides by the number of links).
 *
 * Symbolic links never lead out of the roots: they are resolved by confine_open(). A message, a
 * `new`, a `cur` or a folder that is a link is counted where the link leads, or left out if that
 * lies outside or is not there. A folder that is a link to its neighbour (a text without a slash,
 * ".Spam -> .Junk") is another name of a folder that is counted anyway, and is left out. (Exim
 * counts it by each name, and so does Dovecot unless mailbox_list_index is off.)
 *
 * While a mailbox changes
 *
 * A message that was there all the time counts once, and one that came or went meanwhile once or
 * not at all, even if it went from `new` to `cur` or got a flag, and was met under two names. It
 * keeps its base name, the part before the colon. `new` is read before `cur`, so that what is gone
 * from the one is met in the other. The base names met in `new` are kept until `cur` is read, and
 * those in a `cur` that has just changed, and what is met again is not added. A `cur` that changed
 * while it was read is read once more for what was missed. (A file system shows each entry that
 * stays once, while others come and go.) If `new` was remembered, so that its names are not known,
 * but turns out to have changed by the time that `cur` has been read, both are read again.
 *
 * Two messages of one base name are two where nothing moves. Where `new` or `cur` changed less than
 * STAMP_SETTLED_SEC before it was read, or has changed since, they may be taken for one.
 *
 * No more than NAMES_MAX base names of a directory are kept (quota/names.h), and none once the
 * count is over. If there are more in `new`, it is read again after `cur` if it has changed: what
 * moves then may be missed. If there are more in `cur`, one that gets a flag may be missed, or be
 * met twice. So may a message that is renamed into another folder; mail readers copy it, so that
 * there are two for a moment. One that goes back from `cur` to `new`, or gets one flag after the
 * other, may be missed. In all other cases an unsure answer is never "over".
 *
 * What is remembered
 *
 * For each `new` and `cur` the sums, and the device, inode, mtime and ctime of the directory they
 * were read from; for the mailbox itself the list of its folders in the same way. A count looks at
 * each with one statx(2) and reads those that differ. That is safe only if every later change makes
 * a difference, so a directory that had changed less than STAMP_SETTLED_SEC before it was read is
 * not remembered: a change after the reading could bear the same stamp. Nor is one whose stamp lies
 * in the future or at the epoch (there, the file system keeps no stamps), nor one with an untagged
 * entry that is no regular file, such as a link, since what it leads to may change by itself.
 *
 * A network file system is asked, not its cache in this kernel, whether a directory changed. Its
 * server's clock must not run behind ours by more than STAMP_SETTLED_SEC less one tick of its
 * stamps, or a second change within one tick of the first may be missed until the third.
 *
 * It takes 64 bytes, 64 more for each `new` and `cur`, and the names of the folders, each with two
 * bytes more: 192 bytes for a mailbox without folders, about 3 KiB for one with twenty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct confine;

/*
 * The bytes that the memory of one mailbox may take: some 7,000 folders. A mailbox with more is
 * counted afresh each time, lest a client that makes folders fills ours.
 */
#define MAILDIR_MEMORY_BYTES_MAX ((size_t)1 << 20)

/* A mailbox with more folders is not counted: nobody has them, and their names take memory. */
#define MAILDIR_FOLDERS_MAX 65536

/* Which tag of a message's file name holds the size that is counted. */
enum maildir_size_tag {
    MAILDIR_SIZE_TAG_S, /* ,S=N: the size of the file; without one, stat */
    MAILDIR_SIZE_TAG_W, /* ,W=N: the size with CRLF line ends; without one ,S=, then stat */
};

struct maildir_options {
    char **exclude_folders; /* names as on disk, without the leading dot, as "Trash"; a folder's
                               subfolders ("Trash.old") go with it */
    size_t exclude_folders_count;
    enum maildir_size_tag size_tag;
};

/*
 * What was counted of one mailbox before: the sums of each of its directories and the state that
 * they were counted in.
 */
struct maildir_memory;

struct maildir_count {
    uint64_t bytes;    /* saturates at SIZE_BYTES_MAX */
    uint64_t messages; /* saturates at SIZE_BYTES_MAX */

    /*
     * How the count came about, for the journal. The directories are each `new` and `cur` that is
     * there, and the mailbox itself, which is read for its list of folders: each of them was either
     * read or remembered.
     */
    uint64_t files_counted; /* messages that were met in directories read this time, under each of
                               their names */
    uint64_t files_stat;    /* of these, those without a usable tag */
    uint32_t directories_read;
    uint32_t directories_remembered;
};

/*
 * Counts the mailbox that the descriptor mailbox_fd is open on (O_PATH suffices; it stays the
 * caller's). path is the mailbox's absolute path, used together with confine for what is a symbolic
 * link and for nothing else. *memory is what an earlier count of this mailbox left, made with the
 * same options, or NULL; it is updated, replaced or released, and what *memory is afterwards, maybe
 * NULL, stays the caller's to release with maildir_memory_free(). memory itself may be NULL:
 * nothing is remembered then. May wait for a disk or a server, for as long as they take.
 *
 * A mailbox without `new` and `cur` holds nothing.
 * Returns 0, -E2BIG for more than MAILDIR_FOLDERS_MAX folders, or the negative errno of the first
 * directory or message that could not be read
 * (-EACCES, -EIO, -ESTALE when it came twice in a row, ...), or -ENOMEM. *ret is not written and
 * *memory is still sound then: what had been counted so far need not be counted again.
 */
int maildir_count(int mailbox_fd, const char *path, struct confine *confine,
                  const struct maildir_options *options, struct maildir_memory **memory,
                  struct maildir_count *ret);

/* Releases a memory. NULL is allowed. */
void maildir_memory_free(struct maildir_memory *memory);
void maildir_memory_freep(struct maildir_memory **memory);

/* Returns the bytes of memory that it takes, itself included; 0 for NULL. */
size_t maildir_memory_bytes(const struct maildir_memory *memory);

/*
 * Reads the size out of a message's file name, from the tag `,S=N` or `,W=N`. Returns true and the
 * size in bytes, at most SIZE_BYTES_MAX, or false if there is no usable tag. As in Dovecot:
 * - only the first tag of a kind speaks: ",S=1x,S=2" is not usable, ",S=1,S=2" is 1;
 * - N must be followed by `:`, `,` or the end: ",S=12x", ",S=-1" and ",S= 1" are not usable;
 * - an empty N is 0: ",S=", ",S=:2,S". (An Exim with the usual quota_size_regex asks the file.)
 * But where Dovecot takes what is left of an N of 2^64 and more, one above SIZE_BYTES_MAX is not
 * usable here. With MAILDIR_SIZE_TAG_W, `,S=N` speaks where `,W=N` is missing or not usable.
 */
bool maildir_size_from_name(const char *name, enum maildir_size_tag tag, uint64_t *ret_bytes);
