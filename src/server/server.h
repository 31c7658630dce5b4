/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of the service: from its sockets to its end. It ends by a signal, when it has been idle
 * for long enough, when the connections that it was handed are through, or, with sockets of
 * systemd, when a root has become another directory, which this process may not read; whatever was
 * accepted is answered first.
 */
#pragma once

#include "config/settings.h"
#include "server/sockets.h"
#include "system/journal.h"

/* Why the service could not start, or not go on. */
#define SERVER_ERROR_BYTES_MAX 8192

/* What server_run() returns where a thread still waits for a file system. */
#define SERVER_LEFT_THREAD 1

/*
 * Serves the sockets until there is nothing left to serve. SIGTERM, SIGINT and SIGHUP must be
 * blocked, and no thread may have been started. on_prepared is called once, when everything is open
 * that will be needed, before the first question is taken; a negative errno that it returns ends
 * the service. Everything stays the caller's. Returns 0; SERVER_LEFT_THREAD after an end where a
 * thread still uses settings, which must not be released, nor main() left; or a negative errno if
 * it could not start or not go on, and then in error[0..SERVER_ERROR_BYTES_MAX) a line for people.
 */
int server_run(const struct settings *settings, struct sockets *sockets, struct journal *journal,
               int (*on_prepared)(void *userdata), void *userdata, char *error);
