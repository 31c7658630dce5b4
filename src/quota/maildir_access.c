/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildir_access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "quota/budget.h"
#include "quota/maildir.h"
#include "system/cleanup.h"
#include "system/confine.h"
#include "system/utf8.h"

/* Notes that the entry called name ("": none) of the directory path is left out. */
static void leave_out(const struct maildir_access *access, const char *path, const char *name)
{
    struct maildir_count *count = access->count;
    char *first = count->left_out_name;
    int length;

    if (count->left_out++ > 0)
        return;
    length = snprintf(first, sizeof(count->left_out_name), "%s%s%s", path,
                      *path && *name ? "/" : "", name);
    if (length > 0)
        first[utf8_prefix(first, (size_t)length, sizeof(count->left_out_name) - 1)] = '\0';
}

/*
 * Says whether an error of following a symbolic link means that it leads outside or to nothing.
 * (With -ENOENT there is no link, any more for one.)
 */
static bool is_left_out(int error)
{
    return error == -EXDEV || error == -ELOOP || error == -ENOLINK;
}

/* Opens the entry called name ("": none) of the directory path, wherever links lead to. */
static int open_confined(const struct maildir_access *access, const char *path, const char *name,
                         int flags)
{
    _cleanup_(freep) char *whole = NULL;
    int r = budget_spend_dear(access->budget);

    if (r < 0)
        return r;
    if (asprintf(&whole, "%s/%s%s%s", access->path, path, *name ? "/" : "", name) < 0) {
        whole = NULL;
        return -ENOMEM;
    }
    return budget_open(access->budget, access->confine, whole, flags);
}

/* Opens a directory by its path from fd on, following no symbolic link. */
static int open_unlinked(int fd, const char *path, int flags)
{
    _cleanup_(closep) int here = -1;
    char name[NAME_MAX + 1];

    for (;;) {
        size_t length = strcspn(path, "/");
        bool last = path[length] == '\0';
        int next;

        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, length);
        name[length] = '\0';
        next = confine_open_name(here < 0 ? fd : here, name, O_DIRECTORY | (last ? flags : O_PATH),
                                 CONFINE_ANYWHERE);
        if (last || next < 0)
            return next;
        closep(&here);
        here = next;
        path += length + 1;
    }
}

int maildir_access_directory(const struct maildir_access *access, int parent_fd, const char *name,
                             const char *path, int flags, bool *linked)
{
    int fd = budget_spend(access->budget);

    if (fd == 0)
        fd = *linked ? -ELOOP : open_unlinked(parent_fd, name, flags);

    if (fd != -ELOOP && fd != -ENOTDIR)
        return fd;
    *linked = true;
    fd = open_confined(access, path, "", flags | O_DIRECTORY);
    if (is_left_out(fd)) {
        leave_out(access, path, "");
        return -ENOENT;
    }
    return fd == -ENOTDIR ? -ENOENT : fd;
}

int maildir_access_link(const struct maildir_access *access, const char *path, const char *name)
{
    int fd = open_confined(access, path, name, O_PATH);

    if (!is_left_out(fd) && fd != -ENOTDIR)
        return fd;
    leave_out(access, path, name);
    return -ENOENT;
}

bool maildir_access_join(const struct maildir_access *access, const char *path, const char *name,
                         char text[static PATH_MAX])
{
    int length = snprintf(text, PATH_MAX, "%s%s%s", path, *path ? "/" : "", name);
    unsigned int depth = 1;

    for (const char *slash = strchr(text, '/'); slash; slash = strchr(slash + 1, '/'))
        depth++;
    if (length < PATH_MAX && depth <= MAILDIR_DEPTH_MAX)
        return true;
    leave_out(access, path, name);
    return false;
}
