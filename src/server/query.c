/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "protocol/policy.h"
#include "server/explainer.h"
#include "server/lookups.h"
#include "server/report.h"
#include "server/watched.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine.h"
#include "system/utf8.h"

/* Scans that wait for a thread. Each takes a few hundred bytes, and its client a connection. */
#define QUEUE_MAX 1024

/* Threads for all but queries of clients: limits file, the paths of the options, explanations. */
#define ASIDE_THREADS 2

/* Bytes of an invalid request to show in the log. */
#define SHOWN_BYTES_MAX 100

struct query_service {
    const struct settings *settings;
    struct journal *journal;
    struct pool *fast;
    struct pool *slow;
    struct pool *aside; /* separate, so that neither mailboxes nor these jobs delay each other */
    struct scanner *scanner;
    struct explainer *explainer;
    struct limits_store *limits;
    struct report *report;
    struct devices devices;
    struct counters counters;
    struct lookups lookups;
    bool listens;
    uint64_t started_usec;
    struct mailbox_nowait nowait;
    struct watched *watched;
};

static enum filesystem_kind device_kind(dev_t device, void *userdata)
{
    struct query_service *service = userdata;

    return devices_kind(&service->devices, device);
}

static int service_init(sd_event *event, struct query_service *service, size_t connections_max)
{
    const struct settings *settings = service->settings;
    const struct scanner_settings scanner_settings = {
        .mailbox = &settings->quota.mailbox,
        .stuck_waiters_max = (connections_max + 1) / 2,
        .timeout_usec = settings->scan_timeout_usec,
    };
    const struct watched_settings watched_settings = {
        .mailbox = &settings->quota.mailbox,
        .watches_max = settings->misconfigured ? 0 : settings->watches_max,
    };
    int r;

    r = report_new(event, service->journal, &service->report);
    if (r < 0)
        return r;
    r = cache_new(settings->cache_bytes, &service->nowait.cache);
    if (r < 0)
        return r;
    service->nowait.device_kind = device_kind;
    service->nowait.userdata = service;
    r = pool_new(event, settings->scan_threads, QUEUE_MAX, &service->fast);
    if (r == 0)
        r = pool_new(event, pool_slow_threads(settings->scan_threads), QUEUE_MAX, &service->slow);
    if (r == 0)
        r = pool_new(event, ASIDE_THREADS, QUEUE_MAX, &service->aside);
    if (r < 0)
        return r;
    r = limits_store_new(service->aside, service->journal, settings->quota.limits_path,
                         &service->limits);
    if (r == 0)
        r = explainer_new(event, &settings->quota, settings->scan_timeout_usec, service->aside,
                          service->nowait.cache, &service->explainer);
    if (r < 0)
        return r;
    r = scanner_new(event, &scanner_settings, service->fast, service->slow, service->nowait.cache,
                    &service->devices, &service->scanner);
    if (r < 0)
        return r;
    return watched_new(&watched_settings, service->fast, service->nowait.cache, service->journal,
                       &service->watched);
}

int query_service_new(sd_event *event, const struct settings *settings, size_t connections_max,
                      bool listens, struct journal *journal, struct query_service **ret)
{
    struct query_service *service = calloc(1, sizeof(*service));
    int r;

    if (!service)
        return -ENOMEM;
    service->settings = settings;
    service->journal = journal;
    service->listens = listens;
    service->started_usec = clock_usec(CLOCK_MONOTONIC);
    devices_init(&service->devices);
    r = service_init(event, service, connections_max);
    if (r < 0) {
        (void)query_service_end(service);
        return r;
    }
    *ret = service;
    return 0;
}

bool query_service_end(struct query_service *service)
{
    struct pool **pools[] = {&service->fast, &service->slow, &service->aside};
    bool ended = true;

    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
        if (*pools[i] && pool_end(*pools[i]))
            *pools[i] = NULL;
        else
            ended &= !*pools[i];
    if (!ended)
        return false;
    if (service->scanner)
        scanner_free(service->scanner);
    watched_free(service->watched);
    explainer_free(service->explainer);
    limits_store_free(service->limits);
    report_free(service->report);
    cache_free(service->nowait.cache);
    devices_deinit(&service->devices);
    free(service);
    return true;
}

