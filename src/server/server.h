/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of the service. It ends by a signal, when it has been idle for long enough, when the
 * connections that it was passed are closed, or, with sockets from systemd, when a root has become
 * another directory, which this process may not read, or when the options have changed at a reload.
 * Accepted requests are answered first.
 */
#pragma once

#include "config/settings.h"
#include "server/reread.h"
#include "server/sockets.h"
#include "system/journal.h"

/* Room for why the service could not start or continue. */
#define SERVER_ERROR_BYTES_MAX 8192

/* A thread still waits for a file system. */
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
 * Serves the sockets until it ends. SIGTERM, SIGINT and SIGHUP must be blocked, and no thread may
 * have been started. Everything stays the caller's. Returns 0; SERVER_LEFT_THREAD if a thread still
 * uses settings, which must not be released, nor main() left; or a negative errno, and then in
 * error[0..SERVER_ERROR_BYTES_MAX) a line for people.
 */
int server_run(const struct settings *settings, struct sockets *sockets, struct journal *journal,
               const struct server_calls *calls, char *error);
