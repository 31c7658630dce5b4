/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every path is opened by openat2(2) below the directory of a root, and none is ever resolved from
 * `/`. So renamed directories and symbolic links can make an attempt fail, but cannot lead it out.
 *
 * Two things the kernel does not do, so they are done here once it has refused a path: starting
 * again at the root that an absolute link names, and telling a link that leads to nothing from a
 * path where there is nothing yet.
 */
#include "system/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine_roots.h"

#define LINKS_MAX 40 /* followed here; the kernel follows as many in one openat2 */

/* How many attempts at what others keep renaming, and for how long: a path may take long itself. */
#define RACES_MAX  64
#define RACES_USEC (10 * USEC_PER_MSEC)

/* The resolution of one path. */
struct lookup {
    struct confine *confine;
    const struct confine_root *root;
    struct handle *handle; /* of the root */
    unsigned int races;    /* attempts that a rename has spoilt */
    uint64_t races_usec;   /* when the first of them was over, by CLOCK_MONOTONIC */
};

static bool flags_are_sound(int flags)
{
    const int path_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int file_flags = path_flags | O_NONBLOCK | O_NOCTTY | O_NOATIME;

    return (flags & ~(flags & O_PATH ? path_flags : file_flags)) == 0;
}

/* Returns whether name is that of an entry of a directory, and no way out of it. */
static bool is_name(const char *name)
{
    return name[0] != '\0' && !strchr(name, '/') && !confine_is_dot_dot(name, strlen(name));
}

/* Continues, or begins, the lookup at the root. Returns 0 or -errno. */
static int lookup_enter(struct lookup *lookup, struct confine_root *root, bool cached)
{
    struct handle *handle;
    int r = confine_handle_take(lookup->confine, root, cached, &handle);

    if (r < 0)
        return r;
    if (lookup->handle)
        confine_handle_release(lookup->confine, lookup->handle);
    lookup->root = root;
    lookup->handle = handle;
    return 0;
}

static void lookup_end(const struct lookup *lookup)
{
    if (lookup->handle)
        confine_handle_release(lookup->confine, lookup->handle);
}

/* What keeps the kernel below the root. */
static uint64_t resolve_beneath(const struct confine_root *root)
{
    return RESOLVE_NO_MAGICLINKS | (root->is_whole ? RESOLVE_IN_ROOT : RESOLVE_BENEATH);
}

/* Opens path below the root. A rename anywhere while the kernel goes up is EAGAIN: try again. */
static int lookup_open(struct lookup *lookup, const char *path, int flags, uint64_t resolve)
{
    uint64_t now_usec;

    resolve |= resolve_beneath(lookup->root);
    do {
        int fd = confine_openat2(lookup->handle->fd, path, flags, resolve);

        if (fd != -EAGAIN)
            return fd;
        now_usec = clock_usec(CLOCK_MONOTONIC);
        if (lookup->races++ == 0)
            lookup->races_usec = now_usec;
    } while (lookup->races < RACES_MAX && now_usec - lookup->races_usec < RACES_USEC);
    return -ECANCELED;
}

/* Opens path, with O_PATH, from memory and through no symbolic link. */
static int lookup_open_cached(struct lookup *lookup, const char *path, int flags)
{
    return confine_openat2_cached(lookup->handle->fd, path, flags,
                                  resolve_beneath(lookup->root) | RESOLVE_NO_SYMLINKS);
}

/* Opens with O_PATH what the path names itself, be it a symbolic link, through no other one. */
static int lookup_open_itself(struct lookup *lookup, const char *path, bool cached)
{
    const int flags = O_PATH | O_NOFOLLOW;

    return cached ? lookup_open_cached(lookup, path, flags)
                  : lookup_open(lookup, path, flags, RESOLVE_NO_SYMLINKS);
}