static struct report_entry report_entry(const struct query *query, const char *subject)
{
    return (struct report_entry){
        .subject = subject,
        .peer_fd = query->peer_fd,
        .usec = clock_usec(CLOCK_MONOTONIC) - query->started_usec,
    };
}

static void done(struct query *query, const struct reply *reply)
{
    query->done(query, reply->bytes, reply->length);
}

static void done_error(struct query_service *service, struct query *query, enum reason reason,
                       const char *text)
{
    bool accept = service->settings->on_error == ON_ERROR_ACCEPT;
    struct reply reply;

    if (query->type == REQUEST_POLICY)
        policy_reply_dunno(&reply);
    else if (query->type == REQUEST_PATH)
        reply_number(&reply, accept ? 0 : SIZE_BYTES_MAX);
    else
        reply_error(&reply, reason, text);
    service->counters.queries++;
    service->counters.reasons[reason]++;
    done(query, &reply);
}

/*
 * Replies with an error, and makes the one journal entry that says why. what is the mailbox's path,
 * or else whatever was asked.
 */
static void finish_error(struct query_service *service, struct query *query, enum reason reason,
                         const char *what, const char *text)
{
    bool accept = service->settings->on_error == ON_ERROR_ACCEPT;
    struct report_entry entry = report_entry(query, what);

    latency_add(&service->counters.latency, entry.usec);
    report_error(service->report, &entry, reason, text,
                 query->type == REQUEST_POLICY ? "DUNNO: the mail is accepted"
                 : query->type != REQUEST_PATH ? "an error"
                 : accept                      ? "0: the mail is accepted"
                                               : "that it is full: the mail is deferred");
    done_error(service, query, reason, text);
}

/* As finish_error(), for a probe or a count that failed; detail, unless NULL, says more. */
static void finish_errno(struct query_service *service, struct query *query, int error,
                         const char *mailbox, const char *detail)
{
    const char *why;
    enum reason reason = target_reason(&query->target, error, &why);

    finish_error(service, query, reason, mailbox, detail ? detail : why);
}

/* Notes whether an address led to a mailbox: aliases do not, but if most do not, report it. */
static void note_lookup(struct query_service *service, const char *mailbox, bool found)
{
    if (!service->listens)
        return; /* one connection is not significant */
    lookups_add(&service->lookups, found);
    if (!found && lookups_fail(&service->lookups))
        report_no_mailboxes(service->report, &service->lookups, mailbox);
}

static void finish_usage(struct query_service *service, struct query *query, const char *mailbox,
                         const struct usage *usage)
{
    bool check = query->type == REQUEST_CHECK;
    struct target_decision decision;
    struct report_entry entry;
    struct reply reply;

    target_decide(&query->target, &service->settings->quota, mailbox, usage, &decision);
    entry = report_entry(query, decision.mailbox);
    if (query->type == REQUEST_POLICY)
        policy_reply_decision(&reply, &decision);
    else if (query->type == REQUEST_PATH)
        reply_number(&reply, usage->bytes);
    else
        reply_decision(&reply, check, &decision);
    service->counters.queries++;
    service->counters.verdicts[decision.verdict]++;
    latency_add(&service->counters.latency, entry.usec);
    report_answer(service->report, &entry, &decision);
    if (!target_is_path(&query->target))
        note_lookup(service, decision.mailbox, usage->source != USAGE_NONE);
    done(query, &reply);
}

/* The outcome of probing a candidate. */
enum outcome {
    OUTCOME_DONE,    /* the query may be gone */
    OUTCOME_NOTHING, /* nothing is there, but there are other candidates */
    OUTCOME_WAITS,   /* for a worker thread */
};

/* Probes the mailbox at path, unless its usage is remembered, and does not wait; *ret_device is
 * what it would have to wait for. */
