/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a request to its reply: finds the mailbox, at once where the kernel holds it in memory and
 * through a shared look where that may take time; decides; counts; writes the reply and what an
 * operator wants to know of it. Sockets are none of its business.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/reply.h"
#include "protocol/request.h"
#include "quota/target.h"
#include "server/limits_store.h"
#include "server/lookups.h"
#include "server/scan.h"
#include "server/settings.h"
#include "system/journal.h"

/* Who asks, for the journal. */
struct query_peer {
    int fd; /* the socket, asked for its peer's identity when that is wanted */
};

struct query;
typedef void (*query_done_fn)(struct query *query);

/* One query, part of the connection that it came by. All zero is a query that was not started. */
struct query {
    query_done_fn done;     /* set by the caller: called when a waiting query has its reply */
    struct query_peer peer; /* set by the caller */

    struct scan_waiter waiter;
    enum request_type type;
    uint64_t started_usec;
    struct target target;
};

/* Numbers since the start. */
struct query_counters {
    uint64_t queries; /* requests that got a reply */
    uint64_t over;    /* of these, mailboxes over their limit, as far as that is known */
    uint64_t errors;
    uint64_t connections; /* whoever came, asked or not */
};

struct query_service;

/*
 * Makes what queries need: the cache and the scanner. settings and journal are the caller's and
 * outlive it. connections_max is how many questions there may be at a time, which may be fewer than
 * the settings say; listens tells whether there will be more than the connections that were passed.
 * Returns 0, or a negative errno.
 */
int query_service_new(sd_event *event, const struct settings *settings, size_t connections_max,
                      bool listens, struct journal *journal, struct query_service **ret);

/* Ends it. Returns false, and keeps everything, where a thread is still at work. */
bool query_service_end(struct query_service *service);

/* Returns the limits, to be loaded and reloaded. They stay the service's. */
struct limits_store *query_limits(const struct query_service *service);

/* Returns the threads for what is no mailbox and may wait. They stay the service's. */
struct pool *query_pool(const struct query_service *service);

/*
 * Counts the connection fd. Returns whether whoever connected may ask; if not, the journal tells.
 */
bool query_admit(struct query_service *service, int fd);

/*
 * Starts the query that line[0..length) asks (one more byte may be written behind it). Returns true
 * if the reply is there, or false if done() will be called later; line is no longer needed then.
 */
bool query_start(struct query_service *service, struct query *query, char *line, size_t length);

/*
 * Makes the reply to a request that never became one, because of the reason; text says for people
 * what was wrong. line[0..length) is what came of it.
 */
void query_refuse(struct query_service *service, struct query *query, const char *line,
                  size_t length, enum reason reason, const char *text);

/*
 * Tells that the client gets no reply, or not all of it, because of error, a negative errno of
 * ours.
 */
void query_lost(struct query_service *service, const struct query *query, int error);

/* Forgets a query that waits: done() is not called. */
void query_cancel(struct query_service *service, struct query *query);

/*
 * Returns the reply, valid until the next query is started or finished. It stays the service's.
 */
const struct reply *query_reply(const struct query_service *service);

/* Returns the numbers, which stay the service's. */
const struct query_counters *query_counters(const struct query_service *service);

/* Returns how many mailboxes are remembered. */
size_t query_mailboxes(const struct query_service *service);

/* Returns how many addresses led to mailboxes, which stays the service's. */
const struct lookups *query_lookups(const struct query_service *service);

/* Returns whether a look is under way, though nobody may wait for it any longer. */
bool query_is_busy(const struct query_service *service);

/* Returns how many looks hang in a file system. */
unsigned int query_stuck(struct query_service *service);

/* Returns the microseconds below which 99 of 100 answers took, about. */
uint64_t query_p99_usec(const struct query_service *service);
