/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The listening sockets: accepts connections while there is room, and leaves the others queued. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "server/connections.h"
#include "system/journal.h"

struct listeners;

/* Called when nothing is left to accept. */
typedef void (*listeners_drained_fn)(void *userdata);

/*
 * Makes a set of no listening sockets. connections and journal are the caller's and outlive it.
 * Returns 0 or a negative errno.
 */
int listeners_new(sd_event *event, struct connections *connections, struct journal *journal,
                  struct listeners **ret);

/* Releases the set. The sockets stay the caller's. NULL is allowed. */
void listeners_free(struct listeners *listeners);

/* Accepts clients of the protocol from fd, made non-blocking. Returns 0 or a negative errno. */
int listeners_add(struct listeners *listeners, int fd, enum protocol protocol);

/* Continues where there was no room and is now: after a connection was closed. */
void listeners_resume(struct listeners *listeners);

/* Accepts no more. */
void listeners_stop(struct listeners *listeners);

/*
 * Accepts what is in the queues, now and as room becomes available, until they are empty; drained()
 * is called then, maybe at once. For sockets to which nobody can connect any longer.
 */
void listeners_drain(struct listeners *listeners, listeners_drained_fn drained, void *userdata);

/* Returns whether anything may still be accepted. */
bool listeners_active(const struct listeners *listeners);