static enum outcome probe(struct query_service *service, struct query *query, const char *path,
                          dev_t *ret_device)
{
    const struct quota_settings *settings = &service->settings->quota;
    _cleanup_(mailbox_close) struct mailbox mailbox = MAILBOX_NULL;
    const struct mailbox_policy *policy = &query->target.policy;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    bool recalled = watched_recall(service->watched, path, policy, now_usec, &mailbox.usage);
    int r = MAILBOX_ANSWERED;

    if (!recalled) {
        r = mailbox_probe(&settings->mailbox, policy, &service->nowait, path, now_usec, &mailbox);
        watched_refresh(service->watched, r, &mailbox);
    }
    query->waiter.have_usage = r == MAILBOX_ANSWERED;
    query->waiter.usage = mailbox.usage;
    *ret_device = mailbox.device;
    if (r == MAILBOX_WOULD_BLOCK || r == MAILBOX_NEEDS_COUNT)
        return OUTCOME_WAITS;
    if (r == MAILBOX_ANSWERED && !recalled)
        watched_note(service->watched, path, policy, mailbox.device);
    if (target_goes_on(&query->target, settings, r < 0 ? r : 0, mailbox.usage.source))
        return OUTCOME_NOTHING;
    /* A worker thread finds out, once a day, whether anybody keeps the maildirsize. */
    if (r == MAILBOX_ANSWERED && mailbox.is_suspect && report_check_is_due(service->report, path))
        return OUTCOME_WAITS;
    if (r == MAILBOX_ANSWERED)
        finish_usage(service, query, path, &mailbox.usage);
    else
        finish_errno(service, query, r, path, mailbox.detail[0] != '\0' ? mailbox.detail : NULL);
    return OUTCOME_DONE;
}

/* As probe(), but returns OUTCOME_WAITS only if the scanner has the query. */
static enum outcome probe_or_scan(struct query_service *service, struct query *query,
                                  const char *path)
{
    dev_t device = 0;
    enum outcome outcome = probe(service, query, path, &device);
    int r;

    if (outcome != OUTCOME_WAITS)
        return outcome;
    r = scanner_ask(service->scanner, &query->waiter, path, device);
    if (r == 0)
        return OUTCOME_WAITS;
    if (query->waiter.have_usage)
        finish_usage(service, query, path, &query->waiter.usage);
    else
        finish_errno(service, query, r, path, NULL);
    return OUTCOME_DONE;
}

/* Probes one mailbox of an address after the other. Returns whether the query is done. */
static bool try_candidates(struct query_service *service, struct query *query)
{
    char path[PATH_MAX];

    for (;; query->target.candidate++) {
        const char *why;
        enum outcome outcome;
        enum reason reason = target_path(&query->target, &service->settings->quota, path, &why);

        if (reason != REASON_NONE) {
            finish_error(service, query, reason, query->target.address.text, why);
            return true;
        }
        outcome = probe_or_scan(service, query, path);
        if (outcome != OUTCOME_NOTHING)
            return outcome == OUTCOME_DONE;
    }
}

static void on_scan_done(struct scan_waiter *waiter, const struct scan_result *result)
{
    struct query *query = container_of(waiter, struct query, waiter);
    struct query_service *service = waiter->userdata;

    /* Not before: what hangs once is not to hang twice. */
    if (result->error == 0 && !result->late)
        watched_note(service->watched, result->path, waiter->policy, result->device);
    if (target_goes_on(&query->target, &service->settings->quota, result->error,
                       result->usage.source)) {
        query->target.candidate++;
        (void)try_candidates(service, query);
    } else if (result->error < 0) {
        finish_errno(service, query, result->error, result->path, result->detail);
    } else {
        if (result->late) {
            struct report_entry entry = report_entry(query, result->path);

            report_late(service->report, &entry,
                        service->settings->scan_timeout_usec / USEC_PER_MSEC);
        }
        finish_usage(service, query, result->path, &result->usage);
    }
}

/* As finish_error(), for what is no request, or no address. The journal shows its beginning. */
static void refuse_line(struct query_service *service, struct query *query, const char *line,
                        size_t length, enum reason reason, const char *text)
{
    char shown[SHOWN_BYTES_MAX + 3];

    snprintf(shown, sizeof(shown), "\"%.*s\"", (int)utf8_prefix(line, length, SHOWN_BYTES_MAX),
             line);
    finish_error(service, query, reason, shown, text);
}

