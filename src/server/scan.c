/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/scan.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "system/cleanup.h"
#include "system/clock.h"

TAILQ_HEAD(waiter_list, scan_waiter);

/* One look in flight. Until it is finished, what the thread uses is the thread's alone. */
struct scan {
    struct pool_job job;
    struct scanner *scanner;
    LIST_ENTRY(scan) link;
    struct waiter_list waiters;
    size_t waiters_count;

    char *asked_path;
    char *path; /* the mailbox's own: shorter where asked_path is that of a folder */
    struct mailbox_policy policy;
    struct maildir_memory *memory;
    uint64_t mount_changes; /* before it began */

    int error;
    bool counted; /* by a rule that does not depend on the policy */
    struct usage usage;

    pthread_mutex_t lock; /* guards the next two until the scan is finished */
    bool is_probed;
    struct mailbox mailbox; /* what the probe found; closed */
};

LIST_HEAD(scan_list, scan);

struct scanner {
    struct scanner_settings settings;
    struct cache *cache;
    struct devices *devices;
    struct pool *pool;
    struct deadline_queue deadlines;
    struct scan_list in_flight;
    struct scan_counters counters;
};

static void scan_free(struct scan *scan)
{
    maildir_memory_free(scan->memory);
    pthread_mutex_destroy(&scan->lock);
    free(scan->asked_path);
    free(scan->path);
    free(scan);
}

static void scan_freep(struct scan **scan)
{
    if (*scan)
        scan_free(*scan);
}

/* Lets those who wait know what the probe found, before the count is done. */
static void publish(struct scan *scan, const struct mailbox *mailbox, bool is_probed)
{
    pthread_mutex_lock(&scan->lock);
    scan->mailbox = *mailbox;
    scan->mailbox.fd = -1;
    scan->is_probed = is_probed;
    pthread_mutex_unlock(&scan->lock);
}

/* On a worker thread. */
static void work(struct scan *scan)
{
    const struct mailbox_settings *settings = scan->scanner->settings.mailbox;
    _cleanup_(mailbox_close) struct mailbox mailbox = MAILBOX_NULL;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    int r = mailbox_probe(settings, &scan->policy, NULL, scan->path, now_usec, &mailbox);

    publish(scan, &mailbox, r >= 0);
    if (r < 0) {
        scan->error = r;
        return;
    }
    scan->path[mailbox.path_length] = '\0';
    if (r == MAILBOX_ANSWERED) {
        scan->usage = mailbox.usage;
        return;
    }
    scan->error = mailbox_count(&mailbox, scan->path, settings, &scan->policy, now_usec,
                                &scan->memory, &scan->usage);
    scan->counted = scan->error == 0 && scan->usage.rule != USAGE_RULE_LAYOUT;
    if (scan->error < 0)
        publish(scan, &mailbox, true); /* with what it says of the error */
}

static void on_work(struct pool_job *job)
{
    struct scan *scan = (struct scan *)job;

    work(scan);
}

static struct scan_result scan_result(const struct scan *scan)
{
    return (struct scan_result){
        .error = scan->error,
        .counted = scan->counted,
        .usage = scan->usage,
        .path = scan->path,
        .detail = scan->mailbox.detail[0] != '\0' ? scan->mailbox.detail : NULL,
    };
}

static bool same_limit(struct quota_limit a, struct quota_limit b)
{
    return a.bytes == b.bytes && a.messages == b.messages;
}

/* Whether two questions about a mailbox are the same one; grace is the same for all. */
static bool same_question(const struct mailbox_policy *a, const struct mailbox_policy *b)
{
    return a->have_limit == b->have_limit && same_limit(a->limit, b->limit) &&
           a->limit_from == b->limit_from && same_limit(a->default_limit, b->default_limit) &&
           a->default_from == b->default_from && a->size_bytes == b->size_bytes &&
           a->verdict_alone == b->verdict_alone;
}

