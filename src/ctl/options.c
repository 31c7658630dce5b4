/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "config/option_value.h"
#include "config/options.h"
#include "config/quota_options.h"
#include "ctl/client.h"
#include "quota/address.h"
#include "quota/ascii.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define TIMEOUT_DEFAULT_MSECS 10000

static int read_direct(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->direct = true;
    return 0;
}

static int read_config(void *target, const char *value)
{
    struct ctl_options *options = target;

    return option_value_path(value, &options->config_path);
}

static int read_json(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->format = CTL_FORMAT_JSON;
    return 0;
}

static int read_csv(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->format = CTL_FORMAT_CSV;
    return 0;
}

static int read_raw(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->format = CTL_FORMAT_RAW;
    return 0;
}

static int read_prometheus(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->format = CTL_FORMAT_PROMETHEUS;
    return 0;
}

static int read_http(void *target, const char *value)
{
    struct ctl_options *options = target;

    options->http = true;
    return read_prometheus(target, value);
}

/* Returns which of the words the value is, or -EINVAL. */
static int find_word(const char *const *words, size_t count, const char *value)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], value) == 0)
            return (int)i;
    return -EINVAL;
}

static int read_color(void *target, const char *value)
{
    static const char *const words[] = {
        [SCREEN_COLOUR_AUTO] = "auto",
        [SCREEN_COLOUR_ALWAYS] = "always",
        [SCREEN_COLOUR_NEVER] = "never",
    };
    struct ctl_options *options = target;
    int r = find_word(words, sizeof(words) / sizeof(words[0]), value);

    options->colour = r < 0 ? SCREEN_COLOUR_AUTO : (enum screen_colour)r;
    return r < 0 ? r : 0;
}

static int read_sort(void *target, const char *value)
{
    static const char *const words[] = {
        [REPORT_SORT_PERCENT] = "percent",
        [REPORT_SORT_BYTES] = "bytes",
        [REPORT_SORT_MESSAGES] = "messages",
    };
    struct ctl_options *options = target;
    int r = find_word(words, sizeof(words) / sizeof(words[0]), value);

    options->report.has_sort = true;
    options->report.sort = r < 0 ? REPORT_SORT_PERCENT : (enum report_sort)r;
    return r < 0 ? r : 0;
}

static int read_top(void *target, const char *value)
{
    struct ctl_options *options = target;
    uint64_t top;
    int r = option_value_range(value, 1, UINT32_MAX, &top);

    options->report.top = r < 0 ? 0 : (size_t)top;
    return r;
}

static int read_min_percent(void *target, const char *value)
{
    struct ctl_options *options = target;

    return option_value_range(value, 0, UINT32_MAX, &options->report.min_percent);
}

static int read_help(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->action = CTL_HELP;
    return 0;
}

static int read_version(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->action = CTL_VERSION;
    return 0;
}

static int read_size(void *target, const char *value)
{
    struct ctl_options *options = target;

    options->query.have_size = true;
    return size_parse(value, strlen(value), &options->query.size_bytes) < 0 ? -EINVAL : 0;
}

static int read_quota(void *target, const char *value)
{
    struct ctl_options *options = target;
    struct quota_limit limit;

    options->query.quota = value;
    return *value == '\0' || size_parse_limit(value, strlen(value), &limit) < 0 ? -EINVAL : 0;
}

static int read_recount(void *target, const char *value)
{
    struct ctl_options *options = target;

    (void)value;
    options->query.recount = true;
    return 0;
}

static int read_socket(void *target, const char *value)
{
    struct ctl_options *options = target;

    if (strlen(value) > CLIENT_PATH_MAX)
        return -EINVAL;
    return option_value_string(value, &options->socket_path);
}

static int read_timeout(void *target, const char *value)
{
    struct ctl_options *options = target;

    return option_value_msecs(value, &options->timeout_usec);
}

