/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/confine_roots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "system/cleanup.h"

#define RACES_MAX 64 /* attempts to open a root while something is mounted */

/* An identifier of a mount that is never used again, since Linux 6.8. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

const char *confine_next_component(const char *path, size_t *ret_length)
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

bool confine_is_dot_dot(const char *component, size_t length)
{
    return length == 2 && memcmp(component, "..", 2) == 0;
}

bool confine_goes_up(const char *path)
{
    size_t length;

    for (path = confine_next_component(path, &length); length > 0;
         path = confine_next_component(path + length, &length))
        if (confine_is_dot_dot(path, length))
            return true;
    return false;
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

        prefix = confine_next_component(prefix, &prefix_length);
        if (prefix_length == 0)
            return path + strspn(path, "/");
        component = confine_next_component(path, &length);
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

ssize_t confine_root_length(const struct confine *confine, const char *path)
{
    struct confine_target target;
    size_t length;
    int r = confine_find(confine, path, &target);

    if (r < 0)
        return r;
    if (strcmp(target.rest, ".") == 0 || confine_goes_up(target.rest))
        return -EXDEV;
    length = (size_t)(target.rest - path);
    return (ssize_t)(length > 1 ? length - 1 : length);
}

int confine_openat2(int directory_fd, const char *path, int flags, uint64_t resolve)
{
    /* open(2) adds O_LARGEFILE where it means anything, openat2 refuses it beside O_PATH. */
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_LARGEFILE)),
        .resolve = resolve,
    };
    long fd = syscall(SYS_openat2, directory_fd, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

int confine_openat2_cached(int directory_fd, const char *path, int flags, uint64_t resolve)
{
    int fd = confine_openat2(directory_fd, path, flags, resolve | RESOLVE_CACHED);

    return fd == -EINVAL ? -EOPNOTSUPP : fd;
}

void confine_handle_release(struct confine *confine, struct handle *handle)
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

static int open_root(const char *path, bool cached)
{
    const int flags = O_PATH | O_DIRECTORY;

    return cached ? confine_openat2_cached(AT_FDCWD, path, flags, 0)
                  : confine_openat2(AT_FDCWD, path, flags, 0);
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

/* Keeps the handle for later lookups, unless all have been released since it was opened. */
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

int confine_stat_known(int fd, unsigned int mask, struct statx *ret)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, ret) < 0 ? -errno : 0;
}

static bool have_openat2(void)
{
    int r = confine_openat2(-1, ".", O_PATH, RESOLVE_BENEATH);

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

int confine_handle_take(struct confine *confine, struct confine_root *root, bool cached,
                        struct handle **ret)
{
    unsigned int releases;
    struct handle *handle = handle_ref(confine, root, &releases);

    if (!handle) {
        int r = handle_new(root->path, cached, &handle);

        /* This does not mean that a mailbox does not exist. */
        if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
            return -ENODEV;
        if (r < 0)
            return r;
        handle_keep(confine, root, handle, releases);
    }
    *ret = handle;
    return 0;
}

static int identify(int fd, struct identity *ret)
{
    struct statx st;
    int r = confine_stat_known(fd, STATX_INO | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &st);

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

    if (path[0] != '/' || confine_goes_up(path))
        return -EINVAL;
    (void)confine_next_component(path, &length);
    root.is_whole = length == 0;
    r = handle_new(path, false, &root.handle);
    if (r == 0)
        r = identify(root.handle->fd, &root.identity);
    if (r < 0)
        return r;
    root.held = root.identity;
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
            confine_handle_release(confine, handle);
        held |= handle != NULL;
    }
    return held;
}

bool confine_hold(struct confine *confine)
{
    bool same = true;

    for (size_t i = 0; i < confine->roots_count; i++) {
        struct confine_root *root = &confine->roots[i];
        struct identity identity;
        struct handle *handle;
        int r = confine_handle_take(confine, root, true, &handle);

        if (r < 0)
            return false;
        r = identify(handle->fd, &identity);
        confine_handle_release(confine, handle);
        if (r < 0)
            return false;
        same &= is_same(&identity, &root->held);
        root->held = identity;
    }
    return same;
}

/* Opens the directory of a root without waiting. Any mount can make that fail for a moment. */
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