/* As finish_error(), for a recipient of Postfix: anything, as an SMTP client has written it. */
static void refuse_recipient(struct query_service *service, struct query *query,
                             const char *recipient, enum reason reason, const char *text)
{
    if (reason != REASON_NO_TEMPLATE) {
        refuse_line(service, query, recipient, strlen(recipient), reason, text);
        return;
    }
    report_no_template(service->report);
    done_error(service, query, reason, text);
}

static bool answer_mailbox(struct query_service *service, struct query *query,
                           const struct request *request)
{
    const struct target_terms terms = request_terms(request);
    const char *why;
    enum reason reason;

    query->waiter = (struct scan_waiter){
        .policy = &query->target.policy,
        .done = on_scan_done,
        .userdata = service,
    };
    reason = target_begin(&query->target, &service->settings->quota,
                          limits_store_get(service->limits), &terms, request->target, &why);
    if (reason != REASON_NONE) {
        if (request->type == REQUEST_POLICY)
            refuse_recipient(service, query, request->target, reason, why);
        else
            finish_error(service, query, reason, request->target, why);
        return true;
    }
    if (target_is_path(&query->target))
        return probe_or_scan(service, query, request->target) == OUTCOME_DONE;
    return try_candidates(service, query);
}

static void on_explained(struct explain_waiter *waiter, enum reason reason, const char *reply,
                         size_t length)
{
    struct query *query = container_of(waiter, struct query, explain_waiter);
    struct query_service *service = waiter->userdata;

    if (reason != REASON_NONE) {
        done_error(service, query, reason, reason_text_from_errno(-ETIMEDOUT));
        return;
    }
    service->counters.queries++;
    query->done(query, reply, length);
}

/* Nothing of an explanation is logged: it says itself all that there is to say. */
static bool explain(struct query_service *service, struct query *query,
                    const struct request *request)
{
    int r;

    query->explain_waiter = (struct explain_waiter){.done = on_explained, .userdata = service};
    r = explainer_ask(service->explainer, &query->explain_waiter, request,
                      limits_store_get(service->limits));
    if (r == 0)
        return false;
    done_error(service, query, reason_from_errno(r),
               r == -EBUSY ? "another mailbox is being explained" : reason_text_from_errno(r));
    return true;
}

static void answer_ping(struct reply *reply)
{
    reply_init(reply);
    reply_add_text(reply, "status", "ok");
    reply_add_text(reply, "version", PROJECT_VERSION);
    reply_end(reply);
}

static void answer_stats(struct query_service *service, struct reply *reply)
{
    const struct scan_counters *scans = scanner_counters(service->scanner);
    const struct watched_counters watched = watched_counters(service->watched);

    reply_init(reply);
    reply_add_text(reply, "status", "ok");
    reply_add_number(reply, "queries", service->counters.queries);
    reply_add_number(reply, "over", counters_over(&service->counters));
    reply_add_number(reply, "errors", counters_errors(&service->counters));
    reply_add_number(reply, "scans", scans->scans);
    reply_add_number(reply, "cache_hits", scans->cached);
    reply_add_number(reply, "connections", service->counters.connections);
    reply_add_number(reply, "shared", scans->shared);
    reply_add_number(reply, "timeouts", scans->timeouts);
    reply_add_number(reply, "stuck", scanner_stuck(service->scanner));
    reply_add_number(reply, "mailboxes", cache_count(service->nowait.cache, CACHE_COUNT));
    reply_add_number(reply, "watches", watched_count(service->watched));
    reply_add_number(reply, "watch_hits", watched.hits);
    reply_add_number(reply, "watch_invalidations", watched.invalidations);
    reply_add_number(reply, "watch_overflows", watched.overflows);
    reply_add_number(reply, "uptime",
                     (clock_usec(CLOCK_MONOTONIC) - service->started_usec) / USEC_PER_SEC);
    reply_add_text(reply, "version", PROJECT_VERSION);
    reply_add_number(reply, "misconfigured", service->settings->misconfigured != NULL);
    counters_add_lists(&service->counters, reply);
    reply_end(reply);
}

void query_count_connection(struct query_service *service)
{
    service->counters.connections++;
}

