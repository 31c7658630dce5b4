/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notices that what is mounted has changed somewhere on the way to a set of directories, or below
 * them. Mounts elsewhere come and go all the time: each login makes one.
 */
#pragma once

#include <stdbool.h>

#include "system/cleanup.h"
#include "system/confine.h"

struct mounts;

/* Begins to notice. Returns 0, or a negative errno where there is no /proc. */
int mounts_new(struct mounts **ret);

/* Releases it. NULL is allowed. */
void mounts_free(struct mounts *mounts);
DEFINE_FREEP(mounts)

/* Returns the descriptor that poll(2) reports POLLPRI for, once, when something was mounted. */
int mounts_fd(const struct mounts *mounts);

/*
 * Returns whether the mounts that concern the roots, which must be open, are others than when this
 * was called last, or cannot be told. Below a root, one may look like another: if there is any,
 * each call says that they have changed. For the root `/`, each mount does.
 */
bool mounts_changed(struct mounts *mounts, const struct confine *roots);
