/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/journal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* The message of an entry: a mailbox's path fits, and more is cut. */
#define TEXT_BYTES_MAX 6144

/* An entry as journald takes it: the message and the mailbox, which may both be long, and more. */
#define ENTRY_BYTES_MAX (3 * TEXT_BYTES_MAX)

/* How long one entry may wait for journald, and hold up the questions meanwhile. */
#define PATIENCE_USEC (100 * USEC_PER_MSEC)

struct journal {
    enum journal_target target;
    bool debug;
    int fd; /* of JOURNAL_FILE and JOURNAL_STDERR; of JOURNAL_NATIVE, a socket */
    char *path;
    uint64_t lost; /* entries that journald did not take, since it last took one */
    bool torn;     /* of a line only the beginning could be written */
};

/* An entry in journald's native protocol. */
struct entry {
    size_t length;
    char bytes[ENTRY_BYTES_MAX];
};

static const struct {
    const char *id;
    int priority;
    const char *title;
} messages[JOURNAL_MESSAGE_COUNT_] = {
    [JOURNAL_STARTED] = {"3bc92d2074a6402d9cb27feee4358b49", LOG_INFO, "started"},
    [JOURNAL_STOPPED] = {"6faefea8363f4049ba64fb7b40ee610c", LOG_INFO, "stopped"},
    [JOURNAL_MISCONFIGURED] = {"836c0788a03b4ba1ae59f42d001ae554", LOG_ERR, "misconfigured"},
    [JOURNAL_MAILBOX_OVER] = {"43cc0c1a0ec24123ad01744da3fd02e6", LOG_NOTICE, "over quota"},
    [JOURNAL_MESSAGE_TOO_LARGE] = {"5d910d2dd3714d45a62de596c018d7c0", LOG_NOTICE,
                                   "message larger than the quota"},
    [JOURNAL_PEER_REFUSED] = {"140593e415e4471b8fa1cc9790b7e600", LOG_WARNING, "peer refused"},
    [JOURNAL_QUERY_REFUSED] = {"b0120e1092e14b21ace38e1d399a3851", LOG_WARNING, "request refused"},
    [JOURNAL_OUTSIDE_ROOT] = {"9ea635912cab40e693df059afe62aae7", LOG_WARNING, "outside the roots"},
    [JOURNAL_MAILBOX_UNREADABLE] = {"9e93798cff8a4a81be1661dd5d74f5a0", LOG_WARNING,
                                    "mailbox unreadable"},
    [JOURNAL_MAILDIRSIZE_UNUSABLE] = {"c9178f0df59d488a9c5ab7bd9252ac3d", LOG_NOTICE,
                                      "maildirsize unusable"},
    [JOURNAL_MAILDIRSIZE_UNKEPT] = {"3504ff3510f447f6ae500a5e3d51d1f6", LOG_WARNING,
                                    "maildirsize not kept"},
    [JOURNAL_FOLDERS_LEFT_OUT] = {"1a0526400081419cb50e567fc033d5d6", LOG_WARNING,
                                  "folders not counted"},
    [JOURNAL_FOLDERS_UNDOTTED] = {"183c3e76e24e4cb4a7a5a9c4833d73ca", LOG_WARNING,
                                  "folders without a dot"},
    [JOURNAL_NO_MAILBOXES_FOUND] = {"4431774950914a91958b046d133b7e99", LOG_WARNING,
                                    "no mailboxes found"},
    [JOURNAL_SCAN_TIMEOUT] = {"25ed878998ae49319f864a4ce33b34c8", LOG_WARNING, "count timed out"},
    [JOURNAL_OVERLOADED] = {"0d9586cd1b5943f4bd65367ba01dd89a", LOG_WARNING, "overloaded"},
    [JOURNAL_SCAN_STUCK] = {"7d6ce843947a43708c505657cdad6aed", LOG_WARNING, "counts hang"},
    [JOURNAL_LIMITS_LOADED] = {"1926a3b040f546268e4089245100a6b6", LOG_INFO, "limits loaded"},
    [JOURNAL_ENTRIES_LOST] = {"e61efc2ccca44c2a85051620c93f8dbf", LOG_WARNING, "entries lost"},
    [JOURNAL_LIMITS_REJECTED] = {"2ea46931de024059a501e63e42bea500", LOG_ERR, "limits rejected"},
    [JOURNAL_LIMITS_FAULT] = {"2ad406daeb344c2d91e6bcd11e04d292", LOG_WARNING, "limit unusable"},
};

static void add_bytes(struct entry *entry, const void *bytes, size_t length)
{
    memcpy(entry->bytes + entry->length, bytes, length);
    entry->length += length;
}

