/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds users and groups, and says whether there is none or that could not be found out. */
#pragma once

#include <grp.h>
#include <pwd.h>

/*
 * Finds the entry of a user or a group; it is the C library's until the next is looked for. Returns
 * 0, -ESRCH if there is none as far as the sources can tell, or -EMFILE, -ENFILE, -ENOMEM, -EIO,
 * -EINTR or -ERANGE if they cannot.
 */
int users_find_name(const char *name, const struct passwd **ret);
int users_find_id(uid_t id, const struct passwd **ret);
int users_find_group(const char *name, const struct group **ret);
