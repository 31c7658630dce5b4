/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether the roots and the templates can lead to mailboxes at all. Otherwise a mistyped
 * --mailbox=, or a directory that the unit hides, would look like mailboxes that do not exist yet.
 */
#pragma once

#include <stdbool.h>

#include "quota/settings.h"

/* Returns whether path is the directory or below it; both are normalised. */
bool paths_is_in(const char *path, const char *directory);

/*
 * Calls say() with a line for people about each root, and each template, that cannot lead to a
 * mailbox: it lies under no root, the directory that it begins with does not exist, or that is an
 * empty tmpfs or part of one, mounted there, as systemd hides directories (ProtectHome=,
 * InaccessiblePaths=). The roots must be open. May wait for a file system.
 */
void paths_check(const struct quota_settings *settings,
                 void (*say)(const char *line, void *userdata), void *userdata);
