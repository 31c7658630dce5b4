/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/report.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/words.h"
#include "server/throttle.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/utf8.h"

/* Equal events about the same mailbox make one entry in this time. */
#define WINDOW_USEC (60 * USEC_PER_SEC)

/* Problems with how a mailbox is set up make one entry in this time. */
#define DAY_USEC (UINT64_C(24) * 3600 * USEC_PER_SEC)

/* An event of the daily throttle that is not reported: a mailbox was checked. */
#define EVENT_CHECKED JOURNAL_MESSAGE_COUNT_

/* Enough for a number and a word. */
#define LIMIT_BYTES_MAX 48

struct report {
    struct journal *journal;
    struct throttle *throttle;
    struct throttle *daily;
};

/* The status of the replies that a summary stands for; NULL if they may differ. */
static const char *status_of(enum journal_message message)
{
    switch (message) {
    case JOURNAL_MAILBOX_OVER:
        return verdict_to_string(VERDICT_OVER);
    case JOURNAL_MESSAGE_TOO_LARGE:
        return verdict_to_string(VERDICT_TOOLARGE);
    case JOURNAL_QUERY_REFUSED:
    case JOURNAL_OUTSIDE_ROOT:
    case JOURNAL_MAILBOX_UNREADABLE:
    case JOURNAL_OVERLOADED:
        return STATUS_ERROR;
    default:
        return NULL;
    }
}

static void on_summary(int event, const char *subject, uint64_t suppressed, void *userdata)
{
    struct report *report = userdata;
    const struct journal_fields fields = {
        .mailbox = *subject == '/' ? subject : NULL,
        .status = status_of((enum journal_message)event),
    };

    journal_event(report->journal, (enum journal_message)event, &fields,
                  "%s: %s, repeated %" PRIu64 " times", subject,
                  journal_message_title((enum journal_message)event), suppressed);
}

void report_free(struct report *report)
{
    if (!report)
        return;
    throttle_free(report->throttle);
    throttle_free(report->daily);
    free(report);
}

DEFINE_FREEP(report)

int report_new(sd_event *event, struct journal *journal, struct report **ret)
{
    _cleanup_(report_freep) struct report *report = calloc(1, sizeof(*report));
    int r;

    if (!report)
        return -ENOMEM;
    report->journal = journal;
    r = throttle_new(event, WINDOW_USEC, on_summary, report, &report->throttle);
    if (r < 0)
        return r;
    r = throttle_new(event, DAY_USEC, NULL, NULL, &report->daily);
    if (r < 0)
        return r;
    *ret = steal_pointer(&report);
    return 0;
}

