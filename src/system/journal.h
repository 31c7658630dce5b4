/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator may read of us: entries of the systemd journal with structured fields, or the
 * same as lines of text on standard error, in a file, or to the syslog daemon.
 *
 * Nobody waits for whoever takes them, as with sd_journal_sendv(3) or syslog(3): that may be
 * however long, and no query would be answered meanwhile. Texts are printable (printable.h); the
 * fields of the journal hold what was meant, byte by byte.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

/* Where journald listens, and where the syslog daemon does, for datagrams. */
#define JOURNAL_SOCKET        "/run/systemd/journal/socket"
#define JOURNAL_SYSLOG_SOCKET "/dev/log"

enum journal_target {
    JOURNAL_NATIVE, /* the systemd journal */
    JOURNAL_STDERR,
    JOURNAL_FILE,
    JOURNAL_SYSLOG,
    JOURNAL_NOWHERE,
};

/* The events that have an identifier of their own. */
enum journal_message {
    JOURNAL_STARTED,
    JOURNAL_STOPPED,
    JOURNAL_MISCONFIGURED, /* every query gets an error until the options are corrected */
    JOURNAL_MAILBOX_OVER,
    JOURNAL_MESSAGE_TOO_LARGE,
    JOURNAL_PEER_REFUSED,
    JOURNAL_QUERY_REFUSED, /* a request that makes no sense */
    JOURNAL_OUTSIDE_ROOT,
    JOURNAL_MAILBOX_UNREADABLE,
    JOURNAL_MAILDIRSIZE_UNUSABLE,
    JOURNAL_MAILDIRSIZE_UNKEPT, /* messages arrive, and nobody adds them to it */
    JOURNAL_FOLDERS_LEFT_OUT,   /* symbolic links within a mailbox that cannot be followed */
    JOURNAL_FOLDERS_UNDOTTED,   /* folders that the layout does not count */
    JOURNAL_NO_MAILBOXES_FOUND, /* addresses do not lead to mailboxes */
    JOURNAL_SCAN_TIMEOUT,
    JOURNAL_OVERLOADED,
    JOURNAL_SCAN_STUCK,
    JOURNAL_LIMITS_LOADED,
    JOURNAL_LIMITS_REJECTED,
    JOURNAL_LIMITS_FAULT, /* a line of the limits file is of no use */
    JOURNAL_ENTRIES_LOST, /* whoever takes the log was not there, or too slow */
    JOURNAL_MESSAGE_COUNT_,
};

/*
 * The structured fields of an entry. A string that is NULL, and a number whose flag is not set, is
 * left out.
 */
struct journal_fields {
    const char *mailbox;    /* QUOTA_MAILBOX */
    const char *status;     /* QUOTA_STATUS */
    const char *source;     /* QUOTA_SOURCE */
    const char *reason;     /* QUOTA_REASON */
    bool have_usage;        /* the next five apply */
    uint64_t bytes;         /* QUOTA_BYTES */
    uint64_t messages;      /* QUOTA_MESSAGES */
    uint64_t limit;         /* QUOTA_LIMIT, 0: none */
    uint64_t message_limit; /* QUOTA_MESSAGE_LIMIT, 0: none */
    uint64_t percent;       /* QUOTA_PERCENT */
    uint64_t size_bytes;    /* QUOTA_SIZE: of the message; 0: not known, and left out */
    bool have_usec;
    uint64_t usec; /* QUOTA_USEC: what the answer took */
    bool have_peer;
    uid_t peer_uid; /* QUOTA_PEER_UID */
    pid_t peer_pid; /* QUOTA_PEER_PID */
};

struct journal;

/*
 * Opens the journal. path is the file of JOURNAL_FILE, made if need be, and else NULL; debug tells
 * whether entries of LOG_DEBUG are written. Returns 0 and the journal, which the caller releases
 * with journal_close(), or a negative errno of open(2) or socket(2).
 */
int journal_open(enum journal_target target, const char *path, bool debug, struct journal **ret);

/*
 * Lets the journal have a thread, which it makes when an entry has to be waited for first. Until
 * then such entries are kept: the thread would be neither confined by a sandbox that is entered
 * later, nor there after a fork.
 */
void journal_start(struct journal *journal);

/*
 * Releases the journal. Entries that are left are written as far as that takes no longer than a
 * tenth of a second. NULL is allowed.
 */
void journal_close(struct journal *journal);
void journal_closep(struct journal **journal);

/*
 * Opens the file of JOURNAL_FILE again, after it was moved away. Where that fails, the old file is
 * kept, and says so. It is done on return, unless it takes longer than a tenth of a second.
 */
void journal_reopen(struct journal *journal);

/* Returns whether entries of LOG_DEBUG are written, so that nobody gathers them in vain. */
bool journal_debug(const struct journal *journal);

/*
 * Writes one entry, without waiting. priority is one of syslog(3). Entries are written in their
 * order; those that come while too many are left to be written are lost, and so are those that
 * cannot be written. How many is told when the next one was written.
 */
void journal_log(struct journal *journal, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes one entry with fields, and the identifier and priority of the message. */
void journal_event(struct journal *journal, enum journal_message message,
                   const struct journal_fields *fields, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Returns what the message is about, in a few words for people; a constant string. */
const char *journal_message_title(enum journal_message message);

/* As journal_log(), with fields. fields may be NULL. */
void journal_log_fields(struct journal *journal, int priority, const struct journal_fields *fields,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
