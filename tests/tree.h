/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Temporary folders of programs that test or measure: where they belong, and how they go.
 */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Returns the folder for them; the environment's own, or a constant string. */
static inline const char *tree_parent(void)
{
    const char *parent = getenv("TMPDIR");

    return parent && parent[0] == '/' ? parent : "/tmp";
}

static inline int tree_remove_one(const char *path, const struct stat *st, int type,
                                  struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/*
 * Removes what is at path, and all that is in it; of a symbolic link the link. Returns 0, or -1 and
 * in errno what nftw(3) or remove(3) says.
 */
static inline int tree_remove(const char *path)
{
    return nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
