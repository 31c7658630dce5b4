/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the path of a mailbox to how full it is, by the Maildir++ rules: which mailbox a path means,
 * what its maildirsize says, and when the messages must be counted instead. Nothing here writes.
 *
 * The steps are apart so that the caller can take each where it belongs: mailbox_open_cached()
 * never waits and may run on an event loop; mailbox_open() and mailbox_count() may wait for a disk
 * or a server.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "quota/limit_source.h"
#include "quota/maildir.h"
#include "quota/maildirsize.h"
#include "quota/maildirsize_memory.h"
#include "quota/usage.h"
#include "quota/verdict.h"
#include "system/confine.h"
#include "system/filesystem.h"

/* A maildirsize that says "over" is believed while it is younger than this. */
#define MAILBOX_MAILDIRSIZE_FRESH_USEC (UINT64_C(15) * 60 * 1000 * 1000)

struct mailbox_settings {
    struct confine *confine;
    struct maildir_options maildir;
    bool count_everything; /* every file counts: see quota/everything.h */
};

/* What the limit is, as far as it is known apart from the mailbox, and what is to fit. */
struct mailbox_policy {
    bool have_limit;          /* a limit that outranks maildirsize's own */
    struct quota_limit limit; /* that limit */
    enum limit_source limit_from;
    struct quota_limit default_limit; /* where neither it nor maildirsize knows one */
    enum limit_source default_from;
    struct verdict_grace grace;
    uint64_t size_bytes; /* of the message that is to fit; 0: unknown */
};

enum mailbox_kind {
    MAILBOX_NONE, /* nothing there yet */
    MAILBOX_MAILDIR,
    MAILBOX_MBOX,
};

struct mailbox {
    enum mailbox_kind kind;
    int fd; /* of a Maildir (O_PATH), as far as it was opened; else -1 */
    dev_t device;
    enum filesystem_kind device_kind; /* mailbox_open() finds it out */
    uint64_t mbox_bytes;
    enum usage_rule maildirsize_state; /* USAGE_RULE_TRUSTED if it parsed */
    struct maildirsize maildirsize;
    uint64_t maildirsize_modified_usec; /* since the epoch */
    char path_cut; /* what stood where path was cut off at the folder's name; NUL: nowhere */
};

#define MAILBOX_NULL                                                                               \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Tells what kind of file system a device is: on which files may be opened. Must not wait. */
typedef enum filesystem_kind (*mailbox_device_kind_fn)(dev_t device, void *userdata);

/* What mailbox_open_cached() keeps from one call to the next. Not for several threads. */
struct mailbox_memory {
    mailbox_device_kind_fn device_kind;
    void *userdata;
    struct maildirsize_memory *maildirsizes;
};

/*
 * Brings an absolute path into the form that stands for its mailbox: no `//`, no `/./`, no slash at
 * the end. `..` stays (it may cross a symbolic link). Works in place.
 */
void mailbox_normalise_path(char *path);

/*
 * Opens the mailbox at path, and reads its maildirsize if it is a Maildir. path must be normalised.
 * Where a file `maildirfolder` says that path is a folder, the mailbox is its parent, and path is
 * shortened to that. May wait.
 * Returns 0 and *ret, which the caller releases with mailbox_close(), or
 * -EXDEV, -ELOOP  path leads outside the roots,
 * -EMEDIUMTYPE    neither a directory nor a regular file,
 * or another negative errno of open(2).
 */
int mailbox_open(const struct mailbox_settings *settings, char *path, struct mailbox *ret);

/*
 * Makes a memory that remembers the maildirsize of some max_mailboxes, as maildirsize_memory_new()
 * does, for a device_kind() that gets userdata. Returns 0, or that function's negative errno; to be
 * released with mailbox_memory_done() either way.
 */
int mailbox_memory_init(struct mailbox_memory *memory, size_t max_mailboxes,
                        mailbox_device_kind_fn device_kind, void *userdata);

/* Releases what the memory holds. One of zeroes holds nothing. */
void mailbox_memory_done(struct mailbox_memory *memory);

/*
 * As mailbox_open(), from what is in memory, the kernel's and ours. Returns also -EAGAIN where it
 * would have to wait, and in *ret_device for which device as far as that is known (else 0); then
 * path is as it was.
 *
 * If the maildirsize of a Maildir on a disk has changed neither its stamp nor its size since it was
 * read, and its stamp was settled then (quota/stamp.h), it is not read again, and the mailbox's
 * descriptor is -1. What is written through a mapping may never change the stamp; nothing that
 * knows the file does that.
 */
int mailbox_open_cached(const struct mailbox_settings *settings, struct mailbox_memory *memory,
                        char *path, struct mailbox *ret, dev_t *ret_device);

/* Makes path, shortened by mailbox_open() or not, what it was before. */
void mailbox_restore_path(const struct mailbox *mailbox, char *path);

/* Releases what mailbox_open() opened. */
void mailbox_close(struct mailbox *mailbox);

/*
 * Returns the limit that counts: the policy's, else the one of maildirsize's first line (NULL:
 * none), else the default.
 */
struct quota_limit mailbox_effective_limit(const struct mailbox_policy *policy,
                                           const struct quota_limit *header);

/*
 * Returns the rule by which the messages must be counted, or USAGE_RULE_TRUSTED if the mailbox's
 * own sums answer. now_usec is the time since the epoch.
 *
 * A maildirsize that says "over" is believed while it has one entry at the most and is younger than
 * MAILBOX_MAILDIRSIZE_FRESH_USEC, as the specification has it, but not from the future, and as long
 * as it was changed after `new` and `cur` were: who has just made room is not refused. To know that
 * takes a look at the disk. Where that may not be taken (may_wait is false, or the mailbox is
 * closed), such a file is not believed.
 */
enum usage_rule mailbox_must_count(const struct mailbox *mailbox,
                                   const struct mailbox_policy *policy, uint64_t now_usec,
                                   bool may_wait);

/*
 * Returns whether the mailbox has sums of its own, and in *ret what they say, with rule
 * USAGE_RULE_TRUSTED: those of an mbox, of a maildirsize that parsed, or of no mailbox.
 */
bool mailbox_usage(const struct mailbox *mailbox, struct usage *ret);

/*
 * Counts the messages of a Maildir. rule is what made it necessary, for the answer; path and memory
 * are as maildir_count() takes them. May wait. Returns 0, or the negative errno of maildir_count().
 */
int mailbox_count(const struct mailbox *mailbox, const char *path,
                  const struct mailbox_settings *settings, enum usage_rule rule,
                  struct maildir_memory **memory, struct usage *ret);
