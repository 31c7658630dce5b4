/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "system/hash_table.h"

/* The fields of a line up to the mount point, the fifth. */
#define FIELDS_BEFORE 4

struct mounts {
    FILE *file;
    struct hash_key key;
    uint64_t digest; /* of the lines that concerned the roots */
};

int mounts_new(struct mounts **ret)
{
    _cleanup_(mounts_freep) struct mounts *mounts = calloc(1, sizeof(*mounts));
    int r;

    if (!mounts)
        return -ENOMEM;
    r = hash_key_init(&mounts->key);
    if (r < 0)
        return r;
    mounts->file = fopen("/proc/self/mountinfo", "re");
    if (!mounts->file)
        return -errno;
    *ret = steal_pointer(&mounts);
    return 0;
}

void mounts_free(struct mounts *mounts)
{
    if (mounts)
        fclosep(&mounts->file);
    free(mounts);
}

int mounts_fd(const struct mounts *mounts)
{
    return fileno(mounts->file);
}

/* Whether the path is that of the directory, or of one above it. */
static bool leads_to(const char *path, size_t length, const char *directory)
{
    return strncmp(path, directory, length) == 0 &&
           (directory[length] == '\0' || directory[length] == '/' || length == 1);
}

/* Whether something mounted at path[0..length) concerns the root that fd is open on. */
static bool concerns_root(const char *path, size_t length, int fd)
{
    char link[64], root[PATH_MAX];
    ssize_t root_length;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    root_length = readlink(link, root, sizeof(root) - 1);
    if (root_length < 0)
        return true;
    root[root_length] = '\0';
    return leads_to(path, length, root) ||
           ((size_t)root_length <= length && strncmp(root, path, (size_t)root_length) == 0 &&
            (root_length == 1 || length == (size_t)root_length || path[root_length] == '/'));
}

static bool concerns(const char *line, const struct confine *roots)
{
    size_t length;

    for (int i = 0; i < FIELDS_BEFORE; i++)
        line += strcspn(line, " ") + (line[strcspn(line, " ")] == ' ');
    length = strcspn(line, " ");
    /* What is written there in octal is not worth reading. */
    if (memchr(line, '\\', length))
        return true;
    for (size_t i = 0; i < confine_roots(roots); i++)
        if (concerns_root(line, length, confine_root_fd(roots, i)))
            return true;
    return false;
}

/* Returns 0 and the digest, or -errno. */
static int read_digest(struct mounts *mounts, const struct confine *roots, uint64_t *ret)
{
    _cleanup_(freep) char *line = NULL;
    struct {
        uint64_t before, line;
    } pair = {};
    size_t room = 0;
    ssize_t length;

    rewind(mounts->file);
    while ((length = getline(&line, &room, mounts->file)) > 0)
        if (concerns(line, roots)) {
            pair.line = hash_bytes(&mounts->key, line, (size_t)length);
            pair.before = hash_bytes(&mounts->key, &pair, sizeof(pair));
        }
    *ret = pair.before;
    return feof(mounts->file) ? 0 : -EIO;
}

bool mounts_changed(struct mounts *mounts, const struct confine *roots)
{
    uint64_t before = mounts->digest;

    if (read_digest(mounts, roots, &mounts->digest) < 0) {
        mounts->digest = 0;
        return true;
    }
    return mounts->digest != before;
}
