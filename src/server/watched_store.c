/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/watched_store.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* Returns the id of the place called name[0..length) in the parent; of a root, if that is NULL. */
static uint64_t id_of_place(const struct store *store, const struct place *parent, const char *name,
                            size_t length)
{
    char bytes[sizeof(uint64_t) + PATH_MAX];
    uint64_t id = parent ? parent->by_name.id : 0;

    memcpy(bytes, &id, sizeof(id));
    memcpy(bytes + sizeof(id), name, length);
    return hash_bytes(&store->key, bytes, sizeof(id) + length);
}

static struct place *find_place(const struct store *store, const struct place *parent,
                                const char *name, size_t length)
{
    struct hash_entry *found =
        hash_table_find(&store->places, id_of_place(store, parent, name, length));

    return found ? container_of(found, struct place, by_name) : NULL;
}

/* Returns the name of a directory of the way, or the path of its root. */
static const char *name_in_way(const struct admission *admission, size_t number, size_t *ret_length)
{
    size_t from = number == 0 ? 0 : admission->ends[number - 1];

    from += number > 0 && admission->path[from] == '/';
    *ret_length = admission->ends[number] - from;
    return admission->path + from;
}

static void place_remove(struct store *store, struct place *place)
{
    hash_table_remove(&store->places, &place->by_name);
    if (place->parent)
        LIST_REMOVE(place, link);
    if (place->is_watched)
        watch_set_remove(store->set, &place->eye.watch);
    free(place);
}

/* Removes places that no longer lead anywhere, from this one upwards, but never the one to keep. */
static void prune(struct store *store, struct place *place, const struct place *keep)
{
    while (place && place != keep && LIST_EMPTY(&place->children) && LIST_EMPTY(&place->missing) &&
           !place->known) {
        struct place *parent = place->parent;

        place_remove(store, place);
        place = parent;
    }
}

/* Removes the mailbox, and places that led to no other one, but not the one to keep. */
static void remove_but(struct store *store, struct known *known, const struct place *keep)
{
    struct place *place = known->place;

    if (store->refreshed == known)
        store->refreshed = NULL;
    if (store->reread == known)
        store->reread = NULL;
    if (store->moving == known)
        store->moving = NULL;
    hash_table_remove(&store->mailboxes, &known->by_path);
    TAILQ_REMOVE(&store->mailboxes_list, known, link);
    for (size_t i = 0; i < known->eyes_count; i++)
        watch_set_remove(store->set, &known->eyes[i].watch);
    if (place) {
        place->known = NULL;
        prune(store, place, keep);
    }
    free(known);
}

/* Returns the first of the slots that the mailbox with that id may be in. */
static struct slot *slots_of(const struct store *store, uint64_t id)
{
    return &store->slots[id & (store->slots_count - 1) & ~(uint64_t)(SLOTS_EACH - 1)];
}

/* Returns the slot that the mailbox with that id is in, or NULL. */
static struct slot *slot_of(const struct store *store, uint64_t id)
{
    struct slot *slots = slots_of(store, id);

    for (size_t i = 0; i < SLOTS_EACH; i++)
        if (slots[i].tag == (uint32_t)(id >> 32))
            return &slots[i];
    return NULL;
}

static void free_known(struct hash_entry *entry)
{
    free(container_of(entry, struct known, by_path));
}

static void free_place(struct hash_entry *entry)
{
    free(container_of(entry, struct place, by_name));
}

void store_clear(struct store *store)
{
    hash_table_clear(&store->mailboxes, free_known);
    hash_table_clear(&store->places, free_place);
    TAILQ_INIT(&store->mailboxes_list);
    store->refreshed = store->reread = store->moving = NULL;
}

int store_init(struct store *store, const struct mailbox_settings *settings, size_t watches_max)
{
    *store = (struct store){
        .settings = settings,
        .watches_max = watches_max,
        .slots_count = SLOTS_EACH,
    };
    TAILQ_INIT(&store->mailboxes_list);
    while (store->slots_count < watches_max)
        store->slots_count *= 2;
    store->slots = calloc(store->slots_count, sizeof(*store->slots));
    return store->slots ? hash_key_init(&store->key) : -ENOMEM;
}

