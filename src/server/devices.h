/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the file systems that mailboxes lie on, by device number: whether their files
 * may be opened on the event loop. Whoever was there first, and could wait, found it out.
 *
 * Where the number is anonymous (major number 0: tmpfs, btrfs, FUSE, ...), the kernel gives it to
 * another file system once this one is gone. That one must be mounted to be reached, which
 * /proc/self/mountinfo tells before the number can be used: whenever mounts have changed, nothing
 * is known of such numbers any more.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/filesystem.h"

/* More file systems than this are forgotten in turn, which costs time and nothing else. */
#define DEVICES_MAX 64

struct devices {
    struct {
        dev_t device;
        enum filesystem_kind kind;
    } known[DEVICES_MAX];
    size_t count;
    size_t next; /* the one to be forgotten next, once all are taken */
    int mounts_fd;
    uint64_t changes; /* how often mounts were seen to have changed */
};

/*
 * Begins to know nothing. Where there is no /proc, nothing is ever remembered of anonymous numbers.
 */
void devices_init(struct devices *devices);
void devices_deinit(struct devices *devices);

/*
 * Returns what kind of file system the device is; FILESYSTEM_UNKNOWN if nobody was there yet. The
 * caller holds a file on it open, so that its number is not given to another one meanwhile.
 */
enum filesystem_kind devices_kind(struct devices *devices, dev_t device);

/* Returns how often mounts were seen to have changed up to now, for devices_learn(). */
uint64_t devices_changes(struct devices *devices);

/*
 * Remembers what kind of file system the device is, as found out after devices_changes() returned
 * that number; if mounts have changed since, what is anonymous may be gone, and is not remembered.
 */
void devices_learn(struct devices *devices, dev_t device, enum filesystem_kind kind,
                   uint64_t changes);
