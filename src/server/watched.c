/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/watched.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "quota/size.h"
#include "server/admission.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine.h"
#include "system/hash_table.h"
#include "system/mounts.h"
#include "system/watch.h"

/* No mailbox takes more than this part of all watches. */
#define SHARE 32

/* But each may take this many. */
#define SHARE_MIN 128

/* Paths that queries were about, for each watch that there may be. */
#define WATCHES_PER_SLOT 4

/* For how long a mailbox that has changed, or cannot be watched, is not tried again. */
#define CHANGED_USEC     (2 * USEC_PER_SEC)
#define UNWATCHABLE_USEC (60 * USEC_PER_SEC)

/*
 * The owner of a directory can make events as fast as the kernel makes them. A directory with more
 * of them in a second is not watched any longer.
 */
#define EVENTS_MAX 10000

/* Once a day it is read again, and with it what no event tells: whether anybody keeps its sums. */
#define BELIEVED_USEC (24 * 3600 * USEC_PER_SEC)

/* A name appears in a directory, or goes. */
#define NAME_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

struct place;
struct known;

/* A watch, and what it is for. */
struct eye {
    struct watch watch;
    enum admission_kind kind;
    uint32_t events; /* in this second: */
    uint64_t second;
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
    LIST_ENTRY(place) link;
    struct known *known; /* the mailbox that is here; there are no children then */
};

/* A watched mailbox. */
struct known {
    struct hash_entry by_path;
    TAILQ_ENTRY(known) link;
    struct place *place;
    struct mailbox mailbox;
    struct mailbox_sums sums;
    uint64_t until_usec; /* when it is to be read again */
    bool is_counted;
    bool is_outdated; /* maildirsize or the mbox must be read again */
    size_t eyes_count;
    struct eye eyes[]; /* of what is in the mailbox */
};

TAILQ_HEAD(known_list, known);

/* A path that was asked about, by its hash. */
struct slot {
    uint64_t id;
    uint64_t not_before_usec;
};

/* Watching a mailbox for the first time. */
struct attempt {
    struct pool_job job;
    struct watched *watched;
    struct admission admission;
    uint64_t id; /* of the path */
    uint64_t started_usec;
    bool is_suspended; /* the roots were closed meanwhile */
    uint64_t serial;   /* of the last place of the way that was watched before; 0: none was */
};

struct watched {
    struct watched_settings settings;
    struct pool *pool;
    const struct cache *cache;
    struct journal *journal;
    struct hash_key key;
    struct mounts *mounts; /* NULL: there can be no watches */
    struct watch_set *set;
    size_t watches_max;
    struct hash_table mailboxes;
    struct known_list mailboxes_list; /* who was asked about longest ago comes first */
    struct hash_table places;
    struct slot *slots;
    size_t slots_count;      /* a power of two */
    struct attempt *attempt; /* the one under way, or NULL */
    uint64_t pause_until_usec;
    uint64_t serial;
    bool is_suspended;
    struct known *refreshed; /* is read again now */
    struct known *moving;    /* a message has left it, and may appear in it again */
    uint32_t moving_cookie;
    struct watched_counters counters;
};

static uint64_t id_of_path(const struct watched *watched, const char *path)
{
    return hash_bytes(&watched->key, path, strlen(path));
}

/* Returns the id of the place called name[0..length) in the parent; of a root, if that is NULL. */
static uint64_t id_of_place(const struct watched *watched, const struct place *parent,
                            const char *name, size_t length)
{
    char bytes[sizeof(uint64_t) + PATH_MAX];
    uint64_t id = parent ? parent->by_name.id : 0;

    memcpy(bytes, &id, sizeof(id));
    memcpy(bytes + sizeof(id), name, length);
    return hash_bytes(&watched->key, bytes, sizeof(id) + length);
}

