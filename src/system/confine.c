/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every path is opened by openat2(2) beneath the directory of a root; nothing that a client or a
 * symbolic link says is ever resolved by the kernel from `/`. So whoever renames directories or
 * plants symbolic links meanwhile can make an attempt fail, but cannot lead it out.
 *
 * The kernel decides about every symbolic link. Two things it does not do, and they are done here
 * once it has refused a path: starting again at the root that an absolute link names, and telling a
 * link that leads to nothing from a path where there is nothing yet.
 */
#include "system/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/clock.h"

#define LINKS_MAX 40 /* followed here; the kernel follows as many in one openat2 */

/* How many attempts at what others keep renaming, and for how long: a path may take long itself. */
#define RACES_MAX  64
#define RACES_USEC (10 * USEC_PER_MSEC)

/* An identifier of a mount that is never used again, since Linux 6.8. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

/* The directory of a root while it is open: for the set, and for each lookup that began then. */
struct handle {
    int fd;
    unsigned int users; /* guarded by the set's lock */
};

/* Which directory it is, and which of the mounts of its file system. */
struct identity {
    uint32_t device_major, device_minor;
    uint64_t inode;
    uint64_t mount;
};

struct confine_root {
    char *path;
    bool is_whole;            /* the root `/` */
    struct identity identity; /* where the name led when it was looked at last */
    struct handle *handle;    /* NULL: let go of; guarded by the set's lock */
};

struct confine {
    struct confine_root *roots;
    size_t roots_count;
    pthread_mutex_t lock;
    unsigned int releases; /* how often all were let go of; guarded by the lock */
};

/* The resolution of one path. */
struct lookup {
    struct confine *confine;
    const struct confine_root *root;
    struct handle *handle; /* of the root */
    unsigned int races;    /* attempts that a rename has spoilt */
    uint64_t races_usec;   /* when the first of them was over, by CLOCK_MONOTONIC */
};

/*
 * Finds the next component of a path, those named `.` left out. Returns where it begins and its
 * length, 0 at the end.
 */
static const char *next_component(const char *path, size_t *ret_length)
{
    do {
        path += strspn(path, "/");
        *ret_length = strcspn(path, "/");
        if (*ret_length != 1 || *path != '.')
            break;
        path++;
    } while (true);
    return path;
}

static bool is_dot_dot(const char *component, size_t length)
{
    return length == 2 && memcmp(component, "..", 2) == 0;
}

/*
 * Matches path with a root. Returns what follows the root in path and the number of components that
 * the two have in common, or NULL.
 */
static const char *match_root(const struct confine_root *root, const char *path,
                              size_t *ret_components)
{
    const char *prefix = root->path;
    size_t length, prefix_length;

    *ret_components = 0;
    for (;;) {
        const char *component;

        prefix = next_component(prefix, &prefix_length);
        if (prefix_length == 0)
            return path + strspn(path, "/");
        component = next_component(path, &length);
        if (length != prefix_length || memcmp(component, prefix, length) != 0)
            return NULL;
        prefix += length;
        path = component + length;
        ++*ret_components;
    }
}

int confine_find(const struct confine *confine, const char *path, struct confine_target *ret)
{
    size_t longest = 0;

    if (path[0] != '/')
        return -EXDEV;
    if (strnlen(path, PATH_MAX) == PATH_MAX)
        return -ENAMETOOLONG;
    *ret = (struct confine_target){};
    for (size_t i = 0; i < confine->roots_count; i++) {
        size_t components;
        const char *rest = match_root(&confine->roots[i], path, &components);

        if (!rest || (ret->root && components <= longest))
            continue;
        *ret = (struct confine_target){&confine->roots[i], rest[0] != '\0' ? rest : "."};
        longest = components;
    }
    return ret->root ? 0 : -EXDEV;
}

static bool flags_are_sound(int flags)
{
    const int path_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int file_flags = path_flags | O_NONBLOCK | O_NOCTTY | O_NOATIME;

    return (flags & ~(flags & O_PATH ? path_flags : file_flags)) == 0;
}

/* Tells whether name is one of what a directory may hold, and no way out of it. */
static bool is_name(const char *name)
{
    return name[0] != '\0' && !strchr(name, '/') && !is_dot_dot(name, strlen(name));
}

