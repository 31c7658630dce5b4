/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config/config_file.h"
#include "config/option_value.h"
#include "config/options_table.h"
#include "config/quota_options.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/printable.h"
#include "system/watch.h"

static int read_socket(void *target, const char *value)
{
    struct options *options = target;

    return option_value_string(value, &options->settings.socket_path);
}

static int read_mode(void *target, const char *value)
{
    struct options *options = target;
    mode_t mode = 0;

    if (*value == '\0' || strlen(value) > 4)
        return -EINVAL;
    for (const char *c = value; *c; c++) {
        if (*c < '0' || *c > '7')
            return -EINVAL;
        mode = mode * 8 + (mode_t)(*c - '0');
    }
    if (mode > 0777)
        return -EINVAL;
    options->settings.socket_mode = mode;
    return 0;
}

static int read_user(void *target, const char *value)
{
    struct options *options = target;

    return option_value_string(value, &options->user);
}

static int read_pidfile(void *target, const char *value)
{
    struct options *options = target;

    return option_value_path(value, &options->pidfile);
}

static int read_foreground(void *target, const char *value)
{
    struct options *options = target;

    (void)value;
    options->foreground = true;
    return 0;
}

static int read_debug(void *target, const char *value)
{
    struct options *options = target;

    (void)value;
    options->debug = true;
    return 0;
}

static int read_log(void *target, const char *value)
{
    struct options *options = target;

    if (strcmp(value, "syslog") == 0) {
        options->log = OPTIONS_LOG_SYSLOG;
        free(options->log_path);
        options->log_path = NULL;
        return 0;
    }
    options->log = OPTIONS_LOG_FILE;
    return option_value_path(value, &options->log_path);
}

static int read_timeout(void *target, const char *value)
{
    struct options *options = target;

    return option_value_msecs(value, &options->settings.timeout_usec);
}

static int read_connections(void *target, const char *value)
{
    struct options *options = target;
    uint64_t number;
    int r = option_value_range(value, 1, 65536, &number);

    if (r == 0)
        options->settings.connections_max = (unsigned int)number;
    return r;
}

static int read_on_error(void *target, const char *value)
{
    struct options *options = target;

    if (strcmp(value, "accept") == 0)
        options->settings.on_error = ON_ERROR_ACCEPT;
    else if (strcmp(value, "defer") == 0)
        options->settings.on_error = ON_ERROR_DEFER;
    else
        return -EINVAL;
    return 0;
}

static int read_scan_threads(void *target, const char *value)
{
    struct options *options = target;
    uint64_t number;
    int r = option_value_range(value, 1, 64, &number);

    if (r == 0)
        options->settings.scan_threads = (unsigned int)number;
    return r;
}

static int read_scan_timeout(void *target, const char *value)
{
    struct options *options = target;

    return option_value_msecs(value, &options->settings.scan_timeout_usec);
}

static int read_cache_size(void *target, const char *value)
{
    struct options *options = target;
    uint64_t bytes;

    if (size_parse(value, strlen(value), &bytes) < 0 || bytes > SIZE_MAX)
        return -EINVAL;
    options->settings.cache_bytes = (size_t)bytes;
    return 0;
}

/* More than any kernel grants a user. */
#define WATCHES_MAX (UINT64_C(16) * 1024 * 1024)

static int read_watches(void *target, const char *value)
{
    struct options *options = target;
    uint64_t number;
    int r = option_value_range(value, 0, WATCHES_MAX, &number);

    if (r == 0)
        options->settings.watches_max = (size_t)number;
    return r;
}

static int read_exit_idle_time(void *target, const char *value)
{
    static const struct {
        const char *suffix;
        uint64_t usec;
    } units[] = {
        {"", USEC_PER_SEC},         {"ms", USEC_PER_MSEC},    {"s", USEC_PER_SEC},
        {"sec", USEC_PER_SEC},      {"m", 60 * USEC_PER_SEC}, {"min", 60 * USEC_PER_SEC},
        {"h", 3600 * USEC_PER_SEC},
    };
    struct options *options = target;
    size_t digits = strspn(value, "0123456789");
    uint64_t number;

    if (strcmp(value, "infinity") == 0) {
        options->settings.exit_idle_usec = UINT64_MAX;
        return 0;
    }
    if (size_parse_number(value, digits, &number) < 0 || number == 0)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(value + digits, units[i].suffix) == 0)
            return __builtin_mul_overflow(number, units[i].usec,
                                          &options->settings.exit_idle_usec) ||
                           options->settings.exit_idle_usec > SIZE_BYTES_MAX
                       ? -EINVAL
                       : 0;
    return -EINVAL;
}

static int read_config(void *target, const char *value)
{
    struct options *options = target;

    return option_value_path(value, &options->config_path);
}

