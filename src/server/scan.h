/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scans: the probe of a mailbox, and the count if one is needed, on a worker thread, since both may
 * have to wait. Queries share scans: a query about a mailbox that is being scanned waits for that
 * scan. A scan that began before the query arrived answers it only if the message fits; all other
 * such queries wait for the next scan together.
 *
 * There are two lanes. A scan begins in the fast lane, where it may cost little. If it costs more,
 * it is begun again in the slow lane, which has threads of its own; the next scan of that mailbox
 * goes there at once. If it costs too much even there, it is abandoned, and the mailbox is not
 * counted for 15 minutes: queries get what maildirsize says, if that suffices, or -ETIMEDOUT.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "quota/cache.h"
#include "quota/mailbox.h"
#include "server/deadline.h"
#include "server/devices.h"
#include "server/pool.h"

/* The result of a scan. */
struct scan_result {
    int error;          /* 0, a negative errno, or -ETIMEDOUT: not known in time */
    bool late;          /* the count was not done in time; these are maildirsize's sums */
    bool counted;       /* the messages were counted */
    struct usage usage; /* if error is 0 */
    const char *path;   /* of the mailbox; valid during the call */
    dev_t device;       /* that it is on, unless it is late */
    const char *detail; /* more about the error, or NULL; valid during the call */
};

struct scan_waiter;

/* Called once, on the event loop, with the result. It may release the waiter. */
typedef void (*scan_done_fn)(struct scan_waiter *waiter, const struct scan_result *result);

/* A query that waits for a scan; embedded in what the caller keeps of the query. */
struct scan_waiter {
    const struct mailbox_policy *policy; /* set by the caller */
    scan_done_fn done;                   /* set by the caller */
    void *userdata;                      /* the caller's */
    bool have_usage;                     /* set by the caller: usage is the result if the probe */
    struct usage usage;                  /* is late, or there is no thread for it */

    struct scan *scan; /* NULL: waits for nothing */
    bool came_late;    /* the scan had begun before the query arrived */
    struct deadline deadline;
    TAILQ_ENTRY(scan_waiter) link;
};

/* Counters since the start, for stats and STATUS=. */
struct scan_counters {
    uint64_t scans;    /* counts of messages that read at least one directory */
    uint64_t cached;   /* counts that came entirely from the cache */
    uint64_t shared;   /* queries that joined a scan in flight */
    uint64_t timeouts; /* queries whose scan was not finished in time */
};

struct scanner;

struct scanner_settings {
    const struct mailbox_settings *mailbox;
    size_t stuck_waiters_max; /* queries that may wait for a device that hangs */
    uint64_t timeout_usec;    /* for one query */
};

/*
 * Makes a scanner with one pool for each lane. settings->mailbox, the pools, cache and devices stay
 * the caller's and must outlive it. Returns 0 or a negative errno.
 */
int scanner_new(sd_event *event, const struct scanner_settings *settings, struct pool *fast,
                struct pool *slow, struct cache *cache, struct devices *devices,
                struct scanner **ret);

/* Releases the scanner, after its pools have ended. */
void scanner_free(struct scanner *scanner);

/*
 * Requests a scan of the mailbox at path (normalised; copied), which may wait for the device (or
 * POOL_DEVICE_UNKNOWN). Returns 0, and done() is called later. It is not called after an error:
 * -EBUSY if the queue is full, or if the device hangs and enough queries wait for it already, or
 * another negative errno, such as -ENOMEM.
 */
int scanner_ask(struct scanner *scanner, struct scan_waiter *waiter, const char *path,
                dev_t device);

/* Removes the waiter: done() is not called. The scan itself continues. */
void scanner_leave(struct scanner *scanner, struct scan_waiter *waiter);

/* Returns the counters, which stay the scanner's. */
const struct scan_counters *scanner_counters(const struct scanner *scanner);

/* Returns whether a scan is under way. */
bool scanner_is_busy(const struct scanner *scanner);

/* Returns how many scans have been waiting for longer than the timeout, and still are. */
unsigned int scanner_stuck(struct scanner *scanner);