void store_deinit(struct store *store)
{
    watch_set_free(store->set); /* before what its watches are embedded in */
    store->set = NULL;
    store_clear(store);
    free(store->slots);
}

uint64_t store_id(const struct store *store, const char *path)
{
    return hash_bytes(&store->key, path, strlen(path));
}

struct known *store_find(const struct store *store, uint64_t id)
{
    struct hash_entry *found = hash_table_find(&store->mailboxes, id);

    return found ? container_of(found, struct known, by_path) : NULL;
}

void store_remove(struct store *store, struct known *known)
{
    remove_but(store, known, NULL);
}

static uint32_t now_sec(void)
{
    return (uint32_t)(clock_usec(CLOCK_MONOTONIC) / USEC_PER_SEC);
}

void store_delay(struct store *store, uint64_t id, unsigned int sec)
{
    struct slot *slot = slot_of(store, id);

    if (slot)
        slot->not_before_sec = now_sec() + sec;
}

bool store_is_asked_again(struct store *store, uint64_t id)
{
    const struct slot *slot = slot_of(store, id);

    if (slot)
        return now_sec() >= slot->not_before_sec;
    slots_of(store, id)[store->next_slot++ % SLOTS_EACH] = (struct slot){
        .tag = (uint32_t)(id >> 32),
    };
    return false;
}

/* Removes a mailbox because of an event, but not the place to keep. */
static void invalidate(struct store *store, struct known *known, const struct place *keep,
                       unsigned int sec)
{
    store->invalidations++;
    store_delay(store, known->by_path.id, sec);
    remove_but(store, known, keep);
}

void store_invalidate(struct store *store, struct known *known, unsigned int sec)
{
    invalidate(store, known, NULL, sec);
}

/* Removes all mailboxes at the place and below it, and the place itself, but not the one to keep.
 */
static void invalidate_below(struct store *store, struct place *place, const struct place *keep,
                             unsigned int sec)
{
    while (place->known || !LIST_EMPTY(&place->children) || !LIST_EMPTY(&place->missing)) {
        struct place *leaf = place;

        while (!leaf->known)
            leaf = LIST_EMPTY(&leaf->missing) ? LIST_FIRST(&leaf->children)
                                              : LIST_FIRST(&leaf->missing);
        invalidate(store, leaf->known, place, sec);
    }
    prune(store, place, keep);
}

void store_invalidate_place(struct store *store, struct place *place, unsigned int sec)
{
    invalidate_below(store, place, NULL, sec);
}

void store_invalidate_name(struct store *store, struct place *place, const char *name, bool appears,
                           unsigned int sec)
{
    struct place *child = find_place(store, place, name, strlen(name));

    if (child)
        invalidate_below(store, child, place, sec);
    while (appears && (child = LIST_FIRST(&place->missing)))
        invalidate_below(store, child, place, sec);
    prune(store, place, NULL);
}

void store_make_room(struct store *store, size_t more)
{
    while (!TAILQ_EMPTY(&store->mailboxes_list) &&
           watch_set_count(store->set) + store->mailboxes.count + more > store->watches_max)
        store_remove(store, TAILQ_FIRST(&store->mailboxes_list));
}

/* Adds a place on the way, and takes over its watch, the next one of the batch, if it has one. */
static struct place *add_place(struct store *store, struct admission *admission, size_t number,
                               struct place *parent, size_t *next)
{
    struct place *place = calloc(1, sizeof(*place));
    const char *name;
    size_t length;
    bool is_there;

    if (!place)
        return NULL;
    name = name_in_way(admission, number, &length);
    LIST_INIT(&place->children);
    LIST_INIT(&place->missing);
    place->by_name.id = id_of_place(store, parent, name, length);
    place->serial = ++store->serial;
    place->parent = parent;
    place->eye = (struct eye){.kind = ADMISSION_WAY, .place = place};
    if (hash_table_add(&store->places, &place->by_name) < 0) {
        free(place);
        return NULL;
    }
    is_there = *next < admission->batch.count && admission->kinds[*next] == ADMISSION_WAY;
    if (parent)
        LIST_INSERT_HEAD(is_there ? &parent->children : &parent->missing, place, link);
    if (is_there) {
        if (watch_batch_take(&admission->batch, *next, &place->eye.watch) < 0) {
            place_remove(store, place);
            return NULL;
        }
        place->is_watched = true;
        ++*next;
    }
    return place;
}

