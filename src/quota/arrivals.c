/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/arrivals.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "quota/entries.h"
#include "quota/size.h"
#include "system/cleanup.h"

/* Smaller numbers (before 2001) are not the time. */
#define TIME_SEC_MIN 1000000000

/* Returns when the message arrived, in seconds since the epoch; 0 if unknown. */
static uint64_t arrival_sec(int directory_fd, const char *name)
{
    size_t digits = strspn(name, "0123456789");
    uint64_t sec;
    struct stat st;

    if (name[digits] == '.' && size_parse_number(name, digits, &sec) == 0 && sec >= TIME_SEC_MIN)
        return sec;
    if (fstatat(directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mtime < 0)
        return 0;
    return (uint64_t)st.st_mtime;
}

static bool part_has_one_after(int mailbox_fd, const char *part, uint64_t sec)
{
    _cleanup_(closep) int fd =
        openat(mailbox_fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_(entries_done) struct entries entries = {};
    const struct dirent64 *entry;

    if (fd < 0)
        return false;
    while ((entry = entries_next(&entries, fd)))
        if (entry->d_name[0] != '.' && arrival_sec(fd, entry->d_name) > sec)
            return true;
    return false;
}

bool arrivals_after(int mailbox_fd, uint64_t sec)
{
    return part_has_one_after(mailbox_fd, "new", sec) || part_has_one_after(mailbox_fd, "cur", sec);
}
