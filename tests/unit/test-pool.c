/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pool with real threads. A job that hangs is one that reads from a pipe; what it writes to
 * another one tells that a thread is at work on it, so that no test has to guess or to sleep.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "random.h"
#include "server/pool.h"
#include "system/clock.h"

#define JOBS_MAX 64

struct fixture;

struct job {
    struct pool_job job;
    struct fixture *fixture;
    int go_fd;       /* a byte is read from it; -1: the job does not wait */
    dev_t change_to; /* before that, unless 0 */
    int changed;     /* what became of it */
    pthread_t worker;
    bool finished;
};

struct fixture {
    sd_event *event;
    struct pool *pool;
    int begun[2]; /* a pipe with a byte for every job that a thread took up */
    int go[2];    /* a pipe with a byte for every job that may go on */
    atomic_size_t worked;
    struct job jobs[JOBS_MAX];
    struct job *finished[JOBS_MAX]; /* in that order */
    size_t finished_count;
};

static void on_work(struct pool_job *pool_job)
{
    struct job *job = (struct job *)pool_job;
    char byte = 'x';

    job->worker = pthread_self();
    if (job->change_to != 0)
        job->changed = pool_change_device(job->fixture->pool, pool_job, job->change_to);
    if (write(job->fixture->begun[1], &byte, 1) != 1)
        abort();
    if (job->go_fd >= 0 && read(job->go_fd, &byte, 1) != 1)
        abort();
    atomic_fetch_add(&job->fixture->worked, 1);
}

static void on_finished(struct pool_job *pool_job)
{
    struct job *job = (struct job *)pool_job;
    struct fixture *fixture = job->fixture;

    assert_false(pthread_equal(job->worker, pthread_self()));
    assert_false(job->finished);
    job->finished = true;
    fixture->finished[fixture->finished_count++] = job;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    assert_int_equal(sd_event_new(&fixture->event), 0);
    assert_int_equal(pipe2(fixture->begun, O_CLOEXEC), 0);
    assert_int_equal(pipe2(fixture->go, O_CLOEXEC), 0);
    for (size_t i = 0; i < JOBS_MAX; i++)
        fixture->jobs[i] = (struct job){
            .job = {.work = on_work, .finished = on_finished}, .fixture = fixture, .go_fd = -1};
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 2; i++) {
        (void)close(fixture->begun[i]);
        (void)close(fixture->go[i]);
    }
    sd_event_unref(fixture->event);
    free(fixture);
    return 0;
}

static void make_pool(struct fixture *fixture, unsigned int threads, size_t queue_max)
{
    assert_int_equal(pool_new(fixture->event, threads, queue_max, &fixture->pool), 0);
}

static int submit_with(struct fixture *fixture, size_t index, dev_t device, int go_fd)
{
    struct job *job = &fixture->jobs[index];

    job->job.device = device;
    job->go_fd = go_fd;
    return pool_submit(fixture->pool, &job->job);
}

static int submit(struct fixture *fixture, size_t index, dev_t device)
{
    return submit_with(fixture, index, device, -1);
}

/* As submit(), of a job that waits for go_on(). */
static int submit_hanging(struct fixture *fixture, size_t index, dev_t device)
{
    return submit_with(fixture, index, device, fixture->go[0]);
}

/* Waits until so many more jobs are, or were, at work. */
static void await_begun(struct fixture *fixture, size_t count)
{
    char byte;

    for (; count > 0; count--)
        assert_int_equal(read(fixture->begun[0], &byte, 1), 1);
}

/* Waits until so many of the jobs at work for the device do nothing but wait. */
static void await_stuck(struct fixture *fixture, dev_t device, unsigned int count)
{
    while (pool_stuck(fixture->pool, device, 0) < count)
        (void)sched_yield();
    assert_int_equal(pool_stuck(fixture->pool, device, 0), count);
}

