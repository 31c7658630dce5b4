/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every option of exim-quotad(8), from the command line and the configuration file, checked where
 * it enters. The command line outranks the file.
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
    char *config_path; /* NULL: not given */
    char *file_text;   /* what the configuration file sets, for comparison; NULL: there is none */
    struct settings settings; /* but for the roots, which are not open yet */
    char *user;               /* NULL: not given */
    char *pidfile;
    bool foreground;
    bool debug;
    enum options_log log;
    char *log_path;
};

/*
 * Reads the command line, and for the service and --check-config the configuration file. Returns 0
 * and *ret, which the caller releases with options_deinit(); -EINVAL if something is wrong there;
 * or -ENOENT, -ENOMEM, -EMFILE, ... if something could not be read. After an error, *ret has the
 * defaults, which own nothing, and the action, OPTIONS_SERVE if the command line is wrong; and
 * there is a line for people in error[0..OPTIONS_ERROR_BYTES_MAX), unless the action is
 * OPTIONS_CHECK_CONFIG: standard error has got a line for everything that is wrong then.
 */
int options_parse(int argc, char **argv, struct options *ret, char *error);

/* Returns the path of the configuration file, which may be missing if it was not given. */
const char *options_config_path(const struct options *options);

/*
 * Reads all options again. Returns 1 if the configuration file sets anything else than it did for
 * options, and the roots can be opened; 0 if it does not; or a negative errno as options_parse(),
 * or of a root, with a line in error. May be called by any thread, but by one only.
 */
int options_reread(int argc, char **argv, const struct options *options, char *error);

/*
 * For exim-quotactl: reads those options of the configuration file at path (NULL: the default one)
 * that are in the group, which is quota_options_group()'s, unless its command line gives them. The
 * others are only checked. Returns as options_parse().
 */
int options_read_quota(const char *path, const struct option_group *quota, char *error);

void options_deinit(struct options *options);

/* Prints the help. */
void options_print_help(void);
