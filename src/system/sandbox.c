/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/directory.h"

/* The attributes of a rule set, and later rights, which the installed header may not have. */
struct ruleset_attributes {
    uint64_t handled_access_fs;
    uint64_t handled_access_net; /* from version 4 on */
    uint64_t scoped;             /* from version 6 on */
};

/* All rights of version 1: everything up to making a symbolic link. */
#define FS_RIGHTS_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

#define FS_REFER     (UINT64_C(1) << 13) /* version 2 */
#define FS_TRUNCATE  (UINT64_C(1) << 14) /* version 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* version 5 */

#define NET_BIND_TCP    (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)

#define SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL               (UINT64_C(1) << 1)

struct rule {
    int fd;
    bool own; /* opened here */
    enum sandbox_access access;
};

struct sandbox {
    struct rule *rules;
    size_t count;
};

int sandbox_new(struct sandbox **ret)
{
    *ret = calloc(1, sizeof(**ret));
    return *ret ? 0 : -ENOMEM;
}

void sandbox_free(struct sandbox *sandbox)
{
    if (!sandbox)
        return;
    for (size_t i = 0; i < sandbox->count; i++)
        if (sandbox->rules[i].own)
            closep(&sandbox->rules[i].fd);
    free(sandbox->rules);
    free(sandbox);
}

static int add_rule(struct sandbox *sandbox, int fd, bool own, enum sandbox_access access)
{
    struct rule *rules = reallocarray(sandbox->rules, sandbox->count + 1, sizeof(*rules));

    if (!rules)
        return -ENOMEM;
    sandbox->rules = rules;
    rules[sandbox->count++] = (struct rule){fd, own, access};
    return 0;
}

int sandbox_allow(struct sandbox *sandbox, int directory_fd, enum sandbox_access access)
{
    return add_rule(sandbox, directory_fd, false, access);
}

/* As sandbox_allow(), but takes ownership of the descriptor. */
static int allow_own(struct sandbox *sandbox, int directory_fd, enum sandbox_access access)
{
    int r = add_rule(sandbox, directory_fd, true, access);

    if (r < 0)
        (void)close(directory_fd);
    return r;
}

int sandbox_allow_directory_of(struct sandbox *sandbox, const char *path,
                               enum sandbox_access access)
{
    int fd = directory_open_of(path, O_PATH, NULL);

    return fd < 0 ? fd : allow_own(sandbox, fd, access);
}

int sandbox_allow_above(struct sandbox *sandbox, int directory_fd, enum sandbox_access access)
{
    struct stat top, above;
    int fd = openat(directory_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (stat("/", &top) == 0 && fstat(fd, &above) == 0 && top.st_dev == above.st_dev &&
        top.st_ino == above.st_ino) {
        (void)close(fd);
        return 0;
    }
    return allow_own(sandbox, fd, access);
}

/* The rights that an access needs, all of version 1. */
static uint64_t rights_of(enum sandbox_access access)
{
    switch (access) {
    case SANDBOX_READ:
        return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    case SANDBOX_READ_FILE:
        return LANDLOCK_ACCESS_FS_READ_FILE;
    case SANDBOX_APPEND:
        return LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG;
    case SANDBOX_REMOVE:
        return LANDLOCK_ACCESS_FS_REMOVE_FILE;
    }
    return 0;
}

static struct ruleset_attributes attributes_for(int version, bool keep_abstract)
{
    struct ruleset_attributes attributes = {.handled_access_fs = FS_RIGHTS_1};

    if (version >= 2)
        attributes.handled_access_fs |= FS_REFER;
    if (version >= 3)
        attributes.handled_access_fs |= FS_TRUNCATE;
    if (version >= 4)
        attributes.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (version >= 5)
        attributes.handled_access_fs |= FS_IOCTL_DEV;
    if (version >= 6)
        attributes.scoped = SCOPE_SIGNAL | (keep_abstract ? 0 : SCOPE_ABSTRACT_UNIX_SOCKET);
    return attributes;
}

/* An older kernel takes fewer attributes. */
static size_t attributes_size(int version)
{
    if (version >= 6)
        return sizeof(struct ruleset_attributes);
    return version >= 4 ? offsetof(struct ruleset_attributes, scoped)
                        : offsetof(struct ruleset_attributes, handled_access_net);
}

int sandbox_enter(struct sandbox *sandbox, bool keep_abstract)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset_attributes attributes;
    _cleanup_(closep) int ruleset_fd = -1;

    /* EPERM comes from the system-call filters of old container managers. */
    if (version < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? 0 : -errno;
    attributes = attributes_for((int)version, keep_abstract);
    ruleset_fd =
        (int)syscall(SYS_landlock_create_ruleset, &attributes, attributes_size((int)version), 0);
    if (ruleset_fd < 0)
        return -errno;
    for (size_t i = 0; i < sandbox->count; i++) {
        const struct landlock_path_beneath_attr below = {
            .allowed_access = rights_of(sandbox->rules[i].access),
            .parent_fd = sandbox->rules[i].fd,
        };

        if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0)
            return -errno;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (syscall(SYS_landlock_restrict_self, ruleset_fd, 0) < 0)
        return -errno;
    return (int)version;
}
