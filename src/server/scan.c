/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/scan.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "quota/budget.h"
#include "server/effort.h"
#include "system/cleanup.h"
#include "system/clock.h"

TAILQ_HEAD(waiter_list, scan_waiter);

enum lane {
    LANE_FAST,
    LANE_SLOW,
    LANES,
};

/*
 * What a scan may cost in each round. One that costs more is interrupted and begun again, behind
 * the others that wait, with more to spend; directories that were read whole are not read again.
 * So a mailbox waits for others about as long as they cost, whatever the largest one costs.
 */
static const struct {
    enum lane lane;
    struct budget budget;
} rounds[] = {
    {.lane = LANE_FAST, .budget = BUDGET_SMALL},
    {.lane = LANE_SLOW,
     .budget = {.entries_max = UINT64_MAX,
                .cpu_usec_max = 500 * USEC_PER_MSEC,
                .folders_bytes_max = BUDGET_FOLDERS_BYTES_MAX}},
    {.lane = LANE_SLOW,
     .budget = {.entries_max = UINT64_MAX,
                .cpu_usec_max = 2 * USEC_PER_SEC,
                .folders_bytes_max = BUDGET_FOLDERS_BYTES_MAX}},
    {.lane = LANE_SLOW,
     .budget = {.entries_max = UINT64_MAX,
                .cpu_usec_max = BUDGET_CPU_USEC_MAX,
                .folders_bytes_max = BUDGET_FOLDERS_BYTES_MAX}},
};

#define ROUNDS (sizeof(rounds) / sizeof(rounds[0]))

/* For how long a mailbox is not counted after it cost too much even in the last round. */
#define DEFERRED_USEC (15 * 60 * USEC_PER_SEC)

/* How often a scan may be begun again because a link led to a device whose share was taken. */
#define MOVES_MAX 8

/* One scan in flight. Until it is finished, what the thread uses is the thread's alone. */
struct scan {
    struct pool_job job;
    struct scanner *scanner;
    LIST_ENTRY(scan) link;
    dev_t device; /* that was named when it was asked for */
    unsigned int round;
    unsigned int moves;
    bool is_deferred; /* the mailbox must not be counted */
    struct waiter_list waiters;
    size_t waiters_count;

    char *asked_path;
    char *path; /* the mailbox's own: shorter where asked_path is that of a folder */
    struct mailbox_policy policy;
    struct maildir_cache *cached;
    uint64_t mount_changes; /* before it began */

    struct budget budget;
    uint64_t cpu_usec; /* spent in this round */
    dev_t moves_to;    /* the device that it may not wait for yet; POOL_DEVICE_ANY: none */
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
    struct pool *pools[LANES];
    struct effort effort;
    struct deadline_queue deadlines;
    struct scan_list in_flight;
    struct scan_counters counters;
};

static void scan_free(struct scan *scan)
{
    if (!scan)
        return;
    maildir_cache_free(scan->cached);
    pthread_mutex_destroy(&scan->lock);
    free(scan->asked_path);
    free(scan->path);
    free(scan);
}

DEFINE_FREEP(scan)

/* Publishes what the probe found to those who wait, before the count is done. */
static void publish(struct scan *scan, const struct mailbox *mailbox, bool is_probed)
{
    pthread_mutex_lock(&scan->lock);
    scan->mailbox = *mailbox;
    scan->mailbox.fd = -1;
    scan->is_probed = is_probed;
    pthread_mutex_unlock(&scan->lock);
}

static struct pool *pool_of(const struct scan *scan)
{
    return scan->scanner->pools[rounds[scan->round].lane];
}

/* On a worker thread: a symbolic link leads to the device. */
static int on_enter_device(dev_t device, void *userdata)
{
    struct scan *scan = userdata;
    int r = pool_change_device(pool_of(scan), &scan->job, device);

    if (r < 0)
        scan->moves_to = device;
    return r;
}