/* Adds a field. What does not fit is left out: of our own fields, all fit. */
static void add_text(struct entry *entry, const char *name, const char *text)
{
    size_t name_length = strlen(name), length = strlen(text);
    uint64_t length_le = htole64(length);

    if (name_length + length + sizeof(length_le) + 2 > sizeof(entry->bytes) - entry->length)
        return;
    add_bytes(entry, name, name_length);
    if (memchr(text, '\n', length)) {
        add_bytes(entry, "\n", 1);
        add_bytes(entry, &length_le, sizeof(length_le));
    } else {
        add_bytes(entry, "=", 1);
    }
    add_bytes(entry, text, length);
    add_bytes(entry, "\n", 1);
}

static void add_word(struct entry *entry, const char *name, const char *word)
{
    if (word)
        add_text(entry, name, word);
}

static void add_number(struct entry *entry, const char *name, bool applies, uint64_t number)
{
    char text[24];

    if (!applies)
        return;
    snprintf(text, sizeof(text), "%" PRIu64, number);
    add_text(entry, name, text);
}

static void add_fields(struct entry *entry, const struct journal_fields *fields)
{
    add_word(entry, "QUOTA_MAILBOX", fields->mailbox);
    add_word(entry, "QUOTA_STATUS", fields->status);
    add_word(entry, "QUOTA_SOURCE", fields->source);
    add_word(entry, "QUOTA_REASON", fields->reason);
    add_number(entry, "QUOTA_BYTES", fields->have_usage, fields->bytes);
    add_number(entry, "QUOTA_MESSAGES", fields->have_usage, fields->messages);
    add_number(entry, "QUOTA_LIMIT", fields->have_usage, fields->limit);
    add_number(entry, "QUOTA_MESSAGE_LIMIT", fields->have_usage, fields->message_limit);
    add_number(entry, "QUOTA_PERCENT", fields->have_usage, fields->percent);
    add_number(entry, "QUOTA_SIZE", fields->size_bytes > 0, fields->size_bytes);
    add_number(entry, "QUOTA_USEC", fields->have_usec, fields->usec);
    add_number(entry, "QUOTA_PEER_UID", fields->have_peer, fields->peer_uid);
    add_number(entry, "QUOTA_PEER_PID", fields->have_peer, (uint64_t)fields->peer_pid);
}

/* Hands an entry to journald. Returns whether it took it. */
static bool send_native(const struct journal *journal, int priority, const char *message_id,
                        const struct journal_fields *fields, const char *text)
{
    static const struct sockaddr_un journald = {AF_UNIX, JOURNAL_SOCKET};
    /* Whoever made us wait in vain once is not waited for until it has taken something. */
    int flags = MSG_NOSIGNAL | (journal->lost > 0 ? MSG_DONTWAIT : 0);
    struct entry entry;

    entry.length = 0;
    add_text(&entry, "MESSAGE", text);
    add_number(&entry, "PRIORITY", true, (uint64_t)priority);
    add_text(&entry, "SYSLOG_IDENTIFIER", "exim-quotad");
    add_word(&entry, "MESSAGE_ID", message_id);
    if (fields)
        add_fields(&entry, fields);
    return sendto(journal->fd, entry.bytes, entry.length, flags, (const struct sockaddr *)&journald,
                  sizeof(journald)) >= 0;
}

/* Tells of the entries that were lost. */
static void send_lost(struct journal *journal)
{
    char text[96];

    snprintf(text, sizeof(text), "%" PRIu64 " entries were lost: the journal did not take them",
             journal->lost);
    if (send_native(journal, messages[JOURNAL_ENTRIES_LOST].priority,
                    messages[JOURNAL_ENTRIES_LOST].id, NULL, text))
        journal->lost = 0;
}

static void write_native(struct journal *journal, int priority, const char *message_id,
                         const struct journal_fields *fields, const char *text)
{
    if (!send_native(journal, priority, message_id, fields, text))
        journal->lost++;
    else if (journal->lost > 0)
        send_lost(journal);
}

/*
 * A path may hold anything but NUL: no line of text is broken or coloured by one, nor does
 * journalctl(1) hide a message because of one. The journal itself takes several lines.
 */
static void mask_controls(char *text, bool several_lines)
{
    for (char *c = text; *c; c++)
        if (((unsigned char)*c < ' ' && !(several_lines && *c == '\n')) || *c == '\x7f')
            *c = '?';
}

