/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of the service: from its sockets to its end. It ends by a signal, when it has been idle
 * for long enough, or when the connections that it was handed are through; whatever was accepted is
 * answered first.
 */
#pragma once

#include "server/settings.h"
#include "server/sockets.h"
#include "system/journal.h"

/*
 * Serves the sockets until there is nothing left to serve. SIGTERM, SIGINT and SIGHUP must be
 * blocked, and no thread may have been started. on_ready is called once, when questions are
 * answered. Everything stays the caller's. Returns 0, or a negative errno if it could not start.
 */
int server_run(const struct settings *settings, struct sockets *sockets, struct journal *journal,
               void (*on_ready)(void *userdata), void *userdata);
