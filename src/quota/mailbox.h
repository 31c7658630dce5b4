/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the path of a mailbox to its usage: which mailbox a path means, what its maildirsize says,
 * and when its messages must be counted instead. Nothing here writes.
 *
 * The event loop, the worker threads and exim-quotactl all call mailbox_probe(), which opens a
 * mailbox and applies the rules, and then mailbox_count() if that is needed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "quota/cache.h"
#include "quota/effective_limit.h"
#include "quota/maildir.h"
#include "quota/maildirsize.h"
#include "quota/usage.h"
#include "system/confine.h"
#include "system/filesystem.h"

/* A maildirsize that says "over" is believed while it is younger than this. */
#define MAILBOX_MAILDIRSIZE_FRESH_USEC (UINT64_C(15) * 60 * 1000 * 1000)

/* A cached count may refuse a message only while it is younger than this. */
#define MAILBOX_CACHED_USEC (UINT64_C(15) * 60 * 1000 * 1000)

/* Messages that arrived this much later than maildirsize was written were not added to it. */
#define MAILBOX_UNKEPT_USEC (UINT64_C(24) * 3600 * 1000 * 1000)

/* What an error says of a directory that is not a mailbox, with its NUL. */
#define MAILBOX_DETAIL_BYTES_MAX 192

struct mailbox_settings {
    struct confine *confine;
    bool ignore_maildirsize; /* neither its sums nor its limit are looked at */
    bool count_everything;   /* see quota/everything.h; implies ignore_maildirsize */
    struct maildir_options maildir;
};

enum mailbox_kind {
    MAILBOX_NONE, /* nothing there yet, or an empty directory */
    MAILBOX_MAILDIR,
    MAILBOX_MBOX,
};

enum mailbox_probe {
    MAILBOX_ANSWERED,    /* the usage is known */
    MAILBOX_NEEDS_COUNT, /* mailbox_count() finds it out */
    MAILBOX_WOULD_BLOCK, /* only a probe that may wait can tell */
};

struct mailbox {
    enum mailbox_kind kind;
    int fd;             /* of a Maildir (O_PATH), as far as it was opened; else -1 */
    size_t path_length; /* how much of the path names the mailbox; the rest names a folder of it */
    dev_t device;       /* MAILBOX_WOULD_BLOCK: what would have to be waited for, 0: unknown */
    enum filesystem_kind device_kind; /* only a probe that may wait finds it out */
    uint64_t mbox_bytes;
    enum usage_rule maildirsize_state; /* USAGE_RULE_TRUSTED if it parsed */
    struct maildirsize maildirsize;
    uint64_t maildirsize_mtime_usec; /* since the epoch, as the next */
    uint64_t maildirsize_ctime_usec;
    bool may_be_folder; /* it has `maildirfolder`, so a mailbox above it might own it */
    bool is_unsure;     /* only a count can show that it is a mailbox (--layout=fs) */
    bool is_suspect;    /* `new` or `cur` changed more than MAILBOX_UNKEPT_USEC after maildirsize */
    bool is_unkept; /* and a message has arrived since; only a probe that may wait finds it out */
    enum usage_rule rule;                  /* what makes a count necessary, or would if unsure */
    struct usage usage;                    /* MAILBOX_ANSWERED */
    char detail[MAILBOX_DETAIL_BYTES_MAX]; /* -EMEDIUMTYPE: what was seen; empty: no more to say */
};

#define MAILBOX_NULL                                                                               \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Tells what kind of file system a device is: on which files may be opened. Must not wait. */
typedef enum filesystem_kind (*mailbox_device_kind_fn)(dev_t device, void *userdata);

/* What a probe that must not wait may use. Not for several threads. */
struct mailbox_nowait {
    struct cache *cache;
    mailbox_device_kind_fn device_kind;
    void *userdata; /* of device_kind() */
};

/*
 * Brings an absolute path into the form that stands for its mailbox: no `//`, no `/./`, no slash at
 * the end. `..` stays (it may cross a symbolic link). Works in place.
 */