/* Writes a line, its end above all: a full disk loses lines, never queries. */
static void write_bytes(struct journal *journal, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(journal->fd, bytes, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        bytes += n;
        length -= (size_t)n;
        journal->torn = length > 0;
    }
}

static void write_line(struct journal *journal, int priority, const char *text)
{
    static const char *const names[] = {"emergency", "alert",  "critical", "error",
                                        "warning",   "notice", "info",     "debug"};
    char line[TEXT_BYTES_MAX + 128], stamp[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    int length;

    if (journal->target == JOURNAL_FILE && localtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S ", &tm);
    /* One write a line, so that lines never mix. */
    length =
        snprintf(line, sizeof(line), "%s%sexim-quotad[%d]: %s: %s\n", journal->torn ? "\n" : "",
                 stamp, (int)getpid(), names[LOG_PRI(priority)], text);
    if (length > 0)
        write_bytes(journal, line, (size_t)length);
}

static void write_entry(struct journal *journal, int priority, const char *message_id,
                        const struct journal_fields *fields, const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));

static void write_entry(struct journal *journal, int priority, const char *message_id,
                        const struct journal_fields *fields, const char *format, va_list arguments)
{
    char text[TEXT_BYTES_MAX];

    if (priority == LOG_DEBUG && !journal->debug)
        return;
    vsnprintf(text, sizeof(text), format, arguments);
    mask_controls(text, journal->target == JOURNAL_NATIVE);
    switch (journal->target) {
    case JOURNAL_NATIVE:
        write_native(journal, priority, message_id, fields, text);
        break;
    case JOURNAL_STDERR:
    case JOURNAL_FILE:
        write_line(journal, priority, text);
        break;
    case JOURNAL_SYSLOG:
        syslog(LOG_MAIL | priority, "%s", text);
        break;
    case JOURNAL_NOWHERE:
        break;
    }
}

static int open_log(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

    return fd < 0 ? -errno : fd;
}

/* Makes the socket to talk to journald. Returns it, or a negative errno. */
static int open_native(void)
{
    const struct timeval patience = {.tv_usec = PATIENCE_USEC};
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
        return -errno;
    return steal_fd(&fd);
}

int journal_open(enum journal_target target, const char *path, bool debug, struct journal **ret)
{
    _cleanup_(journal_closep) struct journal *journal = calloc(1, sizeof(*journal));

    if (!journal)
        return -ENOMEM;
    journal->target = target;
    journal->debug = debug;
    journal->fd = target == JOURNAL_STDERR ? STDERR_FILENO : -1;
    if (target == JOURNAL_NATIVE) {
        journal->fd = open_native();
        if (journal->fd < 0)
            return journal->fd;
    }
    if (target == JOURNAL_FILE) {
        journal->path = strdup(path);
        if (!journal->path)
            return -ENOMEM;
        journal->fd = open_log(path);
        if (journal->fd < 0)
            return journal->fd;
    }
    if (target == JOURNAL_SYSLOG)
        openlog("exim-quotad", LOG_PID | LOG_NDELAY, LOG_MAIL);
    *ret = steal_pointer(&journal);
    return 0;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    if (journal->target != JOURNAL_STDERR)
        closep(&journal->fd);
    if (journal->target == JOURNAL_SYSLOG)
        closelog();
    free(journal->path);
    free(journal);
}

void journal_closep(struct journal **journal)
{
    journal_close(*journal);
}

/* Whether the file that is open is still the one at the path. */
static bool is_named(const struct journal *journal)
{
    struct stat opened, named;

    return fstat(journal->fd, &opened) == 0 && stat(journal->path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int journal_reopen(struct journal *journal)
{
    int fd;

    /* A file that is still there need not be another user's to open. */
    if (journal->target != JOURNAL_FILE || is_named(journal))
        return 0;
    fd = open_log(journal->path);
    if (fd < 0)
        return fd;
    closep(&journal->fd);
    journal->fd = fd;
    journal->torn = false;
    return 0;
}

bool journal_debug(const struct journal *journal)
{
    return journal->debug;
}

const char *journal_message_title(enum journal_message message)
{
    return messages[message].title;
}

void journal_log(struct journal *journal, int priority, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_entry(journal, priority, NULL, NULL, format, arguments);
    va_end(arguments);
}

void journal_event(struct journal *journal, enum journal_message message,
                   const struct journal_fields *fields, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_entry(journal, messages[message].priority, messages[message].id, fields, format,
                arguments);
    va_end(arguments);
}

void journal_log_fields(struct journal *journal, int priority, const struct journal_fields *fields,
                        const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_entry(journal, priority, NULL, fields, format, arguments);
    va_end(arguments);
}
