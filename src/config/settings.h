/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the command line decides.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "quota/settings.h"

/* How an error is answered where the answer is a number. */
enum on_error {
    ON_ERROR_ACCEPT, /* 0: every comparison reads it as empty */
    ON_ERROR_DEFER,  /* SIZE_BYTES_MAX: every comparison reads it as full */
};

struct settings {
    /*
     * Why the service cannot work with its options, for people: every query is answered at once
     * with this error, and no root is used. NULL: nothing is wrong.
     */
    const char *misconfigured;

    /* where requests come from */
    char *socket_path; /* NULL: from systemd or on standard input */
    mode_t socket_mode;
    unsigned int connections_max;
    uint64_t timeout_usec;
    uint64_t exit_idle_usec; /* UINT64_MAX: never */

    /* how queries are answered */
    enum on_error on_error;
    struct quota_settings quota;
    unsigned int scan_threads;
    uint64_t scan_timeout_usec;
    size_t cache_bytes; /* for all that is cached of mailboxes */
    size_t watches_max; /* of inotify(7), for mailboxes; 0: none is watched */
};