/*
 * Makes the places of the way. Those that exist and are known need no watch of the batch. Returns
 * the last one, where the mailbox is to be, or NULL.
 */
static struct place *add_way(struct store *store, struct admission *admission, size_t *next)
{
    struct place *place = NULL;

    for (size_t i = 0; i < admission->depth; i++) {
        struct place *parent = place;
        size_t length;
        const char *name = name_in_way(admission, i, &length);

        place = find_place(store, parent, name, length);
        if (!place)
            place = add_place(store, admission, i, parent, next);
        if (!place) {
            prune(store, parent, NULL);
            return NULL;
        }
    }
    return place;
}

int store_add(struct store *store, struct admission *admission, uint64_t id, uint64_t until_usec)
{
    struct watch_batch *batch = &admission->batch;
    struct known *known;
    size_t next = 0;

    known = calloc(1, sizeof(*known) + batch->count * sizeof(known->eyes[0]));
    if (!known)
        return -ENOMEM;
    known->by_path.id = id;
    memcpy(known->facts, &admission->mailbox, FACTS_BYTES);
    known->kind = admission->mailbox.kind;
    known->sums = admission->sums;
    known->is_counted = admission->is_counted;
    known->until_usec = until_usec;
    if (hash_table_add(&store->mailboxes, &known->by_path) < 0) {
        free(known);
        return -ENOMEM;
    }
    TAILQ_INSERT_TAIL(&store->mailboxes_list, known, link);
    known->place = add_way(store, admission, &next);
    if (known->place)
        known->place->known = known;
    while (known->place && next < batch->count) {
        struct eye *eye = &known->eyes[known->eyes_count];

        *eye = (struct eye){.kind = admission->kinds[next], .known = known};
        if (watch_batch_take(batch, next++, &eye->watch) < 0)
            break;
        known->eyes_count++;
    }
    if (known->place && next == batch->count)
        return 0;
    store_remove(store, known);
    return -EEXIST;
}

/*
 * Returns the serial number of the last place of the way that is watched, and the number of places
 * until there; 0 if there is none, or UINT64_MAX if a mailbox is in the way.
 */
static uint64_t last_known(const struct store *store, const struct admission *admission,
                           size_t *ret_known)
{
    const struct place *place = NULL;
    uint64_t serial = 0;

    for (*ret_known = 0; *ret_known < admission->depth; ++*ret_known) {
        size_t length;
        const char *name = name_in_way(admission, *ret_known, &length);

        place = find_place(store, place, name, length);
        if (!place)
            return serial;
        if (place->known)
            return UINT64_MAX;
        serial = place->serial;
    }
    return UINT64_MAX; /* the way goes on, to other mailboxes */
}

int store_know_way(struct store *store, struct admission *admission)
{
    struct known_way *way = &store->known_way;

    *way = (struct known_way){.serial = last_known(store, admission, &admission->known)};
    if (way->serial == UINT64_MAX)
        return -EEXIST;
    way->name = name_in_way(admission, admission->known, &way->name_length);
    return 0;
}

bool store_way_holds(const struct store *store, const struct admission *admission)
{
    const struct known_way *way = &store->known_way;
    bool is_missing = admission->batch.count == 0; /* what follows the part that is known */
    size_t known;

    return last_known(store, admission, &known) == way->serial && !way->changed &&
           !(is_missing && way->appeared);
}

void store_note_name(struct store *store, const struct place *place, const char *name, bool appears)
{
    struct known_way *way = &store->known_way;

    if (place->serial != way->serial)
        return;
    way->appeared |= appears;
    way->changed |=
        strlen(name) == way->name_length && strncasecmp(name, way->name, way->name_length) == 0;
}