static const struct option_spec general_specs[] = {
    {"direct", 0, NULL, NULL, "read the mailboxes directly, without the service",
     .read = read_direct},
    {"config", 0, "FILE", "a path", "configuration file (default: " CONFIG_PATH ")",
     .read = read_config},
    {"json", 0, NULL, NULL, "print JSON", .read = read_json},
    {"raw", 0, NULL, NULL, "print the service's replies unchanged", .read = read_raw},
    {"color", 0, "auto|always|never", "auto, always or never",
     "colour the tables (default: auto, on a terminal)", .read = read_color},
    {"help", 'h', NULL, NULL, "print this help", .read = read_help},
    {"version", 'V', NULL, NULL, "print the version", .read = read_version},
};

static const struct option_spec check_specs[] = {
    {"size", 0, "SIZE", "a size in bytes, optionally followed by K, M, G or T",
     "size of the message (default: unknown)", .read = read_size},
    {"quota", 0, "LIMIT", QUOTA_OPTIONS_LIMIT, "the limit to check against", .read = read_quota},
};

static const struct option_spec explain_specs[] = {
    {"recount", 0, NULL, NULL, "count the messages even if that takes long", .read = read_recount},
};

static const struct option_spec report_specs[] = {
    {"sort", 0, "percent|bytes|messages", "percent, bytes or messages",
     "what to sort by (default: percent)", .read = read_sort},
    {"top", 0, "N", "a number from 1 to 4294967295", "print only the first N mailboxes",
     .read = read_top},
    {"min-percent", 0, "N", "a number from 0 to 4294967295",
     "print only mailboxes at N percent of a limit or more, and errors", .read = read_min_percent},
    {"csv", 0, NULL, NULL, "print lines of comma-separated values", .read = read_csv},
};

static const struct option_spec socket_specs[] = {
    {"socket", 's', "PATH", "a path of at most 107 bytes",
     "the socket of the service (default: " SOCKET_PATH ")", .read = read_socket},
    {"timeout", 't', "MSECS", OPTION_VALUE_MSECS, "how long to wait for a reply (default: 10000)",
     .read = read_timeout},
};

static const struct option_spec stats_specs[] = {
    {"prometheus", 0, NULL, NULL, "print metrics for Prometheus", .read = read_prometheus},
    {"http", 0, NULL, NULL, "the same, as the response to an HTTP request on standard input",
     .read = read_http},
};

enum {
    GROUP_GENERAL,
    GROUP_CHECK,
    GROUP_EXPLAIN,
    GROUP_REPORT,
    GROUP_STATS,
    GROUP_SOCKET,
    GROUP_QUOTA,
    GROUPS_COUNT
};

#define GROUP(specs_, target_)                                                                     \
    (struct option_group)                                                                          \
    {                                                                                              \
        .specs = (specs_), .count = sizeof(specs_) / sizeof((specs_)[0]), .target = (target_)      \
    }

static void make_groups(struct ctl_options *options, struct option_group groups[GROUPS_COUNT])
{
    groups[GROUP_GENERAL] = GROUP(general_specs, options);
    groups[GROUP_CHECK] = GROUP(check_specs, options);
    groups[GROUP_EXPLAIN] = GROUP(explain_specs, options);
    groups[GROUP_REPORT] = GROUP(report_specs, options);
    groups[GROUP_STATS] = GROUP(stats_specs, options);
    groups[GROUP_SOCKET] = GROUP(socket_specs, options);
    groups[GROUP_QUOTA] = quota_options_group(&options->quota);
}

/* As check_together(), for a report. */
static int check_report(const struct ctl_options *options, const struct option_spec *socket,
                        char *error)
{
    if (socket)
        return options_fail(error, "--%s is for the service, which report does not use",
                            socket->name);
    if (options->format == CTL_FORMAT_RAW)
        return options_fail(error, "--raw is for the service's replies, and report has none");
    return 0;
}

