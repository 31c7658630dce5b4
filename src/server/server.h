/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of the service: from its sockets to its end. It ends by a signal, when it has been idle
 * for long enough, when the connections that it was handed are through, or, with sockets of
 * systemd, when a root has become another directory, which this process may not read, or when the
 * options have changed at a reload; whatever was accepted is answered first.
 */
#pragma once

#include "config/settings.h"
#include "server/reread.h"
#include "server/sockets.h"
#include "system/journal.h"

/* Why the service could not start, or not go on. */
#define SERVER_ERROR_BYTES_MAX 8192

/* What server_run() returns where a thread still waits for a file system. */
#define SERVER_LEFT_THREAD 1

/* What the service does not do itself. */
struct server_calls {
    /*
     * Called once, when everything is open that will be needed, before the first query is taken. A
     * negative errno ends the service.
     */
    int (*prepared)(void *userdata);
    reread_fn reread; /* called at a reload */
    void *userdata;
};

/*
 * Serves the sockets until there is nothing left to serve. SIGTERM, SIGINT and SIGHUP must be
 * blocked, and no thread may have been started. Everything stays the caller's. Returns 0;
 * SERVER_LEFT_THREAD after an end where a thread still uses settings, which must not be released,
 * nor main() left; or a negative errno if it could not start or not go on, and then in
 * error[0..SERVER_ERROR_BYTES_MAX) a line for people.
 */
int server_run(const struct settings *settings, struct sockets *sockets, struct journal *journal,
               const struct server_calls *calls, char *error);
