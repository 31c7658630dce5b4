/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/effort.h"

#include <string.h>

static uint64_t id_of(const struct effort *effort, const char *path)
{
    uint64_t id = hash_bytes(&effort->key, path, strlen(path));

    return id != 0 ? id : 1;
}

int effort_init(struct effort *effort)
{
    *effort = (struct effort){};
    return hash_key_init(&effort->key);
}

enum effort_size effort_get(const struct effort *effort, const char *path, uint64_t now_usec)
{
    uint64_t id = id_of(effort, path);

    if (effort->large[id % EFFORT_MAILBOXES].id != id)
        return EFFORT_SMALL;
    return now_usec < effort->large[id % EFFORT_MAILBOXES].until_usec ? EFFORT_DEFERRED
                                                                      : EFFORT_LARGE;
}

void effort_note_large(struct effort *effort, const char *path, uint64_t until_usec)
{
    uint64_t id = id_of(effort, path);

    effort->large[id % EFFORT_MAILBOXES].id = id;
    effort->large[id % EFFORT_MAILBOXES].until_usec = until_usec;
}

void effort_note_small(struct effort *effort, const char *path)
{
    uint64_t id = id_of(effort, path);

    if (effort->large[id % EFFORT_MAILBOXES].id == id)
        effort->large[id % EFFORT_MAILBOXES].id = 0;
}
