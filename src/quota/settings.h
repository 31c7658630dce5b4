/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options about mailboxes and limits, which exim-quotad and exim-quotactl share. */
#pragma once

#include <stddef.h>

#include "quota/mailbox.h"
#include "quota/size.h"
#include "quota/verdict.h"

/* Everything that it points to is its own, allocated. */
struct quota_settings {
    char **roots; /* absolute paths; none: `/` */
    size_t roots_count;
    struct mailbox_settings mailbox; /* without roots until quota_settings_open_roots() */
    char **templates;                /* of the mailboxes of addresses; checked */
    size_t templates_count;
    char *delimiters;  /* between a recipient and its extension; NULL: none */
    char *limits_path; /* NULL: none */
    struct quota_limit default_limit;
    struct verdict_policy verdict;
};

#define QUOTA_SETTINGS_DEFAULT                                                                     \
    {                                                                                              \
        .verdict = {.warn_percent = 90},                                                           \
    }

/*
 * Opens the roots, or `/` where none is given. Returns 0, or the negative errno of confine_new() or
 * confine_add_root(), and in *ret_failed the path of the root that it is about (the settings' own).
 */
int quota_settings_open_roots(struct quota_settings *settings, const char **ret_failed);

/* Releases what the settings own. */
void quota_settings_deinit(struct quota_settings *settings);
