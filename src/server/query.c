/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "server/latency.h"
#include "server/report.h"
#include "system/cleanup.h"
#include "system/clock.h"

/* Looks that wait for a thread. Each takes a few hundred bytes, and its client a connection. */
#define QUEUE_MAX 1024

/* As much of a line that is no request is shown. */
#define SHOWN_BYTES_MAX 100

struct query_service {
    const struct settings *settings;
    struct journal *journal;
    struct pool *pool;
    struct cache *cache;
    struct scanner *scanner;
    struct limits_store *limits;
    struct report *report;
    struct latency latency;
    struct devices devices;
    struct query_counters counters;
    uint64_t started_usec;
    struct reply reply;
};

static int service_init(sd_event *event, struct query_service *service)
{
    const struct settings *settings = service->settings;
    const struct scanner_settings scanner_settings = {
        .mailbox = &settings->quota.mailbox,
        .stuck_waiters_max = (settings->connections_max + 1) / 2,
        .timeout_usec = settings->scan_timeout_usec,
    };
    int r;

    r = report_new(event, service->journal, &service->report);
    if (r < 0)
        return r;
    r = cache_new(settings->cache_mailboxes, &service->cache);
    if (r < 0)
        return r;
    r = pool_new(event, settings->scan_threads, QUEUE_MAX, &service->pool);
    if (r < 0)
        return r;
    r = limits_store_new(service->pool, service->journal, settings->quota.limits_path,
                         &service->limits);
    if (r < 0)
        return r;
    return scanner_new(event, &scanner_settings, service->pool, service->cache, &service->devices,
                       &service->scanner);
}

int query_service_new(sd_event *event, const struct settings *settings, struct journal *journal,
                      struct query_service **ret)
{
    struct query_service *service = calloc(1, sizeof(*service));
    int r;

    if (!service)
        return -ENOMEM;
    service->settings = settings;
    service->journal = journal;
    service->started_usec = clock_usec(CLOCK_MONOTONIC);
    r = service_init(event, service);
    if (r < 0) {
        (void)query_service_end(service);
        return r;
    }
    *ret = service;
    return 0;
}

bool query_service_end(struct query_service *service)
{
    if (service->pool && !pool_end(service->pool))
        return false;
    if (service->scanner)
        scanner_free(service->scanner);
    limits_store_free(service->limits);
    report_free(service->report);
    cache_free(service->cache);
    free(service);
    return true;
}

static struct report_entry report_entry(const struct query *query, const char *subject)
{
    return (struct report_entry){
        .subject = subject,
        .peer_fd = query->peer.fd,
        .usec = clock_usec(CLOCK_MONOTONIC) - query->started_usec,
    };
}

/*
 * Makes the reply for an error, and the one journal entry that says why. what is the mailbox's
 * path, or else whatever was asked.
 */
static void finish_error(struct query_service *service, const struct query *query,
                         enum reason reason, const char *what, const char *text)
{
    bool accept = service->settings->on_error == ON_ERROR_ACCEPT;
    struct report_entry entry = report_entry(query, what);

    if (query->type == REQUEST_PATH)
        reply_number(&service->reply, accept ? 0 : SIZE_BYTES_MAX);
    else
        reply_error(&service->reply, reason, text);
    service->counters.queries++;
    service->counters.errors++;
    latency_add(&service->latency, entry.usec);
    report_error(service->report, &entry, reason, text,
                 query->type != REQUEST_PATH ? "an error"
                 : accept                    ? "0: the mail is accepted"
                                             : "that it is full: the mail is deferred");
}

/* Says what a failed look means, in the words of an operator. */
static void finish_errno(struct query_service *service, const struct query *query, int error,
                         const char *mailbox)
{
    const char *text;

    switch (error) {
    case -EXDEV:
        text = "leads outside the roots";
        break;
    case -ELOOP:
        text = "leads through too many symbolic links, or through one of /proc";
        break;
    case -EMEDIUMTYPE:
        text = "is neither a directory nor a regular file";
        break;
    case -EBUSY:
        text = "too many mailboxes wait to be read";
        break;
    case -ETIMEDOUT:
        text = "could not be read in time";
        break;
    default:
        text = strerrordesc_np(-error);
        break;
    }
    finish_error(service, query, reason_from_errno(error), mailbox, text ? text : "unknown error");
}