/* Whether the rules answer the waiter's query by what the probe found, and the usage if so. */
static bool is_answered(const struct scan *scan, const struct scan_waiter *waiter,
                        struct usage *ret)
{
    return mailbox_decide(&scan->mailbox, scan->scanner->settings.mailbox, waiter->policy,
                          clock_usec(CLOCK_REALTIME), ret) == MAILBOX_ANSWERED;
}

/*
 * Whether what the scan found answers the waiter's query, in *result. It may have been satisfied
 * with sums that will not do for a waiter with a lower limit or a larger message.
 */
static bool answers(const struct scan *scan, const struct scan_waiter *waiter,
                    struct scan_result *result)
{
    *result = scan_result(scan);
    return scan->error < 0 || scan->counted || same_question(&scan->policy, waiter->policy) ||
           is_answered(scan, waiter, &result->usage);
}

static int join_look(struct scanner *scanner, struct scan_waiter *waiter, const char *path,
                     dev_t device);

static void leave_look(struct scan_waiter *waiter)
{
    TAILQ_REMOVE(&waiter->scan->waiters, waiter, link);
    waiter->scan->waiters_count--;
    waiter->scan = NULL;
}

/*
 * Tells everybody who waits what the look found. Whom it does not answer waits for another one, no
 * longer than for this one alone, and is refused where there is no room for it.
 */
static void hand_out(struct scanner *scanner, struct scan *scan)
{
    struct scan_waiter *waiter;

    while ((waiter = TAILQ_FIRST(&scan->waiters))) {
        struct scan_result result;
        int r = 0;

        leave_look(waiter);
        if (!answers(scan, waiter, &result)) {
            r = join_look(scanner, waiter, scan->asked_path, scan->mailbox.device);
            if (r == 0)
                continue;
        }
        deadline_stop(&scanner->deadlines, &waiter->deadline);
        if (r < 0)
            waiter->done(waiter, &(struct scan_result){.error = r, .path = scan->path});
        else
            waiter->done(waiter, &result);
    }
}

static void on_finished(struct pool_job *job)
{
    struct scan *scan = (struct scan *)job;
    struct scanner *scanner = scan->scanner;

    LIST_REMOVE(scan, link);
    if (scan->mailbox.device_kind != FILESYSTEM_UNKNOWN)
        devices_learn(scanner->devices, scan->mailbox.device, scan->mailbox.device_kind,
                      scan->mount_changes);
    cache_put(scanner->cache, scan->asked_path, scan->memory);
    scan->memory = NULL;
    if (scan->counted && scan->usage.source == USAGE_CACHE)
        scanner->counters.cached++;
    else if (scan->counted)
        scanner->counters.scans++;
    hand_out(scanner, scan);
    scan_free(scan);
}

/*
 * The scan takes too long for a waiter. It gets what the rules can say by what is known so far,
 * which is never that the mailbox is over by sums that wait for a count.
 */
static void on_deadline(struct deadline *deadline, void *userdata)
{
    struct scanner *scanner = userdata;
    struct scan_waiter *waiter =
        (struct scan_waiter *)((char *)deadline - offsetof(struct scan_waiter, deadline));
    struct scan *scan = waiter->scan;
    struct usage usage;
    struct scan_result result = {
        .error = waiter->have_usage ? 0 : -ETIMEDOUT,
        .late = true,
        .usage = waiter->usage,
        .path = scan->asked_path,
    };

    pthread_mutex_lock(&scan->lock);
    if (scan->is_probed && is_answered(scan, waiter, &usage)) {
        result.error = 0;
        result.usage = usage;
    }
    pthread_mutex_unlock(&scan->lock);
    scanner->counters.timeouts++;
    scanner_leave(scanner, waiter);
    waiter->done(waiter, &result);
}

int scanner_new(sd_event *event, const struct scanner_settings *settings, struct pool *pool,
                struct cache *cache, struct devices *devices, struct scanner **ret)
{
    _cleanup_(freep) struct scanner *scanner = calloc(1, sizeof(*scanner));
    int r;

