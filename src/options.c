/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quota/address.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define MSEC_MAX      (UINT64_C(24) * 3600 * 1000)
#define MAILBOXES_MAX UINT64_C(100000000)

#define LIMIT_ACCEPTED "SIZE, SIZE,NNNC or NNNC, where SIZE may have K, M, G or T behind it"

/* Reads the value of one option. Returns 0, -EINVAL if it is not accepted, or -ENOMEM. */
typedef int (*option_read_fn)(struct options *options, const char *value);

struct option_spec {
    const char *name;
    char letter;          /* 0: none */
    const char *value;    /* what it takes, for people; NULL: nothing */
    const char *accepted; /* what its value may be; NULL: anything */
    const char *help;     /* NULL: another name of the option above */
    option_read_fn read;
};

static int read_range(const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (size_parse_number(value, strlen(value), &number) < 0 || number < min || number > max)
        return -EINVAL;
    *ret = number;
    return 0;
}

static int read_string(const char *value, char **ret)
{
    char *copy;

    if (*value == '\0')
        return -EINVAL;
    copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*ret);
    *ret = copy;
    return 0;
}

/* Adds a copy of value to a growing list. */
static int read_list(const char *value, char ***list, size_t *count)
{
    char **grown = reallocarray(*list, *count + 1, sizeof(char *));

    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[*count] = strdup(value);
    if (!grown[*count])
        return -ENOMEM;
    (*count)++;
    return 0;
}

static int read_socket(struct options *options, const char *value)
{
    return read_string(value, &options->settings.socket_path);
}