/* Copies path without `.` and extra slashes. Returns whether it ends like that of a directory. */
static bool copy_path(char *to, const char *path)
{
    const char *slash = strrchr(path, '/'), *end = slash ? slash + 1 : path, *begin = to;
    size_t length;

    for (const char *at = confine_next_component(path, &length); length > 0;
         at = confine_next_component(at + length, &length)) {
        if (to != begin)
            *to++ = '/';
        memcpy(to, at, length);
        to += length;
    }
    *to = '\0';
    return end[0] == '\0' || strcmp(end, ".") == 0;
}

/* Returns where the last component of path[0..length) begins. */
static size_t last_component(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/')
        length--;
    return length;
}

/*
 * Opens the longest prefix of path, in whole components, that leads through no symbolic link; it
 * may be one itself. path is made by copy_path(), and is changed meanwhile. Returns a descriptor
 * and the length of the prefix, 0 for the root itself, or -errno.
 */
static int lookup_open_longest(struct lookup *lookup, char *path, bool cached, size_t *ret_length)
{
    _cleanup_(closep) int longest_fd = -1;
    size_t longest = 0, limit = strlen(path), length = limit;

    /* If a component cannot be opened, none behind it can: bisect. */
    while (longest < limit) {
        char cut = path[length];
        int fd;

        path[length] = '\0';
        fd = lookup_open_itself(lookup, path, cached);
        path[length] = cut;
        if (fd < 0) {
            limit = last_component(path, length);
            limit -= limit > 0;
        } else {
            closep(&longest_fd);
            longest_fd = fd;
            longest = length;
        }
        length = longest + (limit - longest + 1) / 2;
        length += strcspn(path + length, "/");
    }
    *ret_length = longest;
    return longest_fd < 0 ? lookup_open_itself(lookup, ".", cached) : steal_fd(&longest_fd);
}

/* Returns the device on which a path that is not in memory is to be found, or 0. */
static dev_t lookup_device(struct lookup *lookup, const char *rest)
{
    char path[PATH_MAX];
    _cleanup_(closep) int fd = -1;
    struct statx st;
    size_t length;

    (void)copy_path(path, rest);
    fd = lookup_open_longest(lookup, path, true, &length);
    if (confine_stat_known(fd < 0 ? lookup->handle->fd : fd, STATX_TYPE, &st) < 0 ||
        S_ISLNK(st.stx_mode))
        return 0;
    return makedev(st.stx_dev_major, st.stx_dev_minor);
}

/* A path whose symbolic links are being followed. */
struct way {
    int flags;    /* to open the end of it with */
    size_t asked; /* bytes at the end of path that were asked for; the rest is from links */
    char path[PATH_MAX];
};

static void way_set(struct way *way, const char *path)
{
    if (copy_path(way->path, path))
        way->flags = (way->flags & ~O_NOFOLLOW) | O_DIRECTORY;
}

/*
 * Replaces the first length bytes of the way, a symbolic link, with its text. Returns 0, 1 if the
 * link is absolute and the lookup begins again at the root that it names, or -errno.
 */
static int way_follow(struct way *way, struct lookup *lookup, int link_fd, size_t length)
{
    char text[PATH_MAX], path[PATH_MAX];
    struct confine_target target = {NULL, text};
    const char *rest = way->path + length;
    size_t rest_length = strlen(rest), parent_length = 0;
    ssize_t n = readlinkat(link_fd, "", text, sizeof(text));
    int r;

    if (n < 0)
        return -errno;
    if ((size_t)n == sizeof(text))
        return -ENAMETOOLONG;
    text[n] = '\0';
    if (text[0] != '/') {
        parent_length = last_component(way->path, length);
    } else {
        r = confine_find(lookup->confine, text, &target);
        if (r == 0)
            r = lookup_enter(lookup, target.root, false);
        if (r < 0)
            return r;
    }
    r = snprintf(path, sizeof(path), "%.*s%s%s", (int)parent_length, way->path, target.rest, rest);
    if ((size_t)r >= sizeof(path))
        return -ENAMETOOLONG;
    if (way->asked > rest_length)
        way->asked = rest_length;
    way_set(way, path);
    return text[0] == '/';
}

