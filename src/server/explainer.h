/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Explanations, each made by a worker thread with a new count that is not cached. One is made at a
 * time. It may spend half of the timeout as processor time on the verdict, and as much on a count
 * for comparison. One that is not finished in time therefore hangs in a file system; it does not
 * keep others from being made, unless EXPLAINER_MAX of them hang.
 */
#pragma once

#include <stddef.h>
#include <systemd/sd-event.h>

#include "protocol/request.h"
#include "quota/cache.h"
#include "quota/limits.h"
#include "quota/settings.h"
#include "server/deadline.h"
#include "server/pool.h"

#define EXPLAINER_MAX 4

struct explainer;
struct explain_waiter;

/* Called once, on the event loop, with the reply, which is valid during the call. */
typedef void (*explain_done_fn)(struct explain_waiter *waiter, enum reason reason,
                                const char *reply, size_t length);

/* A query that waits for an explanation; embedded in what the caller keeps of the query. */
struct explain_waiter {
    explain_done_fn done;    /* set by the caller */
    void *userdata;          /* the caller's */
    struct explain_job *job; /* NULL: waits for nothing */
    struct deadline deadline;
};

/*
 * Makes an explainer. The settings, the pool and the cache are the caller's and outlive it.
 * timeout_usec is for one explanation. Returns 0 or a negative errno.
 */
int explainer_new(sd_event *event, const struct quota_settings *settings, uint64_t timeout_usec,
                  struct pool *pool, const struct cache *cache, struct explainer **ret);

/* Releases the explainer, after its pool has ended. NULL is allowed. */
void explainer_free(struct explainer *explainer);

/*
 * Begins to explain what the request is about. Neither the request nor the limits (NULL: none) are
 * needed afterwards. Returns 0, and done() is called later: with REASON_NONE and the whole reply,
 * even if that ends with an error, or with REASON_TIMEOUT and no reply. After an error it is not
 * called: -EBUSY if another explanation is being made, or another negative errno.
 */
int explainer_ask(struct explainer *explainer, struct explain_waiter *waiter,
                  const struct request *request, const struct limits *limits);

/* Removes the waiter: done() is not called. */
void explainer_leave(struct explain_waiter *waiter);

/* Returns whether an explanation is being made, even if nobody waits for it any longer. */
bool explainer_is_busy(const struct explainer *explainer);
