/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* A job's frames are shallow, and its large buffers are on the heap. */
#define STACK_BYTES (256 * 1024)

STAILQ_HEAD(job_list, pool_job);

struct pool {
    pthread_mutex_t lock; /* guards everything below but the constants */
    pthread_cond_t work;
    struct job_list waiting;
    struct job_list done;
    size_t waiting_count;
    unsigned int threads_count;
    unsigned int idle_count;
    struct pool_job **running; /* one place a thread; NULL: idle */
    pthread_t *threads;
    bool ending;

    unsigned int threads_max;
    size_t queue_max;
    int wake_fd;
    sd_event_source *wake;
};

/* What a thread is given at its start. */
struct place {
    struct pool *pool;
    unsigned int index;
};

unsigned int pool_device_share(unsigned int threads)
{
    return threads > 1 ? (threads + 1) / 2 : 1;
}

static unsigned int running_on(const struct pool *pool, dev_t device)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < pool->threads_count; i++)
        if (pool->running[i] && pool->running[i]->device == device)
            count++;
    return count;
}

static size_t waiting_on(const struct pool *pool, dev_t device)
{
    const struct pool_job *job;
    size_t count = 0;

    STAILQ_FOREACH (job, &pool->waiting, link)
        if (job->device == device)
            count++;
    return count;
}

static bool may_run(const struct pool *pool, const struct pool_job *job)
{
    return running_on(pool, job->device) < pool_device_share(pool->threads_max);
}

/* Takes the first waiting job whose device still has a share. Returns NULL if there is none. */
static struct pool_job *take_job(struct pool *pool)
{
    struct pool_job *job;

    STAILQ_FOREACH (job, &pool->waiting, link)
        if (may_run(pool, job)) {
            STAILQ_REMOVE(&pool->waiting, job, pool_job, link);
            pool->waiting_count--;
            return job;
        }
    return NULL;
}

static void wake_loop(const struct pool *pool)
{
    /* Cannot fail: the counter is drained long before it overflows. */
    (void)eventfd_write(pool->wake_fd, 1);
}

static void run_job(struct pool *pool, unsigned int index, struct pool_job *job)
{
    job->started_usec = clock_usec(CLOCK_MONOTONIC);
    pool->running[index] = job;
    pthread_mutex_unlock(&pool->lock);
    job->work(job);
    pthread_mutex_lock(&pool->lock);
    pool->running[index] = NULL;
    STAILQ_INSERT_TAIL(&pool->done, job, link);
    wake_loop(pool);
    /* The device's share is free again, perhaps for a job that idle threads had to pass over. */
    if (pool->waiting_count > 0)
        pthread_cond_signal(&pool->work);
}

static void *thread_main(void *argument)
{
    struct place *place = argument;
    struct pool *pool = place->pool;
    unsigned int index = place->index;

    free(place);
    pthread_mutex_lock(&pool->lock);
    while (!pool->ending) {
        struct pool_job *job = take_job(pool);

        if (job) {
            run_job(pool, index, job);
            continue;
        }
        pool->idle_count++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->idle_count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Starts one more thread. Called with the lock held. */
static int start_thread(struct pool *pool)
{
    _cleanup_(freep) struct place *place = malloc(sizeof(*place));
    pthread_attr_t attributes;
    int r;

    if (!place)
        return -ENOMEM;
    *place = (struct place){pool, pool->threads_count};
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    r = pthread_create(&pool->threads[pool->threads_count], &attributes, thread_main, place);
    pthread_attr_destroy(&attributes);
    if (r != 0)
        return -r;
    (void)steal_pointer(&place);
    pool->threads_count++;
    return 0;
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct pool *pool = userdata;
    struct job_list done = STAILQ_HEAD_INITIALIZER(done);
    struct pool_job *job;
    eventfd_t count;

    (void)source;
    (void)events;
    (void)eventfd_read(fd, &count);
    pthread_mutex_lock(&pool->lock);
    STAILQ_CONCAT(&done, &pool->done);
    pthread_mutex_unlock(&pool->lock);
    while ((job = STAILQ_FIRST(&done))) {
        STAILQ_REMOVE_HEAD(&done, link);
        job->finished(job);
    }
    return 0;
}

int pool_new(sd_event *event, unsigned int threads, size_t queue_max, struct pool **ret)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    int r;

    if (!pool)
        return -ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    STAILQ_INIT(&pool->waiting);
    STAILQ_INIT(&pool->done);
    pool->threads_max = threads;
    pool->queue_max = queue_max;
    pool->running = calloc(threads, sizeof(struct pool_job *));
    pool->threads = calloc(threads, sizeof(pthread_t));
    pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!pool->running || !pool->threads)
        r = -ENOMEM;
    else if (pool->wake_fd < 0)
        r = -errno;
    else
        r = sd_event_add_io(event, &pool->wake, pool->wake_fd, EPOLLIN, on_wake, pool);
    if (r < 0) {
        (void)pool_end(pool);
        return r;
    }
    *ret = pool;
    return 0;
}

bool pool_end(struct pool *pool)
{
    bool busy = false;

    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    for (unsigned int i = 0; i < pool->threads_count; i++)
        busy |= pool->running[i] != NULL;
    pthread_mutex_unlock(&pool->lock);
    if (busy)
        return false;
    for (unsigned int i = 0; i < pool->threads_count; i++)
        pthread_join(pool->threads[i], NULL);
    sd_event_source_disable_unref(pool->wake);
    closep(&pool->wake_fd);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->running);
    free(pool->threads);
    free(pool);
    return true;
}

int pool_submit(struct pool *pool, struct pool_job *job)
{
    int r = 0;

    pthread_mutex_lock(&pool->lock);
    if (pool->waiting_count >= pool->queue_max ||
        waiting_on(pool, job->device) >= (pool->queue_max + 1) / 2) {
        r = -EBUSY;
    } else if (pool->idle_count <= pool->waiting_count && pool->threads_count < pool->threads_max) {
        r = start_thread(pool);
        /* Fewer threads than there might be still do the work. */
        if (r < 0 && pool->threads_count > 0)
            r = 0;
    }
    if (r == 0) {
        STAILQ_INSERT_TAIL(&pool->waiting, job, link);
        pool->waiting_count++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return r;
}

unsigned int pool_stuck(struct pool *pool, dev_t device, uint64_t after_usec)
{
    unsigned int count = 0;
    uint64_t now;

    pthread_mutex_lock(&pool->lock);
    now = clock_usec(CLOCK_MONOTONIC); /* not before any job's own time, which is set in the lock */
    for (unsigned int i = 0; i < pool->threads_count; i++)
        if (pool->running[i] && (device == POOL_DEVICE_ANY || pool->running[i]->device == device) &&
            now - pool->running[i]->started_usec > after_usec)
            count++;
    pthread_mutex_unlock(&pool->lock);
    return count;
}
