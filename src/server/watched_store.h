/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mailboxes that are watched, and the places from the roots down to them. Private to
 * server/watched.c and watched_events.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "quota/mailbox.h"
#include "server/admission.h"
#include "system/hash_table.h"
#include "system/watch.h"

/* For how long a mailbox that has changed, or cannot be watched, is not tried again. */
#define CHANGED_SEC     3
#define UNWATCHABLE_SEC 60

struct place;
struct known;

/* A watch, and what it is for. */
struct eye {
    struct watch watch;
    enum admission_kind kind;
    uint16_t events; /* in this second: */
    uint16_t second;
    union {
        struct place *place; /* ADMISSION_WAY */
        struct known *known; /* any other kind */
    };
};

LIST_HEAD(place_list, place);

/* A directory on the way to mailboxes, or a mailbox, or the name of something that is missing. */
struct place {
    struct hash_entry by_name;
    uint64_t serial; /* no other place ever has it */
    struct eye eye;
    bool is_watched;
    struct place *parent; /* NULL: it is a root */
    struct place_list children;
    struct place_list missing; /* children that are not there */
    LIST_ENTRY(place) link;
    struct known *known; /* the mailbox that is here; there are no children then */
};

/* What is kept of a struct mailbox: all that the rules need. */
#define FACTS_BYTES offsetof(struct mailbox, usage)

/* A watched mailbox. */
struct known {
    struct hash_entry by_path;
    TAILQ_ENTRY(known) link;
    struct place *place;
    _Alignas(struct mailbox) char facts[FACTS_BYTES];
    struct mailbox_sums sums;
    enum mailbox_kind kind;
    uint64_t until_usec; /* when it is to be read again */
    bool is_counted;
    bool is_outdated; /* maildirsize or the mbox must be read again */
    size_t eyes_count;
    struct eye eyes[]; /* of what is in the mailbox */
};

TAILQ_HEAD(known_list, known);

/*
 * The part of the way to a mailbox that was watched before it comes to be watched itself. The name
 * is part of the path of the admission, with which this ends.
 */
struct known_way {
    uint64_t serial;  /* of its last place; 0: it has none */
    const char *name; /* of what follows in that place */
    size_t name_length;
    bool changed;  /* since then, that name has appeared there, or gone */
    bool appeared; /* since then, some name has appeared there */
};

/* A path that was asked about, by part of its id. */
struct slot {
    uint32_t tag;
    uint32_t not_before_sec; /* by CLOCK_MONOTONIC */
};

/* Slots that a path may be in. */
#define SLOTS_EACH 4

struct store {
    const struct mailbox_settings *settings;
    struct hash_key key;
    struct watch_set *set; /* NULL: there can be no watches */
    size_t watches_max;
    struct hash_table mailboxes;
    struct known_list mailboxes_list; /* who was asked about longest ago comes first */
    struct hash_table places;
    uint64_t serial; /* of the place that was made last */
    struct known_way known_way;
    struct slot *slots;
    size_t slots_count;      /* a power of two, and of SLOTS_EACH or more */
    size_t next_slot;        /* which of those that a path may be in is replaced next */
    struct known *refreshed; /* is read again now */
    struct known *reread;    /* was read again since all events were known last */
    struct known *moving;    /* a message has left it, and may appear in it again */
    uint32_t moving_cookie;
    uint64_t invalidations; /* mailboxes that were removed because of an event */
};

/*
 * Initialises a store for at most that many watches, without a set of them. settings stay the
 * caller's. Returns 0 or a negative errno.
 */
int store_init(struct store *store, const struct mailbox_settings *settings, size_t watches_max);

/* Releases what it holds. */
void store_deinit(struct store *store);

/* Releases all mailboxes and places, whose watches are gone. */
void store_clear(struct store *store);

/* Returns the id of the mailbox at path. */
uint64_t store_id(const struct store *store, const char *path);

/* Returns the mailbox with that id, or NULL. */
struct known *store_find(const struct store *store, uint64_t id);

/*
 * Adds the mailbox with that id as it was watched, which is true until that time, by
 * CLOCK_MONOTONIC. Returns 0 or a negative errno.
 */
int store_add(struct store *store, struct admission *admission, uint64_t id, uint64_t until_usec);

/* Removes a mailbox. */
void store_remove(struct store *store, struct known *known);

/* Removes a mailbox because of an event; for that long at least it is not watched again. */
void store_invalidate(struct store *store, struct known *known, unsigned int sec);

/* Removes all mailboxes at the place and below it, and the place itself, likewise. */
void store_invalidate_place(struct store *store, struct place *place, unsigned int sec);

/*
 * Removes what depends on a name in a place, likewise. If the name appears, that is everything that
 * is missing in the place: where case is folded, one name stands for another.
 */
void store_invalidate_name(struct store *store, struct place *place, const char *name, bool appears,
                           unsigned int sec);

/* Removes the mailboxes that were asked about longest ago until there is room for more watches. */
void store_make_room(struct store *store, size_t more);

/*
 * Finds out how much of the way to a mailbox is watched: admission->known. No other mailbox comes
 * to be watched until store_way_holds() was called. Returns 0, or -EEXIST if a mailbox is in the
 * way.
 */
int store_know_way(struct store *store, struct admission *admission);

/* Returns whether that is still so, and nothing has happened there that may concern the mailbox. */
bool store_way_holds(const struct store *store, const struct admission *admission);

/* Notes that a name has appeared in a place, or gone. */
void store_note_name(struct store *store, const struct place *place, const char *name,
                     bool appears);

/*
 * Notes that somebody asks about the mailbox with that id, which is not watched. Returns whether
 * that is not the first time, and it is to be watched now.
 */
bool store_is_asked_again(struct store *store, uint64_t id);

/* Does not watch the mailbox with that id, that somebody asks about, for that long. */
void store_delay(struct store *store, uint64_t id, unsigned int sec);
