/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* A job's frames are shallow, and its large buffers are on the heap. */
#define STACK_BYTES (256 * 1024)

STAILQ_HEAD(job_list, pool_job);

struct worker {
    struct pool *pool;
    pthread_t thread;
    clockid_t cpu_clock;
    struct pool_job *job; /* NULL: idle */
    bool started;         /* and not joined */
    bool ended;           /* or about to */
};

struct pool {
    pthread_mutex_t lock; /* guards everything below but the constants */
    pthread_cond_t work;
    struct job_list waiting;
    struct job_list done;
    size_t waiting_count;
    unsigned int threads_count;
    unsigned int idle_count;
    struct worker *workers;
    bool ending;

    unsigned int threads_wanted; /* as long as none is held up */
    unsigned int workers_count;
    size_t queue_max;
    int wake_fd;
    sd_event_source *wake;
    sd_event_source *patience; /* on while jobs wait */
};

unsigned int pool_device_share(unsigned int threads)
{
    return threads > 1 ? (threads + 1) / 2 : 1;
}

static unsigned int running_on(const struct pool *pool, dev_t device)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < pool->workers_count; i++)
        if (pool->workers[i].job && pool->workers[i].job->device == device)
            count++;
    return count;
}

/* Returns how long a worker's job has waited, for a disk, a server or a processor. */
static uint64_t waited_usec(const struct worker *worker)
{
    uint64_t cpu_usec = clock_usec(worker->cpu_clock) - worker->job->cpu_started_usec;
    uint64_t usec = clock_usec(CLOCK_MONOTONIC) - worker->job->started_usec;

    return usec > cpu_usec ? usec - cpu_usec : 0;
}

/* Counts the jobs for the device that have waited for more than after_usec. */
static unsigned int waited_on(const struct pool *pool, dev_t device, uint64_t after_usec)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < pool->workers_count; i++) {
        const struct worker *worker = &pool->workers[i];

        if (worker->job && (device == POOL_DEVICE_ANY || worker->job->device == device) &&
            waited_usec(worker) > after_usec)
            count++;
    }
    return count;
}

