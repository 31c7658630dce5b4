/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look into a mailbox that may have to wait, on a thread of a pool. Identical questions share
 * one: whoever asks about a mailbox that is being looked into waits for that look. A look that had
 * begun before the question came answers it only where the message fits; all others wait for the
 * next look, together.
 *
 * There are two lanes. A look begins in the fast one, where it may cost little; one that costs more
 * is begun again in the slow one, on threads of its own, and goes there at once the next time. One
 * that costs too much even there is given up, and not counted again for a quarter of an hour: who
 * asks meanwhile gets what maildirsize says, if that is enough, or -ETIMEDOUT.
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

/* What a look found. */
struct scan_result {
    int error;          /* 0, a negative errno, or -ETIMEDOUT: not known in time */
    bool late;          /* the count was not done in time; these are maildirsize's sums */
    bool counted;       /* the messages were counted */
    struct usage usage; /* if error is 0 */
    const char *path;   /* of the mailbox, as it was found; valid during the call */
    const char *detail; /* more about the error, or NULL; valid during the call */
};

struct scan_waiter;

/* Called on the event loop, once, when the result is there. The waiter may be released in it. */
typedef void (*scan_done_fn)(struct scan_waiter *waiter, const struct scan_result *result);

/* Somebody who waits for a look, part of what he needs it for. */
struct scan_waiter {
    const struct mailbox_policy *policy; /* set by the caller */
    scan_done_fn done;                   /* set by the caller */
    void *userdata;                      /* the caller's */
    bool have_usage;                     /* set by the caller: the usage is known, should the */
    struct usage usage;                  /* probe come late, or find no thread */

    struct scan *scan; /* NULL: waits for nothing */
    bool came_late;    /* the look had begun before */
    struct deadline deadline;
    TAILQ_ENTRY(scan_waiter) link;
};

/* Numbers since the start, for stats and STATUS=. */
struct scan_counters {
    uint64_t scans;    /* counts of messages that read at least one directory */
    uint64_t cached;   /* counts that were remembered whole */
    uint64_t shared;   /* questions that joined a look in flight */
    uint64_t timeouts; /* questions that did not get their look in time */
};

struct scanner;

struct scanner_settings {
    const struct mailbox_settings *mailbox;
    size_t stuck_waiters_max; /* questions that may wait for a device that hangs */
    uint64_t timeout_usec;    /* for one question */
};

/*
 * Makes a scanner with a pool for each lane. settings->mailbox, the pools, cache and devices are
 * the caller's and outlive it. Returns 0, or a negative errno.
 */
int scanner_new(sd_event *event, const struct scanner_settings *settings, struct pool *fast,
                struct pool *slow, struct cache *cache, struct devices *devices,
                struct scanner **ret);

/* Releases the scanner, after its pools have ended. */
void scanner_free(struct scanner *scanner);

/*
 * Asks for a look into the mailbox at path (normalised; copied), which may wait for the device (or
 * POOL_DEVICE_UNKNOWN). Returns 0, and done() is called later; or -EBUSY if there is no room for
 * the question or the device hangs and enough wait for it already, or -ENOMEM, and it is not.
 */
int scanner_ask(struct scanner *scanner, struct scan_waiter *waiter, const char *path,
                dev_t device);

/* Makes the waiter wait no longer; done() is not called. The look itself goes on. */
void scanner_leave(struct scanner *scanner, struct scan_waiter *waiter);

/* Returns the numbers, which stay the scanner's. */
const struct scan_counters *scanner_counters(const struct scanner *scanner);

/* Returns whether a look is under way. */
bool scanner_is_busy(const struct scanner *scanner);

/* Returns how many looks have waited for a file system for longer than the time-out, and still do.
 */
unsigned int scanner_stuck(struct scanner *scanner);
