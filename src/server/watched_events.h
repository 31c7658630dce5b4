/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What events of inotify(7) mean for the mailboxes that are watched. */
#pragma once

#include "server/watched_store.h"

/* Handles an event. */
void watched_on_event(struct store *store, const struct watch_event *event);

/*
 * Is to be called when there are no more events: removes the mailbox that a message has left, since
 * its other name may be only about to appear there.
 */
void watched_settle(struct store *store);