static const char *verdict_text(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_WARN:
        return "Mailbox is nearly full";
    case VERDICT_OVER:
        return "Mailbox is full";
    case VERDICT_TOOLARGE:
        return "Message is larger than the mailbox may ever be";
    default:
        return "Mailbox has room";
    }
}

/* Expands one of the templates for the query's address. */
static int candidate_path(const struct query_service *service, const struct query *query,
                          size_t candidate, char path[PATH_MAX])
{
    int r = address_template_expand(service->settings->quota.templates[candidate], &query->address,
                                    path, PATH_MAX);

    if (r == 0)
        mailbox_normalise_path(path);
    return r;
}

static void finish_known(struct query_service *service, const struct query *query,
                         const char *mailbox, const struct usage *usage)
{
    const struct mailbox_policy *policy = &query->waiter.policy;
    struct quota_limit limit = mailbox_effective_limit(policy, &usage->header_limit);
    uint64_t percent = verdict_percent(usage->bytes, limit);
    enum verdict verdict = verdict_decide(usage->bytes, usage->messages, limit, policy->size_bytes,
                                          &service->settings->quota.verdict);
    bool check = query->type == REQUEST_CHECK;
    struct report_entry entry = report_entry(query, mailbox);

    if (query->type == REQUEST_PATH)
        reply_number(&service->reply, usage->bytes);
    else
        reply_usage(&service->reply, &(struct reply_usage){
                                         .status = verdict_to_string(check ? verdict : VERDICT_OK),
                                         .usage = usage,
                                         .limit = limit,
                                         .percent = percent,
                                         .mailbox = mailbox,
                                         .text = check ? verdict_text(verdict) : NULL,
                                     });
    service->counters.queries++;
    if (verdict == VERDICT_OVER || verdict == VERDICT_TOOLARGE)
        service->counters.over++;
    latency_add(&service->latency, entry.usec);
    report_answer(service->report, &entry, verdict, usage, limit, percent);
}

static void finish_usage(struct query_service *service, const struct query *query,
                         const char *mailbox, const struct usage *usage)
{
    char first[PATH_MAX];

    /* Of several places where nothing is, the first is the one where a mailbox will be made. */
    if (usage->source == USAGE_NONE && query->candidate > 0 &&
        candidate_path(service, query, 0, first) == 0)
        mailbox = first;
    finish_known(service, query, mailbox, usage);
}

static enum filesystem_kind device_kind(dev_t device, void *userdata)
{
    const struct query_service *service = userdata;

    return devices_kind(&service->devices, device);
}

/* How a candidate, the mailbox at one path, was looked at from memory. */
enum look {
    LOOK_ANSWERED,
    LOOK_NOTHING, /* nothing is there, but there are other candidates */
    LOOK_WAITS,   /* it has to be waited for */
};

/* Whether a mailbox that is not there is to be looked for elsewhere. */
static bool has_more_candidates(const struct query_service *service, const struct query *query)
{
    return query->address.local_length > 0 &&
           query->candidate + 1 < service->settings->quota.templates_count;
}

/* Looks at the mailbox at path from memory; *ret_device is what it waits for, if it does. */
static enum look look_at(struct query_service *service, const struct query *query, char *path,
                         dev_t *ret_device)
{
    struct mailbox mailbox = MAILBOX_NULL;
    enum look look = LOOK_ANSWERED;
    struct usage usage;
    int r;

    r = mailbox_open_cached(&service->settings->quota.mailbox, path, device_kind, service, &mailbox,
                            ret_device);
    if (r == -EAGAIN)
        return LOOK_WAITS;
    if (r < 0) {
        finish_errno(service, query, r, path);
        return LOOK_ANSWERED;
    }
    if (mailbox.kind == MAILBOX_NONE && has_more_candidates(service, query))
        look = LOOK_NOTHING;
    else if (mailbox_must_count(&mailbox, &query->waiter.policy, clock_usec(CLOCK_REALTIME)) ==
                 USAGE_RULE_TRUSTED &&
             mailbox_usage(&mailbox, &usage))
        finish_usage(service, query, path, &usage);
    else
        look = LOOK_WAITS;
    *ret_device = mailbox.device;
    mailbox_close(&mailbox);
    return look;
}

