/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/settings.h"

#include <stdlib.h>

#include "system/confine.h"

static int add_root(struct confine *confine, const char *path, const char **ret_failed)
{
    int r = confine_add_root(confine, path);

    if (r < 0)
        *ret_failed = path;
    return r;
}

int quota_settings_open_roots(struct quota_settings *settings, const char **ret_failed)
{
    struct confine **confine = &settings->mailbox.confine;
    int r = confine_new(confine);

    *ret_failed = "/";
    if (r == 0 && settings->roots_count == 0)
        r = add_root(*confine, "/", ret_failed);
    for (size_t i = 0; r == 0 && i < settings->roots_count; i++)
        r = add_root(*confine, settings->roots[i], ret_failed);
    return r;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

void quota_settings_deinit(struct quota_settings *settings)
{
    struct maildir_options *maildir = &settings->mailbox.maildir;

    free_list(settings->roots, settings->roots_count);
    free_list(settings->templates, settings->templates_count);
    free_list(maildir->exclude_folders, maildir->exclude_folders_count);
    free(settings->delimiters);
    free(settings->limits_path);
    confine_free(settings->mailbox.confine);
    *settings = (struct quota_settings){};
}
