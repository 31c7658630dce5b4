/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a request to its reply: probes the mailbox, at once if the kernel holds what is needed in
 * memory, otherwise by a shared scan; decides; makes the reply, updates the counters, and logs what
 * an operator needs to know. It does not read or write sockets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "config/settings.h"
#include "protocol/reply.h"
#include "protocol/request.h"
#include "quota/target.h"
#include "server/counters.h"
#include "server/explainer.h"
#include "server/limits_store.h"
#include "server/lookups.h"
#include "server/scan.h"
#include "system/journal.h"

struct query;

/* Called once, with the reply, which is valid during the call. It may release the query. */
typedef void (*query_done_fn)(struct query *query, const char *reply, size_t length);

/* One query, embedded in its connection. All zeroes is a query that was not started. */
struct query {
    query_done_fn done; /* set by the caller */
    int peer_fd;        /* set by the caller: the socket, to identify the peer in the journal */

    struct scan_waiter waiter;
    struct explain_waiter explain_waiter;
    enum request_type type;
    uint64_t started_usec;
    struct target target;
};

struct query_service;

/* Room for the line of query_status(). */
#define QUERY_STATUS_BYTES_MAX 512

/*
 * Makes what queries need: worker threads, the cache and the scanner. settings and journal stay the
 * caller's and must outlive it. connections_max is how many queries there may be at a time, which
 * may be fewer than the settings say; listens says whether new connections are accepted, beside
 * those that were passed. Returns 0 or a negative errno.
 */
int query_service_new(sd_event *event, const struct settings *settings, size_t connections_max,
                      bool listens, struct journal *journal, struct query_service **ret);

/* Ends it. Returns false, and keeps everything, if a thread is still at work. */
bool query_service_end(struct query_service *service);

/* Returns the limits, to be loaded and reloaded. They stay the service's. */
struct limits_store *query_limits(const struct query_service *service);

/* Returns the worker threads for jobs that concern no mailbox. They stay the service's. */
struct pool *query_pool(const struct query_service *service);

/* Counts a connection. */
void query_count_connection(struct query_service *service);

/*
 * Starts the query for the request. Returns whether done() has been called; if not, it will be
 * called later, and what the request points to is not needed then.
 */
bool query_start(struct query_service *service, struct query *query, const struct request *request);

/*
 * As query_start(), for the line[0..length) of a request (the byte after it may be overwritten). An
 * invalid one gets a reply, too.
 */
bool query_start_line(struct query_service *service, struct query *query, char *line,
                      size_t length);

/*
 * Calls done() with the reply to an incomplete, oversized or invalid line: the reason, and text,
 * which says for people what was wrong. line[0..length) is the part that was received.
 */
void query_refuse(struct query_service *service, struct query *query, const char *line,
                  size_t length, enum reason reason, const char *text);

/*
 * Logs that an incomplete, oversized or invalid policy request gets no reply: the reason, and text,
 * which says for people what was wrong. done() is not called.
 */
void query_refuse_policy(struct query_service *service, struct query *query, enum reason reason,
                         const char *text);

/* Logs that the client gets no reply, or only part of it, because of error, a negative errno. */
void query_lost(struct query_service *service, const struct query *query, int error);

/* Cancels a waiting query: done() is not called. */
void query_cancel(struct query_service *service, struct query *query);

/* Returns the counters, which stay the service's. */
const struct counters *query_counters(const struct query_service *service);

/*
 * Closes the roots, see confine_release(). Nothing is answered from memory until they are open
 * again, and the same directories. Returns whether any was open.
 */
bool query_release_roots(struct query_service *service);

/* Returns whether a scan is under way, even if no query waits for it any longer. */
bool query_is_busy(const struct query_service *service);

/* Returns how many scans hang in a file system. */
unsigned int query_stuck(struct query_service *service);

/* Writes the counters, and anything that is amiss, as one line for people. */
void query_status(struct query_service *service, char text[static QUERY_STATUS_BYTES_MAX]);
