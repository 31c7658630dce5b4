/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of the service: entries of the systemd journal with structured fields, or lines of text
 * to standard error, a file or the syslog daemon.
 *
 * Unlike sd_journal_sendv(3) and syslog(3), nothing here waits for the log: no query could be
 * answered meanwhile. Texts are made printable (printable.h); structured fields hold the original
 * bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

/* The datagram sockets of journald and of the syslog daemon. */
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
    JOURNAL_QUERY_REFUSED, /* an invalid request */
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
    JOURNAL_LIMITS_FAULT, /* a line of the limits file is invalid */
    JOURNAL_ENTRIES_LOST, /* the log was unavailable, full or too slow */
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
    uint64_t usec; /* QUOTA_USEC: how long the reply took */
    bool have_peer;
    uid_t peer_uid; /* QUOTA_PEER_UID */
    pid_t peer_pid; /* QUOTA_PEER_PID */
};

struct journal;

/*
 * Opens the log. path is the file of JOURNAL_FILE, which is created if it does not exist, and
 * otherwise NULL; debug says whether entries of LOG_DEBUG are written. Returns 0 and the journal,
 * which the caller releases with journal_close(), or a negative errno of open(2) or socket(2).
 */
int journal_open(enum journal_target target, const char *path, bool debug, struct journal **ret);

/*
 * Allows the journal to start its thread, which it does when an entry first has to wait. Before
 * this call such entries are queued: a thread started earlier would not be confined by the sandbox
 * that is entered later, and would not survive a fork.
 */
void journal_start(struct journal *journal);

/*
 * Releases the journal. Queued entries are written for at most two seconds. NULL is allowed.
 */
void journal_close(struct journal *journal);
void journal_closep(struct journal **journal);

/*
 * Reopens the file of JOURNAL_FILE, for example after it was rotated. If that fails, the old file
 * stays in use, and an entry in it says so. Waits until that is done, but no longer than a tenth of
 * a second.
 */
void journal_reopen(struct journal *journal);

/* Returns whether entries of LOG_DEBUG are written, so that callers need not prepare them. */
bool journal_debug(const struct journal *journal);

/*
 * Writes one entry, without waiting. priority is one of syslog(3). Entries are written in order;
 * those that do not fit into the queue, or cannot be written, are lost. An entry says how many,
 * once entries can be written again.
 */
void journal_log(struct journal *journal, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes one entry with fields, and the identifier and priority of the message. */
void journal_event(struct journal *journal, enum journal_message message,
                   const struct journal_fields *fields, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Returns a short description of the message for people; a constant string. */
const char *journal_message_title(enum journal_message message);

/* As journal_log(), with fields. fields may be NULL. */
void journal_log_fields(struct journal *journal, int priority, const struct journal_fields *fields,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