bool query_start(struct query_service *service, struct query *query, const struct request *request)
{
    struct reply reply;

    query->started_usec = clock_usec(CLOCK_MONOTONIC);
    query->type = request->type;
    if (service->settings->misconfigured && request->type != REQUEST_STATS) {
        /* The journal has one entry about it, not one for each query. */
        done_error(service, query, REASON_MISCONFIGURED, service->settings->misconfigured);
        return true;
    }
    if (request->type == REQUEST_EXPLAIN)
        return explain(service, query, request);
    if (request->target)
        return answer_mailbox(service, query, request);
    service->counters.queries++;
    if (request->type == REQUEST_POLICY)
        policy_reply_dunno(&reply);
    else if (request->type == REQUEST_PING)
        answer_ping(&reply);
    else
        answer_stats(service, &reply);
    done(query, &reply);
    return true;
}

bool query_start_line(struct query_service *service, struct query *query, char *line, size_t length)
{
    struct request request;
    const char *text;
    enum reason reason = request_parse(line, length, &request, &text);

    if (reason == REASON_NONE || service->settings->misconfigured)
        return query_start(service, query, &request);
    query_refuse(service, query, line, length, reason, text);
    return true;
}

void query_refuse(struct query_service *service, struct query *query, const char *line,
                  size_t length, enum reason reason, const char *text)
{
    query->started_usec = clock_usec(CLOCK_MONOTONIC);
    query->type = request_wants_pairs(line, length) ? REQUEST_USAGE : REQUEST_PATH;
    refuse_line(service, query, line, length, reason, text);
}

/* Logs that a client gets no reply. */
static void report_lost(struct query_service *service, const struct query *query, const char *what,
                        enum reason reason, const char *text)
{
    struct report_entry entry = report_entry(query, what);

    report_error(service->report, &entry, reason, text, "nothing: its connection was closed");
}

void query_refuse_policy(struct query_service *service, struct query *query, enum reason reason,
                         const char *text)
{
    query->started_usec = clock_usec(CLOCK_MONOTONIC);
    report_lost(service, query, "a policy client", reason, text);
}

void query_lost(struct query_service *service, const struct query *query, int error)
{
    report_lost(service, query, "a client", reason_from_errno(error),
                reason_text_from_errno(error));
}

void query_cancel(struct query_service *service, struct query *query)
{
    scanner_leave(service->scanner, &query->waiter);
    explainer_leave(&query->explain_waiter);
}

const struct counters *query_counters(const struct query_service *service)
{
    return &service->counters;
}

bool query_release_roots(struct query_service *service)
{
    watched_suspend(service->watched);
    return confine_release(service->settings->quota.mailbox.confine);
}

unsigned int query_stuck(struct query_service *service)
{
    return scanner_stuck(service->scanner);
}

bool query_is_busy(const struct query_service *service)
{
    return scanner_is_busy(service->scanner) || explainer_is_busy(service->explainer);
}

struct limits_store *query_limits(const struct query_service *service)
{
    return service->limits;
}

struct pool *query_pool(const struct query_service *service)
{
    return service->aside;
}

void query_status(struct query_service *service, char text[static QUERY_STATUS_BYTES_MAX])
{
    const struct counters *counters = &service->counters;
    uint64_t p99_usec = latency_quantile_usec(&counters->latency, 990);
    unsigned int stuck = query_stuck(service);
    char hang[64] = "";

    if (service->settings->misconfigured) {
        snprintf(text, QUERY_STATUS_BYTES_MAX, "%s", service->settings->misconfigured);
        return;
    }
    if (stuck > 0)
        snprintf(hang, sizeof(hang), "; %u counts hang in a file system", stuck);
    snprintf(text, QUERY_STATUS_BYTES_MAX,
             "%" PRIu64 " queries, %" PRIu64 " over quota, %" PRIu64
             " errors; %zu mailboxes cached; p99 %" PRIu64 ".%" PRIu64 " ms%s%s",
             counters->queries, counters_over(counters), counters_errors(counters),
             cache_count(service->nowait.cache, CACHE_COUNT), p99_usec / 1000, p99_usec / 100 % 10,
             lookups_fail(&service->lookups) ? "; addresses do not lead to mailboxes" : "", hang);
}