/* Lets so many of the jobs that hang go on. */
static void go_on(struct fixture *fixture, size_t count)
{
    for (; count > 0; count--)
        assert_int_equal(write(fixture->go[1], "x", 1), 1);
}

/* Runs the loop until so many jobs are finished altogether. */
static void run_until(struct fixture *fixture, size_t count)
{
    while (fixture->finished_count < count)
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    assert_int_equal(fixture->finished_count, count);
}

static void end(struct fixture *fixture)
{
    assert_true(pool_end(fixture->pool));
}

/* Returns how many threads the process has. */
static size_t count_threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    const struct dirent *entry;
    size_t count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)))
        count += entry->d_name[0] != '.';
    (void)closedir(directory);
    return count;
}

static void *own_id(void *id)
{
    *(pid_t *)id = gettid();
    return NULL;
}

/* Starts and ends a thread: the first one makes a sanitizer start one of its own. */
static void start_any_thread(void)
{
    pthread_t thread;
    char path[64];
    pid_t id;

    assert_int_equal(pthread_create(&thread, NULL, own_id, &id), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d", id);
    while (access(path, F_OK) == 0) /* it is listed a moment longer */
        (void)sched_yield();
}

static void threads_start_when_they_are_needed(void **state)
{
    struct fixture *fixture = *state;
    size_t before, threads;

    start_any_thread();
    before = count_threads();
    make_pool(fixture, 3, JOBS_MAX);
    assert_int_equal(count_threads(), before);
    for (size_t i = 0; i < 10; i++) {
        /* one after the other: a thread that is idle is used again */
        assert_int_equal(submit(fixture, i, 0), 0);
        run_until(fixture, i + 1);
        assert_int_equal(count_threads(), before + 1);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(submit_hanging(fixture, 10 + i, 1 + i), 0);
        await_begun(fixture, i == 0 ? 11 : 1);
        assert_int_equal(count_threads(), before + 1 + i);
    }
    assert_int_equal(submit(fixture, 13, 1), 0);
    threads = count_threads();
    if (pool_stuck(fixture->pool, POOL_DEVICE_ANY, POOL_PATIENCE_USEC) == 0)
        assert_int_equal(threads, before + 3); /* nobody had waited long enough to be replaced */
    /* what is the first of its device need not wait for others, as long as they hang */
    assert_int_equal(submit(fixture, 14, 4), 0);
    assert_in_range(count_threads(), threads, threads + 1);
    go_on(fixture, 3);
    run_until(fixture, 15);
    end(fixture);
    while (count_threads() > before)
        (void)sched_yield();
}

static void one_thread_works_in_order(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 1, JOBS_MAX);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(submit(fixture, i, 0), 0);
    run_until(fixture, 20);
    for (size_t i = 0; i < 20; i++) {
        assert_ptr_equal(fixture->finished[i], &fixture->jobs[i]);
        assert_true(pthread_equal(fixture->jobs[i].worker, fixture->jobs[0].worker));
    }
    assert_int_equal(fixture->worked, 20);
    end(fixture);
}

static void the_share_of_a_device(void **state)
{
    (void)state;
    assert_int_equal(pool_device_share(1), 1);
    assert_int_equal(pool_device_share(2), 1);
    assert_int_equal(pool_device_share(3), 2);
    assert_int_equal(pool_device_share(4), 2);
    assert_int_equal(pool_device_share(5), 3);
    assert_int_equal(pool_device_share(8), 4);
    for (unsigned int threads = 2; threads < 100; threads++)
        assert_in_range(pool_device_share(threads), 1, threads - 1);
}

static void others_go_on_while_a_device_hangs(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 4, JOBS_MAX);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(submit_hanging(fixture, i, 7), 0);
    await_begun(fixture, 2);
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(submit(fixture, 6 + i, 8 + i % 3), 0);
    await_begun(fixture, 30); /* none of these bytes may be of the device that hangs */
    run_until(fixture, 30);
    assert_int_equal(pool_stuck(fixture->pool, 8, 0), 0);

    /* each that wakes makes room for one more */
    for (size_t i = 0; i < 4; i++) {
        go_on(fixture, 1);
        await_begun(fixture, 1);
        assert_int_equal(fixture->worked, 31 + i);
    }
    go_on(fixture, 2);
    run_until(fixture, 36);
    end(fixture);
}