/* On a worker thread. */
static void work(struct scan *scan)
{
    struct mailbox_settings settings = *scan->scanner->settings.mailbox;
    _cleanup_(mailbox_close) struct mailbox mailbox = MAILBOX_NULL;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    int r;

    settings.maildir.budget = &scan->budget;
    budget_start(&scan->budget);
    r = mailbox_probe(&settings, &scan->policy, NULL, scan->path, now_usec, &mailbox);
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
    if (scan->is_deferred) {
        scan->error = -ETIMEDOUT;
        return;
    }
    scan->error = mailbox_count(&mailbox, scan->path, &settings, &scan->policy, now_usec,
                                &scan->cached, &scan->usage);
    scan->counted = scan->error == 0 && scan->usage.rule != USAGE_RULE_LAYOUT;
    if (scan->error < 0)
        publish(scan, &mailbox, true); /* with what it says of the error */
}

static void on_work(struct pool_job *job)
{
    struct scan *scan = (struct scan *)job;

    work(scan);
    scan->cpu_usec = budget_cpu_usec(&scan->budget);
}

static struct scan_result scan_result(const struct scan *scan)
{
    return (struct scan_result){
        .error = scan->error,
        .counted = scan->counted,
        .usage = scan->usage,
        .path = scan->path,
        .device = scan->mailbox.device,
        .detail = scan->mailbox.detail[0] != '\0' ? scan->mailbox.detail : NULL,
    };
}

static bool same_limit(struct quota_limit a, struct quota_limit b)
{
    return a.bytes == b.bytes && a.messages == b.messages;
}

static int submit(struct scan *scan)
{
    scan->budget = rounds[scan->round].budget;
    scan->budget.enter_device = on_enter_device;
    scan->budget.userdata = scan;
    scan->moves_to = POOL_DEVICE_ANY;
    (void)strcpy(scan->path, scan->asked_path);
    return pool_submit(pool_of(scan), &scan->job);
}

/* Returns whether two queries about a mailbox are equal; grace is the same for all. */
static bool same_policy(const struct mailbox_policy *a, const struct mailbox_policy *b)
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
 * Whether the scan answers the waiter's query, with *result. Its sums may not suffice for a lower
 * limit or a larger message. And what it read before the query arrived may accept a message, but
 * not refuse one: there may be room by now.
 */
static bool answers(const struct scan *scan, const struct scan_waiter *waiter,
                    struct scan_result *result)
{
    *result = scan_result(scan);
    if (scan->error < 0)
        return true;
    if (!scan->counted && !same_policy(&scan->policy, waiter->policy) &&
        !is_answered(scan, waiter, &result->usage))
        return false;
    return !waiter->came_late || mailbox_fits(&result->usage, waiter->policy);
}

static struct scan *find_scan(const struct scanner *scanner, const char *path)
{
    struct scan *scan;

    LIST_FOREACH (scan, &scanner->in_flight, link)
        if (strcmp(scan->asked_path, path) == 0)
            return scan;
    return NULL;
}

/* Gives back what is cached of the mailbox. */
static void cache_count_of(struct scan *scan)
{
    struct maildir_cache *cached = steal_pointer(&scan->cached);

    cache_put(scan->scanner->cache, CACHE_COUNT, scan->asked_path, cached,
              maildir_cache_bytes(cached));
}

static void on_finished(struct pool_job *job);

static int start_scan(struct scanner *scanner, const char *path, dev_t device,
                      const struct mailbox_policy *policy, struct scan **ret)
{
    _cleanup_(scan_freep) struct scan *scan = calloc(1, sizeof(*scan));
    enum effort_size size;
    int r;

    if (!scan)
        return -ENOMEM;
    pthread_mutex_init(&scan->lock, NULL);
    TAILQ_INIT(&scan->waiters);
    scan->scanner = scanner;
    scan->device = device;
    size = effort_get(&scanner->effort, path, clock_usec(CLOCK_MONOTONIC));
    scan->is_deferred = size == EFFORT_DEFERRED;
    scan->round = size == EFFORT_LARGE ? 1 : 0;
    scan->policy = *policy;
    scan->asked_path = strdup(path);
    scan->path = strdup(path);
    if (!scan->asked_path || !scan->path)
        return -ENOMEM;
    scan->job = (struct pool_job){.device = device, .work = on_work, .finished = on_finished};
    scan->cached = cache_take(scanner->cache, CACHE_COUNT, path);
    scan->mount_changes = devices_changes(scanner->devices);
    r = submit(scan);
    if (r < 0) {
        cache_count_of(scan);
        return r == -EAGAIN ? -EBUSY : r;
    }
    LIST_INSERT_HEAD(&scanner->in_flight, scan, link);
    *ret = steal_pointer(&scan);
    return 0;
}

