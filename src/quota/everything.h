/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts everything in a directory, as Exim does for a transport with `quota` but without
 * maildir_use_size_file (check_dir_size() of its appendfile transport, 4.96 to 4.99, with neither
 * quota_size_regex nor quota_directory set). As there, nothing is cached.
 *
 * - Each entry of the directory and of all directories in it counts as one message, which Exim
 *   compares with quota_filecount: files, directories themselves, links, sockets, and names that
 *   begin with a dot, but not `.` and `..`.
 * - Bytes are those of all regular files, by stat(2) and not by their names: also of index files,
 *   maildirsize, and what is in `tmp`.
 * - The size of a file with hard links is divided by their number, wherever they are, without the
 *   remainder; so one with three names, two of them here, counts as two thirds.
 * - A symbolic link counts as what it leads to; one that leads to nothing is an entry without a
 *   size.
 *
 * Unlike Exim, it reports a link out of the roots, and what is deeper than MAILDIR_DEPTH_MAX, as
 * left out, an entry without a size; counts a directory once even if several links lead to it; and
 * fails for what cannot be read (Exim counts nothing there).
 *
 * In each directory `cur` is read before `new`, and that before `tmp`: a message that is delivered
 * or read meanwhile may be missed, but counts twice only if it gets a flag.
 */
#pragma once

#include "quota/maildir.h"

/*
 * Counts what is in the directory that directory_fd is open on. The parameters and the result are
 * those of maildir_count(), whose errors it returns; the limits on folders are those on directories
 * here, and is_mailbox is true: any directory may be counted like this.
 */
int everything_count(int directory_fd, const char *path, struct confine *confine,
                     struct budget *budget, struct maildir_count *ret);
