/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildirsize_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quota/hash.h"
#include "system/cleanup.h"

/* So many files that fall together are remembered. Their hashes fill a line of the cache. */
#define WAYS 8

#define SEC_PER_DAY (24 * 3600)

struct entry {
    uint64_t state; /* the hash of the file's stamp and size, and of the day */
    struct maildirsize says;
};

struct set {
    uint64_t ids[WAYS]; /* 0: none */
    struct entry entries[WAYS];
};

_Static_assert(sizeof(struct set) == WAYS * 56, "the header tells the bytes of a file");

struct maildirsize_memory {
    struct hash_key key;
    struct set *sets;
    size_t sets_count; /* a power of two, or 0 */
    size_t sets_max;   /* likewise */
    size_t count;
    unsigned int turn; /* whose it is to make room */
};

int maildirsize_memory_new(size_t bytes_max, struct maildirsize_memory **ret)
{
    _cleanup_(maildirsize_memory_freep) struct maildirsize_memory *memory =
        calloc(1, sizeof(*memory));
    int r;

    if (!memory)
        return -ENOMEM;
    r = hash_key_init_random(&memory->key);
    if (r < 0)
        return r;
    if (bytes_max >= sizeof(struct set))
        memory->sets_max = 1;
    while (memory->sets_max > 0 && memory->sets_max <= bytes_max / sizeof(struct set) / 2)
        memory->sets_max *= 2;
    *ret = steal_pointer(&memory);
    return 0;
}

void maildirsize_memory_free(struct maildirsize_memory *memory)
{
    if (!memory)
        return;
    free(memory->sets);
    free(memory);
}

void maildirsize_memory_freep(struct maildirsize_memory **memory)
{
    maildirsize_memory_free(*memory);
}

uint64_t maildirsize_memory_id(const struct maildirsize_memory *memory, const char *path)
{
    uint64_t hash = hash_bytes(&memory->key, path, strlen(path));

    return hash != 0 ? hash : 1;
}

/* Returns the hash of all that tells whether a file has changed, and of the day. */
static uint64_t state_of(const struct maildirsize_memory *memory, const struct statx *st,
                         int64_t now_sec)
{
    const struct {
        struct stamp stamp;
        uint64_t size;
        int64_t day;
    } state = {stamp_from_statx(st), st->stx_size, now_sec / SEC_PER_DAY};

    return hash_bytes(&memory->key, &state, sizeof(state));
}

static struct set *find_set(const struct maildirsize_memory *memory, uint64_t id)
{
    return &memory->sets[id & (memory->sets_count - 1)];
}

/* Returns the way of the set that id is at, or WAYS. */
static unsigned int find_way(const struct set *set, uint64_t id)
{
    unsigned int way = 0;

    while (way < WAYS && set->ids[way] != id)
        way++;
    return way;
}

/* Returns the set that id is in, and in *ret_way where; NULL if it is in none. */
static struct set *find(const struct maildirsize_memory *memory, uint64_t id, unsigned int *ret_way)
{
    struct set *set = memory->sets_count > 0 ? find_set(memory, id) : NULL;

    if (!set)
        return NULL;
    *ret_way = find_way(set, id);
    return *ret_way < WAYS ? set : NULL;
}

bool maildirsize_memory_has(const struct maildirsize_memory *memory, uint64_t id)
{
    unsigned int way;

    return find(memory, id, &way) != NULL;
}

bool maildirsize_memory_recall(struct maildirsize_memory *memory, uint64_t id,
                               const struct statx *st, int64_t now_sec, struct maildirsize *ret)
{
    unsigned int way;
    struct set *set = find(memory, id, &way);

    if (!set)
        return false;
    if (set->entries[way].state != state_of(memory, st, now_sec)) {
        set->ids[way] = 0;
        memory->count--;
        return false;
    }
    *ret = set->entries[way].says;
    return true;
}

/* Doubles the table. Of the files of one set each goes to one of two. Returns 0 or -ENOMEM. */
static int grow(struct maildirsize_memory *memory)
{
    const struct maildirsize_memory old = *memory;
    size_t sets_count = old.sets_count == 0 ? 1 : 2 * old.sets_count;
    struct set *sets = calloc(sets_count, sizeof(*sets));

    if (!sets)
        return -ENOMEM;
    memory->sets = sets;
    memory->sets_count = sets_count;
    for (size_t i = 0; i < old.sets_count; i++)
        for (unsigned int way = 0; way < WAYS; way++) {
            struct set *set = find_set(memory, old.sets[i].ids[way]);

            if (old.sets[i].ids[way] == 0)
                continue;
            set->ids[way] = old.sets[i].ids[way];
            set->entries[way] = old.sets[i].entries[way];
        }
    free(old.sets);
    return 0;
}

/*
 * Tells whether there may be more sets: not yet where others still have room, since some sets are
 * full long before most are.
 */
static bool may_grow(const struct maildirsize_memory *memory)
{
    return memory->sets_count < memory->sets_max &&
           memory->count >= memory->sets_count * (WAYS * 5 / 8);
}

/* Finds room for a file that is not remembered, maybe another's. Returns NULL if there is none. */
static struct entry *make_entry(struct maildirsize_memory *memory, uint64_t id)
{
    struct set *set = memory->sets_count > 0 ? find_set(memory, id) : NULL;
    unsigned int way = set ? find_way(set, 0) : WAYS;

    if (way == WAYS && may_grow(memory) && grow(memory) == 0) {
        set = find_set(memory, id);
        way = find_way(set, 0);
    }
    if (!set)
        return NULL;
    if (way == WAYS)
        way = memory->turn++ % WAYS;
    else
        memory->count++;
    set->ids[way] = id;
    return &set->entries[way];
}

void maildirsize_memory_put(struct maildirsize_memory *memory, uint64_t id, const struct statx *st,
                            int64_t read_sec, const struct maildirsize *says)
{
    const struct stamp stamp = stamp_from_statx(st);
    struct entry *entry;
    struct set *set;
    unsigned int way;

    if (!stamp_is_settled(&stamp, read_sec))
        return;
    set = find(memory, id, &way);
    entry = set ? &set->entries[way] : make_entry(memory, id);
    if (entry)
        *entry = (struct entry){state_of(memory, st, read_sec), *says};
}

size_t maildirsize_memory_count(const struct maildirsize_memory *memory)
{
    return memory->count;
}

size_t maildirsize_memory_bytes(const struct maildirsize_memory *memory)
{
    return sizeof(*memory) + memory->sets_count * sizeof(struct set);
}