static unsigned int threads_max(const struct pool *pool)
{
    unsigned int threads =
        pool->threads_wanted + waited_on(pool, POOL_DEVICE_ANY, POOL_PATIENCE_USEC);
    unsigned int most = pool->workers_count - POOL_FIRST_THREADS;

    return threads < most ? threads : most;
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

/*
 * Takes the waiting job whose device has the fewest at work, the first of several, if its device
 * still has a share. Returns NULL if there is none.
 */
static struct pool_job *take_job(struct pool *pool)
{
    unsigned int fewest = pool_device_share(pool->threads_wanted), running = 0;
    struct pool_job *job, *best = NULL;
    dev_t device = POOL_DEVICE_ANY;

    STAILQ_FOREACH (job, &pool->waiting, link) {
        if (job->device != device)
            running = running_on(pool, job->device);
        device = job->device;
        if (running < fewest) {
            best = job;
            fewest = running;
        }
        if (fewest == 0)
            break;
    }
    if (best) {
        STAILQ_REMOVE(&pool->waiting, best, pool_job, link);
        pool->waiting_count--;
    }
    return best;
}

static void wake_loop(const struct pool *pool)
{
    /* Cannot fail: the counter is drained long before it overflows. */
    (void)eventfd_write(pool->wake_fd, 1);
}

static void run_job(struct pool *pool, struct worker *worker, struct pool_job *job)
{
    job->cpu_started_usec = clock_usec(worker->cpu_clock);
    job->started_usec = clock_usec(CLOCK_MONOTONIC);
    worker->job = job;
    pthread_mutex_unlock(&pool->lock);
    job->work(job);
    pthread_mutex_lock(&pool->lock);
    worker->job = NULL;
    STAILQ_INSERT_TAIL(&pool->done, job, link);
    wake_loop(pool);
    /* The device has its share again, perhaps for a job that idle threads had to skip. */
    if (pool->waiting_count > 0)
        pthread_cond_signal(&pool->work);
}

/* Whether there are more threads than needed, now that fewer wait. */
static bool is_surplus(const struct pool *pool)
{
    return pool->threads_count > pool->threads_wanted && pool->threads_count > threads_max(pool);
}

static void *thread_main(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;

    pthread_mutex_lock(&pool->lock);
    (void)pthread_getcpuclockid(pthread_self(), &worker->cpu_clock);
    while (!pool->ending) {
        struct pool_job *job = take_job(pool);

        if (job) {
            run_job(pool, worker, job);
            continue;
        }
        if (is_surplus(pool))
            break;
        pool->idle_count++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->idle_count--;
    }
    worker->ended = true;
    pool->threads_count--;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Returns a free worker. There is one while threads_count is below workers_count. */
static struct worker *free_worker(struct pool *pool)
{
    struct worker *worker = pool->workers;

    while (worker->started && !worker->ended)
        worker++;
    if (worker->started)
        pthread_join(worker->thread, NULL); /* it is at its end */
    *worker = (struct worker){.pool = pool};
    return worker;
}

/* Starts one more thread. Called with the lock held. */
static int start_thread(struct pool *pool)
{
    struct worker *worker = free_worker(pool);
    pthread_attr_t attributes;
    int r;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    r = pthread_create(&worker->thread, &attributes, thread_main, worker);
    pthread_attr_destroy(&attributes);
    if (r != 0)
        return -r;
    worker->started = true;
    pool->threads_count++;
    return 0;
}

/*
 * Starts up to `missing` threads; for a job that is the first of its device, beyond the usual
 * bound. Called with the lock held. Returns 0, or a negative errno if there is no thread at all.
 */
static int start_threads(struct pool *pool, size_t missing, bool is_first)
{
    unsigned int room = 0;
    int r = 0;

    if (missing > 0 && pool->threads_count < pool->workers_count)
        room = is_first ? pool->workers_count : threads_max(pool);
    while (missing-- > 0 && pool->threads_count < room && r == 0)
        r = start_thread(pool);
    /* Fewer threads than there might be still do the work. */
    return pool->threads_count > 0 ? 0 : r;
}

/* Checks later whether jobs wait because threads do. */
static void be_patient(struct pool *pool)
{
    int enabled = SD_EVENT_OFF;

    sd_event_source_get_enabled(pool->patience, &enabled);
    if (enabled != SD_EVENT_OFF)
        return;
    sd_event_source_set_time_relative(pool->patience, POOL_PATIENCE_USEC);
    sd_event_source_set_enabled(pool->patience, SD_EVENT_ONESHOT);
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct pool *pool = userdata;
    size_t waiting_count;

    (void)source;
    (void)usec;
    pthread_mutex_lock(&pool->lock);
    waiting_count = pool->waiting_count;
    if (waiting_count > pool->idle_count)
        (void)start_threads(pool, waiting_count - pool->idle_count, false);
    pthread_mutex_unlock(&pool->lock);
    if (waiting_count > 0)
        be_patient(pool);
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
    unsigned int workers_count = threads + POOL_SPARE_THREADS;
    struct pool *pool = calloc(1, sizeof(*pool));
    int r;

    if (!pool)
        return -ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    STAILQ_INIT(&pool->waiting);
    STAILQ_INIT(&pool->done);
    pool->threads_wanted = threads;
    pool->queue_max = queue_max;
    pool->workers = calloc(workers_count, sizeof(*pool->workers));
    pool->workers_count = pool->workers ? workers_count : 0;
    pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!pool->workers)
        r = -ENOMEM;
    else if (pool->wake_fd < 0)
        r = -errno;
    else
        r = sd_event_add_io(event, &pool->wake, pool->wake_fd, EPOLLIN, on_wake, pool);
    if (r >= 0)
        r = sd_event_add_time(event, &pool->patience, CLOCK_MONOTONIC, 0, 0, on_patience, pool);
    if (r >= 0)
        r = sd_event_source_set_enabled(pool->patience, SD_EVENT_OFF);
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
    for (unsigned int i = 0; i < pool->workers_count; i++)
        busy |= pool->workers[i].job != NULL;
    pthread_mutex_unlock(&pool->lock);
    if (busy)
        return false;
    for (unsigned int i = 0; i < pool->workers_count; i++)
        if (pool->workers[i].started)
            pthread_join(pool->workers[i].thread, NULL);
    sd_event_source_disable_unref(pool->wake);
    sd_event_source_disable_unref(pool->patience);
    closep(&pool->wake_fd);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
    return true;
}

/* Whether the queue is full for the device: for those that did not fill it, there is some room. */
static bool is_full(const struct pool *pool, dev_t device)
{
    size_t waiting = waiting_on(pool, device);

    return waiting >= (pool->queue_max + 1) / 2 ||
           (pool->waiting_count >= pool->queue_max && waiting >= pool->queue_max / 32);
}

int pool_submit(struct pool *pool, struct pool_job *job)
{
    bool waits = false;
    int r;

    pthread_mutex_lock(&pool->lock);
    if (is_full(pool, job->device))
        r = -EBUSY;
    else
        r = start_threads(pool, pool->idle_count <= pool->waiting_count ? 1 : 0,
                          running_on(pool, job->device) == 0 && waiting_on(pool, job->device) == 0);
    if (r == 0) {
        waits = pool->idle_count <= pool->waiting_count;
        job->started_usec = 0;
        STAILQ_INSERT_TAIL(&pool->waiting, job, link);
        pool->waiting_count++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    if (waits)
        be_patient(pool);
    return r;
}

int pool_change_device(struct pool *pool, struct pool_job *job, dev_t device)
{
    int r = 0;

    pthread_mutex_lock(&pool->lock);
    if (job->device != device &&
        running_on(pool, device) >= pool_device_share(pool->threads_wanted))
        r = -EBUSY;
    else
        job->device = device;
    pthread_mutex_unlock(&pool->lock);
    return r;
}

bool pool_has_begun(struct pool *pool, const struct pool_job *job)
{
    bool has_begun;

    pthread_mutex_lock(&pool->lock);
    has_begun = job->started_usec > 0;
    pthread_mutex_unlock(&pool->lock);
    return has_begun;
}

unsigned int pool_stuck(struct pool *pool, dev_t device, uint64_t after_usec)
{
    unsigned int count;

    pthread_mutex_lock(&pool->lock);
    count = waited_on(pool, device, after_usec);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

unsigned int pool_slow_threads(unsigned int threads)
{
    unsigned int processors = 1;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        processors = (unsigned int)CPU_COUNT(&set);
    if (threads >= processors)
        threads = processors - 1;
    return threads > 0 ? threads : 1;
}
