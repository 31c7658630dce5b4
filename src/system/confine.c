/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two ways of opening a file beneath a root: openat2(2), and a walk in its image that opens one
 * name at a time, never through a symbolic link, and never opens `..` by name. What the walk holds
 * a descriptor of was reached downwards from the root; an absolute path is never handed to the
 * kernel. So whoever renames directories or plants symbolic links meanwhile can make it fail, but
 * cannot lead it out.
 */
#include "system/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "system/cleanup.h"

#define LINKS_MAX   40 /* as the kernel's own MAXSYMLINKS */
#define PARENTS_MAX 32 /* descriptors that one walk may hold for `..` */
#define RACES_MAX   64 /* attempts at what others keep changing under our hands */

/* What a walk has still to resolve: a path, and the symbolic links in it spelt out. */
#define WALK_TEXT_MAX (2 * PATH_MAX)

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000 /* of statfs(2), since Linux 5.10 */
#endif

struct confine_root {
    char *path;
    int fd;
    bool is_whole; /* the root `/` */
};

struct confine {
    enum confine_method method;
    atomic_bool openat2_missing; /* every openat2() fails */
    atomic_bool cached_missing;  /* every openat2() with RESOLVE_CACHED fails */
    struct confine_root *roots;
    size_t roots_count;
};

struct walk {
    const struct confine_root *root;
    int flags;          /* to open the last component with */
    bool cached;        /* wait for nothing */
    dev_t waits_for;    /* the device that was not waited for, 0: unknown */
    unsigned int links; /* symbolic links followed */

