/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager: what it is told about the service, and that the event loop runs, where it
 * wants to know (sd_watchdog_enabled(3)). It is never waited for; what matters is told again until
 * it takes it.
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
 * Tells the state, as "READY=1\n", or "" for no other than before, and the status. state must be a
 * constant string. Returns false where the state, or one before it, is to be told again soon.
 */
bool manager_tell(struct manager *manager, const char *state, const char *status);

/* Tells that a reload begins. Where that is to be told again, manager_tell() does it. */
void manager_tell_reload(struct manager *manager);