static int read_check_config(void *target, const char *value)
{
    struct options *options = target;

    (void)value;
    options->action = OPTIONS_CHECK_CONFIG;
    return 0;
}

static int read_help(void *target, const char *value)
{
    struct options *options = target;

    (void)value;
    options->action = OPTIONS_HELP;
    return 0;
}

static int read_version(void *target, const char *value)
{
    struct options *options = target;

    (void)value;
    options->action = OPTIONS_VERSION;
    return 0;
}

static const struct option_spec specs[] = {
    {"on-error", 0, "accept|defer", "accept or defer",
     "after an error reply 0, or as if full (default: accept)", .read = read_on_error},
    {"scan-threads", 0, "NUMBER", "a number from 1 to 64",
     "worker threads that probe and count mailboxes (default: 4)", .read = read_scan_threads},
    {"scan-timeout", 0, "MSECS", OPTION_VALUE_MSECS,
     "how long a query waits for a mailbox (default: 5000)", .read = read_scan_timeout},
    {"cache-size", 0, "SIZE", "a size such as 512K or 16M, or 0",
     "size of the cache; 0 disables it (default: 16M)", .read = read_cache_size},
    {"watches", 0, "NUMBER", "a number from 0 to 16777216",
     "files and directories to watch; 0 disables it (default: 65536)", .read = read_watches},
    {"timeout", 't', "MSECS", OPTION_VALUE_MSECS,
     "how long a client may take for its request (default: 10000)", .read = read_timeout},
    {"max-connections", 'c', "NUMBER", "a number from 1 to 65536",
     "connections at a time (default: 12000)", .read = read_connections},
    {"max-children", 0, "NUMBER", "a number from 1 to 65536", NULL, .read = read_connections},
    {"exit-idle-time", 0, "TIME", "a time above 0, such as 500ms, 30s, 10min or 2h, or infinity",
     "exit when idle for this long, under systemd (default: infinity)",
     .read = read_exit_idle_time},
    {"socket", 's', "PATH", OPTION_VALUE_PATH, "create a socket at PATH, without systemd",
     .read = read_socket, .path_or = ""},
    {"socketmode", 'm', "MODE", "an octal mode from 0 to 777",
     "the mode of that socket (default: 666)", .read = read_mode},
    {"mode", 0, "MODE", "an octal mode from 0 to 777", NULL, .read = read_mode},
    {"user", 'u', "USER", "the name or number of a user",
     "become USER (default with --socket, as root: mail)", .read = read_user},
    {"pidfile", 'p', "PATH", OPTION_VALUE_PATH, "write the process number to PATH",
     .read = read_pidfile, .path_or = ""},
    {"foreground", 'f', NULL, NULL, "stay in the foreground", .read = read_foreground},
    {"debug", 'd', NULL, NULL, "log every reply, and how it was determined", .read = read_debug},
    {"log", 'l', "PATH|syslog", OPTION_VALUE_PATH ", or syslog",
     "where to log (default: journal, or stderr)", .read = read_log, .path_or = "syslog"},
    {"config", 0, "FILE", "a path", "configuration file (default: " CONFIG_PATH ")",
     .read = read_config, .command_line_only = true},
    {"check-config", 0, NULL, NULL, "check the options, print what is found, and exit",
     .read = read_check_config, .command_line_only = true},
    {"help", 'h', NULL, NULL, "print this help", .read = read_help, .command_line_only = true},
    {"version", 'V', NULL, NULL, "print the version", .read = read_version,
     .command_line_only = true},
};

enum { GROUP_QUOTA, GROUP_DAEMON, GROUPS_COUNT };

static void make_groups(struct options *options, struct options *outranked,
                        struct option_group groups[GROUPS_COUNT])
{
    groups[GROUP_QUOTA] = quota_options_group(&options->settings.quota);
    groups[GROUP_QUOTA].outranked = &outranked->settings.quota;
    groups[GROUP_DAEMON] = (struct option_group){
        .specs = specs,
        .count = sizeof(specs) / sizeof(specs[0]),
        .target = options,
        .outranked = outranked,
    };
}

static int read_command_line(int argc, char **argv, struct option_group *groups, char *error)
{
    int r = options_table_read(groups, GROUPS_COUNT, argc, argv, error);

    if (r >= 0 && r < argc)
        return options_fail(
            error, "\"%s\" is not an option; no other arguments are accepted; see --help", argv[r]);
    return r < 0 ? r : 0;
}

static void say_fault(const char *line, void *userdata)
{
    (void)userdata;
    printable_line(stderr, "exim-quotad: %s", line);
}

/* Keeps the first line. */
static void keep_fault(const char *line, void *userdata)
{
    char *error = userdata;

    if (error[0] == '\0')
        (void)options_fail(error, "%s", line);
}

