/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/watched_events.h"

#include <string.h>
#include <strings.h>

#include "quota/size.h"
#include "system/cleanup.h"
#include "system/clock.h"

/*
 * The owner of a directory can make events as fast as the kernel makes them. A directory with more
 * of them in a second is not watched any longer.
 */
#define EVENTS_MAX 10000

/* A name appears in a directory, or goes. */
#define NAME_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

/* Removes a mailbox that has changed. */
static void on_change(struct store *store, struct known *known)
{
    store_invalidate(store, known, CHANGED_SEC);
}

void watched_settle(struct store *store)
{
    if (store->moving)
        on_change(store, store->moving);
}

static bool is_part(const char *name)
{
    return strcasecmp(name, "cur") == 0 || strcasecmp(name, "new") == 0;
}

/* Whether what happened to a name in a mailbox may concern its usage. */
static bool concerns(const struct known *known, const struct watch_event *event)
{
    static const char *const files[] = {"maildirsize", "maildirfolder"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (strcasecmp(event->name, files[i]) == 0)
            return true;
    /* Mail servers make and rename files of their own here all the time. */
    return known->is_counted &&
           ((event->mask & IN_ISDIR) || event->name[0] == '.' || is_part(event->name));
}

static void on_way(struct store *store, struct place *place, const struct watch_event *event)
{
    bool appears = event->mask & (IN_CREATE | IN_MOVED_TO);
    struct known *known = place->known;

    if (event->mask & NAME_EVENTS)
        store_note_name(store, place, event->name, appears);
    if (event->name[0] == '\0') {
        if (known && known->kind == MAILBOX_MBOX && !(event->mask & WATCH_GONE))
            known->is_outdated = true;
        else
            store_invalidate_place(store, place, CHANGED_SEC);
    } else if (known && (event->mask & NAME_EVENTS) && concerns(known, event)) {
        on_change(store, known);
    } else if (!known && (event->mask & NAME_EVENTS)) {
        store_invalidate_name(store, place, event->name, appears, CHANGED_SEC);
    }
}

static void on_folder(struct store *store, struct known *known, const struct watch_event *event)
{
    if (event->name[0] == '\0' || (is_part(event->name) && (event->mask & NAME_EVENTS)))
        on_change(store, known);
}

/* Adds a message to the sums, or takes it out. Returns whether that is possible. */
static bool follow(struct mailbox_sums *sums, bool appears, uint64_t bytes)
{
    sums->is_followed = true;
    if (sums->bytes >= SIZE_BYTES_MAX)
        return false; /* it may be more */
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

/* A message has left a mailbox, to appear elsewhere in it, or not. */
static void leave(struct store *store, struct known *known, uint32_t cookie)
{
    bool again = store->moving == known;

    watched_settle(store);
    if (again)
        return;
    store->moving = known;
    store->moving_cookie = cookie;
}

static void on_message(struct store *store, struct known *known, const struct watch_event *event)
{
    enum maildir_size_tag tag = store->settings->maildir.size_tag;
    bool appears = event->mask & (IN_CREATE | IN_MOVED_TO);
    bool goes = event->mask & (IN_DELETE | IN_MOVED_FROM);
    bool is_tagged;
    uint64_t bytes;

    if (event->name[0] == '\0') {
        on_change(store, known);
        return;
    }
    known->sums.is_sure &= !(event->mask & NAME_EVENTS);
    if (event->name[0] == '.')
        return;
    is_tagged = maildir_size_from_name(event->name, tag, &bytes);
    if (is_tagged ? (appears || goes) && !follow(&known->sums, appears, bytes)
                  : appears || goes || (event->mask & IN_MODIFY)) {
        on_change(store, known);
        return;
    }
    if (event->mask & IN_MOVED_FROM)
        leave(store, known, event->cookie);
}

/* Whether there are more events than are worth their time. */
static bool is_noisy(struct eye *eye)
{
    uint16_t second = (uint16_t)(clock_usec(CLOCK_MONOTONIC) / USEC_PER_SEC);

    if (eye->second != second)
        eye->events = 0;
    eye->second = second;
    return ++eye->events > EVENTS_MAX;
}

void watched_on_event(struct store *store, const struct watch_event *event)
{
    struct eye *eye = container_of(event->watch, struct eye, watch);

    if (is_noisy(eye)) {
        if (eye->kind == ADMISSION_WAY)
            store_invalidate_place(store, eye->place, UNWATCHABLE_SEC);
        else
            store_invalidate(store, eye->known, UNWATCHABLE_SEC);
        return;
    }
    /* The two events of a move follow each other. */
    if (store->moving && event->cookie == store->moving_cookie)
        store->moving = NULL;
    switch (eye->kind) {
    case ADMISSION_WAY:
        on_way(store, eye->place, event);
        break;
    case ADMISSION_SUMS:
        if (event->mask & WATCH_GONE)
            on_change(store, eye->known);
        else
            eye->known->is_outdated = true;
        break;
    case ADMISSION_FOLDER:
        on_folder(store, eye->known, event);
        break;
    case ADMISSION_MESSAGES:
        on_message(store, eye->known, event);
        break;
    }
}
