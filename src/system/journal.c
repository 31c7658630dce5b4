/* SPDX-License-Identifier: GPL-2.0-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION 1

#include "system/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "system/cleanup.h"

/* The message of an entry: a mailbox's path fits, and more is cut. */
#define TEXT_BYTES_MAX 6144

/* A field's name and its `=`. */
#define NAME_BYTES_MAX 32

/* A field with a number, its name included. */
#define NUMBER_BYTES_MAX 64

/* The most fields that an entry has. */
#define FIELDS_MAX 20

struct journal {
    enum journal_target target;
    bool debug;
    int fd; /* of JOURNAL_FILE and JOURNAL_STDERR */
    char *path;
};

/* The fields of an entry as sd_journal_sendv() takes them. */
struct entry {
    struct iovec fields[FIELDS_MAX];
    int count;
    char numbers[FIELDS_MAX][NUMBER_BYTES_MAX];
    char mailbox[NAME_BYTES_MAX + TEXT_BYTES_MAX];
    char message[NAME_BYTES_MAX + TEXT_BYTES_MAX];
};

static const struct {
    const char *id;
    int priority;
    const char *title;
} messages[JOURNAL_MESSAGE_COUNT_] = {
    [JOURNAL_STARTED] = {"3bc92d2074a6402d9cb27feee4358b49", LOG_INFO, "started"},
    [JOURNAL_STOPPED] = {"6faefea8363f4049ba64fb7b40ee610c", LOG_INFO, "stopped"},
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
    [JOURNAL_SCAN_TIMEOUT] = {"25ed878998ae49319f864a4ce33b34c8", LOG_WARNING, "count timed out"},
    [JOURNAL_OVERLOADED] = {"0d9586cd1b5943f4bd65367ba01dd89a", LOG_WARNING, "overloaded"},
    [JOURNAL_SCAN_STUCK] = {"7d6ce843947a43708c505657cdad6aed", LOG_WARNING, "counts hang"},
    [JOURNAL_LIMITS_LOADED] = {"1926a3b040f546268e4089245100a6b6", LOG_INFO, "limits loaded"},
    [JOURNAL_LIMITS_REJECTED] = {"2ea46931de024059a501e63e42bea500", LOG_ERR, "limits rejected"},
};

static void add_text(struct entry *entry, const char *text)
{
    entry->fields[entry->count++] = (struct iovec){(char *)(uintptr_t)text, strlen(text)};
}

static void add_word(struct entry *entry, const char *name, const char *word)
{
    if (!word)
        return;
    snprintf(entry->numbers[entry->count], NUMBER_BYTES_MAX, "%s=%s", name, word);
    add_text(entry, entry->numbers[entry->count]);
}

static void add_number(struct entry *entry, const char *name, bool applies, uint64_t number)
{
    if (!applies)
        return;
    snprintf(entry->numbers[entry->count], NUMBER_BYTES_MAX, "%s=%" PRIu64, name, number);
    add_text(entry, entry->numbers[entry->count]);
}

static void add_fields(struct entry *entry, const struct journal_fields *fields)
{
    if (fields->mailbox) {
        snprintf(entry->mailbox, sizeof(entry->mailbox), "QUOTA_MAILBOX=%s", fields->mailbox);
        add_text(entry, entry->mailbox);
    }
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

static void send_native(int priority, const char *message_id, const struct journal_fields *fields,
                        const char *text)
{
    struct entry entry;

    entry.count = 0;
    snprintf(entry.message, sizeof(entry.message), "MESSAGE=%s", text);
    add_text(&entry, entry.message);
    add_number(&entry, "PRIORITY", true, (uint64_t)priority);
    add_text(&entry, "SYSLOG_IDENTIFIER=exim-quotad");
    add_word(&entry, "MESSAGE_ID", message_id);
    if (fields)
        add_fields(&entry, fields);
    (void)sd_journal_sendv(entry.fields, entry.count);
}

/* A path may hold anything but NUL: no line of text is broken or coloured by one. */
static void mask_controls(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == '\x7f')
            *c = '?';
}

static void write_line(const struct journal *journal, int priority, char *text)
{
    static const char *const names[] = {"emergency", "alert",  "critical", "error",
                                        "warning",   "notice", "info",     "debug"};
    char line[TEXT_BYTES_MAX + 128], stamp[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    int length;

    mask_controls(text);
    if (journal->target == JOURNAL_FILE && localtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S ", &tm);
    length = snprintf(line, sizeof(line), "%sexim-quotad[%d]: %s: %s\n", stamp, (int)getpid(),
                      names[LOG_PRI(priority)], text);
    if (length > 0)
        /* One write a line, so that lines never mix. A full disk loses lines, never queries. */
        (void)!write(journal->fd, line, (size_t)length);
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
    switch (journal->target) {
    case JOURNAL_NATIVE:
        send_native(priority, message_id, fields, text);
        break;
    case JOURNAL_STDERR:
    case JOURNAL_FILE:
        write_line(journal, priority, text);
        break;
    case JOURNAL_SYSLOG:
        mask_controls(text);
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

int journal_open(enum journal_target target, const char *path, bool debug, struct journal **ret)
{
    _cleanup_(journal_closep) struct journal *journal = calloc(1, sizeof(*journal));

    if (!journal)
        return -ENOMEM;
    journal->target = target;
    journal->debug = debug;
    journal->fd = target == JOURNAL_STDERR ? STDERR_FILENO : -1;
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
    if (journal->target == JOURNAL_FILE)
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