/*
 * Looks at the mailbox at path, from memory or through the scanner. Returns LOOK_WAITS only if the
 * scanner has it.
 */
static enum look look_at_or_ask(struct query_service *service, struct query *query, char *path)
{
    dev_t device = 0;
    enum look look = look_at(service, query, path, &device);
    int r;

    if (look != LOOK_WAITS)
        return look;
    r = scanner_ask(service->scanner, &query->waiter, path, device);
    if (r == 0)
        return LOOK_WAITS;
    finish_errno(service, query, r, path);
    return LOOK_ANSWERED;
}

/* Looks at one mailbox of an address after the other. Returns whether the reply is there. */
static bool try_candidates(struct query_service *service, struct query *query)
{
    char path[PATH_MAX];

    for (;; query->candidate++) {
        enum look look;

        if (candidate_path(service, query, query->candidate, path) < 0) {
            finish_error(service, query, REASON_BAD_ADDRESS, query->address.text,
                         "the path of its mailbox is too long");
            return true;
        }
        look = look_at_or_ask(service, query, path);
        if (look != LOOK_NOTHING)
            return look == LOOK_ANSWERED;
    }
}

static void on_scan_done(struct scan_waiter *waiter, const struct scan_result *result)
{
    struct query *query = (struct query *)((char *)waiter - offsetof(struct query, waiter));
    struct query_service *service = waiter->userdata;

    if (result->error < 0) {
        finish_errno(service, query, result->error, result->path);
    } else if (result->usage.source == USAGE_NONE && has_more_candidates(service, query)) {
        query->candidate++;
        if (!try_candidates(service, query))
            return;
    } else {
        if (result->late) {
            struct report_entry entry = report_entry(query, result->path);

            report_late(service->report, &entry,
                        service->settings->scan_timeout_usec / USEC_PER_MSEC);
        }
        finish_usage(service, query, result->path, &result->usage);
    }
    query->done(query);
}

static bool answer_address(struct query_service *service, struct query *query, const char *text)
{
    const struct settings *settings = service->settings;
    const struct limits *limits = limits_store_get(service->limits);
    struct mailbox_policy *policy = &query->waiter.policy;
    const char *why;

    if (settings->quota.templates_count == 0) {
        finish_error(service, query, REASON_NO_TEMPLATE, text,
                     "there is no --mailbox= that says where the mailbox of an address is");
        return true;
    }
    if (address_parse(text, strlen(text),
                      settings->quota.delimiters ? settings->quota.delimiters : "", &query->address,
                      &why) < 0) {
        finish_error(service, query, REASON_BAD_ADDRESS, text, why);
        return true;
    }
    if (!policy->have_limit && limits)
        policy->have_limit = limits_lookup(limits, &query->address, &policy->limit) > 0;
    return try_candidates(service, query);
}

static bool answer_path(struct query_service *service, struct query *query, char *path)
{
    const struct limits *limits = limits_store_get(service->limits);

    /*
     * Nobody can tell whose limit is meant: what holds for everybody comes after what the mailbox
     * says of itself, so that no one with more is called full.
     */
    if (limits)
        (void)limits_lookup_default(limits, &query->waiter.policy.default_limit);
    mailbox_normalise_path(path);
    return look_at_or_ask(service, query, path) == LOOK_ANSWERED;
}

