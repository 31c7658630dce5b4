/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of a file, held open, so that the file is found whatever happens to the path. */
#pragma once

/*
 * Opens the directory of the file at path with flags (open(2); O_DIRECTORY and O_CLOEXEC are
 * added). *ret_name, unless NULL, is the file's name in it, a part of path; empty if path ends with
 * a slash. Returns a descriptor that the caller closes, -ENOMEM, or the negative errno of open(2).
 */
int directory_open_of(const char *path, int flags, const char **ret_name);