    if (!scanner)
        return -ENOMEM;
    scanner->settings = *settings;
    scanner->pool = pool;
    scanner->cache = cache;
    scanner->devices = devices;
    LIST_INIT(&scanner->in_flight);
    r = deadline_queue_init(&scanner->deadlines, event, settings->timeout_usec, on_deadline,
                            scanner);
    if (r < 0)
        return r;
    *ret = steal_pointer(&scanner);
    return 0;
}

void scanner_free(struct scanner *scanner)
{
    struct scan *scan;

    while ((scan = LIST_FIRST(&scanner->in_flight))) {
        LIST_REMOVE(scan, link);
        scan_free(scan);
    }
    deadline_queue_deinit(&scanner->deadlines);
    free(scanner);
}

static struct scan *find_scan(const struct scanner *scanner, const char *path)
{
    struct scan *scan;

    LIST_FOREACH (scan, &scanner->in_flight, link)
        if (strcmp(scan->asked_path, path) == 0)
            return scan;
    return NULL;
}

static int start_scan(struct scanner *scanner, const char *path, dev_t device,
                      const struct mailbox_policy *policy, struct scan **ret)
{
    _cleanup_(scan_freep) struct scan *scan = calloc(1, sizeof(*scan));
    int r;

    if (!scan)
        return -ENOMEM;
    pthread_mutex_init(&scan->lock, NULL);
    TAILQ_INIT(&scan->waiters);
    scan->scanner = scanner;
    scan->policy = *policy;
    scan->asked_path = strdup(path);
    scan->path = strdup(path);
    if (!scan->asked_path || !scan->path)
        return -ENOMEM;
    scan->job = (struct pool_job){.device = device, .work = on_work, .finished = on_finished};
    scan->memory = cache_take(scanner->cache, path);
    scan->mount_changes = devices_changes(scanner->devices);
    r = pool_submit(scanner->pool, &scan->job);
    if (r < 0) {
        cache_put(scanner->cache, path, scan->memory);
        scan->memory = NULL;
        return r == -EAGAIN ? -EBUSY : r;
    }
    LIST_INSERT_HEAD(&scanner->in_flight, scan, link);
    *ret = steal_pointer(&scan);
    return 0;
}

/* Whether enough questions wait for the device while it answers none. */
static bool device_hangs(const struct scanner *scanner, dev_t device)
{
    const struct scan *scan;
    size_t waiters = 0;

    LIST_FOREACH (scan, &scanner->in_flight, link)
        if (scan->job.device == device)
            waiters += scan->waiters_count;
    return waiters >= scanner->settings.stuck_waiters_max &&
           pool_stuck(scanner->pool, device, scanner->settings.timeout_usec) > 0;
}

/*
 * Makes the waiter wait for the look into the mailbox at path that is in flight, or for a new one.
 * Its deadline is left alone. Returns as scanner_ask().
 */
static int join_look(struct scanner *scanner, struct scan_waiter *waiter, const char *path,
                     dev_t device)
{
    struct scan *scan = find_scan(scanner, path);
    int r;

    if (device_hangs(scanner, device))
        return -EBUSY;
    if (scan) {
        scanner->counters.shared++;
    } else {
        r = start_scan(scanner, path, device, waiter->policy, &scan);
        if (r < 0)
            return r;
    }
    waiter->scan = scan;
    TAILQ_INSERT_TAIL(&scan->waiters, waiter, link);
    scan->waiters_count++;
    return 0;
}

int scanner_ask(struct scanner *scanner, struct scan_waiter *waiter, const char *path, dev_t device)
{
    int r = join_look(scanner, waiter, path, device);

    if (r == 0)
        deadline_start(&scanner->deadlines, &waiter->deadline);
    return r;
}

void scanner_leave(struct scanner *scanner, struct scan_waiter *waiter)
{
    if (!waiter->scan)
        return;
    deadline_stop(&scanner->deadlines, &waiter->deadline);
    leave_look(waiter);
}

const struct scan_counters *scanner_counters(const struct scanner *scanner)
{
    return &scanner->counters;
}

unsigned int scanner_stuck(struct scanner *scanner)
{
    return pool_stuck(scanner->pool, POOL_DEVICE_ANY, scanner->settings.timeout_usec);
}
