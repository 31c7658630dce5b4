/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/inode_set.h"

#include <errno.h>
#include <stdlib.h>

#include "system/cleanup.h"

/* The slots of the first table; a table doubles before it is more than half full. */
#define SLOTS_MIN ((size_t)16)

struct inode_slot {
    uint64_t device; /* plus 1: a slot of zeroes is free */
    uint64_t inode;
};

/* Spreads inode numbers, which mostly follow each other, over the slots (SplitMix64). */
static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* Returns the slot that holds the inode, or the free one where it belongs. */
static struct inode_slot *inode_set_slot(const struct inode_set *set,
                                         const struct inode_slot *wanted)
{
    size_t i = mix(wanted->inode + mix(wanted->device));

    for (;; i++) {
        struct inode_slot *slot = &set->slots[i & (set->capacity - 1)];

        if (slot->device == 0 || (slot->device == wanted->device && slot->inode == wanted->inode))
            return slot;
    }
}

static int inode_set_grow(struct inode_set *set)
{
    struct inode_set larger = {.capacity = set->capacity == 0 ? SLOTS_MIN : 2 * set->capacity};
    _cleanup_(freep) struct inode_slot *old = set->slots;

    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots) {
        (void)steal_pointer(&old);
        return -ENOMEM;
    }
    for (size_t i = 0; i < set->capacity; i++)
        if (old[i].device != 0)
            *inode_set_slot(&larger, &old[i]) = old[i];
    set->slots = larger.slots;
    set->capacity = larger.capacity;
    return 0;
}

int inode_set_add(struct inode_set *set, dev_t device, ino_t inode)
{
    const struct inode_slot wanted = {.device = (uint64_t)device + 1, .inode = inode};

    if (inode_set_has(set, device, inode))
        return 0;
    if (2 * (set->count + 1) > set->capacity) {
        int r = inode_set_grow(set);

        if (r < 0)
            return r;
    }
    *inode_set_slot(set, &wanted) = wanted;
    set->count++;
    return 1;
}

bool inode_set_has(const struct inode_set *set, dev_t device, ino_t inode)
{
    const struct inode_slot wanted = {.device = (uint64_t)device + 1, .inode = inode};

    return set->count > 0 && inode_set_slot(set, &wanted)->device != 0;
}

void inode_set_done(struct inode_set *set)
{
    free(set->slots);
    *set = (struct inode_set){};
}
