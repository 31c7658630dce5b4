/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: every option of exim-quotad(8), checked where it enters.
 */
#pragma once

#include <stdbool.h>

#include "config/options_table.h"
#include "config/settings.h"

enum options_action {
    OPTIONS_SERVE,
    OPTIONS_CHECK_CONFIG,
    OPTIONS_HELP,
    OPTIONS_VERSION,
};

/* Where log entries go. */
enum options_log {
    OPTIONS_LOG_DEFAULT, /* the journal under systemd, else standard error */
    OPTIONS_LOG_FILE,
    OPTIONS_LOG_SYSLOG,
};

struct options {
    enum options_action action;
    struct settings settings; /* but for the roots, which are not open yet */
    char *user;               /* NULL: not given */
    char *pidfile;
    bool foreground;
    bool debug;
    enum options_log log;
    char *log_path;
};

/*
 * Reads the command line. Returns 0 and *ret, which the caller releases with options_deinit();
 * -EINVAL if it is wrong; or -ENOMEM, -EMFILE, ... if it could not be read. After an error, there
 * is a line for people in error[0..OPTIONS_ERROR_BYTES_MAX), and *ret has the defaults, which own
 * nothing.
 */
int options_parse(int argc, char **argv, struct options *ret, char *error);
void options_deinit(struct options *options);

/* Prints the help. */
void options_print_help(void);
