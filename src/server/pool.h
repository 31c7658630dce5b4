/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few threads for what may wait for a disk or a server. Each job names the device that it may
 * wait for, and no device ever holds more than its share of the threads, or the whole queue: a file
 * system that hangs holds up its own mailboxes and no others. A thread that has waited for longer
 * than POOL_PATIENCE_USEC is replaced by another one for as long as it waits, up to
 * POOL_THREADS_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

/* How long a job may wait, its own processor time apart, before others get another thread. */
#define POOL_PATIENCE_USEC (UINT64_C(250) * 1000)

/* How many threads a pool has at most, unless more are asked for. */
#define POOL_THREADS_MAX 32

struct pool;
struct pool_job;

/* What stands for a device where there is none. */
#define POOL_DEVICE_UNKNOWN ((dev_t)0)  /* such jobs have the share of one device together */
#define POOL_DEVICE_NONE    ((dev_t)-1) /* of a job that has to do with no mailbox */
#define POOL_DEVICE_ANY     ((dev_t)-2) /* of no job */
#define POOL_DEVICE_PATHS                                                                          \
    ((dev_t)-3) /* of the look at the options' paths, which may hang anywhere */

struct pool_job {
    /* Set by the caller. */
    dev_t device;                           /* what it may wait for; the pool's until it is done */
    void (*work)(struct pool_job *job);     /* called on a thread */
    void (*finished)(struct pool_job *job); /* called on the event loop, when work() is done */

    /* The pool's own. */
    STAILQ_ENTRY(pool_job) link;
    uint64_t started_usec; /* 0: no thread has begun with it */
    uint64_t cpu_started_usec;
};

/*
 * Makes a pool of up to `threads` threads, which start when the first jobs come, and a queue of at
 * most queue_max waiting jobs. niceness is how far the threads stand back for all others, from 0 to
 * 19. Returns 0 and the pool, or a negative errno.
 */
int pool_new(sd_event *event, unsigned int threads, size_t queue_max, int niceness,
             struct pool **ret);

/*
 * Ends the pool. Jobs that no thread has begun are dropped without a call. Returns false where a
 * thread is still at work: the pool, and what its jobs use, must not be released then.
 */
bool pool_end(struct pool *pool);

/*
 * Gives the pool a job, which stays the caller's and must live until finished() is called.
 * Returns 0, -EBUSY where the queue, or the device's share of it, is full, or the negative errno of
 * pthread_create(3) where there is no thread at all.
 */
int pool_submit(struct pool *pool, struct pool_job *job);

/*
 * Called by a job at work before it may wait for another device: its own from now on. Returns 0, or
 * -EBUSY where that device has its share of the threads already.
 */
int pool_change_device(struct pool *pool, struct pool_job *job, dev_t device);

/* Returns whether a thread has begun with the job, which was submitted and is not finished. */
bool pool_has_begun(struct pool *pool, const struct pool_job *job);

/*
 * Returns how many jobs for the device, which may be POOL_DEVICE_ANY, have waited for more than
 * after_usec, their own processor time apart.
 */
unsigned int pool_stuck(struct pool *pool, dev_t device, uint64_t after_usec);

/* Returns how many threads one device may hold of as many as there are. */
unsigned int pool_device_share(unsigned int threads);
