/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/inode_set.h"

#include <errno.h>
#include <stdlib.h>

#include "system/cleanup.h"

static uint64_t id_of(const struct inode_set *set, dev_t device, ino_t inode)
{
    const uint64_t numbers[] = {device, inode};

    return hash_bytes(&set->key, numbers, sizeof(numbers));
}

int inode_set_add(struct inode_set *set, dev_t device, ino_t inode)
{
    _cleanup_(freep) struct hash_entry *entry = NULL;
    int r = set->table.count == 0 ? hash_key_init(&set->key) : 0;
    uint64_t id;

    if (r < 0)
        return r;
    id = id_of(set, device, inode);
    if (hash_table_find(&set->table, id))
        return 0;
    entry = malloc(sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    entry->id = id;
    r = hash_table_add(&set->table, entry);
    if (r < 0)
        return r;
    (void)steal_pointer(&entry);
    return 1;
}

bool inode_set_has(const struct inode_set *set, dev_t device, ino_t inode)
{
    return hash_table_find(&set->table, id_of(set, device, inode)) != NULL;
}

static void release(struct hash_entry *entry)
{
    free(entry);
}

void inode_set_done(struct inode_set *set)
{
    hash_table_clear(&set->table, release);
}