static void two_devices_that_hang_leave_room_for_a_third(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 5, JOBS_MAX); /* 3 threads a device */
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(submit_hanging(fixture, i, 7), 0);
    await_begun(fixture, 3);
    assert_int_equal(submit_hanging(fixture, 6, 8), 0);
    await_begun(fixture, 1);
    for (size_t i = 7; i < 12; i++)
        assert_int_equal(submit(fixture, i, 9), 0);
    run_until(fixture, 5);
    go_on(fixture, 7);
    run_until(fixture, 12);
    end(fixture);
}

static void what_waits_is_bounded(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 2, 8); /* a device may have one thread, and wait with 4 jobs */
    assert_int_equal(submit_hanging(fixture, 0, 7), 0);
    await_begun(fixture, 1);
    for (size_t i = 1; i <= 4; i++)
        assert_int_equal(submit_hanging(fixture, i, 7), 0);
    assert_int_equal(submit_hanging(fixture, 60, 7), -EBUSY);

    assert_int_equal(submit_hanging(fixture, 5, 8), 0);
    await_begun(fixture, 1);
    for (size_t i = 6; i <= 9; i++)
        assert_int_equal(submit_hanging(fixture, i, 8), 0);
    for (dev_t device = 0; device < 10; device++)
        assert_int_equal(submit_hanging(fixture, 61, device), -EBUSY);

    /* nothing is left of what was refused */
    go_on(fixture, 10);
    run_until(fixture, 10);
    assert_int_equal(fixture->worked, 10);
    assert_int_equal(submit(fixture, 60, 7), 0);
    run_until(fixture, 11);
    end(fixture);
}

/* What hangs on devices that are not known leaves room for the others, too. */
static void unknown_devices_share_like_one(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 4, 8);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(submit_hanging(fixture, i, POOL_DEVICE_UNKNOWN), 0);
        await_begun(fixture, i < 2 ? 1 : 0); /* what has begun waits no more */
    }
    assert_int_equal(submit(fixture, 6, POOL_DEVICE_UNKNOWN), -EBUSY);
    assert_int_equal(submit(fixture, 6, POOL_DEVICE_NONE), 0);
    assert_int_equal(submit(fixture, 7, 7), 0);
    run_until(fixture, 2);
    await_stuck(fixture, POOL_DEVICE_UNKNOWN, 2);
    assert_int_equal(pool_stuck(fixture->pool, POOL_DEVICE_NONE, 0), 0);
    go_on(fixture, 6);
    run_until(fixture, 8);
    end(fixture);
}

static void a_queue_of_one(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 1, 1);
    assert_int_equal(submit_hanging(fixture, 0, 7), 0);
    await_begun(fixture, 1);
    assert_int_equal(submit_hanging(fixture, 1, 7), 0);
    assert_int_equal(submit_hanging(fixture, 2, 8), -EBUSY);
    go_on(fixture, 2);
    run_until(fixture, 2);
    end(fixture);
}

