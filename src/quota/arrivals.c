/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/arrivals.h"

#include <fcntl.h>
#include <string.h>

#include "quota/entries.h"
#include "quota/size.h"
#include "system/cleanup.h"

static bool is_after(const char *name, uint64_t sec)
{
    size_t digits = strspn(name, "0123456789");
    uint64_t arrived_sec;

    return name[digits] == '.' && size_parse_number(name, digits, &arrived_sec) == 0 &&
           arrived_sec > sec;
}

static bool leaf_has_one_after(int mailbox_fd, const char *leaf, uint64_t sec)
{
    _cleanup_(closep) int fd =
        openat(mailbox_fd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_(entries_done) struct entries entries = {};
    const struct dirent64 *entry;

    if (fd < 0)
        return false;
    while ((entry = entries_next(&entries, fd)))
        if (is_after(entry->d_name, sec))
            return true;
    return false;
}

bool arrivals_after(int mailbox_fd, uint64_t sec)
{
    return leaf_has_one_after(mailbox_fd, "new", sec) || leaf_has_one_after(mailbox_fd, "cur", sec);
}
