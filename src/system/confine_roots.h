/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The roots of a set, for the resolution of paths in confine.c alone. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "system/confine.h"

/* The directory of a root while it is open, held by the set and by each lookup under way. */
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
    struct identity identity; /* where the name led when it was last checked */
    struct identity held;     /* what it was when confine_hold() last saw it */
    struct handle *handle;    /* NULL: released; guarded by the set's lock */
};

struct confine {
    struct confine_root *roots;
    size_t roots_count;
    pthread_mutex_t lock;
    unsigned int releases; /* calls of confine_release(); guarded by the lock */
};

/* A path and its root. */
struct confine_target {
    struct confine_root *root;
    const char *rest; /* what follows the root in the path, never empty nor absolute */
};

/*
 * Finds the root of path. Returns 0 and *ret, or
 * -EXDEV         the path is not absolute or lies below no root,
 * -ENAMETOOLONG  it has PATH_MAX bytes or more.
 */
int confine_find(const struct confine *confine, const char *path, struct confine_target *ret);

/*
 * Finds the next component of a path, those named `.` left out. Returns where it begins and its
 * length, 0 at the end.
 */
const char *confine_next_component(const char *path, size_t *ret_length);

/* Tells whether the component is `..`. */
bool confine_is_dot_dot(const char *component, size_t length);

/* Tells whether a component of the path is `..`. */
bool confine_goes_up(const char *path);

/*
 * Opens path by openat2(2). The C library of Debian 12 has no function for it. Returns a descriptor
 * or -errno.
 */
int confine_openat2(int directory_fd, const char *path, int flags, uint64_t resolve);

/*
 * As confine_openat2(), for what the kernel has in memory. Kernels before Linux 5.12 refuse the
 * flag, which is -EOPNOTSUPP here.
 */
int confine_openat2_cached(int directory_fd, const char *path, int flags, uint64_t resolve);

/* Asks what is known of a descriptor's file, and no server. Returns 0 or -errno. */
int confine_stat_known(int fd, unsigned int mask, struct statx *ret);

/*
 * Takes the directory of the root, and opens it if necessary, from the name cache alone if cached.
 * Returns 0 and *ret, to be released with confine_handle_release(), or a negative errno: -ENODEV if
 * the root no longer exists.
 */
int confine_handle_take(struct confine *confine, struct confine_root *root, bool cached,
                        struct handle **ret);
void confine_handle_release(struct confine *confine, struct handle *handle);