void mailbox_normalise_path(char *path);

/*
 * Probes the mailbox at path, which must be normalised. The path is that of a folder, and the
 * mailbox is its parent, if its name begins with a dot, it holds `maildirfolder`, and the parent
 * has `cur` or `new`. (Dovecot also writes a maildirfolder into mailboxes themselves.)
 *
 * With nowait NULL, it may wait for a disk or a server. Otherwise it uses only what the kernel and
 * the cache hold, and returns MAILBOX_WOULD_BLOCK where that is not enough: for symbolic links,
 * folders, and directories without a maildirsize, among others. A maildirsize on a disk that is
 * cached and has not changed is not read again; the mailbox's descriptor is -1 then. (A write
 * through a mapping may not change the stamp; no known program does that.)
 *
 * The caller releases *ret with mailbox_close() in any case. Returns one of enum mailbox_probe, or
 * -EXDEV, -ELOOP  path leads outside the roots,
 * -ENOLINK        path leads through a symbolic link to nothing,
 * -EMEDIUMTYPE    neither a mailbox nor a regular file; ret->detail says what was seen,
 * or another negative errno of open(2); of *ret only detail means anything then.
 */
int mailbox_probe(const struct mailbox_settings *settings, const struct mailbox_policy *policy,
                  struct mailbox_nowait *nowait, const char *path, uint64_t now_usec,
                  struct mailbox *ret);

/*
 * Applies the rules to a mailbox that was probed for another query, which may have been closed
 * since. Returns MAILBOX_ANSWERED and *ret_usage, or MAILBOX_NEEDS_COUNT.
 */
enum mailbox_probe mailbox_decide(const struct mailbox *mailbox,
                                  const struct mailbox_settings *settings,
                                  const struct mailbox_policy *policy, uint64_t now_usec,
                                  struct usage *ret_usage);

/* What an earlier count found, and what events said since. */
struct mailbox_sums {
    uint64_t bytes;
    uint64_t messages;
    uint32_t directories;
    uint64_t since_usec; /* when the first of them was read, by CLOCK_MONOTONIC */
    bool is_followed;    /* events have changed the sums: they may be too high */
    bool is_sure;        /* mailbox_probe() believed a fresh maildirsize; nothing changed since */
};

/*
 * As mailbox_decide(), with the sums of an earlier count (NULL: there are none) in place of a new
 * one. Sums that are old, or may be too high, refuse nothing: a count is needed then. A
 * maildirsize that says "over" is believed while it is fresh, as by mailbox_probe().
 */
enum mailbox_probe mailbox_recall(const struct mailbox *mailbox,
                                  const struct mailbox_settings *settings,
                                  const struct mailbox_policy *policy, uint64_t now_usec,
                                  const struct mailbox_sums *sums, struct usage *ret_usage);

/* Returns whether the policy's message fits by this usage, and the policy asks for nothing else. */
bool mailbox_fits(const struct usage *usage, const struct mailbox_policy *policy);

/* Releases what mailbox_probe() opened. */
void mailbox_close(struct mailbox *mailbox);

/*
 * Counts the messages (or the files) of a mailbox for which mailbox_probe() returned
 * MAILBOX_NEEDS_COUNT. path is the mailbox's own; cached is as maildir_count() takes it. May wait.
 *
 * A count that fits overrules sums that say "over"; if the mailbox has folders that the layout
 * does not count, it must fit with them. A cached count older than MAILBOX_CACHED_USEC that
 * might refuse a message is not used: not every change of a message changes its directory.
 *
 * Returns 0 and *ret, -EMEDIUMTYPE and mailbox->detail, or the negative errno of the count.
 */
int mailbox_count(struct mailbox *mailbox, const char *path,
                  const struct mailbox_settings *settings, const struct mailbox_policy *policy,
                  uint64_t now_usec, struct maildir_cache **cached, struct usage *ret);
