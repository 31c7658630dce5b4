/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connections: a request in, a reply out, then closed. Each has one deadline for its whole
 * request. No client can delay another: nothing here waits, and if there are too many connections,
 * the one whose client has kept us waiting for longest is closed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "server/query.h"

struct connections;

/* Called on the event loop whenever a connection was closed. */
typedef void (*connections_closed_fn)(void *userdata);

/*
 * Makes a set of no connections, of which there may be max. service is the caller's and outlives
 * it. Returns 0, or a negative errno.
 */
int connections_new(sd_event *event, struct query_service *service, size_t max,
                    uint64_t timeout_usec, connections_closed_fn closed, void *userdata,
                    struct connections **ret);

/* Closes all connections and releases the set. NULL is allowed. */
void connections_free(struct connections *connections);

/*
 * Takes the connected socket fd, and answers at once if possible. The caller has made sure that
 * there is room, or that some can be made. A peer that is not allowed to ask is disconnected at
 * once. Returns 0, or -ENOMEM; fd is closed then.
 */
int connections_take(struct connections *connections, int fd);

/*
 * Returns whether there are as many connections as there may be, and all wait for us. Requests that
 * have arrived by now are read first.
 */
bool connections_blocked(struct connections *connections);

/*
 * Closes the connection whose client has kept us waiting for longest, with REASON_OVERLOADED and
 * text. Requests that have arrived by now are answered first, which may be enough. Returns whether
 * there is room now; if all wait for us, there is none.
 */
bool connections_make_room(struct connections *connections, const char *text);

/* Returns how many there are. */
size_t connections_count(const struct connections *connections);