    int current;                /* the directory reached; the root's own at depth 0 */
    unsigned int depth;         /* levels beneath the root */
    unsigned int parents_count; /* of the nearest parents, those that are held */
    int parents[PARENTS_MAX];   /* that of depth N is at N % PARENTS_MAX */
    size_t rest;                /* text[rest..] is to be resolved, up to its NUL */
    char text[WALK_TEXT_MAX];
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
 * Tells whether an openat2() that failed with error did so because the kernel, or a filter in front
 * of it, refuses every such call: ENOSYS, EINVAL for a RESOLVE_ flag that is not known, or the
 * EPERM of filters that were written before openat2. A file system may fail with any of these too;
 * the call that is made here to tell them apart has no descriptor, so it reaches none.
 */
static bool openat2_is_refused(int error, uint64_t resolve)
{
    if (error != -ENOSYS && error != -EINVAL && error != -EPERM)
        return false;
    return sys_openat2(-1, ".", O_PATH, resolve) == error;
}

static int open_by_kernel(const struct confine_target *target, int flags, uint64_t resolve)
{
    int fd = -EAGAIN;

    resolve |= RESOLVE_NO_MAGICLINKS | (target->root->is_whole ? RESOLVE_IN_ROOT : RESOLVE_BENEATH);
    /* A rename anywhere while the kernel goes up through `..` is EAGAIN; so is what is not cached,
     * of which one attempt tells enough. */
    for (int i = 0; fd == -EAGAIN && i < (resolve & RESOLVE_CACHED ? 1 : RACES_MAX); i++)
        fd = sys_openat2(target->root->fd, target->rest, flags, resolve);
    return fd;
}

/* Tells whether name is one of what a directory may hold, and no way out of it. */
static bool is_name(const char *name)
{
    return name[0] != '\0' && !strchr(name, '/') && !is_dot_dot(name, strlen(name));
}

int confine_open_name(int directory_fd, const char *name, int flags, bool cached)
{
    int fd;

    if (!is_name(name))
        return -EINVAL;
    if (!cached) {
        fd = openat(directory_fd, name, flags | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    fd = sys_openat2(directory_fd, name, flags | O_NOFOLLOW, RESOLVE_CACHED);
    return fd < 0 && openat2_is_refused(fd, RESOLVE_CACHED) ? -EOPNOTSUPP : fd;
}

/* Asks what is known of a descriptor's file, and no server. Returns 0 or -errno. */
static int stat_known(int fd, unsigned int mask, struct statx *ret)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, ret) < 0 ? -errno : 0;
}

/* Returns the type of a descriptor's file, one of S_IFMT, or -errno. */
static int file_type(int fd)
{
    struct statx st;
    int r = stat_known(fd, STATX_TYPE, &st);

    return r < 0 ? r : st.stx_mode & S_IFMT;
}

static dev_t file_device(int fd)
{
    struct statx st;

    return stat_known(fd, 0, &st) < 0 ? 0 : makedev(st.stx_dev_major, st.stx_dev_minor);
}

static void walk_close_current(const struct walk *walk)
{
    if (walk->depth > 0)
        (void)close(walk->current);
}

/* Goes back to the parent, which must be held. */
static void walk_pop(struct walk *walk)
{
    walk_close_current(walk);
    walk->depth--;
    walk->parents_count--;
    walk->current = walk->parents[walk->depth % PARENTS_MAX];
}

/* Goes down to a directory, whose descriptor is the walk's from now on. */
static void walk_push(struct walk *walk, int fd)
{
    int *parent = &walk->parents[walk->depth % PARENTS_MAX];

    if (walk->parents_count < PARENTS_MAX)
        walk->parents_count++;
    else if (walk->depth > PARENTS_MAX)
        (void)close(*parent); /* the furthest one makes room; the root's own stays open */
    *parent = walk->current;
    walk->current = fd;
    walk->depth++;
}

/* Goes back to the root and closes all that it held. */
static void walk_reset(struct walk *walk)
{
    while (walk->parents_count > 0)
        walk_pop(walk);
    walk_close_current(walk);
    walk->depth = 0;
    walk->current = walk->root->fd;
}

static void walk_init(struct walk *walk, const struct confine_target *target, int flags,
                      bool cached)
{
    size_t length = strlen(target->rest);

    walk->root = target->root;
    walk->flags = flags;
    walk->cached = cached;
    walk->waits_for = 0;
    walk->links = 0;
    walk->current = target->root->fd;
    walk->depth = 0;
    walk->parents_count = 0;
    walk->rest = sizeof(walk->text) - length - 1;
    memcpy(walk->text + walk->rest, target->rest, length + 1);
}

/* Opens one name in the directory reached. Returns a descriptor or -errno. */
static int walk_open_name(struct walk *walk, const char *name, int flags)
{
    int fd = confine_open_name(walk->current, name, flags, walk->cached);

    if (walk->cached && fd == -EAGAIN)
        walk->waits_for = file_device(walk->current);
    return fd;
}

/* Opens whatever has the name with O_PATH. Returns its descriptor and its type, or -errno. */
static int walk_open_anything(struct walk *walk, const char *name, int *ret_type)
{
    _cleanup_(closep) int fd = walk_open_name(walk, name, O_PATH);

    if (fd < 0)
        return fd;
    *ret_type = file_type(fd);
    return *ret_type < 0 ? *ret_type : steal_fd(&fd);
}

/*
 * Opens one name in the directory reached. Returns its descriptor, or the O_PATH descriptor of a
 * symbolic link that is to be followed, or -errno.
 */
static int walk_open_component(struct walk *walk, const char *name, int flags, bool *ret_is_link)
{
    int fd = -ELOOP;

    *ret_is_link = false;
    if (flags & O_NOFOLLOW)
        return walk_open_name(walk, name, flags);
    if ((flags & (O_PATH | O_DIRECTORY)) == O_PATH) {
        int type = 0;

        fd = walk_open_anything(walk, name, &type);
        *ret_is_link = type == S_IFLNK;
        return fd;
    }
    for (int i = 0; i < RACES_MAX; i++) {
        int type, link_fd;

        /* Most often it is no symbolic link; the error tells where it may be one. */
        fd = walk_open_name(walk, name, flags);
        if (fd != -ELOOP && fd != -ENOTDIR)
            return fd;
        link_fd = walk_open_anything(walk, name, &type);
        if (link_fd < 0)
            return link_fd;
        if (type == S_IFLNK) {
            *ret_is_link = true;
            return link_fd;
        }
        (void)close(link_fd);
        if (type != S_IFDIR && fd == -ENOTDIR)
            return fd;
        /* It was a symbolic link a moment ago. */
    }
    return fd;
}

/*
 * Tells whether a symbolic link at the end of a path may be a trap: somebody else's, in a directory
 * where everybody may make one. The kernel asks this where the sysctl fs.protected_symlinks is set.
 */
static bool is_trap(const struct statx *link, const struct statx *directory)
{
    return (directory->stx_mode & S_ISVTX) && (directory->stx_mode & S_IWOTH) &&
           link->stx_uid != geteuid() && link->stx_uid != directory->stx_uid;
}

/* Tells whether a symbolic link may be followed. Returns 0 or -errno. */
static int walk_may_follow(struct walk *walk, int link_fd, bool last)
{
    struct statx link, directory;
    struct statfs filesystem;
    int r;

    if (walk->links++ >= LINKS_MAX)
        return -ELOOP;
    r = stat_known(link_fd, STATX_UID, &link);
    if (r == 0)
        r = stat_known(walk->current, STATX_MODE | STATX_UID, &directory);
    if (r < 0)
        return r;
    if (walk->cached && link.stx_dev_major == 0)
        return -EAGAIN; /* no block device: perhaps a server */
    if (fstatfs(link_fd, &filesystem) < 0)
        return -errno;
    if (filesystem.f_type == PROC_SUPER_MAGIC || (filesystem.f_flags & ST_NOSYMFOLLOW))
        return -ELOOP;
    return last && is_trap(&link, &directory) ? -EACCES : 0;
}

/* Puts what a symbolic link holds in front of what is still to be resolved. Returns 0 or -errno. */
static int walk_follow(struct walk *walk, int link_fd, bool last)
{
    size_t room = walk->rest < PATH_MAX ? walk->rest : PATH_MAX;
    size_t length;
    ssize_t n;
    int r;

    r = walk_may_follow(walk, link_fd, last);
    if (r < 0)
        return r;
    n = readlinkat(link_fd, "", walk->text, room);
    if (n < 0)
        return -errno;
    length = (size_t)n;
    if (length == room)
        return -ENAMETOOLONG;
    if (length > 0 && walk->text[0] == '/') {
        if (!walk->root->is_whole)
            return -EXDEV;
        walk_reset(walk);
    }
    if (!last)
        walk->text[--walk->rest] = '/';
    walk->rest -= length;
    memmove(walk->text + walk->rest, walk->text, length);
    return 0;
}

/* Goes up one level. Returns 0 or -errno. */
static int walk_up(struct walk *walk)
{
    /* The parent is known, but only who may search a directory may leave it through `..`. */
    _cleanup_(closep) int here = walk_open_name(walk, ".", O_PATH | O_DIRECTORY);

    if (here < 0)
        return here;
    if (walk->depth == 0)
        return walk->root->is_whole ? 0 : -EXDEV;
    if (walk->parents_count == 0)
        return -ENAMETOOLONG;
    walk_pop(walk);
    return 0;
}

/*
 * Takes the next component, `.` left out, from what is still to be resolved. Returns it, valid
 * until the walk follows a symbolic link, or NULL at the end; and whether it is the last one.
 */
static const char *walk_take(struct walk *walk, bool *ret_last)
{
    size_t length;
    size_t start = (size_t)(next_component(walk->text + walk->rest, &length) - walk->text);
    size_t end = start + length;

    walk->rest = end + strspn(walk->text + end, "/");
    *ret_last = walk->text[walk->rest] == '\0';
    if (length == 0)
        return NULL;
    if (*ret_last && walk->rest > end) /* a slash at the end demands a directory */
        walk->flags = (walk->flags & ~O_NOFOLLOW) | O_DIRECTORY;
    walk->text[end] = '\0';
    return walk->text + start;
}

/* Resolves to the end. Returns a descriptor that the caller closes, or -errno. */
static int walk_run(struct walk *walk)
{
    for (;;) {
        bool last, is_link;
        const char *name = walk_take(walk, &last);
        int fd, r = 0;

        if (!name)
            return walk_open_name(walk, ".", walk->flags);
        if (is_dot_dot(name, strlen(name))) {
            r = walk_up(walk);
            if (r < 0)
                return r;
            continue;
        }
        fd = walk_open_component(walk, name, last ? walk->flags : O_PATH | O_DIRECTORY, &is_link);
        if (fd < 0)
            return fd;
        if (is_link) {
            r = walk_follow(walk, fd, last);
            (void)close(fd);
            if (r < 0)
                return r;
        } else if (last)
            return fd;
        else
            walk_push(walk, fd);
    }
}

static int open_by_walk(const struct confine_target *target, int flags, bool cached,
                        dev_t *ret_waits_for)
{
    struct walk walk;
    int fd;

    walk_init(&walk, target, flags, cached);
    fd = walk_run(&walk);
    walk_reset(&walk);
    *ret_waits_for = walk.waits_for;
    return fd;
}

int confine_new(enum confine_method method, struct confine **ret)
{
    struct confine *confine = calloc(1, sizeof(*confine));

    if (!confine)
        return -ENOMEM;
    confine->method = method;
    *ret = confine;
    return 0;
}

void confine_free(struct confine *confine)
{
    if (!confine)
        return;
    for (size_t i = 0; i < confine->roots_count; i++) {
        (void)close(confine->roots[i].fd);
        free(confine->roots[i].path);
    }
    free(confine->roots);
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

int confine_add_root(struct confine *confine, const char *path)
{
    _cleanup_(freep) char *copy = NULL;
    _cleanup_(closep) int fd = -1;
    struct confine_root *roots;
    size_t length;

    if (!path_is_root_name(path))
        return -EINVAL;
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    roots = reallocarray(confine->roots, confine->roots_count + 1, sizeof(*roots));
    if (!roots)
        return -ENOMEM;
    confine->roots = roots;
    (void)next_component(path, &length);
    roots[confine->roots_count++] = (struct confine_root){
        .path = steal_pointer(&copy),
        .fd = fd,
        .is_whole = length == 0,
    };
    (void)steal_fd(&fd);
    return 0;
}

size_t confine_roots(const struct confine *confine)
{
    return confine->roots_count;
}

int confine_root_fd(const struct confine *confine, size_t index)
{
    return confine->roots[index].fd;
}

static bool is_set(atomic_bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

static void set(atomic_bool *flag)
{
    atomic_store_explicit(flag, true, memory_order_relaxed);
}

int confine_open(struct confine *confine, const char *path, int flags)
{
    struct confine_target target;
    dev_t waits_for;
    int fd;

    if (!flags_are_sound(flags))
        return -EINVAL;
    fd = confine_find(confine, path, &target);
    if (fd < 0)
        return fd;
    if (confine->method != CONFINE_WALK && !is_set(&confine->openat2_missing)) {
        fd = open_by_kernel(&target, flags, 0);
        if (confine->method == CONFINE_OPENAT2)
            return fd;
        if (openat2_is_refused(fd, 0))
            set(&confine->openat2_missing);
        else if (fd != -EAGAIN) /* whoever keeps renaming directories does not keep the walk */
            return fd;
    }
    return open_by_walk(&target, flags, false, &waits_for);
}

/*
 * Opens what the kernel has in memory. Returns a descriptor or -errno, -EOPNOTSUPP where it cannot
 * tell.
 */
static int open_cached_by_kernel(struct confine *confine, const struct confine_target *target,
                                 int flags)
{
    int fd;

    if (confine->method == CONFINE_WALK || is_set(&confine->cached_missing))
        return -EOPNOTSUPP;
    fd = open_by_kernel(target, flags, RESOLVE_CACHED);
    if (!openat2_is_refused(fd, RESOLVE_CACHED))
        return fd;
    set(&confine->cached_missing);
    return -EOPNOTSUPP;
}

int confine_open_cached(struct confine *confine, const char *path, int flags, dev_t *ret_device)
{
    struct confine_target target;
    dev_t device = 0;
    int fd;

    if (!ret_device)
        ret_device = &device;
    *ret_device = 0;
    if (!flags_are_sound(flags) || !(flags & O_PATH))
        return -EINVAL;
    fd = confine_find(confine, path, &target);
    if (fd < 0)
        return fd;
    fd = open_cached_by_kernel(confine, &target, flags);
    if (fd != -EAGAIN)
        return fd;
    return open_by_walk(&target, flags, true, ret_device);
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
    char text[PATH_MAX];
    struct confine_target target = {directory->root, text};
    int r;

    if (!is_name(name))
        return -EINVAL;
    r = join_path(directory->rest, name, text);
    if (r < 0)
        return r;
    return open_cached_by_kernel(confine, &target, O_PATH | O_NOFOLLOW);
}