static void counts_what_is_stuck(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t hour = 3600 * USEC_PER_SEC;

    make_pool(fixture, 4, JOBS_MAX);
    assert_int_equal(pool_stuck(fixture->pool, POOL_DEVICE_ANY, 0), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(submit_hanging(fixture, i, 7), 0);
    assert_int_equal(submit_hanging(fixture, 3, 8), 0);
    await_begun(fixture, 3);
    await_stuck(fixture, 7, 2);
    await_stuck(fixture, 8, 1);
    assert_int_equal(pool_stuck(fixture->pool, 9, 0), 0);
    await_stuck(fixture, POOL_DEVICE_ANY, 3);
    assert_int_equal(pool_stuck(fixture->pool, POOL_DEVICE_ANY, hour), 0);
    go_on(fixture, 4);
    run_until(fixture, 4);
    assert_int_equal(pool_stuck(fixture->pool, POOL_DEVICE_ANY, 0), 0);
    end(fixture);
}

/* What begins while it is counted has not been at work for an hour. */
static void what_begins_is_not_stuck(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t hour = 3600 * USEC_PER_SEC;
    size_t begun = 0;

    make_pool(fixture, 2, JOBS_MAX);
    while (begun < 2000) {
        size_t jobs = begun % 2 + 1;

        fixture->finished_count = 0;
        for (size_t i = 0; i < jobs; i++) {
            fixture->jobs[i].finished = false;
            assert_int_equal(submit(fixture, i, 1 + i), 0);
        }
        begun += jobs;
        while (fixture->worked < begun)
            assert_int_equal(pool_stuck(fixture->pool, POOL_DEVICE_ANY, hour), 0);
        await_begun(fixture, jobs);
        run_until(fixture, jobs);
    }
    end(fixture);
}

static void a_pool_that_was_not_used_ends(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 4, JOBS_MAX);
    end(fixture);
}

static void ends_when_no_thread_is_at_work(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 2, JOBS_MAX);
    assert_int_equal(submit_hanging(fixture, 0, 7), 0);
    assert_int_equal(submit_hanging(fixture, 1, 7), 0); /* waits for its share */
    await_begun(fixture, 1);
    assert_false(pool_end(fixture->pool));
    assert_false(pool_end(fixture->pool));
    go_on(fixture, 1);
    run_until(fixture, 1);
    end(fixture);
    /* what no thread had begun was dropped */
    assert_int_equal(fixture->worked, 1);
    assert_false(fixture->jobs[1].finished);
    assert_int_equal(sd_event_run(fixture->event, 0), 0);
}

static void ends_without_the_loop(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 2, JOBS_MAX);
    assert_int_equal(submit_hanging(fixture, 0, 7), 0);
    await_begun(fixture, 1);
    assert_false(pool_end(fixture->pool));
    go_on(fixture, 1);
    while (!pool_end(fixture->pool))
        (void)sched_yield();
    assert_int_equal(fixture->worked, 1);
    assert_int_equal(fixture->finished_count, 0);
}

/* What hangs, on however many devices, keeps others waiting for a moment only. */
static void who_waits_for_long_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    size_t before;

    start_any_thread();
    before = count_threads();
    make_pool(fixture, 4, JOBS_MAX);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(submit_hanging(fixture, i, 1 + i % 5), 0);
    await_begun(fixture, 4);
    /* two of each device begin, the last of them when those before them turn out to hang */
    while (pool_stuck(fixture->pool, POOL_DEVICE_ANY, 0) < 10)
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    await_begun(fixture, 6);
    for (size_t i = 20; i < 30; i++)
        assert_int_equal(submit(fixture, i, 9), 0);
    run_until(fixture, 10);
    assert_int_equal(pool_stuck(fixture->pool, POOL_DEVICE_ANY, 0), 10);
    /* those who hang, four others, and four for who had to wait for a processor that is busy */
    assert_in_range(count_threads(), before + 10, before + 18);
    go_on(fixture, 20);
    run_until(fixture, 30);
    /* nobody is replaced any more */
    while (count_threads() > before + 4) {
        fixture->jobs[30].finished = false;
        fixture->finished_count = 0;
        assert_int_equal(submit(fixture, 30, 9), 0);
        run_until(fixture, 1);
    }
    end(fixture);
}

/* What is the first of its device does not wait until those before it turn out to hang. */
static void the_first_of_a_device_has_a_thread_at_once(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 2, JOBS_MAX);
    for (size_t i = 0; i < 20; i++) {
        struct pollfd begun = {.fd = fixture->begun[0], .events = POLLIN};

        assert_int_equal(submit_hanging(fixture, i, 1 + i), 0);
        assert_int_equal(poll(&begun, 1, -1), 1); /* the loop does not run meanwhile */
        await_begun(fixture, 1);
    }
    go_on(fixture, 20);
    run_until(fixture, 20);
    end(fixture);
}