/* Returns whether fd is open on a symbolic link that opening the whole way would follow. */
static bool way_is_link(const struct way *way, int fd, size_t length)
{
    struct statx st;

    return confine_stat_known(fd, STATX_TYPE, &st) == 0 && S_ISLNK(st.stx_mode) &&
           !(way->path[length] == '\0' && (way->flags & O_NOFOLLOW));
}

/*
 * Opens path, which the kernel has refused with that error: follows its symbolic links up to an
 * absolute one, and asks the kernel again from there.
 */
static int lookup_open_by_links(struct lookup *lookup, const char *path, int flags, int error)
{
    struct way way = {.flags = flags};

    way_set(&way, path);
    way.asked = strlen(way.path);
    for (unsigned int links = 0;; links++) {
        size_t length;
        _cleanup_(closep) int fd = lookup_open_longest(lookup, way.path, false, &length);
        int r;

        if (fd < 0)
            return fd;
        if (!way_is_link(&way, fd, length))
            return error == -ENOENT && length + way.asked < strlen(way.path) ? -ENOLINK : error;
        if (links == LINKS_MAX)
            return -ELOOP;
        r = way_follow(&way, lookup, fd, length);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        error = lookup_open(lookup, way.path[0] != '\0' ? way.path : ".", way.flags, 0);
        if (error != -EXDEV && error != -ENOENT)
            return error;
    }
}

struct visitor {
    confine_visit_fn visit;
    void *userdata;
    int error; /* what visit() returned last */
};

/* Notifies the visitor of the device that fd is open on, or of an unknown one. */
static int visit_device(struct visitor *visitor, int fd)
{
    dev_t device = 0;
    struct statx st;

    if (fd >= 0 && confine_stat_known(fd, STATX_TYPE, &st) == 0)
        device = makedev(st.stx_dev_major, st.stx_dev_minor);
    visitor->error = visitor->visit(device, visitor->userdata);
    return visitor->error;
}

/* Opens what the first component of path names itself in the directory. Returns as openat(2). */
static int open_component(int directory_fd, const char *path, size_t *ret_end)
{
    size_t length;
    const char *component = confine_next_component(path, &length);
    char name[NAME_MAX + 1];

    if (length > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, component, length);
    name[length] = '\0';
    *ret_end = (size_t)(component - path) + length;
    return confine_open_name(directory_fd, name, O_PATH, CONFINE_ANYWHERE);
}

/*
 * Visits the devices on the way to its end or to a symbolic link. A way that goes up, and is not in
 * memory, leads to an unknown device. Returns the descriptor of that link and the length of the way
 * up to it, or a negative errno: -ENOENT if there is no link.
 */
static int lookup_visit(struct lookup *lookup, struct way *way, struct visitor *visitor,
                        size_t *ret_length)
{
    _cleanup_(closep) int fd = -1;
    int r = visit_device(visitor, lookup->handle->fd);

    if (r < 0)
        return r;
    fd = lookup_open_longest(lookup, way->path, true, ret_length);
    if (fd < 0) /* not even the root is in memory */
        fd = lookup_open_itself(lookup, ".", false);
    while (fd >= 0) {
        const char *rest = way->path + *ret_length;
        size_t length;
        int next_fd;

        r = visit_device(visitor, confine_goes_up(rest) ? -1 : fd);
        if (r < 0)
            return r;
        if (way_is_link(way, fd, *ret_length))
            break;
        if (rest[0] == '\0' || confine_goes_up(rest))
            return -ENOENT;
        next_fd = open_component(fd, rest, &length);
        *ret_length += length;
        closep(&fd);
        fd = next_fd;
    }
    return steal_fd(&fd);
}

int confine_open(struct confine *confine, const char *path, int flags)
{
    return confine_open_visiting(confine, path, flags, NULL, NULL);
}

