/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the file systems that mailboxes lie on, by device number: whether their files
 * may be opened on the event loop. Whoever was there first, and could wait, found it out.
 */
#pragma once

#include <stddef.h>
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
};

/* Returns what kind of file system the device is; FILESYSTEM_UNKNOWN if nobody was there yet. */
enum filesystem_kind devices_kind(const struct devices *devices, dev_t device);

/* Remembers what kind of file system the device is. */
void devices_learn(struct devices *devices, dev_t device, enum filesystem_kind kind);