const char *options_config_path(const struct options *options)
{
    return options->config_path ? options->config_path : CONFIG_PATH;
}

/* Reads the file at path, or if that is NULL the default one, which may be missing. */
static int read_file(const char *path, const struct option_group *groups, config_fault_fn say,
                     void *userdata, char **ret_text)
{
    return config_file_read(path ? path : CONFIG_PATH, !path, groups, GROUPS_COUNT, say, userdata,
                            ret_text);
}

/* Options that make no sense without another. */
static int check_together(const struct options *options, char *error)
{
    if (options->settings.socket_path)
        return 0;
    if (options->pidfile)
        return options_fail(error,
                            "--pidfile=%s needs --socket: systemd tracks the process without it",
                            options->pidfile);
    return 0;
}

static struct options default_options(void)
{
    return (struct options){
        .settings =
            {
                .socket_mode = 0666,
                .connections_max = 12000,
                .timeout_usec = 10000 * USEC_PER_MSEC,
                .exit_idle_usec = UINT64_MAX,
                .scan_threads = 4,
                .scan_timeout_usec = 5000 * USEC_PER_MSEC,
                .cache_bytes = (size_t)16 * 1024 * 1024,
                .watches_max = watch_default_max(),
                .quota = QUOTA_SETTINGS_DEFAULT,
            },
    };
}

/* Reads what the command line leaves to the configuration file. */
static int complete(struct options *options, const struct option_group *groups, char *error)
{
    config_fault_fn say = options->action == OPTIONS_CHECK_CONFIG ? say_fault : keep_fault;
    int r = read_file(options->config_path, groups, say, error, &options->file_text);

    if (r < 0)
        return r;
    r = check_together(options, error);
    if (r < 0)
        say(error, error);
    return r;
}

/* As options_parse(). config_path, unless NULL, is what --config named when it was first read. */
static int parse(int argc, char **argv, const char *config_path, struct options *ret, char *error)
{
    _cleanup_(options_deinit) struct options options = default_options(), outranked = {};
    struct option_group groups[GROUPS_COUNT];
    int r;

    error[0] = '\0';
    *ret = default_options();
    make_groups(&options, &outranked, groups);
    r = read_command_line(argc, argv, groups, error);
    if (r == 0 && config_path)
        r = option_value_string(config_path, &options.config_path);
    if (r < 0)
        return r;
    if (options.action == OPTIONS_SERVE || options.action == OPTIONS_CHECK_CONFIG)
        r = complete(&options, groups, error);
    ret->action = options.action;
    if (r < 0)
        return r;
    *ret = options;
    options = (struct options){};
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret, char *error)
{
    return parse(argc, argv, NULL, ret, error);
}

int options_reread(int argc, char **argv, const struct options *options, char *error)
{
    _cleanup_(options_deinit) struct options now = {};
    const char *failed;
    int r = parse(argc, argv, options->config_path, &now, error);

    if (r < 0)
        return r;
    if (!now.file_text && options->file_text)
        return options_fail(error, "%s: there is no such file any more",
                            options_config_path(options));
    if (!now.file_text || (options->file_text && strcmp(now.file_text, options->file_text) == 0))
        return 0;
    r = quota_settings_open_roots(&now.settings.quota, &failed);
    return r < 0 ? options_fail(error, "--root=%s: %s", failed, strerror(-r)) : 1;
}

int options_read_quota(const char *path, const struct option_group *quota, char *error)
{
    _cleanup_(options_deinit) struct options others = default_options();
    _cleanup_(freep) char *text = NULL;
    struct option_group groups[GROUPS_COUNT];

    error[0] = '\0';
    make_groups(&others, &others, groups);
    groups[GROUP_QUOTA].target = quota->target;
    groups[GROUP_QUOTA].given = quota->given;
    return read_file(path, groups, keep_fault, error, &text);
}

void options_deinit(struct options *options)
{
    quota_settings_deinit(&options->settings.quota);
    free(options->settings.socket_path);
    free(options->config_path);
    free(options->file_text);
    free(options->user);
    free(options->pidfile);
    free(options->log_path);
    *options = (struct options){};
}

void options_print_help(void)
{
    struct options options = {};
    struct option_group groups[GROUPS_COUNT];

    make_groups(&options, &options, groups);
    puts(
        "Usage: exim-quotad [OPTION]...\n"
        "\n"
        "Tells a mail server whether a message would fit into a mailbox. systemd starts it at the\n"
        "first query (exim-quotad.socket); without systemd, use --socket.\n"
        "\n"
        "Options:");
    options_table_print(groups, GROUPS_COUNT);
    puts("\nexim-quotad(8) says more.");
}
