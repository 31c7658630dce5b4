/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "quota/size.h"
#include "system/cleanup.h"
#include "system/users.h"

/* As many supplementary groups are asked for without memory, which may be short. */
#define GROUPS_FEW 256

/* Adds an id, a number of 32 bits as both kinds are, to a growing list. */
static int add_id(unsigned int **ids, size_t *count, unsigned int id)
{
    unsigned int *grown = reallocarray(*ids, *count + 1, sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    *ids = grown;
    grown[(*count)++] = id;
    return 0;
}

/* Reads an id given as a number. Returns whether it is one. The last number stands for no id. */
static bool read_id(const char *text, unsigned int *ret)
{
    uint64_t number;

    if (size_parse_number(text, strlen(text), &number) < 0 || number >= UINT32_MAX)
        return false;
    *ret = (unsigned int)number;
    return true;
}

int peers_allow_user(struct peers *peers, const char *user)
{
    const struct passwd *entry;
    unsigned int id;
    int r = users_find_name(user, &entry);

    if (r == 0)
        id = entry->pw_uid;
    else if (r != -ESRCH || !read_id(user, &id))
        return r;
    return add_id(&peers->users, &peers->users_count, id);
}

int peers_allow_group(struct peers *peers, const char *group)
{
    const struct group *entry;
    unsigned int id;
    int r = users_find_group(group, &entry);

    if (r == 0)
        id = entry->gr_gid;
    else if (r != -ESRCH || !read_id(group, &id))
        return r;
    return add_id(&peers->groups, &peers->groups_count, id);
}

void peers_deinit(struct peers *peers)
{
    free(peers->users);
    free(peers->groups);
    *peers = (struct peers){};
}

static bool has_group(const struct peers *peers, gid_t group)
{
    for (size_t i = 0; i < peers->groups_count; i++)
        if (peers->groups[i] == group)
            return true;
    return false;
}

static bool user_may(const struct peers *peers, const struct ucred *peer)
{
    for (size_t i = 0; i < peers->users_count; i++)
        if (peers->users[i] == peer->uid)
            return true;
    return has_group(peers, peer->gid);
}

/* Whether one of the peer's supplementary groups is allowed. */
static bool groups_may(const struct peers *peers, int fd)
{
    _cleanup_(freep) gid_t *many = NULL;
    gid_t few[GROUPS_FEW], *groups = few;
    socklen_t length = sizeof(few);

    if (peers->groups_count == 0)
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &length) < 0) {
        /* The kernel says how much it wants to say; the groups of a connection do not change. */
        if (errno != ERANGE)
            return false;
        groups = many = malloc(length);
        if (!many || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &length) < 0)
            return false;
    }
    for (size_t i = 0; i < length / sizeof(*groups); i++)
        if (has_group(peers, groups[i]))
            return true;
    return false;
}

bool peers_admit(const struct peers *peers, int fd)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (peers->users_count == 0 && peers->groups_count == 0)
        return true;
    /* A process number there is only for those that this PID namespace knows. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.uid == (uid_t)-1)
        return false;
    return user_may(peers, &peer) || groups_may(peers, fd);
}
