/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Real, effective and saved. */
struct ids {
    uid_t user[3];
    gid_t group[3];
};

static int read_ids(struct ids *ret)
{
    if (getresuid(&ret->user[0], &ret->user[1], &ret->user[2]) < 0 ||
        getresgid(&ret->group[0], &ret->group[1], &ret->group[2]) < 0)
        return -errno;
    return 0;
}

static bool is_user(const struct ids *ids, uid_t user)
{
    return ids->user[0] == user && ids->user[1] == user && ids->user[2] == user;
}

static bool parse_uid(const char *text, uid_t *ret)
{
    unsigned long long number;

    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
        return false;
    number = strtoull(text, NULL, 10); /* ULLONG_MAX where it does not fit */
    if (number >= (uid_t)-1)
        return false;
    *ret = (uid_t)number;
    return true;
}

/* What errno means if no user was found: some sources leave any number there. */
static int error_of_no_user(int error)
{
    switch (error) {
    case EINTR:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ERANGE:
        return -error;
    default:
        return -ESRCH;
    }
}

/*
 * Finds a user by name or else by number. Returns 0; -ESRCH if there is none as far as the sources
 * of users can tell; or, if they cannot tell, -EMFILE, -ENFILE, -ENOMEM, -EIO, -EINTR or -ERANGE.
 */
static int find_user(const char *user, const struct passwd **ret)
{
    uid_t uid;
    int r;

    errno = 0;
    *ret = getpwnam(user);
    if (*ret)
        return 0;
    r = error_of_no_user(errno);
    if (r != -ESRCH || !parse_uid(user, &uid))
        return r;
    errno = 0;
    *ret = getpwuid(uid);
    return *ret ? 0 : error_of_no_user(errno);
}

int privileges_find(const char *user)
{
    const struct passwd *entry;

    return find_user(user, &entry);
}

static int change_ids(const struct passwd *entry)
{
    if (initgroups(entry->pw_name, entry->pw_gid) < 0 ||
        setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0)
        return -errno;
    return 0;
}

/* Gives up every capability: a user id other than 0 keeps them where the secure bits say so. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

/* Returns whether the process can get back one of its old ids, by trying. */
static bool can_come_back(const struct ids *before, uid_t user, gid_t group)
{
    for (size_t i = 0; i < 3; i++) {
        if (before->user[i] != user && setresuid((uid_t)-1, before->user[i], (uid_t)-1) == 0)
            return true;
        if (before->group[i] != group && setresgid((gid_t)-1, before->group[i], (gid_t)-1) == 0)
            return true;
    }
    return false;
}

int privileges_drop(const char *user)
{
    const struct passwd *entry;
    struct ids before;
    int r = find_user(user, &entry);

    if (r < 0)
        return r;
    if (entry->pw_uid == 0)
        return -EINVAL;
    r = read_ids(&before);
    if (r < 0)
        return r;
    if (is_user(&before, entry->pw_uid))
        return drop_capabilities();
    r = change_ids(entry);
    if (r == 0)
        r = drop_capabilities();
    if (r < 0)
        return r;
    return can_come_back(&before, entry->pw_uid, entry->pw_gid) ? -EPERM : 0;
}
