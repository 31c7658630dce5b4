/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connections. One from Exim takes a request and a reply, and is closed. One from Postfix takes
 * one request after another, for as long as the client likes. Each request has one deadline, which
 * starts when an Exim client connects or when the first byte from Postfix arrives.
 *
 * No client can delay another: nothing here waits. If there are too many connections from Exim, the
 * one whose client has kept us waiting for longest is closed. Those from Postfix are counted
 * separately, and are never closed to make room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/protocol.h"
#include "server/query.h"

struct connections;

/* Called on the event loop whenever a connection was closed or has come to rest. */
typedef void (*connections_idle_fn)(void *userdata);

/*
 * Makes a set of no connections, of which there may be max[] of each protocol. service is the
 * caller's and outlives it. Returns 0, or a negative errno.
 */
int connections_new(sd_event *event, struct query_service *service,
                    const size_t max[static PROTOCOL_COUNT_], uint64_t timeout_usec,
                    connections_idle_fn idle, void *userdata, struct connections **ret);

/* Closes all connections and releases the set. NULL is allowed. */
void connections_free(struct connections *connections);

/*
 * Takes the connected socket fd, and answers at once if possible. The caller has made sure that
 * there is room, or that some can be made. Returns 0, or -ENOMEM; fd is closed then.
 */
int connections_take(struct connections *connections, int fd, enum protocol protocol);

/* Returns whether there are as many connections of the protocol as there may be. */
bool connections_full(const struct connections *connections, enum protocol protocol);

/*
 * Returns whether there are as many connections of the protocol as there may be, and none can make
 * room. Requests that have arrived by now are read first.
 */
bool connections_blocked(struct connections *connections, enum protocol protocol);

/*
 * Closes the connection of the protocol whose client has kept us waiting for longest, with
 * REASON_OVERLOADED and text. Requests that have arrived by now are answered first, which may be
 * enough. Returns whether there is room now; if all wait for us, or for Postfix, there is none.
 */
bool connections_make_room(struct connections *connections, enum protocol protocol,
                           const char *text);

/*
 * Closes each connection once the request that has arrived or begun on it, if any, is answered:
 * from now on, none is at rest.
 */
void connections_end(struct connections *connections);

/* Returns how many there are. */
size_t connections_count(const struct connections *connections);

/* Returns how many are not at rest. */
size_t connections_busy(const struct connections *connections);
