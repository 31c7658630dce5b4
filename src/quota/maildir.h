/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting the messages of a Maildir++ mailbox, remembering the sums of each
 * directory so that only what changed is read again. No threads, no sockets, no globals: a count
 * has its memory to itself, and the caller sees to that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct confine;

/* Which tag of a message's file name holds the size that is counted. */
enum maildir_size_tag {
    MAILDIR_SIZE_TAG_S, /* ,S=N: the size of the file; without one, stat */
    MAILDIR_SIZE_TAG_W, /* ,W=N: the size with CRLF line ends; without one ,S=, then stat */
};

struct maildir_options {
    char **exclude_folders; /* names without the leading dot, as "Trash"; a folder's subfolders
                               ("Trash.old") go with it */
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

    /* how the count came about, for the journal */
    uint64_t files_counted;          /* messages whose names were read this time */
    uint64_t files_stat;             /* of these, those without a usable tag */
    uint32_t directories_read;       /* directories that were read this time */
    uint32_t directories_remembered; /* directories whose sums were remembered */
};

/*
 * Counts the mailbox that the descriptor mailbox_fd is open on (O_PATH suffices; it stays the
 * caller's). path is the mailbox's absolute path, used together with confine for folders that are
 * symbolic links and for nothing else. *memory is what an earlier count of this mailbox left, or
 * NULL; it is updated in place, or made, and stays the caller's to release with
 * maildir_memory_free(). memory itself may be NULL: nothing is remembered then.
 *
 * A mailbox without `new` and `cur` holds nothing. What vanishes meanwhile is left out.
 * Returns 0, or the negative errno of the first directory or message that could not be read; *ret
 * is not written and *memory is still sound then.
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
 * Reads the size out of a message's file name: the first tag `,S=N` (or `,W=N`) that is followed by
 * `:`, `,` or the end and whose N is a decimal number that fits. Returns true and the size in
 * bytes, at most SIZE_BYTES_MAX, or false if there is no usable tag. (Dovecot and Exim decide what
 * happens with the odd cases: two tags, `,S=` empty, `,S=12x`, 2^63.)
 */
bool maildir_size_from_name(const char *name, enum maildir_size_tag tag, uint64_t *ret_bytes);
