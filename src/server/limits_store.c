/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/limits_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/cleanup.h"

struct limits_store {
    struct pool *pool;
    struct journal *journal;
    const char *path;
    struct limits *limits;

    struct pool_job job; /* while it is in the pool, the next three are the thread's */
    struct limits *loaded;
    int result;
    char error[LIMITS_ERROR_BYTES_MAX];

    bool loading;
    bool probing; /* it is only being tried */
    bool again;   /* to be read once more */
    bool old;     /* it could not be read again */
    limits_store_done_fn done;
    void *userdata;
};

static void start_loading(struct limits_store *store);

int limits_store_new(struct pool *pool, struct journal *journal, const char *path,
                     struct limits_store **ret)
{
    struct limits_store *store = calloc(1, sizeof(*store));

    if (!store)
        return -ENOMEM;
    store->pool = pool;
    store->journal = journal;
    store->path = path;
    *ret = store;
    return 0;
}

void limits_store_free(struct limits_store *store)
{
    if (!store)
        return;
    limits_free(store->limits);
    limits_free(store->loaded);
    free(store);
}

static void reject(struct limits_store *store, const char *why)
{
    if (store->old && store->probing)
        return; /* it was reported */
    store->old = store->limits != NULL;
    journal_event(store->journal, JOURNAL_LIMITS_REJECTED, NULL, "%s: %s; %s", store->path, why,
                  store->limits ? "the old limits stay in force"
                                : "there are no limits until a reload can read it");
}

static void say_fault(const char *line, void *userdata)
{
    journal_event(userdata, JOURNAL_LIMITS_FAULT, NULL, "%s", line);
}

static void report(struct limits_store *store)
{
    size_t faults = limits_faults(store->limits)->count;
    char unusable[48] = "";

    limits_say_faults(store->limits, store->path, say_fault, store->journal);
    if (faults > 0)
        (void)snprintf(unusable, sizeof(unusable), ", %zu unusable", faults);
    journal_event(store->journal, JOURNAL_LIMITS_LOADED, NULL, "%s: %zu limits loaded%s",
                  store->path, limits_count(store->limits), unusable);
}

void limits_store_load(struct limits_store *store, bool quiet)
{
    if (!store->path)
        return;
    if (limits_load(store->path, &store->limits, store->error) < 0)
        reject(store, store->error);
    else if (!quiet)
        report(store);
}

/* On a thread of the pool. */
static void on_work(struct pool_job *job)
{
    struct limits_store *store = container_of(job, struct limits_store, job);

    store->result = limits_load(store->path, &store->loaded, store->error);
}

static void take_loaded(struct limits_store *store)
{
    struct limits *superfluous = store->probing ? store->loaded : store->limits;

    store->old = false;
    if (!store->probing) {
        store->limits = store->loaded;
        report(store);
    }
    store->loaded = NULL;
    limits_free(superfluous);
}

static void on_finished(struct pool_job *job)
{
    struct limits_store *store = container_of(job, struct limits_store, job);

    store->loading = false;
    if (store->again) {
        limits_free(store->loaded);
        store->loaded = NULL;
        start_loading(store);
        return;
    }
    if (store->result < 0)
        reject(store, store->error);
    else
        take_loaded(store);
    store->done(store->userdata);
}

static void start_loading(struct limits_store *store)
{
    char why[LIMITS_ERROR_BYTES_MAX];
    int r;

    store->again = false;
    store->job =
        (struct pool_job){.device = POOL_DEVICE_NONE, .work = on_work, .finished = on_finished};
    r = pool_submit(store->pool, &store->job);
    if (r == 0) {
        store->loading = true;
        return;
    }
    (void)snprintf(why, sizeof(why), "cannot be read now: %s", strerror(-r));
    reject(store, why);
    store->done(store->userdata);
}

void limits_store_reload(struct limits_store *store, limits_store_done_fn done, void *userdata)
{
    store->done = done;
    store->userdata = userdata;
    store->probing = false;
    if (!store->path)
        done(userdata);
    else if (store->loading)
        store->again = true;
    else
        start_loading(store);
}

void limits_store_probe(struct limits_store *store, limits_store_done_fn done, void *userdata)
{
    store->done = done;
    store->userdata = userdata;
    if (!store->limits) {
        done(userdata); /* there is nothing to lose */
    } else if (!store->loading) {
        store->probing = true;
        start_loading(store);
    }
}

bool limits_store_is_old(const struct limits_store *store)
{
    return store->old;
}

const struct limits *limits_store_get(const struct limits_store *store)
{
    return store->limits;
}
