/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "quota/limits.h"
#include "quota/paths.h"
#include "system/cleanup.h"
#include "system/printable.h"
#include "system/privileges.h"

static void say_fault(const char *line, void *userdata)
{
    (void)userdata;
    printable_line(stderr, "exim-quotad: %s", line);
}

static int check_root(const char *path, bool quiet)
{
    _cleanup_(closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        printable_line(stderr, "exim-quotad: --root=%s: %s", path, strerror(errno));
    else if (!quiet)
        printable_line(stdout, "--root=%s: found", path);
    return fd < 0 ? -1 : 0;
}

static int check_roots(struct quota_settings *settings, bool quiet)
{
    const char *failed;
    int r = 0;

    for (size_t i = 0; i < settings->roots_count; i++)
        if (check_root(settings->roots[i], quiet) < 0)
            r = -1;
    if (r < 0)
        return r;
    r = quota_settings_open_roots(settings, &failed);
    if (r < 0)
        printable_line(stderr, "exim-quotad: --root=%s: %s", failed, strerror(-r));
    else if (!quiet)
        paths_check(settings, say_fault, NULL);
    return r < 0 ? -1 : 0;
}

static int check_limits(const char *path, bool quiet)
{
    _cleanup_(limits_freep) struct limits *limits = NULL;
    char error[LIMITS_ERROR_BYTES_MAX];

    if (limits_load(path, &limits, error) < 0) {
        printable_line(stderr, "exim-quotad: --limits=%s: %s", path, error);
        return -1;
    }
    if (quiet)
        return 0;
    limits_say_faults(limits, path, say_fault, NULL);
    printable_line(stdout, "--limits=%s: %zu limits loaded, %zu unusable", path,
                   limits_count(limits), limits_faults(limits)->count);
    return 0;
}

/* Returns whether a file could be made in the directory of path, 0 or a negative errno. */
static int check_directory_of(const char *path)
{
    _cleanup_(freep) char *directory = strdup(path);

    if (!directory)
        return -ENOMEM;
    *(strrchr(directory, '/') + 1) = '\0';
    return faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* Does not create the log file. */
static int check_log(const char *path)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int r = fd >= 0 ? 0 : errno == ENOENT ? check_directory_of(path) : -errno;

    if (r < 0)
        printable_line(stderr, "exim-quotad: cannot open the log %s: %s", path, strerror(-r));
    return r;
}

static int check_user(const char *user)
{
    int r = privileges_find(user);

    if (r < 0)
        printable_line(stderr, "exim-quotad: --user=%s: %s", user,
                       r == -ESRCH ? "there is no such user" : strerror(-r));
    return r;
}

int check_config(struct options *options, bool quiet)
{
    struct quota_settings *settings = &options->settings.quota;
    int r;

    if (options->file_text && !quiet)
        printable_line(stdout, "%s: read", options_config_path(options));
    r = check_roots(settings, quiet);
    if (settings->limits_path && check_limits(settings->limits_path, quiet) < 0)
        r = -1;
    if (options->log_path && check_log(options->log_path) < 0)
        r = -1;
    if (options->user && check_user(options->user) < 0)
        r = -1;
    return r;
}
