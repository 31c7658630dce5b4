/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of directories, known by device and inode, so that one which several names or links lead to
 * is counted once. A directory takes about 48 bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/hash_table.h"

/* All zero is an empty set, which has no memory. */
struct inode_set {
    struct hash_table table;
    struct hash_key key;
};

/*
 * Adds an inode. Returns 1, 0 if it is in the set already, -ENOMEM, or the negative errno of
 * getrandom(2).
 */
int inode_set_add(struct inode_set *set, dev_t device, ino_t inode);

/* Returns whether the inode is in the set. */
bool inode_set_has(const struct inode_set *set, dev_t device, ino_t inode);

/* Empties the set, and releases its memory. */
void inode_set_done(struct inode_set *set);