static struct place *find_place(const struct watched *watched, const struct place *parent,
                                const char *name, size_t length)
{
    struct hash_entry *found =
        hash_table_find(&watched->places, id_of_place(watched, parent, name, length));

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

static void place_remove(struct watched *watched, struct place *place)
{
    hash_table_remove(&watched->places, &place->by_name);
    if (place->parent)
        LIST_REMOVE(place, link);
    if (place->is_watched)
        watch_set_remove(watched->set, &place->eye.watch);
    free(place);
}

/* Removes places that no longer lead anywhere, from this one upwards, but never the one to keep. */
static void prune(struct watched *watched, struct place *place, const struct place *keep)
{
    while (place && place != keep && LIST_EMPTY(&place->children) && !place->known) {
        struct place *parent = place->parent;

        place_remove(watched, place);
        place = parent;
    }
}

/* Removes the mailbox, and places that led to no other one, but not the one to keep. */
static void known_remove(struct watched *watched, struct known *known, const struct place *keep)
{
    struct place *place = known->place;

    if (watched->refreshed == known)
        watched->refreshed = NULL;
    if (watched->moving == known)
        watched->moving = NULL;
    hash_table_remove(&watched->mailboxes, &known->by_path);
    TAILQ_REMOVE(&watched->mailboxes_list, known, link);
    for (size_t i = 0; i < known->eyes_count; i++)
        watch_set_remove(watched->set, &known->eyes[i].watch);
    if (place) {
        place->known = NULL;
        prune(watched, place, keep);
    }
    free(known);
}

static struct slot *slot_of(const struct watched *watched, uint64_t id)
{
    return &watched->slots[id & (watched->slots_count - 1)];
}

static void delay(struct watched *watched, uint64_t id, uint64_t usec)
{
    struct slot *slot = slot_of(watched, id);

    if (slot->id == id)
        slot->not_before_usec = clock_usec(CLOCK_MONOTONIC) + usec;
}

/* Removes a mailbox because of an event, for so long at least. */
static void invalidate(struct watched *watched, struct known *known, const struct place *keep,
                       uint64_t usec)
{
    watched->counters.invalidations++;
    delay(watched, known->by_path.id, usec);
    known_remove(watched, known, keep);
}

/* Removes a mailbox that has changed. */
static void on_change(struct watched *watched, struct known *known)
{
    invalidate(watched, known, NULL, CHANGED_USEC);
}

/* Removes all mailboxes at the place and below it, and the place itself, for so long at least. */
static void invalidate_place(struct watched *watched, struct place *place, uint64_t usec)
{
    while (place->known || !LIST_EMPTY(&place->children)) {
        struct place *leaf = place;

        while (!leaf->known)
            leaf = LIST_FIRST(&leaf->children);
        invalidate(watched, leaf->known, place, usec);
    }
    prune(watched, place, NULL);
}

/* Whether what happened to a name in a mailbox may concern its usage. */
static bool concerns(const struct known *known, const struct watch_event *event)
{
    static const char *const files[] = {"maildirsize", "maildirfolder"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (strcmp(event->name, files[i]) == 0)
            return true;
    /* Mail servers make and rename files of their own here all the time. */
    return known->is_counted &&
           ((event->mask & IN_ISDIR) || event->name[0] == '.' || strcmp(event->name, "cur") == 0 ||
            strcmp(event->name, "new") == 0);
}

static void on_way(struct watched *watched, struct place *place, const struct watch_event *event)
{
    struct known *known = place->known;
    struct place *child = NULL;

    if (event->name[0] == '\0') {
        if (known && known->mailbox.kind == MAILBOX_MBOX && !(event->mask & WATCH_GONE))
            known->is_outdated = true;
        else
            invalidate_place(watched, place, CHANGED_USEC);
    } else if (known && (event->mask & NAME_EVENTS) && concerns(known, event)) {
        on_change(watched, known);
    } else if (!known && (event->mask & NAME_EVENTS)) {
        child = find_place(watched, place, event->name, strlen(event->name));
        if (child)
            invalidate_place(watched, child, CHANGED_USEC);
    }
}

static void on_folder(struct watched *watched, struct known *known, const struct watch_event *event)
{
    bool is_part = strcmp(event->name, "cur") == 0 || strcmp(event->name, "new") == 0;

    if (event->name[0] == '\0' || (is_part && (event->mask & NAME_EVENTS)))
        on_change(watched, known);
}

/* Adds a message to the sums, or takes it out. Returns whether that is possible. */
static bool follow(struct mailbox_sums *sums, bool appears, uint64_t bytes)
{
    sums->is_followed = true;
    if (appears) {
        sums->bytes = size_add(sums->bytes, bytes);
        sums->messages++;
        return sums->bytes < SIZE_BYTES_MAX;
    }
    if (sums->messages == 0 || sums->bytes < bytes)
        return false;
    sums->bytes -= bytes;
    sums->messages--;
    return true;
}

static void on_message(struct watched *watched, struct known *known,
                       const struct watch_event *event)
{
    enum maildir_size_tag tag = watched->settings.mailbox->maildir.size_tag;
    bool appears = event->mask & (IN_CREATE | IN_MOVED_TO);
    bool goes = event->mask & (IN_DELETE | IN_MOVED_FROM);
    bool is_tagged;
    uint64_t bytes;

    if (event->name[0] == '\0') {
        on_change(watched, known);
        return;
    }
    if (event->name[0] == '.')
        return;
    is_tagged = maildir_size_from_name(event->name, tag, &bytes);
    if (is_tagged ? (appears || goes) && !follow(&known->sums, appears, bytes)
                  : appears || goes || (event->mask & IN_MODIFY)) {
        on_change(watched, known);
        return;
    }
    if (event->mask & IN_MOVED_FROM) {
        if (watched->moving && watched->moving != known)
            on_change(watched, watched->moving);
        watched->moving = known;
        watched->moving_cookie = event->cookie;
    }
}

/* Whether there are more events than are worth their time. */
static bool is_noisy(struct eye *eye)
{
    uint64_t second = clock_usec(CLOCK_MONOTONIC) / USEC_PER_SEC;

    if (eye->second != second)
        eye->events = 0;
    eye->second = second;
    return ++eye->events > EVENTS_MAX;
}

static void on_event(const struct watch_event *event, void *userdata)
{
    struct watched *watched = userdata;
    struct eye *eye = container_of(event->watch, struct eye, watch);

    if (is_noisy(eye)) {
        if (eye->kind == ADMISSION_WAY)
            invalidate_place(watched, eye->place, UNWATCHABLE_USEC);
        else
            invalidate(watched, eye->known, NULL, UNWATCHABLE_USEC);
        return;
    }
    /* The two events of a move follow each other. */
    if (watched->moving && event->cookie == watched->moving_cookie)
        watched->moving = NULL;
    switch (eye->kind) {
    case ADMISSION_WAY:
        on_way(watched, eye->place, event);
        break;
    case ADMISSION_SUMS:
        if (event->mask & WATCH_GONE)
            on_change(watched, eye->known);
        else
            eye->known->is_outdated = true;
        break;
    case ADMISSION_FOLDER:
        on_folder(watched, eye->known, event);
        break;
    case ADMISSION_MESSAGES:
        on_message(watched, eye->known, event);
        break;
    }
}

static void free_known(struct hash_entry *entry)
{
    free(container_of(entry, struct known, by_path));
}

static void free_place(struct hash_entry *entry)
{
    free(container_of(entry, struct place, by_name));
}

/* Releases all mailboxes and places, whose watches are gone. */
static void clear(struct watched *watched)
{
    hash_table_clear(&watched->mailboxes, free_known);
    hash_table_clear(&watched->places, free_place);
    TAILQ_INIT(&watched->mailboxes_list);
    watched->refreshed = watched->moving = NULL;
}

static void on_lost(void *userdata)
{
    struct watched *watched = userdata;

    watched->counters.overflows++;
    clear(watched);
}

static void forget(struct watched *watched)
{
    clear(watched);
    watch_set_clear(watched->set);
}

/* Makes sure that the roots are open, and the same as before. Returns whether they are. */
static bool resume(struct watched *watched)
{
    if (!watched->is_suspended)
        return true;
    watched->is_suspended = !confine_hold(watched->settings.mailbox->confine);
    if (watched->is_suspended)
        forget(watched);
    return !watched->is_suspended;
}

/* Something was mounted or unmounted. Returns false if that may be on the way to a mailbox. */
static bool on_mounts(void *userdata)
{
    struct watched *watched = userdata;

    return resume(watched) && !mounts_changed(watched->mounts, watched->settings.mailbox->confine);
}

/* Returns whether all events until now are known, so that what is remembered is true. */
static bool is_up_to_date(struct watched *watched)
{
    if (!resume(watched) || !watch_set_read(watched->set))
        return false;
    /* Only one half of a move was there yet, of a message that may be counted nowhere. */
    if (watched->moving)
        on_change(watched, watched->moving);
    return true;
}

/* There can be no watches. */
static void do_without(struct watched *watched, int error)
{
    watched->watches_max = 0;
    journal_log(watched->journal, LOG_WARNING,
                "cannot watch mailboxes, so each query asks the file system: %s", strerror(-error));
}

int watched_new(const struct watched_settings *settings, struct pool *pool,
                const struct cache *cache, struct journal *journal, struct watched **ret)
{
    struct watch_callbacks callbacks = {.event = on_event, .other = on_mounts, .lost = on_lost};
    _cleanup_(watched_freep) struct watched *watched = calloc(1, sizeof(*watched));
    int r;

    if (!watched)
        return -ENOMEM;
    watched->settings = *settings;
    watched->pool = pool;
    watched->cache = cache;
    watched->journal = journal;
    watched->watches_max = settings->watches_max;
    TAILQ_INIT(&watched->mailboxes_list);
    r = hash_key_init(&watched->key);
    if (r < 0)
        return r;
    watched->slots_count = 1;
    while (watched->slots_count < settings->watches_max / WATCHES_PER_SLOT)
        watched->slots_count *= 2;
    watched->slots = calloc(watched->slots_count, sizeof(*watched->slots));
    if (!watched->slots)
        return -ENOMEM;
    if (settings->watches_max > 0) {
        r = mounts_new(&watched->mounts);
        if (r < 0)
            do_without(watched, r);
    }
    if (watched->mounts) {
        callbacks.other_fd = mounts_fd(watched->mounts);
        r = watch_set_new(&callbacks, watched, &watched->set);
        if (r < 0)
            return r;
    }
    *ret = steal_pointer(&watched);
    return 0;
}

static void attempt_free(struct attempt *attempt)
{
    if (!attempt)
        return;
    admission_done(&attempt->admission);
    free(attempt);
}

DEFINE_FREEP(attempt)

void watched_free(struct watched *watched)
{
    if (!watched)
        return;
    attempt_free(watched->attempt);
    clear(watched);
    watch_set_free(watched->set);
    mounts_free(watched->mounts);
    free(watched->slots);
    free(watched);
}

bool watched_recall(struct watched *watched, const char *path, const struct mailbox_policy *policy,
                    uint64_t now_usec, struct usage *ret)
{
    struct hash_entry *found;
    struct known *known;

    watched->refreshed = NULL;
    if (watched->mailboxes.count == 0 || !is_up_to_date(watched))
        return false;
    found = hash_table_find(&watched->mailboxes, id_of_path(watched, path));
    if (!found)
        return false;
    known = container_of(found, struct known, by_path);
    TAILQ_REMOVE(&watched->mailboxes_list, known, link);
    TAILQ_INSERT_TAIL(&watched->mailboxes_list, known, link);
    if (known->is_outdated) {
        known->is_outdated = false; /* an event after this makes it so again */
        watched->refreshed = known;
        return false;
    }
    if (clock_usec(CLOCK_MONOTONIC) < known->until_usec &&
        mailbox_recall(&known->mailbox, watched->settings.mailbox, policy, now_usec,
                       known->is_counted ? &known->sums : NULL, ret) == MAILBOX_ANSWERED) {
        watched->counters.hits++;
        return true;
    }
    known_remove(watched, known, NULL); /* it is to be read, or counted, again */
    return false;
}

/* Removes the mailboxes that were asked about longest ago until there is room for more watches. */
static void make_room(struct watched *watched, size_t more)
{
    while (!TAILQ_EMPTY(&watched->mailboxes_list) &&
           watch_set_count(watched->set) + watched->mailboxes.count + more > watched->watches_max)
        known_remove(watched, TAILQ_FIRST(&watched->mailboxes_list), NULL);
}

/* Adds a place on the way, and takes over its watch, the next one of the batch, if it has one. */
static struct place *add_place(struct watched *watched, struct admission *admission, size_t number,
                               struct place *parent, size_t *next)
{
    struct place *place = calloc(1, sizeof(*place));
    const char *name;
    size_t length;

    if (!place)
        return NULL;
    name = name_in_way(admission, number, &length);
    LIST_INIT(&place->children);
    place->by_name.id = id_of_place(watched, parent, name, length);
    place->serial = ++watched->serial;
    place->parent = parent;
    place->eye = (struct eye){.kind = ADMISSION_WAY, .place = place};
    if (hash_table_add(&watched->places, &place->by_name) < 0) {
        free(place);
        return NULL;
    }
    if (parent)
        LIST_INSERT_HEAD(&parent->children, place, link);
    if (*next < admission->batch.count && admission->kinds[*next] == ADMISSION_WAY) {
        if (watch_batch_take(&admission->batch, *next, &place->eye.watch) < 0) {
            place_remove(watched, place);
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
static struct place *add_way(struct watched *watched, struct admission *admission, size_t *next)
{
    struct place *place = NULL;

    for (size_t i = 0; i < admission->depth; i++) {
        struct place *parent = place;
        size_t length;
        const char *name = name_in_way(admission, i, &length);

        place = find_place(watched, parent, name, length);
        if (!place)
            place = add_place(watched, admission, i, parent, next);
        if (!place) {
            prune(watched, parent, NULL);
            return NULL;
        }
    }
    return place;
}

/* Adds the mailbox. Returns 0 or a negative errno. */
static int add_known(struct watched *watched, struct attempt *attempt)
{
    struct admission *admission = &attempt->admission;
    struct watch_batch *batch = &admission->batch;
    struct known *known;
    size_t next = 0;

    known = calloc(1, sizeof(*known) + batch->count * sizeof(known->eyes[0]));
    if (!known)
        return -ENOMEM;
    known->by_path.id = attempt->id;
    known->mailbox = admission->mailbox;
    known->sums = admission->sums;
    known->is_counted = admission->is_counted;
    known->until_usec = attempt->started_usec + BELIEVED_USEC;
    if (hash_table_add(&watched->mailboxes, &known->by_path) < 0) {
        free(known);
        return -ENOMEM;
    }
    TAILQ_INSERT_TAIL(&watched->mailboxes_list, known, link);
    known->place = add_way(watched, admission, &next);
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
    known_remove(watched, known, NULL);
    return -EEXIST;
}

/* The user has no more watches: others may need some, too. */
static void lower_bound(struct watched *watched)
{
    watched->watches_max = watch_set_count(watched->set) / 2;
    journal_log(watched->journal, LOG_WARNING,
                "the user has no more inotify watches (fs.inotify.max_user_watches); at most %zu "
                "are used from now on",
                watched->watches_max);
    make_room(watched, 0);
}

/*
 * Finds the last place of the way that is watched. Returns its serial number, and the number of
 * places until there; 0 if there is none, or UINT64_MAX if a mailbox is in the way.
 */
static uint64_t last_known(const struct watched *watched, const struct admission *admission,
                           size_t *ret_known)
{
    const struct place *place = NULL;
    uint64_t serial = 0;

    for (*ret_known = 0; *ret_known < admission->depth; ++*ret_known) {
        size_t length;
        const char *name = name_in_way(admission, *ret_known, &length);

        place = find_place(watched, place, name, length);
        if (!place)
            return serial;
        if (place->known)
            return UINT64_MAX;
        serial = place->serial;
    }
    return UINT64_MAX; /* the way goes on, to other mailboxes */
}

static void on_attempted(struct pool_job *job)
{
    _cleanup_(attempt_freep) struct attempt *attempt = (struct attempt *)job;
    struct watched *watched = attempt->watched;
    struct admission *admission = &attempt->admission;
    uint64_t now_usec = clock_usec(CLOCK_MONOTONIC);
    int error = admission->error;
    size_t known;

    watched->attempt = NULL;
    watched->pause_until_usec = 2 * now_usec - attempt->started_usec;
    if ((!watch_batch_end(&admission->batch) || attempt->is_suspended) && error == 0)
        error = -EAGAIN;
    if (error == -ENOSPC)
        lower_bound(watched);
    if (error == 0)
        make_room(watched, admission->batch.count);
    if (error == 0 && last_known(watched, admission, &known) != attempt->serial)
        error = -EAGAIN;
    if (error == 0)
        error = add_known(watched, attempt);
    if (error < 0)
        delay(watched, attempt->id, error == -EAGAIN ? CHANGED_USEC : UNWATCHABLE_USEC);
}

static void on_attempt(struct pool_job *job)
{
    struct attempt *attempt = (struct attempt *)job;

    admission_work(&attempt->admission);
}

static size_t share(const struct watched *watched)
{
    size_t share = watched->watches_max / SHARE;

    if (share < SHARE_MIN)
        share = SHARE_MIN;
    return share < watched->watches_max ? share : watched->watches_max;
}

/* Begins to watch the mailbox. Returns 0 or a negative errno. */
static int attempt_start(struct watched *watched, const char *path, uint64_t id,
                         const struct mailbox_policy *policy, dev_t device)
{
    _cleanup_(attempt_freep) struct attempt *attempt = calloc(1, sizeof(*attempt));
    int r;

    if (!attempt)
        return -ENOMEM;
    attempt->job = (struct pool_job){
        .device = device,
        .work = on_attempt,
        .finished = on_attempted,
    };
    attempt->watched = watched;
    attempt->id = id;
    attempt->started_usec = clock_usec(CLOCK_MONOTONIC);
    r = admission_init(&attempt->admission, watched->settings.mailbox, policy, path,
                       cache_find(watched->cache, CACHE_COUNT, path));
    if (r < 0)
        return r;
    if (!is_up_to_date(watched))
        return -EAGAIN;
    if (watched->mailboxes.count == 0)
        (void)mounts_changed(watched->mounts, watched->settings.mailbox->confine);
    attempt->serial = last_known(watched, &attempt->admission, &attempt->admission.known);
    if (attempt->serial == UINT64_MAX)
        return -EEXIST;
    r = admission_begin(&attempt->admission, watched->set, share(watched));
    if (r == -EMFILE || r == -ENFILE)
        do_without(watched, r);
    if (r == 0)
        r = pool_submit(watched->pool, &attempt->job);
    if (r < 0)
        return r;
    watched->attempt = steal_pointer(&attempt);
    return 0;
}

/* Takes over what was read again of a mailbox after it had changed. */
static void refresh(struct watched *watched, int probe, const struct mailbox *mailbox)
{
    struct known *known = steal_pointer(&watched->refreshed);

    if ((probe == MAILBOX_ANSWERED || probe == MAILBOX_NEEDS_COUNT) &&
        mailbox->kind == known->mailbox.kind && !mailbox->is_suspect && !mailbox->is_unsure) {
        known->mailbox = *mailbox;
        known->mailbox.fd = -1;
    } else {
        known_remove(watched, known, NULL);
    }
}

void watched_learn(struct watched *watched, const char *path, const struct mailbox_policy *policy,
                   int probe, const struct mailbox *mailbox)
{
    uint64_t now_usec, id;
    struct slot *slot;
    int r;

    if (watched->refreshed) {
        refresh(watched, probe, mailbox);
        return;
    }
    if (watched->watches_max == 0)
        return;
    id = id_of_path(watched, path);
    slot = slot_of(watched, id);
    if (slot->id != id) {
        *slot = (struct slot){.id = id};
        return;
    }
    now_usec = clock_usec(CLOCK_MONOTONIC);
    if (watched->attempt || now_usec < watched->pause_until_usec ||
        now_usec < slot->not_before_usec || hash_table_find(&watched->mailboxes, id))
        return;
    r = attempt_start(watched, path, id, policy, mailbox->device);
    if (r < 0)
        delay(watched, id, r == -EAGAIN ? CHANGED_USEC : UNWATCHABLE_USEC);
}

void watched_suspend(struct watched *watched)
{
    watched->is_suspended = true;
    if (watched->attempt)
        watched->attempt->is_suspended = true;
}

size_t watched_count(const struct watched *watched)
{
    return watched->set ? watch_set_count(watched->set) : 0;
}

const struct watched_counters *watched_counters(const struct watched *watched)
{
    return &watched->counters;
}
