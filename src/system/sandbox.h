/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock (landlock(7)), which keeps this process from everything but reading below its roots,
 * whatever its user and capabilities allow. Everything that the kernel supports is used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "system/cleanup.h"

/* What may be done below a directory. */
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
 * Allows the access below the directory that directory_fd is open on (O_PATH suffices); it stays
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
 * names: what is mounted over an allowed directory later is only allowed by a directory above.
 * Returns also the negative errno of open(2).
 */
int sandbox_allow_above(struct sandbox *sandbox, int directory_fd, enum sandbox_access access);

/*
 * Enters the sandbox for good: the calling thread, and those that it makes. keep_abstract allows
 * sockets in the abstract namespace, if the service manager is reached by one.
 *
 * Returns the version of Landlock, from 1; 0 if the kernel has none; or a negative errno. Version 4
 * and later forbid TCP, 6 and later signals to other processes.
 */
int sandbox_enter(struct sandbox *sandbox, bool keep_abstract);
