/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/explainer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "protocol/steps.h"
#include "quota/budget.h"
#include "quota/explanation.h"
#include "system/cleanup.h"
#include "system/clock.h"

/* One explanation in the making. Until it is finished, what the thread uses is the thread's alone.
 */
struct explain_job {
    struct pool_job job;
    struct explainer *explainer;
    struct explain_waiter *waiter; /* NULL: it has left */
    bool is_late;                  /* the time-out has passed */
    LIST_ENTRY(explain_job) link;

    bool recount;
    struct budget budget;
    struct explanation explanation;
    struct steps steps;
};

LIST_HEAD(explain_job_list, explain_job);

struct explainer {
    const struct quota_settings *settings;
    struct pool *pool;
    const struct cache *cache;
    uint64_t cpu_usec_max;
    struct deadline_queue deadlines;
    struct explain_job_list jobs;
    size_t jobs_count;
};

static void explain_job_free(struct explain_job *job)
{
    if (!job)
        return;
    explanation_deinit(&job->explanation);
    free(job);
}

DEFINE_FREEP(explain_job)

/* On a worker thread: the mailbox, or a symbolic link, leads to the device. */
static int on_enter_device(dev_t device, void *userdata)
{
    struct explain_job *job = userdata;

    return pool_change_device(job->explainer->pool, &job->job, device);
}

/* On a worker thread. */
static void on_work(struct pool_job *pool_job)
{
    struct explain_job *job = (struct explain_job *)pool_job;
    const struct quota_settings *settings = job->explainer->settings;

    explanation_answer(&job->explanation, settings, &job->budget);
    explanation_examine(&job->explanation, settings, job->recount, &job->budget);
}

/* Ends the waiting. Returns the waiter, or NULL if there is none. */
static struct explain_waiter *take_waiter(struct explain_job *job)
{
    struct explain_waiter *waiter = steal_pointer(&job->waiter);

    if (!waiter)
        return NULL;
    deadline_stop(&job->explainer->deadlines, &waiter->deadline);
    waiter->job = NULL;
    return waiter;
}

static void on_finished(struct pool_job *pool_job)
{
    _cleanup_(explain_job_freep) struct explain_job *job = (struct explain_job *)pool_job;
    struct explain_waiter *waiter = take_waiter(job);

    LIST_REMOVE(job, link);
    job->explainer->jobs_count--;
    if (!waiter)
        return;
    explanation_note_cached(&job->explanation, job->explainer->cache);
    steps_write(&job->steps, &job->explanation, job->explainer->settings);
    waiter->done(waiter, REASON_NONE, job->steps.bytes, job->steps.length);
}

static void on_deadline(struct deadline *deadline, void *userdata)
{
    struct explain_waiter *waiter = container_of(deadline, struct explain_waiter, deadline);

    (void)userdata;
    waiter->job->is_late = true;
    (void)take_waiter(waiter->job);
    waiter->done(waiter, REASON_TIMEOUT, NULL, 0);
}

int explainer_new(sd_event *event, const struct quota_settings *settings, uint64_t timeout_usec,
                  struct pool *pool, const struct cache *cache, struct explainer **ret)
{
    _cleanup_(freep) struct explainer *explainer = calloc(1, sizeof(*explainer));
    int r;

    if (!explainer)
        return -ENOMEM;
    explainer->settings = settings;
    explainer->pool = pool;
    explainer->cache = cache;
    explainer->cpu_usec_max =
        timeout_usec / 2 < BUDGET_CPU_USEC_MAX ? timeout_usec / 2 : BUDGET_CPU_USEC_MAX;
    LIST_INIT(&explainer->jobs);
    r = deadline_queue_init(&explainer->deadlines, event, timeout_usec, on_deadline, explainer);
    if (r < 0)
        return r;
    *ret = steal_pointer(&explainer);
    return 0;
}

void explainer_free(struct explainer *explainer)
{
    struct explain_job *job;

    if (!explainer)
        return;
    while ((job = LIST_FIRST(&explainer->jobs))) {
        LIST_REMOVE(job, link);
        explain_job_free(job);
    }
    deadline_queue_deinit(&explainer->deadlines);
    free(explainer);
}

/* Returns whether there is room for another one. */
static bool has_room(const struct explainer *explainer)
{
    const struct explain_job *job;

    LIST_FOREACH (job, &explainer->jobs, link)
        if (!job->is_late)
            return false;
    return explainer->jobs_count < EXPLAINER_MAX;
}

int explainer_ask(struct explainer *explainer, struct explain_waiter *waiter,
                  const struct request *request, const struct limits *limits)
{
    const struct target_terms terms = request_terms(request);
    _cleanup_(explain_job_freep) struct explain_job *job = NULL;
    int r;

    if (!has_room(explainer))
        return -EBUSY;
    job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    job->explainer = explainer;
    job->recount = request->recount;
    job->budget = (struct budget){
        .entries_max = UINT64_MAX,
        .cpu_usec_max = explainer->cpu_usec_max,
        .folders_bytes_max = BUDGET_FOLDERS_BYTES_MAX,
        .enter_device = on_enter_device,
        .userdata = job,
    };
    r = explanation_begin(&job->explanation, explainer->settings, limits, &terms, request->target);
    if (r < 0)
        return r;
    job->job =
        (struct pool_job){.device = POOL_DEVICE_UNKNOWN, .work = on_work, .finished = on_finished};
    r = pool_submit(explainer->pool, &job->job);
    if (r < 0)
        return r == -EAGAIN ? -EBUSY : r;
    job->waiter = waiter;
    waiter->job = job;
    deadline_start(&explainer->deadlines, &waiter->deadline);
    LIST_INSERT_HEAD(&explainer->jobs, job, link);
    explainer->jobs_count++;
    (void)steal_pointer(&job);
    return 0;
}

void explainer_leave(struct explain_waiter *waiter)
{
    if (waiter->job)
        (void)take_waiter(waiter->job);
}

bool explainer_is_busy(const struct explainer *explainer)
{
    return explainer->jobs_count > 0;
}
