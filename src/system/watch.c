/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "system/cleanup.h"

/* Events of one system call. */
#define READ_BYTES (16 * 1024)

/* How often to read before giving up: somebody makes events faster than they can be read. */
#define READS_MAX 1024

/* Events for watches that are not known yet, while a batch is under way. */
#define STRANGERS_MAX 256

#define MAX_USER_WATCHES "/proc/sys/fs/inotify/max_user_watches"

/* The number of a watch of a batch that was taken. */
#define TAKEN (-1)

struct watch_set {
    int fd; /* -1: there is no watch yet, or again */
    struct watch_callbacks callbacks;
    void *userdata;
    struct hash_table watches;
    uint64_t generation; /* how often everything was lost */
    bool has_batch;
    int strangers[STRANGERS_MAX]; /* numbers of watches that had events */
    size_t strangers_count;       /* may be more, which are not known then */
};

int watch_set_new(const struct watch_callbacks *callbacks, void *userdata, struct watch_set **ret)
{
    struct watch_set *set = calloc(1, sizeof(*set));

    if (!set)
        return -ENOMEM;
    set->fd = -1;
    set->callbacks = *callbacks;
    set->userdata = userdata;
    *ret = set;
    return 0;
}

/* The watches in the table are the caller's. */
static void keep(struct hash_entry *entry)
{
    (void)entry;
}

void watch_set_free(struct watch_set *set)
{
    if (!set)
        return;
    hash_table_clear(&set->watches, keep);
    closep(&set->fd);
    free(set);
}

void watch_set_clear(struct watch_set *set)
{
    set->generation++;
    hash_table_clear(&set->watches, keep);
    /* The kernel removes all watches of an instance at once, and its events with them. */
    closep(&set->fd);
    set->fd = -1;
}

/* Something was missed: all that was known is lost. */
static void lose_all(struct watch_set *set)
{
    watch_set_clear(set);
    set->callbacks.lost(set->userdata);
}

static void note_stranger(struct watch_set *set, int number)
{
    if (!set->has_batch)
        return;
    if (set->strangers_count < STRANGERS_MAX)
        set->strangers[set->strangers_count] = number;
    set->strangers_count++;
}

static void hand_over(struct watch_set *set, const struct inotify_event *from)
{
    struct hash_entry *found = hash_table_find(&set->watches, (uint64_t)from->wd);
    const struct watch_event event = {
        .watch = (struct watch *)found,
        .mask = from->mask,
        .cookie = from->cookie,
        .name = from->len > 0 ? from->name : "",
    };

    if (found)
        set->callbacks.event(&event, set->userdata);
    else
        note_stranger(set, from->wd);
}

/* Hands over the events in a buffer. Returns whether none was lost. */
static bool hand_over_all(struct watch_set *set, const char *bytes, size_t length)
{
    const struct inotify_event *event;

    for (size_t at = 0; at < length; at += sizeof(*event) + event->len) {
        event = (const struct inotify_event *)(const void *)(bytes + at);
        if (event->mask & IN_Q_OVERFLOW)
            return false;
        hand_over(set, event);
    }
    return true;
}

/* Reads events once. Returns 1, 0 if there are none, or a negative errno if some may be lost. */
static int read_events(struct watch_set *set)
{
    _Alignas(struct inotify_event) char bytes[READ_BYTES];
    ssize_t length = read(set->fd, bytes, sizeof(bytes));

    if (length < 0)
        return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
    return hand_over_all(set, bytes, (size_t)length) ? 1 : -EOVERFLOW;
}

bool watch_set_read(struct watch_set *set)
{
    struct pollfd fds[] = {
        {.fd = set->fd, .events = POLLIN},
        {.fd = set->callbacks.other_fd, .events = POLLPRI},
    };
    int r = poll(fds, 2, 0);

    if (r == 0)
        return true;
    if (r > 0 && fds[1].revents != 0 && !set->callbacks.other(set->userdata))
        r = -EIO;
    if (r > 0 && fds[0].revents == 0)
        return true;
    for (int i = 0; i < READS_MAX && r > 0; i++) {
        r = read_events(set);
        if (r == 0 && i == 0)
            r = -EIO; /* there were some */
    }
    if (r < 0)
        lose_all(set);
    return r == 0;
}

void watch_set_remove(struct watch_set *set, struct watch *watch)
{
    hash_table_remove(&set->watches, &watch->hash);
    /* It fails if the kernel has removed it, with what it watched. */
    (void)inotify_rm_watch(set->fd, (int)watch->hash.id);
}

size_t watch_set_count(const struct watch_set *set)
{
    return set->watches.count;
}

int watch_batch_begin(struct watch_set *set, size_t max, struct watch_batch *ret)
{
    _cleanup_(freep) int *numbers = calloc(max, sizeof(*numbers));
    int fd;

    if (!numbers)
        return -ENOMEM;
    if (set->fd < 0)
        set->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (set->fd < 0)
        return -errno;
    /* The set may begin again with another instance before the batch ends. */
    fd = fcntl(set->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set->has_batch = true;
    set->strangers_count = 0;
    *ret = (struct watch_batch){
        .set = set,
        .fd = fd,
        .generation = set->generation,
        .numbers = steal_pointer(&numbers),
        .max = max,
    };
    return 0;
}

int watch_batch_add(struct watch_batch *batch, int fd, uint32_t mask)
{
    char path[64];
    int number;

    if (batch->count == batch->max)
        return -E2BIG;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    number = inotify_add_watch(batch->fd, path, mask | IN_MASK_CREATE);
    if (number < 0)
        return errno == ENOENT ? -EIO : -errno; /* it is there, but /proc is not */
    batch->numbers[batch->count++] = number;
    return 0;
}

/* Whether one of the events since the batch began is for one of its watches, or may be. */
static bool is_disturbed(const struct watch_batch *batch)
{
    const struct watch_set *set = batch->set;

    if (set->strangers_count > STRANGERS_MAX)
        return true;
    for (size_t i = 0; i < set->strangers_count; i++)
        for (size_t j = 0; j < batch->count; j++)
            if (set->strangers[i] == batch->numbers[j])
                return true;
    return false;
}

bool watch_batch_end(struct watch_batch *batch)
{
    struct watch_set *set = batch->set;
    bool is_whole = watch_set_read(set) && set->generation == batch->generation;

    is_whole = is_whole && !is_disturbed(batch);
    set->has_batch = false;
    return is_whole;
}

int watch_batch_take(struct watch_batch *batch, size_t number, struct watch *watch)
{
    int r;

    watch->hash.id = (uint64_t)batch->numbers[number];
    r = hash_table_add(&batch->set->watches, &watch->hash);
    if (r == 0)
        batch->numbers[number] = TAKEN;
    return r;
}

void watch_batch_done(struct watch_batch *batch)
{
    if (!batch->set)
        return;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->numbers[i] != TAKEN)
            (void)inotify_rm_watch(batch->fd, batch->numbers[i]);
    batch->set->has_batch = false;
    (void)close(batch->fd);
    free(batch->numbers);
    *batch = (struct watch_batch){};
}

size_t watch_default_max(void)
{
    _cleanup_(fclosep) FILE *file = fopen(MAX_USER_WATCHES, "re");
    unsigned long max;

    if (!file || fscanf(file, "%lu", &max) != 1 || max / 2 > WATCH_MAX)
        return WATCH_MAX;
    return max / 2;
}