static bool answer_mailbox(struct query_service *service, struct query *query,
                           const struct request *request)
{
    query->address.local_length = 0;
    query->candidate = 0;
    query->waiter = (struct scan_waiter){
        .policy =
            {
                .have_limit = request->have_limit,
                .limit = request->limit,
                .default_limit = service->settings->quota.default_limit,
                .grace = service->settings->quota.verdict.grace,
                .size_bytes = request->size_bytes,
            },
        .done = on_scan_done,
        .userdata = service,
    };
    if (request->target[0] == '/')
        return answer_path(service, query, request->target);
    return answer_address(service, query, request->target);
}

static void answer_ping(struct query_service *service)
{
    reply_init(&service->reply);
    reply_add_text(&service->reply, "status", "ok");
    reply_add_text(&service->reply, "version", PROJECT_VERSION);
    reply_end(&service->reply);
    service->counters.queries++;
}

static void answer_stats(struct query_service *service)
{
    const struct scan_counters *scans = scanner_counters(service->scanner);
    struct reply *reply = &service->reply;

    service->counters.queries++;
    reply_init(reply);
    reply_add_text(reply, "status", "ok");
    reply_add_number(reply, "queries", service->counters.queries);
    reply_add_number(reply, "over", service->counters.over);
    reply_add_number(reply, "errors", service->counters.errors);
    reply_add_number(reply, "scans", scans->scans);
    reply_add_number(reply, "cache_hits", scans->cached);
    reply_add_number(reply, "shared", scans->shared);
    reply_add_number(reply, "timeouts", scans->timeouts);
    reply_add_number(reply, "stuck", scanner_stuck(service->scanner));
    reply_add_number(reply, "mailboxes", cache_count(service->cache));
    reply_add_number(reply, "uptime",
                     (clock_usec(CLOCK_MONOTONIC) - service->started_usec) / USEC_PER_SEC);
    reply_end(reply);
}

/* As finish_error(), for a line that is no request. The journal shows the beginning of it. */
static void refuse_line(struct query_service *service, const struct query *query, const char *line,
                        size_t length, enum reason reason, const char *text)
{
    char shown[SHOWN_BYTES_MAX + 3];
    int shown_bytes = length < SHOWN_BYTES_MAX ? (int)length : SHOWN_BYTES_MAX;

    snprintf(shown, sizeof(shown), "\"%.*s\"", shown_bytes, line);
    finish_error(service, query, reason, shown, text);
}

bool query_admit(struct query_service *service, int fd)
{
    if (peers_admit(&service->settings->peers, fd))
        return true;
    report_peer(service->report, fd);
    return false;
}

bool query_start(struct query_service *service, struct query *query, char *line, size_t length)
{
    struct request request;
    const char *text;
    enum reason reason;

    query->started_usec = clock_usec(CLOCK_MONOTONIC);
    reason = request_parse(line, length, &request, &text);
    query->type = request.type;
    if (reason != REASON_NONE) {
        refuse_line(service, query, line, length, reason, text);
        return true;
    }
    switch (request.type) {
    case REQUEST_PING:
        answer_ping(service);
        return true;
    case REQUEST_STATS:
        answer_stats(service);
        return true;
    default:
        return answer_mailbox(service, query, &request);
    }
}

void query_refuse(struct query_service *service, struct query *query, const char *line,
                  size_t length, enum reason reason, const char *text)
{
    query->started_usec = clock_usec(CLOCK_MONOTONIC);
    query->type = request_wants_pairs(line, length) ? REQUEST_USAGE : REQUEST_PATH;
    refuse_line(service, query, line, length, reason, text);
}

void query_cancel(struct query_service *service, struct query *query)
{
    scanner_leave(service->scanner, &query->waiter);
}

const struct reply *query_reply(const struct query_service *service)
{
    return &service->reply;
}

const struct query_counters *query_counters(const struct query_service *service)
{
    return &service->counters;
}

size_t query_mailboxes(const struct query_service *service)
{
    return cache_count(service->cache);
}

unsigned int query_stuck(struct query_service *service)
{
    return scanner_stuck(service->scanner);
}

struct limits_store *query_limits(const struct query_service *service)
{
    return service->limits;
}

uint64_t query_p99_usec(const struct query_service *service)
{
    return latency_quantile_usec(&service->latency, 990);
}
