/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connections: bytes of a request in, bytes of a reply out, then closed. Each has one deadline
 * for the whole of its request. No client can hold up another: nothing here waits, and when all
 * places are taken the client that has waited longest for itself makes room.
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
 * Takes the connected socket fd, and answers at once what can be answered at once. The caller has
 * seen to it that there is a place, or one to be made. Whoever may not ask is closed at once, and
 * takes nobody's place. Returns 0, or -ENOMEM; fd is closed then.
 */
int connections_take(struct connections *connections, int fd);

/*
 * Returns whether every place is taken, and by connections that wait for us alone. Those whose
 * clients were waited for are looked at, lest one that has asked by now is taken for one that can
 * make room.
 */
bool connections_blocked(struct connections *connections);

/*
 * Closes the connection that has waited longest for its client, with the answer for an overload,
 * text saying why, unless what it waited for has come meanwhile: then it is answered, and another
 * one has to go if that takes time. Returns whether there was one; where all wait for us, there is
 * none.
 */
bool connections_make_room(struct connections *connections, const char *text);

/* Returns how many there are. */
size_t connections_count(const struct connections *connections);
