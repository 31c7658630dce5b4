/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may ask, by the identity that the kernel vouches for: for sockets that cannot be guarded by
 * their mode.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Users and groups that may ask. Without any, everybody may who can connect. */
struct peers {
    uid_t *users;
    size_t users_count;
    gid_t *groups;
    size_t groups_count;
};

/*
 * Allows a user or a group, by name or by number. Returns 0, -ENOMEM, or an error of
 * users_find_name(): -ESRCH if there is none of that name.
 */
int peers_allow_user(struct peers *peers, const char *user);
int peers_allow_group(struct peers *peers, const char *group);

/* Releases the lists. */
void peers_deinit(struct peers *peers);

/*
 * Returns whether whoever connected to the socket fd may ask: a user that is allowed, or a member
 * of a group that is, by its effective or a supplementary group when it connected. A peer whose
 * identity is not known, as over TCP, may not, unless everybody may.
 */
bool peers_admit(const struct peers *peers, int fd);
