/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches of files and directories, by inotify(7), for who answers from memory: what was read of a
 * file after it was watched is still true as long as no event has come.
 *
 * Watches are added on a worker thread, in a batch, since opening what they watch may wait. The
 * batch is then taken over on the event loop, unless something has happened to any of its watches
 * meanwhile. Everything else is for the event loop alone.
 *
 * Nothing wakes the event loop: events wait in the kernel until watch_set_read() is called. If
 * there are too many for it, or if the caller says so when something else has happened, the set
 * begins again without any watch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h>

#include "system/hash_table.h"

/* What of a directory is watched: its names, and what it is itself. */
#define WATCH_NAMES                                                                                \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF |            \
     IN_MOVE_SELF | IN_ONLYDIR)

/* And also when files in it are written to. */
#define WATCH_NAMES_AND_CONTENTS (WATCH_NAMES | IN_MODIFY)

/* What of a file is watched. */
#define WATCH_FILE (IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* After one of these, nothing is known of the directory or file any more. */
#define WATCH_GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

struct watch_set;

/* A watch, embedded in what the caller keeps of the directory or file. */
struct watch {
    struct hash_entry hash; /* its id is the number of the watch */
};

struct watch_event {
    struct watch *watch;
    uint32_t mask;    /* inotify(7) */
    uint32_t cookie;  /* both ends of a move have the same */
    const char *name; /* in a directory that is watched; empty: it happened to itself */
};

struct watch_callbacks {
    /* Handles an event. It may remove watches. */
    void (*event)(const struct watch_event *event, void *userdata);

    /* Called when poll(2) reports POLLPRI for other_fd. Returns false if all watches are void. */
    bool (*other)(void *userdata);
    int other_fd;

    /* All watches are gone, without a call of watch_set_remove(). */
    void (*lost)(void *userdata);
};

/* Makes a set. inotify(7) is asked only with its first batch. Returns 0 and *ret, or -ENOMEM. */
int watch_set_new(const struct watch_callbacks *callbacks, void *userdata, struct watch_set **ret);

/* Releases the set. Watches that are in it stay the caller's, and mean nothing. NULL is allowed. */
void watch_set_free(struct watch_set *set);

/*
 * Hands all events until now to event(), or calls lost(). Returns whether that was possible: if
 * not, nothing must be answered from memory.
 */
bool watch_set_read(struct watch_set *set);

/* Removes all watches, and all events with them. lost() is not called. */
void watch_set_clear(struct watch_set *set);

/* Removes a watch that watch_batch_take() added. */
void watch_set_remove(struct watch_set *set, struct watch *watch);

/* Returns how many watches the set has. */
size_t watch_set_count(const struct watch_set *set);

/* Watches that are being added. All zeroes is none. */
struct watch_batch {
    struct watch_set *set;
    int fd; /* of the set's inotify instance */
    uint64_t generation;
    int *numbers;
    size_t count;
    size_t max;
};

/*
 * Begins a batch of at most max watches, the only one at a time. Returns 0, or a negative errno,
 * such as -EMFILE if the user has too many sets.
 */
int watch_batch_begin(struct watch_set *set, size_t max, struct watch_batch *ret);

/*
 * Watches what fd (O_PATH suffices) is open on, on any thread. Returns 0, and the watch is the next
 * one of the batch; -EEXIST if it is being watched already, by this name or another; -E2BIG if the
 * batch is full; -ENOSPC if the user has too many watches; or another negative errno, but -ENOENT.
 */
int watch_batch_add(struct watch_batch *batch, int fd, uint32_t mask);

/*
 * Ends the batch, on the event loop, and says whether nothing has happened to what it watches since
 * it was added. If so, its watches wait for watch_batch_take(); otherwise they are removed.
 */
bool watch_batch_end(struct watch_batch *batch);

/* Adds the watch with that number in the batch to the set. Returns 0 or -ENOMEM. */
int watch_batch_take(struct watch_batch *batch, size_t number, struct watch *watch);

/* Removes those watches of the batch that were not taken, and releases it. */
void watch_batch_done(struct watch_batch *batch);

/*
 * Returns how many watches there should be at most, by default: half of what the user may have, for
 * programs of the same user, or WATCH_MAX.
 */
size_t watch_default_max(void);

#define WATCH_MAX 65536
