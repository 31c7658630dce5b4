/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notifications to the service manager: the state of the service, and that the event loop runs, if
 * the manager asks for that (sd_watchdog_enabled(3)). They are never waited for; important ones are
 * repeated until the manager takes them.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "system/journal.h"

struct manager;

/* Returns 0 and what manager_free() releases, or a negative errno. */
int manager_new(sd_event *event, struct journal *journal, struct manager **ret);

/* NULL is allowed. */
void manager_free(struct manager *manager);

/*
 * Sends the state, such as "READY=1\n", or "" if it has not changed, and the status. state must
 * be a constant string. Returns false if this or an earlier state was not delivered yet: it is sent
 * with the next call, which should come soon.
 */
bool manager_tell(struct manager *manager, const char *state, const char *status);

/* Sends that a reload begins. If it is not delivered, manager_tell() sends it again. */
void manager_tell_reload(struct manager *manager);