static void there_is_a_bound_to_replacing(void **state)
{
    struct fixture *fixture = *state;
    size_t before;

    start_any_thread();
    before = count_threads();
    make_pool(fixture, 2, JOBS_MAX);
    for (size_t i = 0; i < JOBS_MAX; i++)
        assert_int_equal(submit_hanging(fixture, i, 1 + i), 0);
    await_begun(fixture, 2 + POOL_SPARE_THREADS);
    for (size_t i = 0; i < 3; i++)
        assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    assert_int_equal(count_threads(), before + 2 + POOL_SPARE_THREADS);
    go_on(fixture, JOBS_MAX);
    run_until(fixture, JOBS_MAX);
    end(fixture);
}

/* However many devices hang, and with however many jobs, another one is served. */
static void many_devices_that_hang_leave_room(void **state)
{
    struct fixture *fixture = *state;
    size_t jobs = 0;

    make_pool(fixture, 4, 32);
    for (dev_t device = 1; device <= 25; device++)
        for (int i = 0; i < 2; i++)
            jobs += submit_hanging(fixture, jobs, device) == 0;
    while (pool_stuck(fixture->pool, POOL_DEVICE_ANY, 0) <
           4 + POOL_SPARE_THREADS - POOL_FIRST_THREADS)
        assert_true(sd_event_run(fixture->event, 10 * USEC_PER_MSEC) >= 0);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(submit(fixture, jobs + i, 99), 0);
        run_until(fixture, i + 1);
    }
    go_on(fixture, jobs);
    run_until(fixture, jobs + 5);
    end(fixture);
}

static void a_job_changes_its_device(void **state)
{
    struct fixture *fixture = *state;

    make_pool(fixture, 4, JOBS_MAX);
    for (size_t i = 0; i < 2; i++) {
        fixture->jobs[i].change_to = 8;
        assert_int_equal(submit_hanging(fixture, i, 7), 0);
    }
    await_begun(fixture, 2);
    assert_int_equal(pool_stuck(fixture->pool, 7, 0), 0);
    await_stuck(fixture, 8, 2);
    /* 8 has its share now, and 7 has not */
    fixture->jobs[2].change_to = 8;
    assert_int_equal(submit(fixture, 2, 7), 0);
    run_until(fixture, 1);
    assert_int_equal(fixture->jobs[2].changed, -EBUSY);
    fixture->jobs[3].change_to = 9;
    assert_int_equal(submit(fixture, 3, 7), 0);
    run_until(fixture, 2);
    assert_int_equal(fixture->jobs[3].changed, 0);
    assert_int_equal(fixture->jobs[3].job.device, 9);
    assert_int_equal(submit(fixture, 4, 8), 0);
    assert_int_equal(pool_has_begun(fixture->pool, &fixture->jobs[4].job), false);
    assert_int_equal(pool_has_begun(fixture->pool, &fixture->jobs[0].job), true);
    go_on(fixture, 2);
    run_until(fixture, 5);
    assert_int_equal(fixture->jobs[0].changed, 0);
    assert_int_equal(fixture->jobs[1].changed, 0);
    end(fixture);
}