/* Options that make no sense without another, or beside it. */
static int check_together(const struct ctl_options *options, const struct option_group *groups,
                          char *error)
{
    const struct option_spec *check = options_table_given(&groups[GROUP_CHECK]);
    const struct option_spec *explain = options_table_given(&groups[GROUP_EXPLAIN]);
    const struct option_spec *report = options_table_given(&groups[GROUP_REPORT]);
    const struct option_spec *stats = options_table_given(&groups[GROUP_STATS]);
    const struct option_spec *socket = options_table_given(&groups[GROUP_SOCKET]);
    const struct option_spec *quota = options_table_given(&groups[GROUP_QUOTA]);
    bool explains = options->query.type == REQUEST_EXPLAIN;

    if (report && options->action != CTL_REPORT)
        return options_fail(error, "--%s needs the command report", report->name);
    if (check && options->query.type != REQUEST_CHECK && !explains)
        return options_fail(error, "--%s needs the command check or explain", check->name);
    if (explain && !explains)
        return options_fail(error, "--%s needs the command explain", explain->name);
    if (stats && options->query.type != REQUEST_STATS)
        return options_fail(error, "--%s needs the command stats", stats->name);
    if (options->action == CTL_REPORT)
        return check_report(options, socket, error);
    if (options->direct && !options->query.has_targets)
        return options_fail(error, "%s queries the service and cannot be used with --direct",
                            options->query.verb);
    if (options->direct && socket)
        return options_fail(error, "--%s is for the service and cannot be used with --direct",
                            socket->name);
    if (!options->direct && !explains && options->config_path)
        return options_fail(error, "--config needs --direct: the service has its own options");
    if (!options->direct && quota)
        return options_fail(error, "--%s needs --direct: the service has its own options",
                            quota->name);
    return 0;
}

/* Brings a domain or a directory into the form in which it is compared. */
static int take_scope_word(char *word, char *error)
{
    size_t length = strlen(word);

    if (word[0] == '/') {
        mailbox_normalise_path(word);
        return 0;
    }
    ascii_lower(word, length);
    if (strchr(word, '@') || address_domain_fault(word, length))
        return options_fail(error,
                            "\"%s\" is neither a domain nor an absolute path; for one address, use "
                            "check",
                            word);
    return 0;
}

/* Takes the words behind `report`: domains and directories, each once. */
static int take_scope(struct ctl_options *options, char **words, size_t count, char *error)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        int r = take_scope_word(words[i], error);

        if (r < 0)
            return r;
        while (same < kept && strcmp(words[same], words[i]) != 0)
            same++;
        words[same] = words[i];
        kept += same == kept;
    }
    options->action = CTL_REPORT;
    options->direct = true;
    options->report.scope = (struct report_scope){words, kept};
    return 0;
}

/* Whether the report can find anything, once the configuration file was read. */
static int check_scope(const struct ctl_options *options, char *error)
{
    const struct report_scope *scope = &options->report.scope;

    if (options->quota.templates_count > 0)
        return 0;
    for (size_t i = 0; i < scope->count; i++)
        if (scope->words[i][0] != '/')
            return options_fail(error, "a domain requires --mailbox=, and there is none");
    if (scope->count == 0 && options->quota.roots_count == 0)
        return options_fail(error, "report needs --mailbox=, --root= or a directory");
    return 0;
}

/* Takes the words that are no options: words[0..count) are a command and its targets. */
static int take_words(struct ctl_options *options, char **words, size_t count, char *error)
{
    struct ctl_query query;

    if (count == 0)
        return options_fail(error, "a command is missing: check, usage, explain, report, ping or "
                                   "stats; --help tells more");
    if (strcmp(words[0], "check-setup") == 0)
        return options_fail(error, "check-setup takes no options: it must be the first word");
    if (strcmp(words[0], "report") == 0)
        return take_scope(options, words + 1, count - 1, error);
    if (ctl_query_from_verb(words[0], &query) < 0)
        return options_fail(error,
                            "\"%s\" is not a command; the commands are check, usage, explain, "
                            "report, ping and stats",
                            words[0]);
    query.have_size = options->query.have_size;
    query.size_bytes = options->query.size_bytes;
    query.quota = options->query.quota;
    query.recount = options->query.recount;
    options->query = query;
    options->targets = words + 1;
    options->targets_count = count - 1;
    if (query.has_targets && count == 1)
        return options_fail(error, "%s needs a target: an absolute path or an address", query.verb);
    if (!query.has_targets && count > 1)
        return options_fail(error, "%s takes no target, and so not \"%s\"", query.verb, words[1]);
    return 0;
}

