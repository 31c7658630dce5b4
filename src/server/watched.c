/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/watched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/admission.h"
#include "server/watched_events.h"
#include "server/watched_store.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine.h"
#include "system/mounts.h"
#include "system/watch.h"

/* No mailbox takes more than this part of all watches. */
#define SHARE 32

/* But each may take this many. */
#define SHARE_MIN 128

/* Once a day it is read again, and with it what no event tells: whether anybody keeps its sums. */
#define BELIEVED_USEC (24 * 3600 * USEC_PER_SEC)

/* Watching a mailbox for the first time. */
struct attempt {
    struct pool_job job;
    struct watched *watched;
    struct admission admission;
    uint64_t id; /* of the path */
    uint64_t started_usec;
    bool is_void; /* the roots were closed meanwhile, or something was mounted somewhere */
};

struct watched {
    struct store store;
    struct pool *pool;
    const struct cache *cache;
    struct journal *journal;
    struct mounts *mounts;
    struct attempt *attempt; /* the one under way, or NULL */
    uint64_t pause_until_usec;
    bool is_suspended;
    struct watched_counters counters;
};

static void on_event(const struct watch_event *event, void *userdata)
{
    struct watched *watched = userdata;

    watched_on_event(&watched->store, event);
}

static void on_lost(void *userdata)
{
    struct watched *watched = userdata;

    watched->counters.overflows++;
    store_clear(&watched->store);
}

static void forget(struct watched *watched)
{
    watch_set_clear(watched->store.set); /* before what its watches are embedded in */
    store_clear(&watched->store);
}

/* Makes sure that the roots are open, and the same as before. Returns whether they are. */
static bool resume(struct watched *watched)
{
    if (!watched->is_suspended)
        return true;
    watched->is_suspended = !confine_hold(watched->store.settings->confine);
    if (watched->is_suspended)
        forget(watched);
    return !watched->is_suspended;
}

/* Something was mounted or unmounted. Returns false if that may be on the way to a mailbox. */
static bool on_mounts(void *userdata)
{
    struct watched *watched = userdata;

    if (watched->attempt)
        watched->attempt->is_void = true; /* what was mounted then may be gone by now */
    if (watched->store.reread)
        watched->store.reread->is_outdated = true; /* likewise */
    return resume(watched) && !mounts_changed(watched->mounts, watched->store.settings->confine);
}

/* Returns whether all events until now are known, so that what is remembered is true. */
static bool is_up_to_date(struct watched *watched)
{
    if (!resume(watched) || !watch_set_read(watched->store.set))
        return false;
    watched->store.reread = NULL;
    watched_settle(&watched->store);
    return true;
}

/* There can be no watches. */
static void do_without(struct watched *watched, int error)
{
    watched->store.watches_max = 0;
    journal_log(watched->journal, LOG_WARNING,
                "cannot watch mailboxes, so each query asks the file system: %s", strerror(-error));
}

int watched_new(const struct watched_settings *settings, struct pool *pool,
                const struct cache *cache, struct journal *journal, struct watched **ret)
{
    _cleanup_(watched_freep) struct watched *watched = calloc(1, sizeof(*watched));
    struct watch_callbacks callbacks = {
        .event = on_event,
        .other = on_mounts,
        .lost = on_lost,
    };
    int r;

    if (!watched)
        return -ENOMEM;
    watched->pool = pool;
    watched->cache = cache;
    watched->journal = journal;
    r = store_init(&watched->store, settings->mailbox, settings->watches_max);
    if (r < 0)
        return r;
    r = settings->watches_max > 0 ? mounts_new(&watched->mounts) : 0;
    if (r < 0)
        do_without(watched, r);
    if (watched->mounts) {
        callbacks.other_fd = mounts_fd(watched->mounts);
        r = watch_set_new(&callbacks, watched, &watched->store.set);
        if (r < 0)
            return r;
    }
    *ret = steal_pointer(&watched);
    return 0;
}

static void attempt_free(struct attempt *attempt)
{
    if (!attempt)
        return;
    attempt->watched->store.known_way = (struct known_way){};
    admission_done(&attempt->admission);
    free(attempt);
}

DEFINE_FREEP(attempt)

void watched_free(struct watched *watched)
{
    if (!watched)
        return;
    attempt_free(watched->attempt);
    store_deinit(&watched->store);
    mounts_free(watched->mounts);
    free(watched);
}

bool watched_recall(struct watched *watched, const char *path, const struct mailbox_policy *policy,
                    uint64_t now_usec, struct usage *ret)
{
    struct store *store = &watched->store;
    struct mailbox mailbox = MAILBOX_NULL;
    struct known *known;
    uint64_t id;

    store->refreshed = NULL;
    if (store->mailboxes.count == 0)
        return false;
    id = store_id(store, path);
    if (!store_find(store, id) || !is_up_to_date(watched))
        return false;
    known = store_find(store, id);
    if (!known)
        return false;
    TAILQ_REMOVE(&store->mailboxes_list, known, link);
    TAILQ_INSERT_TAIL(&store->mailboxes_list, known, link);
    if (known->is_outdated) {
        known->is_outdated = false; /* an event after this makes it so again */
        store->refreshed = known;
        return false;
    }
    memcpy(&mailbox, known->facts, FACTS_BYTES);
    if (clock_usec(CLOCK_MONOTONIC) < known->until_usec &&
        mailbox_recall(&mailbox, store->settings, policy, now_usec,
                       known->is_counted ? &known->sums : NULL, ret) == MAILBOX_ANSWERED) {
        watched->counters.hits++;
        return true;
    }
    /* It is to be read, or counted, again. */
    if (known->sums.is_followed)
        store_invalidate(store, known, CHANGED_SEC);
    else
        store_remove(store, known);
    return false;
}