/* Jobs of a few devices, some of which hang for a while; no device has more than its share. */
static void random_jobs(void **state)
{
    struct fixture *fixture = *state;
    struct random random = random_begin("pool");

    make_pool(fixture, 4, 16);
    for (size_t round = 0; round < 300; round++) {
        size_t hanging = 0, jobs = 0;

        fixture->finished_count = 0;
        while (jobs < 40) {
            bool hangs = random_below(&random, 4) == 0;
            int r;

            fixture->jobs[jobs].finished = false;
            r = (hangs ? submit_hanging : submit)(fixture, jobs, random_below(&random, 4));
            if (r == -EBUSY) {
                go_on(fixture, hanging);
                hanging = 0;
                assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
                continue;
            }
            assert_int_equal(r, 0);
            hanging += hangs;
            jobs++;
            for (dev_t device = 0; device < 4; device++)
                assert_true(pool_stuck(fixture->pool, device, 0) <= pool_device_share(4));
        }
        go_on(fixture, hanging);
        run_until(fixture, jobs);
        await_begun(fixture, jobs);
    }
    assert_int_equal(fixture->worked, 300 * 40);
    end(fixture);
}

/* A child needs a loop of its own. */
static int make_pool_in_child(struct fixture *fixture)
{
    int r = sd_event_new(&fixture->event);

    return r < 0 ? r : pool_new(fixture->event, 2, JOBS_MAX, &fixture->pool);
}

static enum child_result without_any_thread(void *userdata)
{
    struct fixture *fixture = userdata;

    CHECK(make_pool_in_child(fixture) == 0);
    CHECK(child_stop_threads());
    CHECK(submit(fixture, 0, 7) == -EAGAIN);
    CHECK(submit(fixture, 1, 0) == -EAGAIN);
    CHECK(sd_event_run(fixture->event, 0) == 0);
    CHECK(pool_end(fixture->pool));
    CHECK(fixture->worked == 0);
    return CHILD_PASSED;
}

static enum child_result with_a_single_thread(void *userdata)
{
    struct fixture *fixture = userdata;
    char byte;

    CHECK(make_pool_in_child(fixture) == 0);
    CHECK(submit_hanging(fixture, 0, 7) == 0);
    CHECK(read(fixture->begun[0], &byte, 1) == 1);
    CHECK(child_stop_threads());
    CHECK(submit(fixture, 1, 8) == 0); /* it waits instead of having a thread of its own */
    CHECK(fixture->worked == 0);
    CHECK(write(fixture->go[1], "x", 1) == 1);
    while (fixture->finished_count < 2)
        CHECK(sd_event_run(fixture->event, UINT64_MAX) >= 0);
    CHECK(fixture->worked == 2);
    CHECK(pthread_equal(fixture->jobs[0].worker, fixture->jobs[1].worker));
    CHECK(pool_end(fixture->pool));
    return CHILD_PASSED;
}

static enum child_result without_descriptors(void *userdata)
{
    struct fixture *fixture = userdata;
    int lowest = dup(STDIN_FILENO);
    const struct rlimit none = {(rlim_t)lowest, 1024}, many = {1024, 1024};

    CHECK(lowest >= 0 && close(lowest) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(pool_new(fixture->event, 2, JOBS_MAX, &fixture->pool) == -EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
    CHECK(pool_new(fixture->event, 2, JOBS_MAX, &fixture->pool) == -ECHILD); /* the parent's loop */
    lowest = dup(STDIN_FILENO);
    CHECK(lowest >= 0 && (rlim_t)lowest == none.rlim_cur); /* nothing is left open */
    return CHILD_PASSED;
}

static void threads_and_descriptors_run_out(void **state)
{
    assert_child_passes(without_any_thread, *state);
    assert_child_passes(with_a_single_thread, *state);
    assert_child_passes(without_descriptors, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_start_when_they_are_needed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_thread_works_in_order, set_up, tear_down),
        cmocka_unit_test(the_share_of_a_device),
        cmocka_unit_test_setup_teardown(others_go_on_while_a_device_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_for_long_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_of_a_device_has_a_thread_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(there_is_a_bound_to_replacing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_devices_that_hang_leave_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_job_changes_its_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_devices_that_hang_leave_room_for_a_third, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_waits_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_devices_share_like_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_queue_of_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_what_is_stuck, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_begins_is_not_stuck, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pool_that_was_not_used_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_when_no_thread_is_at_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_without_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_and_descriptors_run_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_jobs, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
