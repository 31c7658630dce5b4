/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/journal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "system/cleanup.h"
#include "system/printable.h"
#include "system/utf8.h"
#include "system/writer.h"

/* The message of an entry: a mailbox's path fits, and more is cut. */
#define MESSAGE_BYTES_MAX 6144

#define TEXT_BYTES_MAX (PRINTABLE_GROWTH * MESSAGE_BYTES_MAX)

/* An entry: the text and the mailbox, which may both be long, and more. */
#define ENTRY_BYTES_MAX (TEXT_BYTES_MAX + 2 * MESSAGE_BYTES_MAX)

struct journal {
    enum journal_target target;
    bool debug;
    struct writer *writer; /* NULL for JOURNAL_NOWHERE */
};

/* An entry that is being made. */
struct journal_entry {
    char *bytes;
    size_t room;
    size_t length;
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
    [JOURNAL_SCAN_TIMEOUT] = {"25ed878998ae49319f864a4ce33b34c8", LOG_WARNING, "timed out"},
    [JOURNAL_OVERLOADED] = {"0d9586cd1b5943f4bd65367ba01dd89a", LOG_WARNING, "overloaded"},
    [JOURNAL_SCAN_STUCK] = {"7d6ce843947a43708c505657cdad6aed", LOG_WARNING, "counts hang"},
    [JOURNAL_LIMITS_LOADED] = {"1926a3b040f546268e4089245100a6b6", LOG_INFO, "limits loaded"},
    [JOURNAL_ENTRIES_LOST] = {"e61efc2ccca44c2a85051620c93f8dbf", LOG_WARNING, "entries lost"},
    [JOURNAL_LIMITS_REJECTED] = {"2ea46931de024059a501e63e42bea500", LOG_ERR, "limits rejected"},
    [JOURNAL_LIMITS_FAULT] = {"2ad406daeb344c2d91e6bcd11e04d292", LOG_WARNING, "limit unusable"},
};

static void add_bytes(struct journal_entry *entry, const void *bytes, size_t length)
{
    memcpy(entry->bytes + entry->length, bytes, length);
    entry->length += length;
}

/* Adds a field. What does not fit is left out: of our own fields, all fit. */
static void add_text(struct journal_entry *entry, const char *name, const char *text)
{
    size_t name_length = strlen(name), length = strlen(text);
    uint64_t length_le = htole64(length);

    if (name_length + length + sizeof(length_le) + 2 > entry->room - entry->length)
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

static void add_word(struct journal_entry *entry, const char *name, const char *word)
{
    if (word)
        add_text(entry, name, word);
}

static void add_number(struct journal_entry *entry, const char *name, bool applies, uint64_t number)
{
    char text[24];

    if (!applies)
        return;
    snprintf(text, sizeof(text), "%" PRIu64, number);
    add_text(entry, name, text);
}

static void add_fields(struct journal_entry *entry, const struct journal_fields *fields)
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

static void make_native(struct journal_entry *entry, int priority, const char *message_id,
                        const struct journal_fields *fields, const char *text)
{
    add_text(entry, "MESSAGE", text);
    add_number(entry, "PRIORITY", true, (uint64_t)priority);
    add_text(entry, "SYSLOG_IDENTIFIER", "exim-quotad");
    add_word(entry, "MESSAGE_ID", message_id);
    if (fields)
        add_fields(entry, fields);
}

static void make_line(enum journal_target target, struct journal_entry *entry, int priority,
                      const char *text)
{
    static const char *const names[] = {"emergency", "alert",  "critical", "error",
                                        "warning",   "notice", "info",     "debug"};
    time_t now = time(NULL);
    char stamp[32] = "";
    struct tm tm;
    int length;

    if (target != JOURNAL_STDERR && localtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp),
                 target == JOURNAL_FILE ? "%Y-%m-%d %H:%M:%S " : "%b %e %H:%M:%S ", &tm);
    if (target == JOURNAL_SYSLOG)
        length = snprintf(entry->bytes, entry->room, "<%d>%sexim-quotad[%d]: %s",
                          LOG_MAIL | priority, stamp, (int)getpid(), text);
    else
        length = snprintf(entry->bytes, entry->room, "%sexim-quotad[%d]: %s: %s\n", stamp,
                          (int)getpid(), names[LOG_PRI(priority)], text);
    entry->length = length > 0 ? (size_t)length : 0;
}

