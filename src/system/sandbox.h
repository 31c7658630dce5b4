/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shutting the door behind us: Landlock (landlock(7)), which keeps this process from everything but
 * reading beneath its roots, whatever its user and capabilities would allow. As much of it is used
 * as the kernel has.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "system/cleanup.h"

/* What may be done beneath a directory. */
enum sandbox_access {
    SANDBOX_READ,      /* read files and directories */
    SANDBOX_READ_FILE, /* read files, whose names must be known */
    SANDBOX_APPEND,    /* make files, and write to them */
    SANDBOX_REMOVE,    /* remove files */
};

struct sandbox;

/* Makes a sandbox that allows nothing. Returns 0 or -ENOMEM. */
int sandbox_new(struct sandbox **ret);

/* Releases it, entered or not. NULL is allowed. */
void sandbox_free(struct sandbox *sandbox);
DEFINE_FREEP(sandbox)

/*
 * Allows the access beneath the directory that directory_fd is open on (O_PATH suffices); it stays
 * the caller's and must stay open until sandbox_enter(). Returns 0 or -ENOMEM.
 */
int sandbox_allow(struct sandbox *sandbox, int directory_fd, enum sandbox_access access);

/*
 * As sandbox_allow(), for the directory that the file at path lies in. Returns also the negative
 * errno of open(2).
 */
int sandbox_allow_directory_of(struct sandbox *sandbox, const char *path,
                               enum sandbox_access access);

/*
 * As sandbox_allow(), for the directory above, unless that is `/`. Landlock allows directories, not
 * names: a file system that is mounted over an allowed directory later is not allowed by that, but
 * by what is allowed above it. So with this the access goes on after such a mount; it does not
 * where the mount is further up, or in `/`. Returns also the negative errno of open(2).
 */
int sandbox_allow_above(struct sandbox *sandbox, int directory_fd, enum sandbox_access access);

/*
 * Enters the sandbox, for good: the calling thread, and those that it makes. Before the first other
 * thread, therefore. keep_abstract keeps sockets in the abstract namespace within reach, where the
 * service manager is reached by one.
 *
 * Returns the version of Landlock that holds now, from 1; 0 where the kernel has none; or a
 * negative errno. From version 4 on TCP is out of reach, from 6 on so are signals to other
 * processes.
 */
int sandbox_enter(struct sandbox *sandbox, bool keep_abstract);
