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

/* Where something is mounted, as seen from a directory. */
enum side {
    SIDE_ELSEWHERE,
    SIDE_ABOVE, /* or there */
    SIDE_BELOW,
};

/* Whether a path is that of the directory at above, or of something below it. */
static bool is_within(const char *path, size_t length, const char *above, size_t above_length)
{
    return above_length <= length && memcmp(path, above, above_length) == 0 &&
           (above_length == length || above_length == 1 || path[above_length] == '/');
}

/* Returns on which side of the root that fd is open on path[0..length) is. */
static enum side side_of_root(const char *path, size_t length, int fd)
{
    char link[64], root[PATH_MAX];
    ssize_t root_length;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    root_length = readlink(link, root, sizeof(root));
    if (root_length < 0)
        return SIDE_BELOW;
    if (is_within(root, (size_t)root_length, path, length))
        return SIDE_ABOVE;
    return is_within(path, length, root, (size_t)root_length) ? SIDE_BELOW : SIDE_ELSEWHERE;
}

/* Returns on which side of the roots is what a line tells of: below one, if it is. */
static enum side side_of(const char *line, const struct confine *roots)
{
    enum side side = SIDE_ELSEWHERE;
    size_t length;

    for (int i = 0; i < FIELDS_BEFORE; i++) {
        line += strcspn(line, " ");
        line += *line == ' ';
    }
    length = strcspn(line, " ");
    /* What is written there in octal is not worth reading. */
    if (memchr(line, '\\', length))
        return SIDE_BELOW;
    for (size_t i = 0; i < confine_roots(roots); i++) {
        enum side one = side_of_root(line, length, confine_root_fd(roots, i));

        if (one > side)
            side = one;
    }
    return side;
}

/* Returns 0, the digest, and whether anything is mounted below a root; or -errno. */
static int read_digest(struct mounts *mounts, const struct confine *roots, uint64_t *ret,
                       bool *ret_below)
{
    _cleanup_(freep) char *line = NULL;
    struct {
        uint64_t before, line;
    } pair = {};
    size_t room = 0;
    ssize_t length;

    *ret_below = false;
    rewind(mounts->file);
    while ((length = getline(&line, &room, mounts->file)) > 0) {
        enum side side = side_of(line, roots);

        *ret_below |= side == SIDE_BELOW;
        if (side != SIDE_ELSEWHERE) {
            pair.line = hash_bytes(&mounts->key, line, (size_t)length);
            pair.before = hash_bytes(&mounts->key, &pair, sizeof(pair));
        }
    }
    *ret = pair.before;
    return feof(mounts->file) ? 0 : -EIO;
}

bool mounts_changed(struct mounts *mounts, const struct confine *roots)
{
    uint64_t before = mounts->digest;
    bool has_below;

    if (read_digest(mounts, roots, &mounts->digest, &has_below) < 0) {
        mounts->digest = 0;
        return true;
    }
    /*
     * What is mounted in place of something else may have the same line: the kernel gives the
     * numbers of mounts again. At and above a root, that root tells.
     */
    return mounts->digest != before || has_below;
}
