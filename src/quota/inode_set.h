/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of directories, known by device and inode, so that one which several names or links lead to
 * is counted once. The set takes 16 bytes for each directory, and up to three times as much again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct inode_slot;

struct inode_set {
    struct inode_slot *slots; /* NULL while the set is empty */
    size_t capacity;          /* a power of two, or 0 */
    size_t count;
};

/* Adds an inode. Returns 1, 0 if it is in the set already, or -ENOMEM. */
int inode_set_add(struct inode_set *set, dev_t device, ino_t inode);

/* Says whether the inode is in the set. */
bool inode_set_has(const struct inode_set *set, dev_t device, ino_t inode);

/* Releases the memory of the set. One of zeroes is empty and has none. */
void inode_set_done(struct inode_set *set);