/* Visits the devices that the way to the target leads to. Returns what visit() returned last. */
static int visit_all(struct confine *confine, const struct confine_target *target,
                     struct visitor *visitor)
{
    _cleanup_(lookup_end) struct lookup ahead = {.confine = confine};
    struct way way = {};
    int r = lookup_enter(&ahead, target->root, false);

    if (r == 0)
        way_set(&way, target->rest);
    for (unsigned int links = 0; r >= 0 && links <= LINKS_MAX; links++) {
        size_t length;
        _cleanup_(closep) int fd = lookup_visit(&ahead, &way, visitor, &length);

        r = fd < 0 ? fd : way_follow(&way, &ahead, fd, length);
    }
    return visitor->error;
}

/* Opens what the name cache has, including links, after visiting its device; or -EAGAIN. */
static int open_known(struct lookup *lookup, const char *rest, int flags, struct visitor *visitor)
{
    _cleanup_(closep) int fd = confine_openat2_cached(lookup->handle->fd, rest,
                                                      (flags & (O_DIRECTORY | O_NOFOLLOW)) | O_PATH,
                                                      resolve_beneath(lookup->root));

    if (fd < 0)
        return -EAGAIN;
    if (visit_device(visitor, fd) < 0)
        return visitor->error;
    if (flags & O_PATH)
        return steal_fd(&fd);
    return flags & O_DIRECTORY ? confine_open_name(fd, ".", flags, CONFINE_ANYWHERE) : -EAGAIN;
}

int confine_open_visiting(struct confine *confine, const char *path, int flags,
                          confine_visit_fn visit, void *userdata)
{
    _cleanup_(lookup_end) struct lookup lookup = {.confine = confine};
    struct visitor visitor = {visit, userdata, 0};
    struct confine_target target;
    int fd;

    if (!flags_are_sound(flags))
        return -EINVAL;
    fd = confine_find(confine, path, &target);
    if (fd == 0)
        fd = lookup_enter(&lookup, target.root, false);
    if (fd == 0 && visit) {
        fd = open_known(&lookup, target.rest, flags, &visitor);
        if (fd != -EAGAIN)
            return fd;
        fd = visit_all(confine, &target, &visitor);
    }
    if (fd < 0)
        return fd;
    fd = lookup_open(&lookup, target.rest, flags, 0);
    if (fd != -EXDEV && fd != -ENOENT)
        return fd;
    return lookup_open_by_links(&lookup, target.rest, flags, fd);
}

int confine_open_cached(struct confine *confine, const char *path, int flags, dev_t *ret_device)
{
    _cleanup_(lookup_end) struct lookup lookup = {.confine = confine};
    struct confine_target target;
    int fd;

    if (ret_device)
        *ret_device = 0;
    if (!flags_are_sound(flags) || !(flags & O_PATH))
        return -EINVAL;
    fd = confine_find(confine, path, &target);
    if (fd == 0)
        fd = lookup_enter(&lookup, target.root, true);
    if (fd < 0)
        return fd;
    fd = lookup_open_cached(&lookup, target.rest, flags);
    if (fd == -EAGAIN && ret_device)
        *ret_device = lookup_device(&lookup, target.rest);
    return fd == -ELOOP ? -EAGAIN : fd;
}

int confine_open_name(int directory_fd, const char *name, int flags, enum confine_reach reach)
{
    int fd;

    if (!is_name(name))
        return -EINVAL;
    flags |= O_NOFOLLOW;
    if (reach == CONFINE_ANYWHERE) {
        fd = openat(directory_fd, name, flags | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    fd = reach == CONFINE_CACHED
             ? confine_openat2_cached(directory_fd, name, flags, RESOLVE_NO_XDEV)
             : confine_openat2(directory_fd, name, flags, RESOLVE_NO_XDEV);
    return fd == -EXDEV ? -EAGAIN : fd;
}
