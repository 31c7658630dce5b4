/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/limits_store.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct limits_store {
    struct pool *pool;
    struct journal *journal;
    const char *path;
    struct limits *limits;

    struct pool_job job; /* while it is in the pool, the next three are the thread's */
    struct limits *loaded;
    int result;
    struct limits_error error;

    bool loading;
    bool again; /* asked for once more while it was being read */
    bool old;   /* the last reading came to nothing */
    limits_store_reloaded_fn reloaded;
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

int limits_store_load(struct limits_store *store, struct limits_error *error)
{
    if (!store->path)
        return 0;
    return limits_load(store->path, &store->limits, error);
}

static struct limits_store *store_of_job(struct pool_job *job)
{
    return (struct limits_store *)((char *)job - offsetof(struct limits_store, job));
}

/* On a thread of the pool. */
static void on_work(struct pool_job *job)
{
    struct limits_store *store = store_of_job(job);

    store->result = limits_load(store->path, &store->loaded, &store->error);
}

static void reject(struct limits_store *store, const struct limits_error *error)
{
    if (error->line > 0)
        journal_event(store->journal, JOURNAL_LIMITS_REJECTED, NULL,
                      "%s:%zu: %s; the old limits hold on", store->path, error->line, error->text);
    else
        journal_event(store->journal, JOURNAL_LIMITS_REJECTED, NULL,
                      "%s: %s; the old limits hold on", store->path, error->text);
}

static void on_finished(struct pool_job *job)
{
    struct limits_store *store = store_of_job(job);

    store->loading = false;
    if (store->again) {
        limits_free(store->loaded);
        store->loaded = NULL;
        start_loading(store);
        return;
    }
    store->old = store->result < 0;
    if (store->result < 0) {
        reject(store, &store->error);
    } else {
        limits_free(store->limits);
        store->limits = store->loaded;
        store->loaded = NULL;
        journal_event(store->journal, JOURNAL_LIMITS_LOADED, NULL, "%s: %zu limits loaded",
                      store->path, limits_count(store->limits));
    }
    store->reloaded(store->userdata);
}

static void start_loading(struct limits_store *store)
{
    int r;

    store->again = false;
    store->job =
        (struct pool_job){.device = POOL_DEVICE_NONE, .work = on_work, .finished = on_finished};
    r = pool_submit(store->pool, &store->job);
    if (r == 0) {
        store->loading = true;
        return;
    }
    store->old = true;
    journal_event(store->journal, JOURNAL_LIMITS_REJECTED, NULL,
                  "%s: cannot be read now: %s; the old limits hold on", store->path, strerror(-r));
    store->reloaded(store->userdata);
}

void limits_store_reload(struct limits_store *store, limits_store_reloaded_fn reloaded,
                         void *userdata)
{
    store->reloaded = reloaded;
    store->userdata = userdata;
    if (!store->path) {
        reloaded(userdata);
        return;
    }
    if (store->loading)
        store->again = true;
    else
        start_loading(store);
}

bool limits_store_is_old(const struct limits_store *store)
{
    return store->old;
}

const struct limits *limits_store_get(const struct limits_store *store)
{
    return store->limits;
}