static int read_mode(struct options *options, const char *value)
{
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

static int read_user(struct options *options, const char *value)
{
    return read_string(value, &options->user);
}

/* As read_string(), for a path that must mean the same after the working directory was left. */
static int read_path(const char *value, char **ret)
{
    _cleanup_(freep) char *directory = NULL;
    char *path;

    if (*value == '/' || *value == '\0')
        return read_string(value, ret);
    directory = getcwd(NULL, 0);
    if (!directory || asprintf(&path, "%s/%s", directory, value) < 0)
        return -ENOMEM;
    free(*ret);
    *ret = path;
    return 0;
}

static int read_pidfile(struct options *options, const char *value)
{
    return read_path(value, &options->pidfile);
}

static int read_foreground(struct options *options, const char *value)
{
    (void)value;
    options->foreground = true;
    return 0;
}

static int read_debug(struct options *options, const char *value)
{
    (void)value;
    options->debug = true;
    return 0;
}

static int read_log(struct options *options, const char *value)
{
    if (strcmp(value, "syslog") == 0) {
        options->log = OPTIONS_LOG_SYSLOG;
        return 0;
    }
    options->log = OPTIONS_LOG_FILE;
    return read_path(value, &options->log_path);
}

static int read_timeout(struct options *options, const char *value)
{
    int r = read_range(value, 1, MSEC_MAX, &options->settings.timeout_usec);

    options->settings.timeout_usec *= USEC_PER_MSEC;
    return r;
}

static int read_connections(struct options *options, const char *value)
{
    uint64_t number;
    int r = read_range(value, 1, 65536, &number);

    if (r == 0)
        options->settings.connections_max = (unsigned int)number;
    return r;
}

static int read_root(struct options *options, const char *value)
{
    if (*value != '/')
        return -EINVAL;
    return read_list(value, &options->roots, &options->roots_count);
}

static int read_on_error(struct options *options, const char *value)
{
    if (strcmp(value, "accept") == 0)
        options->settings.on_error = ON_ERROR_ACCEPT;
    else if (strcmp(value, "defer") == 0)
        options->settings.on_error = ON_ERROR_DEFER;
    else
        return -EINVAL;
    return 0;
}

static int read_exclude_folder(struct options *options, const char *value)
{
    struct maildir_options *maildir = &options->settings.mailbox.maildir;

    if (*value == '\0' || *value == '.' || strchr(value, '/'))
        return -EINVAL;
    return read_list(value, &maildir->exclude_folders, &maildir->exclude_folders_count);
}

static int read_size_tag(struct options *options, const char *value)
{
    if (strcmp(value, "S") == 0)
        options->settings.mailbox.maildir.size_tag = MAILDIR_SIZE_TAG_S;
    else if (strcmp(value, "W") == 0)
        options->settings.mailbox.maildir.size_tag = MAILDIR_SIZE_TAG_W;
    else
        return -EINVAL;
    return 0;
}

static int read_scan_threads(struct options *options, const char *value)
{
    uint64_t number;
    int r = read_range(value, 1, 64, &number);

    if (r == 0)
        options->settings.scan_threads = (unsigned int)number;
    return r;
}

static int read_scan_timeout(struct options *options, const char *value)
{
    int r = read_range(value, 1, MSEC_MAX, &options->settings.scan_timeout_usec);

    options->settings.scan_timeout_usec *= USEC_PER_MSEC;
    return r;
}

static int read_cache_mailboxes(struct options *options, const char *value)
{
    uint64_t number;
    int r = read_range(value, 0, MAILBOXES_MAX, &number);

    if (r == 0)
        options->settings.cache_mailboxes = (size_t)number;
    return r;
}

static int read_default_quota(struct options *options, const char *value)
{
    return size_parse_limit(value, strlen(value), &options->settings.default_limit) < 0 ? -EINVAL
                                                                                        : 0;
}

static int read_limits(struct options *options, const char *value)
{
    return read_path(value, &options->settings.limits_path);
}

static int read_mailbox(struct options *options, const char *value)
{
    const char *why;

    if (address_template_check(value, &why) < 0)
        return -EINVAL;
    return read_list(value, &options->settings.templates, &options->settings.templates_count);
}

static int read_recipient_delimiter(struct options *options, const char *value)
{
    if (strpbrk(value, "@/ "))
        return -EINVAL;
    return read_string(value, &options->settings.delimiters);
}

static int read_grace(struct options *options, const char *value)
{
    struct verdict_grace grace = {};
    size_t length = strlen(value);
    int r;

    if (length > 0 && value[length - 1] == '%')
        r = size_parse_number(value, length - 1, &grace.percent);
    else
        r = size_parse(value, length, &grace.bytes);
    if (r == 0)
        options->settings.verdict.grace = grace;
    return r < 0 ? -EINVAL : 0;
}

static int read_warn(struct options *options, const char *value)
{
    return read_range(value, 1, 1000, &options->settings.verdict.warn_percent);
}

static int read_exit_idle_time(struct options *options, const char *value)
{
    static const struct {
        const char *suffix;
        uint64_t usec;
    } units[] = {
        {"", USEC_PER_SEC},         {"ms", USEC_PER_MSEC},    {"s", USEC_PER_SEC},
        {"sec", USEC_PER_SEC},      {"m", 60 * USEC_PER_SEC}, {"min", 60 * USEC_PER_SEC},
        {"h", 3600 * USEC_PER_SEC},
    };
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

static int read_help(struct options *options, const char *value)
{
    (void)value;
    options->action = OPTIONS_HELP;
    return 0;
}

static int read_version(struct options *options, const char *value)
{
    (void)value;
    options->action = OPTIONS_VERSION;
    return 0;
}

#define MSECS_ACCEPTED "milliseconds from 1 to 86400000 (a day)"

static const struct option_spec specs[] = {
    {"root", 0, "DIR", "an absolute path",
     "answer for mailboxes beneath DIR (repeatable; default: /)", read_root},
    {"on-error", 0, "accept|defer", "accept or defer",
     "answer errors with 0, or as a full mailbox (default: accept)", read_on_error},
    {"mailbox", 0, "TEMPLATE",
     "an absolute path without `..`, with %u, %n, %d or %% and no other %",
     "where addresses' mailboxes are: %u, or %n and %d (repeatable)", read_mailbox},
    {"recipient-delimiter", 0, "CHARS", "characters such as +, but no @, slash or blank",
     "leave out of a local part what follows one of CHARS", read_recipient_delimiter},
    {"limits", 0, "FILE", "a path", "limits of addresses and domains, in Exim's lsearch format",
     read_limits},
    {"grace", 0, "SIZE|PERCENT%",
     "a size, which may have K, M, G or T, or a percentage such as 10%",
     "let a message lead so far beyond a limit (default: 0)", read_grace},
    {"warn", 0, "PERCENT", "a number from 1 to 1000", "nearly full from here on (default: 90)",
     read_warn},
    {"default-quota", 0, "LIMIT", LIMIT_ACCEPTED,
     "the limit where maildirsize has none (default: none)", read_default_quota},
    {"exclude-folder", 0, "NAME", "a folder's name without the leading dot and without a slash",
     "leave this folder out of counts (repeatable)", read_exclude_folder},
    {"size-tag", 0, "S|W", "S or W", "the tag with a message's size (default: S)", read_size_tag},
    {"scan-threads", 0, "NUMBER", "a number from 1 to 64",
     "threads that count messages (default: 4)", read_scan_threads},
    {"scan-timeout", 0, "MSECS", MSECS_ACCEPTED,
     "how long a question waits for a count (default: 5000)", read_scan_timeout},
    {"cache-mailboxes", 0, "NUMBER", "a number from 0 to 100000000",
     "mailboxes whose counts are remembered (default: 10000)", read_cache_mailboxes},
    {"timeout", 't', "MSECS", MSECS_ACCEPTED,
     "how long a client may take for its request (default: 10000)", read_timeout},
    {"max-connections", 'c', "NUMBER", "a number from 1 to 65536",
     "connections at a time (default: 256)", read_connections},
    {"max-children", 0, "NUMBER", "a number from 1 to 65536", NULL, read_connections},
    {"exit-idle-time", 0, "TIME", "a time above 0, such as 500ms, 30s, 10min or 2h, or infinity",
     "end when idle for so long, under systemd (default: infinity)", read_exit_idle_time},
    {"socket", 's', "PATH", "a path", "make a socket at PATH, without systemd", read_socket},
    {"socketmode", 'm', "MODE", "an octal mode from 0 to 777",
     "the mode of that socket (default: 666)", read_mode},
    {"mode", 0, "MODE", "an octal mode from 0 to 777", NULL, read_mode},
    {"user", 'u', "USER", "the name or number of a user",
     "become USER (default with --socket, as root: mail)", read_user},
    {"pidfile", 'p', "PATH", "a path", "write the process number to PATH", read_pidfile},
    {"foreground", 'f', NULL, NULL, "stay in the foreground", read_foreground},
    {"debug", 'd', NULL, NULL, "log every answer, and how it came about", read_debug},
    {"log", 'l', "PATH|syslog", "a path, or syslog", "where to log (default: journal, or stderr)",
     read_log},
    {"help", 'h', NULL, NULL, "print this help", read_help},
    {"version", 'V', NULL, NULL, "print the version", read_version},
};

#define SPECS_COUNT (sizeof(specs) / sizeof(specs[0]))

/* The tables that getopt_long(3) takes, made from ours. An option's number is its place in ours. */
struct getopt_tables {
    struct option longs[SPECS_COUNT + 1];
    char letters[2 + 2 * SPECS_COUNT + 1];
};

static void make_tables(struct getopt_tables *tables)
{
    char *letter = tables->letters;

    memset(tables, 0, sizeof(*tables));
    *letter++ = ':';
    for (size_t i = 0; i < SPECS_COUNT; i++) {
        tables->longs[i] = (struct option){
            .name = specs[i].name,
            .has_arg = specs[i].value ? required_argument : no_argument,
            .val = 256 + (int)i,
        };
        if (specs[i].letter == 0)
            continue;
        *letter++ = specs[i].letter;
        if (specs[i].value)
            *letter++ = ':';
    }
}

static const struct option_spec *find_spec(int option)
{
    if (option >= 256)
        return &specs[option - 256];
    for (size_t i = 0; option != 0 && i < SPECS_COUNT; i++)
        if (specs[i].letter == option)
            return &specs[i];
    return NULL;
}

static int fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(char *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error, OPTIONS_ERROR_BYTES_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int read_one(struct options *options, const struct option_spec *spec, const char *value,
                    char *error)
{
    int r = spec->read(options, value);

    if (r == -EINVAL)
        return fail(error, "--%s=%s is not accepted: it takes %s", spec->name, value,
                    spec->accepted);
    return r;
}

static int read_all(int argc, char **argv, struct options *options, char *error)
{
    struct getopt_tables tables;
    int option;

    make_tables(&tables);
    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
        const struct option_spec *spec;
        int r;

        if (option == ':' || option == '?') {
            const char *word = argv[optind - 1];

            spec = find_spec(optopt);
            if (option == ':' && spec)
                return fail(error, "--%s needs a value: %s", spec->name, spec->accepted);
            if (spec)
                return fail(error, "%s: --%s takes no value", word, spec->name);
            if (optopt != 0 && word[0] == '-' && word[1] != '-')
                return fail(error, "there is no option -%c; --help lists them", optopt);
            return fail(error,
                        "there is no option %s, or more than one that begins so; --help "
                        "lists them",
                        word);
        }
        spec = find_spec(option);
        r = read_one(options, spec, optarg, error);
        if (r < 0)
            return r;
    }
    if (optind < argc)
        return fail(error, "\"%s\" is no option, and nothing else is accepted; --help lists them",
                    argv[optind]);
    return 0;
}

/* Options that make no sense without another. */
static int check_together(const struct options *options, char *error)
{
    if (options->action != OPTIONS_SERVE || options->settings.socket_path)
        return 0;
    if (options->pidfile)
        return fail(error, "--pidfile=%s goes with --socket: systemd knows the process without",
                    options->pidfile);
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret, char *error)
{
    _cleanup_(options_deinit) struct options options = {
        .settings =
            {
                .socket_mode = 0666,
                .connections_max = 256,
                .timeout_usec = 10000 * USEC_PER_MSEC,
                .exit_idle_usec = UINT64_MAX,
                .scan_threads = 4,
                .scan_timeout_usec = 5000 * USEC_PER_MSEC,
                .cache_mailboxes = 10000,
                .verdict = {.warn_percent = 90},
            },
    };
    int r;

    r = read_all(argc, argv, &options, error);
    if (r == 0)
        r = check_together(&options, error);
    if (r == -ENOMEM)
        (void)fail(error, "out of memory");
    if (r < 0)
        return r;
    *ret = options;
    options = (struct options){};
    return 0;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

void options_deinit(struct options *options)
{
    struct maildir_options *maildir = &options->settings.mailbox.maildir;

    free_list(options->roots, options->roots_count);
    free_list(maildir->exclude_folders, maildir->exclude_folders_count);
    free(options->settings.socket_path);
    free(options->settings.limits_path);
    free_list(options->settings.templates, options->settings.templates_count);
    free(options->settings.delimiters);
    free(options->user);
    free(options->pidfile);
    free(options->log_path);
    *options = (struct options){};
}

void options_print_help(void)
{
    puts(
        "Usage: exim-quotad [OPTION]...\n"
        "\n"
        "Answers Exim how full a mailbox is. Sockets come from systemd, or a connection stands on\n"
        "standard input, or --socket makes one.\n"
        "\n"
        "Options:");
    for (size_t i = 0; i < SPECS_COUNT; i++) {
        const struct option_spec *spec = &specs[i];
        char names[64];

        snprintf(names, sizeof(names), "%c%c%c --%s%s%s", spec->letter ? '-' : ' ',
                 spec->letter ? spec->letter : ' ', spec->letter ? ',' : ' ', spec->name,
                 spec->value ? "=" : "", spec->value ? spec->value : "");
        printf("  %-31s %s\n", names, spec->help ? spec->help : "the same");
    }
    puts("\nexim-quotad(8) says more.");
}
