/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directory that a path leads to, held open, so that the name in it can be found again from
 * wherever the process stands by then.
 */
#pragma once

/*
 * Opens the directory that the file at path lies in, with flags (open(2); O_DIRECTORY and O_CLOEXEC
 * are added). *ret_name, unless that is NULL, is the file's name in it, a part of path; empty where
 * path ends with a slash. Returns a descriptor that the caller closes, -ENOMEM, or the negative
 * errno of open(2).
 */
int directory_open_of(const char *path, int flags, const char **ret_name);