/* Returns how many scans have been waiting for the device for longer than any query may. */
static unsigned int stuck_on(const struct scanner *scanner, dev_t device)
{
    unsigned int count = 0;

    for (enum lane lane = 0; lane < LANES; lane++)
        count += pool_stuck(scanner->pools[lane], device, scanner->settings.timeout_usec);
    return count;
}

/* Returns whether the device hangs and enough queries wait for it. */
static bool device_hangs(const struct scanner *scanner, dev_t device)
{
    const struct scan *scan;
    size_t waiters = 0;

    LIST_FOREACH (scan, &scanner->in_flight, link)
        if (scan->device == device)
            waiters += scan->waiters_count;
    return waiters >= scanner->settings.stuck_waiters_max && stuck_on(scanner, device) > 0;
}

/*
 * Makes the waiter wait for the scan in flight of the mailbox at path, or for a new one. Does not
 * change its deadline. Returns as scanner_ask().
 */
static int join_scan(struct scanner *scanner, struct scan_waiter *waiter, const char *path,
                     dev_t device)
{
    struct scan *scan = find_scan(scanner, path);
    int r;

    if (device_hangs(scanner, device))
        return -EBUSY;
    waiter->came_late = scan && pool_has_begun(pool_of(scan), &scan->job);
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

static void leave_scan(struct scan_waiter *waiter)
{
    TAILQ_REMOVE(&waiter->scan->waiters, waiter, link);
    waiter->scan->waiters_count--;
    waiter->scan = NULL;
}

/*
 * Returns the result for a waiter before the scan has finished: what the rules say about what is
 * known so far, which is never "over" by sums that still need a count.
 */
static struct scan_result late_result(struct scan *scan, const struct scan_waiter *waiter,
                                      int error)
{
    struct scan_result result = {
        .error = waiter->have_usage ? 0 : error,
        .late = true,
        .usage = waiter->usage,
        .path = scan->asked_path,
    };
    struct usage usage;

    pthread_mutex_lock(&scan->lock);
    if (scan->is_probed && is_answered(scan, waiter, &usage)) {
        result.error = 0;
        result.usage = usage;
    }
    pthread_mutex_unlock(&scan->lock);
    return result;
}

/*
 * Gives all waiters the result of the scan. Waiters whose query it does not answer wait for another
 * scan, with their old deadline; if there is no room for it, they get what is known so far.
 */
static void hand_out(struct scanner *scanner, struct scan *scan)
{
    struct scan_waiter *waiter;

    while ((waiter = TAILQ_FIRST(&scan->waiters))) {
        struct scan_result result;
        int r = 0;

        leave_scan(waiter);
        if (!answers(scan, waiter, &result)) {
            /* What it reads is younger than the query. */
            r = join_scan(scanner, waiter, scan->asked_path, scan->device);
            waiter->came_late = false;
            if (r == 0)
                continue;
        }
        deadline_stop(&scanner->deadlines, &waiter->deadline);
        if (r == 0 && (result.error == -EBUSY || result.error == -ETIMEDOUT))
            r = result.error;
        if (r < 0)
            result = late_result(scan, waiter, r);
        waiter->done(waiter, &result);
    }
}

/*
 * Begins a scan again if it exceeded its budget, or must wait for a device that has its share of
 * threads already. Returns whether it did; otherwise scan->error says why.
 */
static bool begin_again(struct scan *scan)
{
    bool is_fast = rounds[scan->round].lane == LANE_FAST;
    struct scan_waiter *waiter;
    int r;

    if (scan->moves_to != POOL_DEVICE_ANY && scan->error == -EBUSY && scan->moves < MOVES_MAX) {
        scan->moves++;
        scan->job.device = scan->moves_to;
    } else if ((scan->error == -ETIME || (is_fast && scan->error == -E2BIG)) &&
               scan->round + 1 < ROUNDS) {
        scan->round++;
    } else {
        return false;
    }
    r = submit(scan);
    if (r < 0) {
        scan->error = r;
        return false;
    }
    TAILQ_FOREACH (waiter, &scan->waiters, link)
        waiter->came_late = false;
    return true;
}

static void note_effort(struct scan *scan)
{
    struct effort *effort = &scan->scanner->effort;
    const struct budget *small = &rounds[0].budget;

    if (scan->error == -ETIME)
        effort_note_large(effort, scan->asked_path, clock_usec(CLOCK_MONOTONIC) + DEFERRED_USEC);
    else if (scan->cpu_usec > small->cpu_usec_max || scan->budget.entries > small->entries_max)
        effort_note_large(effort, scan->asked_path, 0);
    else if (!scan->is_deferred)
        effort_note_small(effort, scan->asked_path);
}

static void on_finished(struct pool_job *job)
{
    struct scan *scan = (struct scan *)job;
    struct scanner *scanner = scan->scanner;

    if (begin_again(scan))
        return;
    LIST_REMOVE(scan, link);
    note_effort(scan);
    if (scan->error == -ETIME)
        scan->error = -ETIMEDOUT;
    if (scan->mailbox.device_kind != FILESYSTEM_UNKNOWN)
        devices_learn(scanner->devices, scan->mailbox.device, scan->mailbox.device_kind,
                      scan->mount_changes);
    cache_count_of(scan);
    if (scan->counted && scan->usage.source == USAGE_CACHE)
        scanner->counters.cached++;
    else if (scan->counted)
        scanner->counters.scans++;
    hand_out(scanner, scan);
    scan_free(scan);
}

static void on_deadline(struct deadline *deadline, void *userdata)
{
    struct scanner *scanner = userdata;
    struct scan_waiter *waiter = container_of(deadline, struct scan_waiter, deadline);
    struct scan_result result = late_result(waiter->scan, waiter, -ETIMEDOUT);

    scanner->counters.timeouts++;
    scanner_leave(scanner, waiter);
    waiter->done(waiter, &result);
}

int scanner_new(sd_event *event, const struct scanner_settings *settings, struct pool *fast,
                struct pool *slow, struct cache *cache, struct devices *devices,
                struct scanner **ret)
{
    _cleanup_(freep) struct scanner *scanner = calloc(1, sizeof(*scanner));
    int r;

    if (!scanner)
        return -ENOMEM;
    scanner->settings = *settings;
    scanner->pools[LANE_FAST] = fast;
    scanner->pools[LANE_SLOW] = slow;
    scanner->cache = cache;
    scanner->devices = devices;
    LIST_INIT(&scanner->in_flight);
    r = effort_init(&scanner->effort);
    if (r < 0)
        return r;
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

int scanner_ask(struct scanner *scanner, struct scan_waiter *waiter, const char *path, dev_t device)
{
    int r = join_scan(scanner, waiter, path, device);

    if (r == 0)
        deadline_start(&scanner->deadlines, &waiter->deadline);
    return r;
}

void scanner_leave(struct scanner *scanner, struct scan_waiter *waiter)
{
    if (!waiter->scan)
        return;
    deadline_stop(&scanner->deadlines, &waiter->deadline);
    leave_scan(waiter);
}

const struct scan_counters *scanner_counters(const struct scanner *scanner)
{
    return &scanner->counters;
}

bool scanner_is_busy(const struct scanner *scanner)
{
    return !LIST_EMPTY(&scanner->in_flight);
}

unsigned int scanner_stuck(struct scanner *scanner)
{
    return stuck_on(scanner, POOL_DEVICE_ANY);
}