/* The user has no more watches: others may need some, too. */
static void lower_bound(struct watched *watched)
{
    watched->store.watches_max = watch_set_count(watched->store.set) / 2;
    journal_log(watched->journal, LOG_WARNING,
                "the user has no more inotify watches (fs.inotify.max_user_watches); at most %zu "
                "are used from now on",
                watched->store.watches_max);
    store_make_room(&watched->store, 0);
}

static void on_attempted(struct pool_job *job)
{
    _cleanup_(attempt_freep) struct attempt *attempt = (struct attempt *)job;
    struct watched *watched = attempt->watched;
    struct admission *admission = &attempt->admission;
    uint64_t now_usec = clock_usec(CLOCK_MONOTONIC);
    int error = admission->error;

    watched->pause_until_usec = 2 * now_usec - attempt->started_usec;
    if ((!watch_batch_end(&admission->batch) || attempt->is_void) && error == 0)
        error = -EAGAIN;
    watched->attempt = NULL;
    if (error == -ENOSPC)
        lower_bound(watched);
    if (error == 0)
        store_make_room(&watched->store, admission->batch.count);
    if (error == 0 && !store_way_holds(&watched->store, admission))
        error = -EAGAIN;
    if (error == 0)
        error = store_add(&watched->store, admission, attempt->id,
                          attempt->started_usec + BELIEVED_USEC);
    if (error < 0)
        store_delay(&watched->store, attempt->id, error == -EAGAIN ? CHANGED_SEC : UNWATCHABLE_SEC);
}

static void on_attempt(struct pool_job *job)
{
    struct attempt *attempt = (struct attempt *)job;

    admission_work(&attempt->admission);
}

static size_t share(const struct watched *watched)
{
    size_t share = watched->store.watches_max / SHARE;

    if (share < SHARE_MIN)
        share = SHARE_MIN;
    return share < watched->store.watches_max ? share : watched->store.watches_max;
}

/* Begins to watch the mailbox. Returns 0 or a negative errno. */
static int attempt_start(struct watched *watched, const char *path, uint64_t id,
                         const struct mailbox_policy *policy, dev_t device)
{
    _cleanup_(attempt_freep) struct attempt *attempt = calloc(1, sizeof(*attempt));
    int r;

    if (!attempt)
        return -ENOMEM;
    attempt->job = (struct pool_job){
        .device = device,
        .work = on_attempt,
        .finished = on_attempted,
    };
    attempt->watched = watched;
    attempt->id = id;
    attempt->started_usec = clock_usec(CLOCK_MONOTONIC);
    r = admission_init(&attempt->admission, watched->store.settings, policy, path,
                       cache_find(watched->cache, CACHE_COUNT, path));
    if (r < 0)
        return r;
    if (!is_up_to_date(watched))
        return -EAGAIN;
    if (watched->store.mailboxes.count == 0)
        (void)mounts_changed(watched->mounts, watched->store.settings->confine);
    r = store_know_way(&watched->store, &attempt->admission);
    if (r < 0)
        return r;
    r = admission_begin(&attempt->admission, watched->store.set, share(watched));
    if (r == -EMFILE || r == -ENFILE)
        do_without(watched, r);
    if (r == 0)
        r = pool_submit(watched->pool, &attempt->job);
    if (r < 0)
        return r;
    watched->attempt = steal_pointer(&attempt);
    return 0;
}

/*
 * Sums that say "over" may be believed again, whatever was counted, if their file is newer than all
 * changes. A thread finds that out when the mailbox comes to be watched again.
 */
void watched_refresh(struct watched *watched, int probe, const struct mailbox *mailbox)
{
    struct known *known = steal_pointer(&watched->store.refreshed);

    if (!known)
        return;
    if ((probe == MAILBOX_ANSWERED || probe == MAILBOX_NEEDS_COUNT) &&
        mailbox->kind == known->kind && !mailbox->is_suspect && !mailbox->is_unsure &&
        !(known->is_counted && mailbox->maildirsize_state == USAGE_RULE_TRUSTED)) {
        memcpy(known->facts, mailbox, FACTS_BYTES);
        watched->store.reread = known;
    } else {
        store_remove(&watched->store, known);
    }
}

void watched_note(struct watched *watched, const char *path, const struct mailbox_policy *policy,
                  dev_t device)
{
    struct store *store = &watched->store;
    uint64_t id;
    int r;

    if (store->watches_max == 0)
        return;
    id = store_id(store, path);
    if (store_find(store, id) || !store_is_asked_again(store, id) || watched->attempt ||
        clock_usec(CLOCK_MONOTONIC) < watched->pause_until_usec)
        return;
    r = attempt_start(watched, path, id, policy, device);
    if (r < 0)
        store_delay(store, id, r == -EAGAIN ? CHANGED_SEC : UNWATCHABLE_SEC);
}

void watched_suspend(struct watched *watched)
{
    watched->is_suspended = true;
    if (watched->attempt)
        watched->attempt->is_void = true;
}

size_t watched_count(const struct watched *watched)
{
    return watched->store.set ? watch_set_count(watched->store.set) : 0;
}

struct watched_counters watched_counters(const struct watched *watched)
{
    struct watched_counters counters = watched->counters;

    counters.invalidations = watched->store.invalidations;
    return counters;
}