int ctl_options_parse(int argc, char **argv, struct ctl_options *ret, char *error)
{
    _cleanup_(ctl_options_deinit) struct ctl_options options = {
        .timeout_usec = TIMEOUT_DEFAULT_MSECS * USEC_PER_MSEC,
        .quota = QUOTA_SETTINGS_DEFAULT,
    };
    struct option_group groups[GROUPS_COUNT];
    bool is_command;
    int first, r = 0;

    make_groups(&options, groups);
    first = options_table_read(groups, GROUPS_COUNT, argc, argv, error);
    if (first < 0)
        return first;
    if (options.action == CTL_ASK)
        r = take_words(&options, argv + first, (size_t)(argc - first), error);
    is_command = options.action == CTL_ASK || options.action == CTL_REPORT;
    if (is_command && r == 0)
        r = check_together(&options, groups, error);
    if (is_command && r == 0 && options.direct)
        r = options_read_quota(options.config_path, &groups[GROUP_QUOTA], error);
    if (options.action == CTL_REPORT && r == 0)
        r = check_scope(&options, error);
    if (r < 0)
        return r;
    /* Another socket may be that of a service with any options. */
    options.compares = options.query.type == REQUEST_EXPLAIN && !options.direct &&
                       (options.config_path || (geteuid() == 0 && !options.socket_path));
    *ret = options;
    options = (struct ctl_options){};
    return 0;
}

int ctl_options_read_config(struct ctl_options *options, char *error)
{
    struct option_group groups[GROUPS_COUNT];

    make_groups(options, groups);
    return options_read_quota(options->config_path, &groups[GROUP_QUOTA], error);
}

void ctl_options_deinit(struct ctl_options *options)
{
    quota_settings_deinit(&options->quota);
    free(options->config_path);
    free(options->socket_path);
    *options = (struct ctl_options){};
}

void ctl_options_print_help(void)
{
    struct ctl_options options = {};
    struct option_group groups[GROUPS_COUNT];

    make_groups(&options, groups);
    puts("Usage: exim-quotactl [OPTION]... COMMAND [ARGUMENT]...\n"
         "\n"
         "Queries exim-quotad about mailboxes. A TARGET is the absolute path of a mailbox, or an\n"
         "address.\n"
         "\n"
         "Commands:\n"
         "  check TARGET...                 would a message fit?\n"
         "  usage TARGET...                 how full is the mailbox?\n"
         "  explain TARGET...               why does check reply as it does?\n"
         "  report [DOMAIN|DIR]...          how full is each mailbox? (without the service)\n"
         "  ping                            does the service reply?\n"
         "  stats                           the counters of the service since its start\n"
         "  check-setup [ADDRESS]           is anything missing between Exim and the service?\n"
         "\n"
         "Options:");
    options_table_print(&groups[GROUP_GENERAL], 1);
    puts("\nOptions of check and explain:");
    options_table_print(&groups[GROUP_CHECK], 1);
    puts("\nOptions of explain:");
    options_table_print(&groups[GROUP_EXPLAIN], 1);
    puts("\nOptions of report:");
    options_table_print(&groups[GROUP_REPORT], 1);
    puts("\nOptions of stats:");
    options_table_print(&groups[GROUP_STATS], 1);
    puts("\nOptions for requests to the service:");
    options_table_print(&groups[GROUP_SOCKET], 1);
    puts("\nOptions with --direct or report:");
    options_table_print(&groups[GROUP_QUOTA], 1);
    puts("\nThe exit status is 0, 1 if a message does not fit or a mailbox is over, or 2 if there "
         "was any error.\n"
         "exim-quotactl(1) says more.");
}
