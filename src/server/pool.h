/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pool of worker threads, for jobs that may wait for a disk or a server. Each job names the
 * device that it may wait for. No device ever occupies more than its share of the threads, or of
 * the queue, so a file system that hangs delays its own mailboxes and no others. The first job for
 * a device gets a thread at once. While a thread has been waiting for longer than
 * POOL_PATIENCE_USEC, another one takes its place. See POOL_SPARE_THREADS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

/* How long a job may wait, not counting its processor time, before another thread is started. */
#define POOL_PATIENCE_USEC (UINT64_C(250) * 1000)

/*
 * How many threads a pool may have beside those that it was asked for: while threads wait, and of
 * these the last for devices that have no job at work.
 */
#define POOL_SPARE_THREADS 60
#define POOL_FIRST_THREADS 30

struct pool;
struct pool_job;

/* Values that are not the number of a device. */
#define POOL_DEVICE_UNKNOWN ((dev_t)0)  /* all such jobs together have the share of one device */
#define POOL_DEVICE_NONE    ((dev_t)-1) /* the job does not concern a mailbox */
#define POOL_DEVICE_ANY     ((dev_t)-2) /* every device, for pool_stuck(); no job has it */
#define POOL_DEVICE_PATHS   ((dev_t)-3) /* the check of the options' paths may hang anywhere */

struct pool_job {
    /* Set by the caller. */
    dev_t device;                           /* what it may wait for; the pool's until it is done */
    void (*work)(struct pool_job *job);     /* called on a worker thread */
    void (*finished)(struct pool_job *job); /* called on the event loop after work() */

    /* Private to the pool. */
    STAILQ_ENTRY(pool_job) link;
    uint64_t started_usec; /* 0: no thread has started it */
    uint64_t cpu_started_usec;
};

/*
 * Makes a pool of up to `threads` threads, which are started when they are first needed, and more
 * while threads wait (see above), and a queue of at most queue_max waiting jobs. Returns 0 and the
 * pool, or a negative errno.
 */
int pool_new(sd_event *event, unsigned int threads, size_t queue_max, struct pool **ret);

/*
 * Ends the pool. Jobs that no thread has started are dropped without a call. Returns false if a
 * thread is still at work; the pool, and what its jobs use, must not be released then.
 */
bool pool_end(struct pool *pool);

/*
 * Queues a job, which stays the caller's and must live until finished() is called. Returns 0;
 * -EBUSY if the queue, or the device's share of it, is full; or the negative errno of
 * pthread_create(3) if there is no thread at all.
 */
int pool_submit(struct pool *pool, struct pool_job *job);

/*
 * Must be called by a running job before it may wait for another device, which is then its own.
 * Returns 0, or -EBUSY if that device already has its share of the threads.
 */
int pool_change_device(struct pool *pool, struct pool_job *job, dev_t device);

/* Returns whether a thread has started the job, which was submitted and is not finished. */
bool pool_has_begun(struct pool *pool, const struct pool_job *job);

/*
 * Returns how many running jobs for the device, which may be POOL_DEVICE_ANY, have waited for more
 * than after_usec, not counting their processor time.
 */
unsigned int pool_stuck(struct pool *pool, dev_t device, uint64_t after_usec);

/* Returns how many of that number of threads one device may occupy. */
unsigned int pool_device_share(unsigned int threads);

/*
 * Returns how many of that number of threads may count large mailboxes: one processor is left to
 * the other threads. A lower priority (setpriority(2)) is not enough: the kernel does not preempt a
 * thread that is resolving a long path.
 */
unsigned int pool_slow_threads(unsigned int threads);
