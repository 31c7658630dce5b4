/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the mailboxes that the templates lead to, or without templates, those below the roots.
 *
 * The fixed parts of a template are used as they are; for each variable part, every name in the
 * directory is tried. The caller finds out with report_walk_name() whether a path is that of a
 * mailbox, and which address it has.
 *
 * Without templates, a directory that holds `cur`, `new` or `maildirsize` is a mailbox, and so is a
 * file that begins with `From `. The inside of a mailbox, names that begin with a dot, and anything
 * deeper than REPORT_WALK_DEPTH_MAX are left out. Links are not followed: anything that they may
 * lead to is below a root itself.
 *
 * It uses no more memory than a buffer for each open directory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "quota/address.h"
#include "quota/settings.h"

#define REPORT_WALK_DEPTH_MAX 8

/* Which mailboxes are wanted. No words: all. */
struct report_scope {
    char **words; /* domains in lower case, and directories: absolute paths, normalised */
    size_t count;
};

struct report_walk {
    const struct quota_settings *settings; /* with open roots, whose names are normalised */
    const struct report_scope *scope;

    /* Gets the path of each mailbox that may be there, and by which template. False: to stop. */
    bool (*found)(void *userdata, const char *path, size_t template);
    /* Gets each path that could not be read, and the negative errno. False: to stop. */
    bool (*failed)(void *userdata, const char *path, int error);
    void *userdata;
};

/* Walks. Returns 0 or -ENOMEM. May wait for a file system. */
int report_walk(const struct report_walk *walk);

enum report_name {
    REPORT_NAME_NONE,    /* no address leads to it, or it is not in the scope */
    REPORT_NAME_PATH,    /* it is known by its path */
    REPORT_NAME_ADDRESS, /* it is that of *ret */
};

/* Determines to which address the template assigns a path that report_walk() has found. */
enum report_name report_walk_name(const struct report_walk *walk, size_t template, const char *path,
                                  struct address *ret);
