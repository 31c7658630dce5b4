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

int check_config(struct options *options, bool quiet)
{
    struct quota_settings *settings = &options->settings.quota;
    int r;

    if (options->file_text && !quiet)
        printable_line(stdout, "%s: read", options_config_path(options));
    r = check_roots(settings, quiet);
    if (settings->limits_path && check_limits(settings->limits_path, quiet) < 0)
        r = -1;
    return r;
}
