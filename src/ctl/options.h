/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of exim-quotactl(1).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/options_table.h"
#include "ctl/query.h"
#include "ctl/report_rows.h"
#include "ctl/report_walk.h"
#include "ctl/screen.h"
#include "quota/settings.h"

enum ctl_action {
    CTL_ASK,
    CTL_REPORT,
    CTL_HELP,
    CTL_VERSION,
};

enum ctl_format {
    CTL_FORMAT_TABLE,
    CTL_FORMAT_JSON,
    CTL_FORMAT_RAW,
    CTL_FORMAT_PROMETHEUS,
    CTL_FORMAT_CSV,
};

/* What a report is to print. */
struct report_options {
    struct report_scope scope; /* of argv */
    enum report_sort sort;
    bool has_sort;        /* it was given */
    size_t top;           /* how many mailboxes to print; 0: all */
    uint64_t min_percent; /* from this share of a limit on; 0: all */
};

struct ctl_options {
    enum ctl_action action;
    struct ctl_query query;
    char **targets; /* of argv */
    size_t targets_count;
    struct report_options report;

    enum ctl_format format;
    bool http; /* answer an HTTP request on standard input */
    enum screen_colour colour;

    bool direct;       /* also for a report */
    bool compares;     /* explanations of the service are compared with direct ones */
    char *config_path; /* NULL: not given */
    char *socket_path; /* NULL: not given */
    uint64_t timeout_usec;
    struct quota_settings quota; /* for direct; but for the roots, which are not open yet */
};

/*
 * Reads the command line, whose words must outlive *ret, and for --direct the configuration file.
 * Returns 0 and *ret, which the caller releases with ctl_options_deinit(); or a negative errno,
 * with a line for people in error[0..OPTIONS_ERROR_BYTES_MAX).
 */
int ctl_options_parse(int argc, char **argv, struct ctl_options *ret, char *error);
void ctl_options_deinit(struct ctl_options *options);

/*
 * Reads the configuration file to compare. Returns 0, or a negative errno with a line for people in
 * error[0..OPTIONS_ERROR_BYTES_MAX).
 */
int ctl_options_read_config(struct ctl_options *options, char *error);

/* Prints the help. */
void ctl_options_print_help(void);