static void make_entry(enum journal_target target, struct journal_entry *entry, int priority,
                       const char *message_id, const struct journal_fields *fields,
                       const char *text)
{
    if (target == JOURNAL_NATIVE)
        make_native(entry, priority, message_id, fields, text);
    else
        make_line(target, entry, priority, text);
}

static size_t make_note(enum writer_note note, uint64_t number, char *bytes, void *userdata)
{
    const struct journal *journal = userdata;
    struct journal_entry entry = {bytes, WRITER_NOTE_BYTES_MAX, 0};
    char text[256];

    if (note == WRITER_LOST) {
        snprintf(text, sizeof(text),
                 "%" PRIu64 " entries were lost: the log was unavailable, full or too slow",
                 number);
        make_entry(journal->target, &entry, messages[JOURNAL_ENTRIES_LOST].priority,
                   messages[JOURNAL_ENTRIES_LOST].id, NULL, text);
    } else {
        snprintf(text, sizeof(text), "cannot reopen the log file: %s; the old one stays in use",
                 strerrordesc_np((int)number));
        make_entry(journal->target, &entry, LOG_ERR, NULL, NULL, text);
    }
    return entry.length;
}

static void write_entry(struct journal *journal, int priority, const char *message_id,
                        const struct journal_fields *fields, const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));

static void write_entry(struct journal *journal, int priority, const char *message_id,
                        const struct journal_fields *fields, const char *format, va_list arguments)
{
    char message[MESSAGE_BYTES_MAX], text[TEXT_BYTES_MAX], bytes[ENTRY_BYTES_MAX];
    struct journal_entry entry = {bytes, sizeof(bytes), 0};
    int length;

    if (!journal->writer || (priority == LOG_DEBUG && !journal->debug))
        return;
    length = vsnprintf(message, sizeof(message), format, arguments);
    if (length < 0)
        return;
    message[utf8_prefix(message, (size_t)length, sizeof(message) - 1)] = '\0';
    (void)printable_write(message, text, NULL, NULL);
    make_entry(journal->target, &entry, priority, message_id, fields, text);
    writer_add(journal->writer, entry.bytes, entry.length);
}

static int open_target(enum journal_target target, const char *path)
{
    int fd;

    if (target == JOURNAL_STDERR)
        return STDERR_FILENO;
    if (target == JOURNAL_FILE)
        return writer_open_file(path);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int journal_open(enum journal_target target, const char *path, bool debug, struct journal **ret)
{
    static const struct sockaddr_un journald = {AF_UNIX, JOURNAL_SOCKET};
    static const struct sockaddr_un syslogd = {AF_UNIX, JOURNAL_SYSLOG_SOCKET};
    _cleanup_(journal_closep) struct journal *journal = calloc(1, sizeof(*journal));
    struct writer_target to = {
        .address = target == JOURNAL_NATIVE   ? &journald
                   : target == JOURNAL_SYSLOG ? &syslogd
                                              : NULL,
        .path = path,
    };
    int r;

    if (!journal)
        return -ENOMEM;
    journal->target = target;
    journal->debug = debug;
    if (target != JOURNAL_NOWHERE) {
        to.fd = open_target(target, path);
        if (to.fd < 0)
            return to.fd;
        r = writer_new(&to, make_note, journal, &journal->writer);
        if (r < 0) {
            if (to.fd != STDERR_FILENO)
                (void)close(to.fd);
            return r;
        }
    }
    *ret = steal_pointer(&journal);
    return 0;
}

void journal_start(struct journal *journal)
{
    if (journal->writer)
        writer_start(journal->writer);
}

void journal_close(struct journal *journal)
{
    if (!journal || (journal->writer && !writer_end(journal->writer)))
        return;
    free(journal);
}

void journal_closep(struct journal **journal)
{
    journal_close(*journal);
}

void journal_reopen(struct journal *journal)
{
    if (journal->target == JOURNAL_FILE)
        writer_reopen(journal->writer);
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