/* The fields that every entry about a query has. */
static struct journal_fields fields_of(const struct report_entry *entry)
{
    struct journal_fields fields = {
        .mailbox = *entry->subject == '/' ? entry->subject : NULL,
        .have_usec = true,
        .usec = entry->usec,
    };
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (getsockopt(entry->peer_fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid != 0) {
        fields.have_peer = true;
        fields.peer_uid = peer.uid;
        fields.peer_pid = peer.pid;
    }
    return fields;
}

static enum journal_message message_for(enum reason reason)
{
    switch (reason) {
    case REASON_OUTSIDE_ROOT:
        return JOURNAL_OUTSIDE_ROOT;
    case REASON_TIMEOUT:
        return JOURNAL_SCAN_TIMEOUT;
    case REASON_OVERLOADED:
        return JOURNAL_OVERLOADED;
    case REASON_PERMISSION_DENIED:
    case REASON_NOT_A_MAILBOX:
    case REASON_IO_ERROR:
        return JOURNAL_MAILBOX_UNREADABLE;
    default:
        return JOURNAL_QUERY_REFUSED;
    }
}

void report_error(struct report *report, const struct report_entry *entry, enum reason reason,
                  const char *text, const char *answered)
{
    enum journal_message message = message_for(reason);
    struct journal_fields fields;

    if (!throttle_admit(report->throttle, (int)message, entry->subject))
        return;
    fields = fields_of(entry);
    fields.status = STATUS_ERROR;
    fields.reason = reason_to_string(reason);
    /* Cut the subject rather than the reason. */
    journal_event(report->journal, message, &fields, "%.*s: %s; answered %s",
                  (int)utf8_prefix(entry->subject, strlen(entry->subject), PATH_MAX),
                  entry->subject, text, answered);
}

static struct journal_fields answer_fields(const struct report_entry *entry,
                                           const struct target_decision *decision)
{
    struct journal_fields fields = fields_of(entry);

    fields.status = verdict_to_string(decision->verdict);
    fields.source = usage_source_to_string(decision->usage->source);
    fields.have_usage = true;
    fields.bytes = decision->usage->bytes;
    fields.messages = decision->usage->messages;
    fields.limit = decision->limit.bytes;
    fields.message_limit = decision->limit.messages;
    fields.percent = decision->percent;
    fields.size_bytes = decision->size_bytes;
    return fields;
}

static void report_maildirsize(struct report *report, const struct report_entry *entry,
                               const struct usage *usage)
{
    struct journal_fields fields;

    switch (usage->rule) {
    case USAGE_RULE_UNREADABLE:
    case USAGE_RULE_MALFORMED:
    case USAGE_RULE_IMPLAUSIBLE:
        break;
    default:
        return; /* the others are normal */
    }
    if (!throttle_admit(report->throttle, JOURNAL_MAILDIRSIZE_UNUSABLE, entry->subject))
        return;
    fields = fields_of(entry);
    journal_event(report->journal, JOURNAL_MAILDIRSIZE_UNUSABLE, &fields,
                  "%s: its messages were counted because %s", entry->subject,
                  usage_rule_text(usage->rule));
}

/* Writes " of LIMIT UNIT", or " UNIT" if there is no limit. Returns buffer. */
static const char *limit_text(uint64_t limit, const char *unit, char buffer[LIMIT_BYTES_MAX])
{
    if (limit > 0)
        snprintf(buffer, LIMIT_BYTES_MAX, " of %" PRIu64 " %s", limit, unit);
    else
        snprintf(buffer, LIMIT_BYTES_MAX, " %s", unit);
    return buffer;
}

static void report_over(struct report *report, const struct report_entry *entry,
                        const struct target_decision *decision)
{
    enum journal_message message =
        decision->verdict == VERDICT_TOOLARGE ? JOURNAL_MESSAGE_TOO_LARGE : JOURNAL_MAILBOX_OVER;
    char bytes_limit[LIMIT_BYTES_MAX], messages_limit[LIMIT_BYTES_MAX], size[64] = "";
    struct journal_fields fields;

    if (!throttle_admit(report->throttle, (int)message, entry->subject))
        return;
    fields = answer_fields(entry, decision);
    if (decision->size_bytes > 0)
        snprintf(size, sizeof(size), " with a message of %" PRIu64 " bytes", decision->size_bytes);
    journal_event(report->journal, message, &fields, "%s: %s%s: %" PRIu64 "%s in %" PRIu64 "%s",
                  entry->subject, journal_message_title(message), size, decision->usage->bytes,
                  limit_text(decision->limit.bytes, "bytes", bytes_limit),
                  decision->usage->messages,
                  limit_text(decision->limit.messages, "messages", messages_limit));
}

static void report_debug(struct report *report, const struct report_entry *entry,
                         const struct target_decision *decision)
{
    const struct usage *usage = decision->usage;
    struct journal_fields fields = answer_fields(entry, decision);

    journal_log_fields(report->journal, LOG_DEBUG, &fields,
                       "%s: %" PRIu64 " bytes in %" PRIu64 " messages, %s; source=%s (%s), %" PRIu64
                       " files counted, %" PRIu64 " examined for their size, %" PRIu32
                       " directories read, %" PRIu32 " cached, %" PRIu64 " us",
                       entry->subject, usage->bytes, usage->messages, fields.status, fields.source,
                       usage_rule_text(decision->rule), usage->count.files_counted,
                       usage->count.files_stat, usage->count.directories_read,
                       usage->count.directories_cached, entry->usec);
}

static bool is_daily_news(struct report *report, const struct report_entry *entry,
                          enum journal_message message)
{
    return throttle_admit(report->daily, (int)message, entry->subject);
}

static void report_upkeep(struct report *report, const struct report_entry *entry,
                          const struct usage *usage)
{
    struct journal_fields fields = {};

    if (!usage->is_unkept && usage->count.left_out == 0 && usage->count.stray_folders == 0)
        return;
    fields = fields_of(entry);
    if (usage->is_unkept && is_daily_news(report, entry, JOURNAL_MAILDIRSIZE_UNKEPT))
        journal_event(
            report->journal, JOURNAL_MAILDIRSIZE_UNKEPT, &fields,
            "%s: no program maintains this maildirsize: messages have arrived more than a day "
            "after it was written; consider --maildirsize=ignore",
            entry->subject);
    if (usage->count.left_out > 0 && is_daily_news(report, entry, JOURNAL_FOLDERS_LEFT_OUT))
        journal_event(report->journal, JOURNAL_FOLDERS_LEFT_OUT, &fields,
                      "%s: %" PRIu32
                      " links that lead outside the roots or to nothing, or folders that are too "
                      "deep, were not counted, such as %s",
                      entry->subject, usage->count.left_out, usage->count.left_out_name);
    if (usage->count.stray_folders > 0 && is_daily_news(report, entry, JOURNAL_FOLDERS_UNDOTTED))
        journal_event(report->journal, JOURNAL_FOLDERS_UNDOTTED, &fields,
                      "%s: %" PRIu32 " folders without a leading dot are not counted, such as %s; "
                      "with LAYOUT=fs, use --layout=fs",
                      entry->subject, usage->count.stray_folders, usage->count.stray_name);
}

bool report_check_is_due(struct report *report, const char *path)
{
    return throttle_admit(report->daily, EVENT_CHECKED, path);
}

void report_no_mailboxes(struct report *report, const struct lookups *lookups, const char *path)
{
    if (!throttle_admit(report->daily, JOURNAL_NO_MAILBOXES_FOUND, ""))
        return;
    if (lookups->found == 0)
        journal_event(report->journal, JOURNAL_NO_MAILBOXES_FOUND, NULL,
                      "no address has led to a mailbox so far; the last path tried was %s", path);
    else
        journal_event(report->journal, JOURNAL_NO_MAILBOXES_FOUND, NULL,
                      "%u of the last %u addresses led to no mailbox; the last path tried was %s",
                      lookups->window_missed, LOOKUPS_WINDOW, path);
}

void report_no_template(struct report *report)
{
    const struct journal_fields fields = {
        .status = STATUS_ERROR,
        .reason = reason_to_string(REASON_NO_TEMPLATE),
    };

    if (throttle_admit(report->daily, JOURNAL_QUERY_REFUSED, ""))
        journal_event(
            report->journal, JOURNAL_QUERY_REFUSED, &fields,
            "cannot check the recipients of Postfix: --mailbox= is required, and there is "
            "none; answered DUNNO: the mail is accepted");
}

void report_answer(struct report *report, const struct report_entry *entry,
                   const struct target_decision *decision)
{
    report_maildirsize(report, entry, decision->usage);
    report_upkeep(report, entry, decision->usage);
    if (verdict_refuses(decision->verdict))
        report_over(report, entry, decision);
    if (journal_debug(report->journal))
        report_debug(report, entry, decision);
}

void report_late(struct report *report, const struct report_entry *entry, uint64_t timeout_msec)
{
    struct journal_fields fields;

    if (!throttle_admit(report->throttle, JOURNAL_SCAN_TIMEOUT, entry->subject))
        return;
    fields = fields_of(entry);
    journal_event(report->journal, JOURNAL_SCAN_TIMEOUT, &fields,
                  "%s: counting its messages takes longer than %" PRIu64
                  " ms; answered from maildirsize",
                  entry->subject, timeout_msec);
}
