/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting all that is in a directory, as Exim does for a transport with `quota` but without
 * maildir_use_size_file (check_dir_size() of its appendfile transport, 4.96 to 4.99, with neither
 * quota_size_regex nor quota_directory set). Nothing is remembered, as there. Nothing here writes.
 *
 * - Every entry of the directory and of all directories in it counts as one message, which is what
 *   Exim compares with quota_filecount: files, directories themselves (`cur` for one), links,
 *   sockets; also names that begin with a dot, but for `.` and `..`.
 * - Bytes are those of regular files alone, all of them: index files, maildirsize, what lies in
 *   `tmp`. The size that stat(2) returns is what counts, not one in the name.
 * - The size of a file with hard links is divided by their number, wherever they are, without the
 *   remainder; so one with three names, two of them here, counts twice a third.
 * - A symbolic link counts as what it leads to: a file by its size, a directory by what is in it.
 *   One that leads to nothing is an entry without a size.
 *
 * It differs from Exim in these: a link that leads out of the roots is an entry without a size,
 * reported as left out, and so is what is deeper than MAILDIR_DEPTH_MAX (Exim goes on until a path
 * is too long); a directory that several links lead to counts once (Exim counts it by each, and one
 * that leads to itself some 40 times); what cannot be read is an error (Exim counts nothing there).
 *
 * In each directory `cur` is read before `new`, and that before `tmp`: a message that is delivered
 * or read meanwhile may be missed, but is not counted twice, unless it gets a flag. (Exim takes
 * them as they come.)
 */
#pragma once

#include "quota/maildir.h"

/*
 * Counts what is in the directory that directory_fd is open on (O_PATH suffices; it stays the
 * caller's). path is its absolute path, used together with confine for what is a symbolic link and
 * for nothing else. budget bounds the count, unless it is NULL. May wait for a disk or a server,
 * for as long as they take. Returns 0 and *ret, whose sums saturate at SIZE_BYTES_MAX (is_mailbox
 * is true: any directory may be counted so); -E2BIG for more than MAILDIR_FOLDERS_MAX directories
 * or than the budget has bytes for; -ETIME or an error of enter_device() where the budget ends the
 * count; the negative errno of the first directory or entry that could not be read; or -ENOMEM.
 * *ret is not written then.
 */
int everything_count(int directory_fd, const char *path, struct confine *confine,
                     struct budget *budget, struct maildir_count *ret);
