/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/names.h"

#include <errno.h>
#include <stdlib.h>

#include "system/cleanup.h"

/* The slots of the first table; a table doubles before it is more than half full. */
#define SLOTS_MIN ((size_t)64)

/* Returns the slot that holds the hash, or the empty one where it belongs. */
static uint64_t *names_slot(const struct names *names, uint64_t hash)
{
    size_t i = hash & (names->capacity - 1);

    while (names->slots[i] != 0 && names->slots[i] != hash)
        i = (i + 1) & (names->capacity - 1);
    return &names->slots[i];
}

/* An empty slot is 0, so the hash that is 0 shares the slot of another. */
static uint64_t slot_value(uint64_t hash)
{
    return hash != 0 ? hash : 1;
}

static int names_grow(struct names *names)
{
    struct names larger = {.capacity = names->capacity == 0 ? SLOTS_MIN : 2 * names->capacity};
    _cleanup_(freep) uint64_t *old = NULL;

    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i] != 0)
            *names_slot(&larger, names->slots[i]) = names->slots[i];
    old = names->slots;
    names->slots = larger.slots;
    names->capacity = larger.capacity;
    return 0;
}

int names_add(struct names *names, uint64_t hash)
{
    if (names_has(names, hash))
        return 0;
    names->is_full = names->count >= NAMES_MAX;
    if (names->is_full)
        return 1;
    if (2 * (names->count + 1) > names->capacity) {
        int r = names_grow(names);

        if (r < 0)
            return r;
    }
    *names_slot(names, slot_value(hash)) = slot_value(hash);
    names->count++;
    return 1;
}

bool names_has(const struct names *names, uint64_t hash)
{
    return names->count > 0 && *names_slot(names, slot_value(hash)) != 0;
}

void names_clear(struct names *names)
{
    free(names->slots);
    *names = NAMES_NULL;
}