/* Returns a descriptor or -errno. The C library of Debian 12 has no function for it. */
static int sys_openat2(int directory_fd, const char *path, int flags, uint64_t resolve)
{
    /* open(2) adds O_LARGEFILE where it means anything, openat2 refuses it beside O_PATH. */
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_LARGEFILE)),
        .resolve = resolve,
    };
    long fd = syscall(SYS_openat2, directory_fd, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

/*
 * As sys_openat2(), for what the kernel has in memory. Kernels before Linux 5.12 refuse the flag,
 * which is -EOPNOTSUPP here.
 */
static int sys_openat2_cached(int directory_fd, const char *path, int flags, uint64_t resolve)
{
    int fd = sys_openat2(directory_fd, path, flags, resolve | RESOLVE_CACHED);

    return fd == -EINVAL ? -EOPNOTSUPP : fd;
}

static void handle_unref(struct confine *confine, struct handle *handle)
{
    bool last;

    pthread_mutex_lock(&confine->lock);
    last = --handle->users == 0;
    pthread_mutex_unlock(&confine->lock);
    if (!last)
        return;
    (void)close(handle->fd);
    free(handle);
}

/* Opens the directory of a root by its name. */
static int open_root(const char *path, bool cached)
{
    const int flags = O_PATH | O_DIRECTORY;

    return cached ? sys_openat2_cached(AT_FDCWD, path, flags, 0)
                  : sys_openat2(AT_FDCWD, path, flags, 0);
}

static int handle_new(const char *path, bool cached, struct handle **ret)
{
    _cleanup_(freep) struct handle *handle = malloc(sizeof(*handle));

    if (!handle)
        return -ENOMEM;
    *handle = (struct handle){.fd = open_root(path, cached), .users = 1};
    if (handle->fd < 0)
        return handle->fd;
    *ret = steal_pointer(&handle);
    return 0;
}

/* Takes the handle of the root, one more user of it; or NULL. */
static struct handle *handle_ref(struct confine *confine, const struct confine_root *root,
                                 unsigned int *ret_releases)
{
    struct handle *handle;

    pthread_mutex_lock(&confine->lock);
    handle = root->handle;
    if (handle)
        handle->users++;
    *ret_releases = confine->releases;
    pthread_mutex_unlock(&confine->lock);
    return handle;
}

/* Keeps the handle for later lookups, unless it was opened before all were let go of. */
static void handle_keep(struct confine *confine, struct confine_root *root, struct handle *handle,
                        unsigned int releases)
{
    pthread_mutex_lock(&confine->lock);
    if (!root->handle && confine->releases == releases) {
        root->handle = handle;
        handle->users++;
    }
    pthread_mutex_unlock(&confine->lock);
}

/* Lets the lookup go on, or begin, at the root. Returns 0 or -errno. */
static int lookup_enter(struct lookup *lookup, struct confine_root *root, bool cached)
{
    unsigned int releases;
    struct handle *handle = handle_ref(lookup->confine, root, &releases);
    int r;

    if (!handle) {
        r = handle_new(root->path, cached, &handle);
        /* This must not be taken for a mailbox that is not there. */
        if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
            return -ENODEV;
        if (r < 0)
            return r;
        handle_keep(lookup->confine, root, handle, releases);
    }
    if (lookup->handle)
        handle_unref(lookup->confine, lookup->handle);
    lookup->root = root;
    lookup->handle = handle;
    return 0;
}

static void lookup_end(const struct lookup *lookup)
{
    if (lookup->handle)
        handle_unref(lookup->confine, lookup->handle);
}

/* What keeps the kernel beneath the root. */
static uint64_t resolve_beneath(const struct confine_root *root)
{
    return RESOLVE_NO_MAGICLINKS | (root->is_whole ? RESOLVE_IN_ROOT : RESOLVE_BENEATH);
}

/*
 * Opens path beneath the root. A rename anywhere while the kernel goes up through `..` is EAGAIN,
 * and is tried again.
 */
static int lookup_open(struct lookup *lookup, const char *path, int flags, uint64_t resolve)
{
    uint64_t now_usec;

    resolve |= resolve_beneath(lookup->root);
    do {
        int fd = sys_openat2(lookup->handle->fd, path, flags, resolve);

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
    return sys_openat2_cached(lookup->handle->fd, path, flags,
                              resolve_beneath(lookup->root) | RESOLVE_NO_SYMLINKS);
}

/* Opens with O_PATH what the path names itself, be it a symbolic link, through no other one. */
static int lookup_open_itself(struct lookup *lookup, const char *path, bool cached)
{
    const int flags = O_PATH | O_NOFOLLOW;

    return cached ? lookup_open_cached(lookup, path, flags)
                  : lookup_open(lookup, path, flags, RESOLVE_NO_SYMLINKS);
}

/*
 * Copies path without what means nothing in it, `.` and further slashes. Returns whether it ends as
 * only the path of a directory does.
 */
static bool copy_path(char *to, const char *path)
{
    const char *slash = strrchr(path, '/'), *end = slash ? slash + 1 : path, *begin = to;
    size_t length;

    for (const char *at = next_component(path, &length); length > 0;
         at = next_component(at + length, &length)) {
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
 * Opens the longest part of path, whole components, that can be opened through no symbolic link; it
 * may be one itself. path is one that copy_path() made; it is cut meanwhile and whole again then.
 * Returns a descriptor and the length of that part, 0 for the root itself, or -errno.
 */
static int lookup_open_longest(struct lookup *lookup, char *path, bool cached, size_t *ret_length)
{
    _cleanup_(closep) int longest_fd = -1;
    size_t longest = 0, limit = strlen(path), length = limit;

    /* Where a component cannot be opened, none behind it can: half of them are left each time. */
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

/* Asks what is known of a descriptor's file, and no server. Returns 0 or -errno. */
static int stat_known(int fd, unsigned int mask, struct statx *ret)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, ret) < 0 ? -errno : 0;
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
    if (stat_known(fd < 0 ? lookup->handle->fd : fd, STATX_TYPE, &st) < 0 || S_ISLNK(st.stx_mode))
        return 0;
    return makedev(st.stx_dev_major, st.stx_dev_minor);
}

/* A path whose symbolic links are followed one after the other. */
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
 * Puts what a symbolic link says, which is at the first length bytes of the way, in their place.
 * Returns 0, 1 if the link is absolute and the lookup begins again at the root that it names, or
 * -errno.
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

/* Tells whether fd is open on a symbolic link that an open of all of the way would follow. */
static bool way_is_link(const struct way *way, int fd, size_t length)
{
    struct statx st;

    return stat_known(fd, STATX_TYPE, &st) == 0 && S_ISLNK(st.stx_mode) &&
           !(way->path[length] == '\0' && (way->flags & O_NOFOLLOW));
}

/*
 * Opens path, which the kernel has refused with that error: follows the symbolic links in it up to
 * an absolute one, and asks the kernel again from there.
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

/* Who is told of the devices on a way. */
struct visitor {
    confine_visit_fn visit;
    void *userdata;
    int error; /* what visit() returned last */
};

/* Tells of the device that fd is open on, or of an unknown one. */
static int visit_device(struct visitor *visitor, int fd)
{
    dev_t device = 0;
    struct statx st;

    if (fd >= 0 && stat_known(fd, STATX_TYPE, &st) == 0)
        device = makedev(st.stx_dev_major, st.stx_dev_minor);
    visitor->error = visitor->visit(device, visitor->userdata);
    return visitor->error;
}

/* Tells whether a component of the path is `..`. */
static bool goes_up(const char *path)
{
    size_t length;

    for (path = next_component(path, &length); length > 0;
         path = next_component(path + length, &length))
        if (is_dot_dot(path, length))
            return true;
    return false;
}

/* Opens what the first component of path names itself in the directory. Returns as openat(2). */
static int open_component(int directory_fd, const char *path, size_t *ret_end)
{
    size_t length;
    const char *component = next_component(path, &length);
    char name[NAME_MAX + 1];

    if (length > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, component, length);
    name[length] = '\0';
    *ret_end = (size_t)(component - path) + length;
    return confine_open_name(directory_fd, name, O_PATH, CONFINE_ANYWHERE);
}

/*
 * Goes along the way to its end or to a symbolic link. A way that goes up, and is not in memory,
 * leads to an unknown device: it may be long, and nobody needs one. Returns the descriptor of that
 * link and the length of the way up to it, or a negative errno: -ENOENT where there is no link.
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

        r = visit_device(visitor, goes_up(rest) ? -1 : fd);
        if (r < 0)
            return r;
        if (way_is_link(way, fd, *ret_length))
            break;
        if (rest[0] == '\0' || goes_up(rest))
            return -ENOENT;
        next_fd = open_component(fd, rest, &length);
        *ret_length += length;
        closep(&fd);
        fd = next_fd;
    }
    return steal_fd(&fd);
}

/* Tells whether the system has openat2(2): without a descriptor it reaches no file. */
static bool have_openat2(void)
{
    int r = sys_openat2(-1, ".", O_PATH, RESOLVE_BENEATH);

    return r != -ENOSYS && r != -EPERM;
}

int confine_new(struct confine **ret)
{
    if (!have_openat2())
        return -ENOSYS;
    *ret = calloc(1, sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    pthread_mutex_init(&(*ret)->lock, NULL);
    return 0;
}

void confine_free(struct confine *confine)
{
    if (!confine)
        return;
    (void)confine_release(confine);
    for (size_t i = 0; i < confine->roots_count; i++)
        free(confine->roots[i].path);
    free(confine->roots);
    pthread_mutex_destroy(&confine->lock);
    free(confine);
}

void confine_freep(struct confine **confine)
{
    confine_free(*confine);
}

static bool path_is_root_name(const char *path)
{
    size_t length;

    if (path[0] != '/')
        return false;
    for (path = next_component(path, &length); length > 0;
         path = next_component(path + length, &length))
        if (is_dot_dot(path, length))
            return false;
    return true;
}

/* Finds out which directory fd is open on. Returns 0 or -errno. */
static int identify(int fd, struct identity *ret)
{
    struct statx st;
    int r = stat_known(fd, STATX_INO | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &st);

    if (r == 0)
        *ret = (struct identity){
            .device_major = st.stx_dev_major,
            .device_minor = st.stx_dev_minor,
            .inode = st.stx_ino,
            .mount = st.stx_mnt_id,
        };
    return r;
}

static bool is_same(const struct identity *a, const struct identity *b)
{
    return a->device_major == b->device_major && a->device_minor == b->device_minor &&
           a->inode == b->inode && a->mount == b->mount;
}

static void root_clear(struct confine_root *root)
{
    if (root->handle) {
        (void)close(root->handle->fd);
        free(root->handle);
    }
    free(root->path);
}

int confine_add_root(struct confine *confine, const char *path)
{
    _cleanup_(root_clear) struct confine_root root = {};
    struct confine_root *roots;
    size_t length;
    int r;

    if (!path_is_root_name(path))
        return -EINVAL;
    (void)next_component(path, &length);
    root.is_whole = length == 0;
    r = handle_new(path, false, &root.handle);
    if (r == 0)
        r = identify(root.handle->fd, &root.identity);
    if (r < 0)
        return r;
    root.path = strdup(path);
    if (!root.path)
        return -ENOMEM;
    roots = reallocarray(confine->roots, confine->roots_count + 1, sizeof(*roots));
    if (!roots)
        return -ENOMEM;
    confine->roots = roots;
    roots[confine->roots_count++] = root;
    root = (struct confine_root){};
    return 0;
}

size_t confine_roots(const struct confine *confine)
{
    return confine->roots_count;
}

int confine_root_fd(const struct confine *confine, size_t index)
{
    return confine->roots[index].handle->fd;
}

bool confine_release(struct confine *confine)
{
    bool held = false;

    pthread_mutex_lock(&confine->lock);
    confine->releases++;
    pthread_mutex_unlock(&confine->lock);
    for (size_t i = 0; i < confine->roots_count; i++) {
        struct handle *handle;

        pthread_mutex_lock(&confine->lock);
        handle = steal_pointer(&confine->roots[i].handle);
        pthread_mutex_unlock(&confine->lock);
        if (handle)
            handle_unref(confine, handle);
        held |= handle != NULL;
    }
    return held;
}

/* Opens the directory of a root from memory: mounts elsewhere, too, make that fail for a moment. */
static int open_root_patiently(const char *path)
{
    int fd = -EAGAIN;

    for (unsigned int i = 0; fd == -EAGAIN && i < RACES_MAX; i++)
        fd = open_root(path, true);
    return fd;
}

const char *confine_moved(struct confine *confine)
{
    for (size_t i = 0; i < confine->roots_count; i++) {
        struct confine_root *root = &confine->roots[i];
        _cleanup_(closep) int fd = open_root_patiently(root->path);
        struct identity identity;

        if (fd < 0 || identify(fd, &identity) < 0 || is_same(&identity, &root->identity))
            continue;
        root->identity = identity;
        return root->path;
    }
    return NULL;
}

int confine_open(struct confine *confine, const char *path, int flags)
{
    return confine_open_visiting(confine, path, flags, NULL, NULL);
}

/* Calls visit() with the devices that the way to the target leads to. Returns its last result. */
static int visit_all(struct confine *confine, const struct confine_target *target,
                     confine_visit_fn visit, void *userdata)
{
    _cleanup_(lookup_end) struct lookup ahead = {.confine = confine};
    struct visitor visitor = {visit, userdata, 0};
    struct way way = {};
    int r = lookup_enter(&ahead, target->root, false);

    if (r == 0)
        way_set(&way, target->rest);
    for (unsigned int links = 0; r >= 0 && links <= LINKS_MAX; links++) {
        size_t length;
        _cleanup_(closep) int fd = lookup_visit(&ahead, &way, &visitor, &length);

        r = fd < 0 ? fd : way_follow(&way, &ahead, fd, length);
    }
    return visitor.error;
}

/*
 * Opens what memory knows the way to, links included, after visit() was told of its device. Returns
 * -EAGAIN where there is more to it.
 */
static int open_known(struct lookup *lookup, const char *rest, int flags, confine_visit_fn visit,
                      void *userdata)
{
    _cleanup_(closep) int fd =
        sys_openat2_cached(lookup->handle->fd, rest, (flags & (O_DIRECTORY | O_NOFOLLOW)) | O_PATH,
                           resolve_beneath(lookup->root));
    struct visitor visitor = {visit, userdata, 0};

    if (fd < 0)
        return -EAGAIN;
    if (visit_device(&visitor, fd) < 0)
        return visitor.error;
    if (flags & O_PATH)
        return steal_fd(&fd);
    return flags & O_DIRECTORY ? confine_open_name(fd, ".", flags, CONFINE_ANYWHERE) : -EAGAIN;
}

int confine_open_visiting(struct confine *confine, const char *path, int flags,
                          confine_visit_fn visit, void *userdata)
{
    _cleanup_(lookup_end) struct lookup lookup = {.confine = confine};
    struct confine_target target;
    int fd;

    if (!flags_are_sound(flags))
        return -EINVAL;
    fd = confine_find(confine, path, &target);
    if (fd == 0)
        fd = lookup_enter(&lookup, target.root, false);
    if (fd == 0 && visit) {
        fd = open_known(&lookup, target.rest, flags, visit, userdata);
        if (fd != -EAGAIN)
            return fd;
        fd = visit_all(confine, &target, visit, userdata);
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
    dev_t device = 0;
    int fd;

    if (!ret_device)
        ret_device = &device;
    *ret_device = 0;
    if (!flags_are_sound(flags) || !(flags & O_PATH))
        return -EINVAL;
    fd = confine_find(confine, path, &target);
    if (fd == 0)
        fd = lookup_enter(&lookup, target.root, true);
    if (fd < 0)
        return fd;
    fd = lookup_open_cached(&lookup, target.rest, flags);
    if (fd == -EAGAIN)
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
    fd = reach == CONFINE_CACHED ? sys_openat2_cached(directory_fd, name, flags, RESOLVE_NO_XDEV)
                                 : sys_openat2(directory_fd, name, flags, RESOLVE_NO_XDEV);
    return fd == -EXDEV ? -EAGAIN : fd;
}

/* Writes the path of name in the directory into text. Returns 0 or -ENAMETOOLONG. */
static int join_path(const char *directory, const char *name, char text[static PATH_MAX])
{
    size_t length = strlen(directory), name_size = strlen(name) + 1;

    if (length + 1 + name_size > PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(text, directory, length);
    text[length] = '/';
    memcpy(text + length + 1, name, name_size);
    return 0;
}

int confine_open_entry(struct confine *confine, const struct confine_target *directory,
                       const char *name)
{
    _cleanup_(lookup_end) struct lookup lookup = {.confine = confine};
    char text[PATH_MAX];
    int fd;

    if (!is_name(name))
        return -EINVAL;
    fd = join_path(directory->rest, name, text);
    if (fd == 0)
        fd = lookup_enter(&lookup, directory->root, true);
    if (fd == 0)
        fd = lookup_open_itself(&lookup, text, true);
    return fd == -ELOOP ? -EAGAIN : fd;
}
