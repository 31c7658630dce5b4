/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the file systems that mailboxes lie on, by device number: whether their files
 * may be opened on the event loop. The first worker thread that opens a mailbox there finds out.
 *
 * If the number is anonymous (major number 0: tmpfs, btrfs, FUSE, ...), the kernel reuses it for
 * another file system once this one is unmounted. The new one must be mounted to be reached, and
 * /proc/self/mountinfo reports that before the number can be used: whenever mounts have changed,
 * all that is known of such numbers is forgotten.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/filesystem.h"

/* Beyond this number, the oldest entry is forgotten, which costs time and nothing else. */
#define DEVICES_MAX 64

struct devices {
    struct {
        dev_t device;
        enum filesystem_kind kind;
    } known[DEVICES_MAX];
    size_t count;
    size_t next; /* the entry to replace next, once all are in use */
    int mounts_fd;
    uint64_t changes; /* how many changes of mounts were noticed */
};

/* Makes an empty table. Without /proc, nothing is ever remembered of anonymous numbers. */
void devices_init(struct devices *devices);
void devices_deinit(struct devices *devices);

/*
 * Returns what kind of file system the device is; FILESYSTEM_UNKNOWN if that is not known yet. The
 * caller must hold a file on it open, so that its number is not reused meanwhile.
 */
enum filesystem_kind devices_kind(struct devices *devices, dev_t device);

/* Returns how many changes of mounts were noticed until now, for devices_learn(). */
uint64_t devices_changes(struct devices *devices);

/*
 * Remembers what kind of file system the device is, as found out after devices_changes() returned
 * that number of changes. If mounts have changed since, an anonymous number is not remembered: its
 * file system may be gone.
 */
void devices_learn(struct devices *devices, dev_t device, enum filesystem_kind kind,
                   uint64_t changes);
