/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* What may wait in the queue. */
#define QUEUE_BYTES_MAX (256 * 1024)

/* How long to wait for the queue to become empty: at the end, and amid other work. */
#define END_PATIENCE_USEC    (2 * USEC_PER_SEC)
#define REOPEN_PATIENCE_USEC (100 * USEC_PER_MSEC)

/* The thread's frames are shallow, but for a sanitizer's. */
#define STACK_BYTES (128 * 1024)

struct writer_entry {
    STAILQ_ENTRY(writer_entry) link;
    size_t length;
    char *bytes; /* behind it */
};

STAILQ_HEAD(writer_queue, writer_entry);

struct writer {
    struct writer_target target; /* its fd belongs to the thread that is_writing */
    bool torn;                   /* only part of a line was written; likewise */
    char *path;
    size_t (*note)(enum writer_note note, uint64_t number, char *bytes, void *userdata);
    void *userdata;
    char note_bytes[WRITER_NOTE_BYTES_MAX];

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    pthread_cond_t idle;
    struct writer_queue queue; /* the first one stays there while it is being written */
    size_t queue_bytes;
    uint64_t lost;   /* entries, since their number was last written */
    bool is_writing; /* a thread writes what is in the queue */
    bool is_started; /* it may have a thread */
    bool has_thread;
    bool is_ending;
    pthread_t thread;
    struct writer_entry reopen; /* in the queue in place of an entry: reopen the file */
    bool is_reopening;
};

int writer_open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

    return fd < 0 ? -errno : fd;
}

/* Returns 0 or a negative errno. */
static int write_bytes(struct writer *writer, const char *bytes, size_t length)
{
    struct pollfd room = {.fd = writer->target.fd, .events = POLLOUT};

    while (length > 0) {
        ssize_t n = write(writer->target.fd, bytes, length);

        if (n < 0 && errno == EAGAIN)
            (void)poll(&room, 1, -1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        length -= (size_t)n;
        writer->torn = length > 0;
    }
    return 0;
}

/*
 * Writes an entry. flags are those of sendto(2). Returns 0 or a negative errno, -EAGAIN only with
 * MSG_DONTWAIT.
 */
static int write_entry(struct writer *writer, const char *bytes, size_t length, int flags)
{
    const struct writer_target *target = &writer->target;
    int r = 0;

    if (target->address)
        return sendto(target->fd, bytes, length, MSG_NOSIGNAL | flags,
                      (const struct sockaddr *)target->address, sizeof(*target->address)) < 0
                   ? -errno
                   : 0;
    if (writer->torn)
        r = write_bytes(writer, "\n", 1);
    /* One write a line, so that lines never mix. */
    return r < 0 ? r : write_bytes(writer, bytes, length);
}

static int write_note(struct writer *writer, enum writer_note note, uint64_t number, int flags)
{
    size_t length = writer->note(note, number, writer->note_bytes, writer->userdata);

    return write_entry(writer, writer->note_bytes, length, flags);
}

/* Whether the file that is open is still the one at the path. */
static bool is_named(const struct writer *writer)
{
    struct stat opened, named;

    return fstat(writer->target.fd, &opened) == 0 && stat(writer->path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Returns 0, or a negative errno if the note that the old file is kept could not be written. */
static int reopen(struct writer *writer)
{
    int fd;

    /* The user may not be allowed to open it again. */
    if (is_named(writer))
        return 0;
    fd = writer_open_file(writer->path);
    if (fd < 0)
        return write_note(writer, WRITER_NOT_REOPENED, (uint64_t)-fd, 0);
    closep(&writer->target.fd);
    writer->target.fd = fd;
    writer->torn = false;
    return 0;
}

static void drop_first(struct writer *writer)
{
    struct writer_entry *entry = STAILQ_FIRST(&writer->queue);

    STAILQ_REMOVE_HEAD(&writer->queue, link);
    if (entry == &writer->reopen) {
        writer->is_reopening = false;
        return;
    }
    writer->queue_bytes -= sizeof(*entry) + entry->length;
    free(entry);
}

/*
 * Writes what is in the queue, and how many entries were lost, unless another thread does. With
 * MSG_DONTWAIT as flags, it stops before it would wait. Called with the lock held, which it
 * releases meanwhile.
 */
static void write_queue(struct writer *writer, int flags)
{
    struct writer_entry *entry;
    uint64_t lost;
    int r = -ENODATA;

    if (writer->is_writing)
        return;
    writer->is_writing = true;
    while ((entry = STAILQ_FIRST(&writer->queue))) {
        pthread_mutex_unlock(&writer->lock);
        r = entry == &writer->reopen ? reopen(writer)
                                     : write_entry(writer, entry->bytes, entry->length, flags);
        pthread_mutex_lock(&writer->lock);
        if (r == -EAGAIN && flags != 0)
            break;
        writer->lost += r < 0;
        drop_first(writer);
    }
    lost = writer->lost;
    if (r == 0 && lost > 0) {
        pthread_mutex_unlock(&writer->lock);
        r = write_note(writer, WRITER_LOST, lost, flags);
        pthread_mutex_lock(&writer->lock);
        writer->lost -= r == 0 ? lost : 0;
    }
    writer->is_writing = false;
    pthread_cond_signal(&writer->idle);
}

static void *thread_main(void *argument)
{
    struct writer *writer = argument;

    (void)prctl(PR_SET_NAME, "quotad-log");
    pthread_mutex_lock(&writer->lock);
    while (!writer->is_ending) {
        if (STAILQ_EMPTY(&writer->queue) || writer->is_writing)
            pthread_cond_wait(&writer->work, &writer->lock);
        else
            write_queue(writer, 0);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* Called with the lock held. */
static void start_thread(struct writer *writer)
{
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    writer->has_thread = pthread_create(&writer->thread, &attributes, thread_main, writer) == 0;
    pthread_attr_destroy(&attributes);
}

/*
 * Has the queue written. If no thread can be started, that is tried again with the next entry.
 * Called with the lock held.
 */
static void attend(struct writer *writer)
{
    if (writer->target.address)
        write_queue(writer, MSG_DONTWAIT);
    if (STAILQ_EMPTY(&writer->queue) || !writer->is_started)
        return;
    if (!writer->has_thread)
        start_thread(writer);
    pthread_cond_signal(&writer->work);
}

/* Waits until nothing is left to write, or so long. Returns whether nothing is. With the lock. */
static bool become_idle(struct writer *writer, uint64_t patience_usec)
{
    uint64_t until_usec = clock_usec(CLOCK_MONOTONIC) + patience_usec;
    const struct timespec until = {
        .tv_sec = (time_t)(until_usec / USEC_PER_SEC),
        .tv_nsec = (long)(until_usec % USEC_PER_SEC * 1000),
    };
    int r = writer->has_thread ? 0 : ETIMEDOUT;

    while (r == 0 && (writer->is_writing || !STAILQ_EMPTY(&writer->queue)))
        r = pthread_cond_clockwait(&writer->idle, &writer->lock, CLOCK_MONOTONIC, &until);
    return !writer->is_writing && STAILQ_EMPTY(&writer->queue);
}

static void writer_free(struct writer *writer)
{
    while (!STAILQ_EMPTY(&writer->queue))
        drop_first(writer);
    pthread_cond_destroy(&writer->idle);
    pthread_cond_destroy(&writer->work);
    pthread_mutex_destroy(&writer->lock);
    if (writer->target.fd != STDERR_FILENO)
        closep(&writer->target.fd);
    free(writer->path);
    free(writer);
}

int writer_new(const struct writer_target *target,
               size_t (*note)(enum writer_note note, uint64_t number, char *bytes, void *userdata),
               void *userdata, struct writer **ret)
{
    _cleanup_(freep) struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return -ENOMEM;
    writer->path = target->path ? strdup(target->path) : NULL;
    if (target->path && !writer->path)
        return -ENOMEM;
    writer->target = *target;
    writer->note = note;
    writer->userdata = userdata;
    STAILQ_INIT(&writer->queue);
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->work, NULL);
    pthread_cond_init(&writer->idle, NULL);
    *ret = steal_pointer(&writer);
    return 0;
}

void writer_start(struct writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->is_started = true;
    attend(writer);
    pthread_mutex_unlock(&writer->lock);
}

/* Returns an entry, or NULL if there is no room. With the lock held. */
static struct writer_entry *make_entry(struct writer *writer, const char *bytes, size_t length)
{
    size_t needed = sizeof(struct writer_entry) + length;
    struct writer_entry *entry =
        needed <= QUEUE_BYTES_MAX - writer->queue_bytes ? malloc(needed) : NULL;

    if (!entry)
        return NULL;
    entry->length = length;
    entry->bytes = (char *)(entry + 1);
    memcpy(entry->bytes, bytes, length);
    writer->queue_bytes += needed;
    return entry;
}

void writer_add(struct writer *writer, const char *bytes, size_t length)
{
    struct writer_entry *entry;

    pthread_mutex_lock(&writer->lock);
    entry = make_entry(writer, bytes, length);
    if (entry)
        STAILQ_INSERT_TAIL(&writer->queue, entry, link);
    else
        writer->lost++;
    attend(writer);
    pthread_mutex_unlock(&writer->lock);
}

void writer_reopen(struct writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    if (!writer->is_reopening)
        STAILQ_INSERT_TAIL(&writer->queue, &writer->reopen, link);
    writer->is_reopening = true;
    attend(writer);
    (void)become_idle(writer, REOPEN_PATIENCE_USEC);
    pthread_mutex_unlock(&writer->lock);
}

bool writer_end(struct writer *writer)
{
    bool is_idle;

    pthread_mutex_lock(&writer->lock);
    writer->is_started = true;
    attend(writer);
    is_idle = become_idle(writer, END_PATIENCE_USEC);
    writer->is_ending = true;
    pthread_cond_signal(&writer->work);
    pthread_mutex_unlock(&writer->lock);
    if (writer->has_thread && !is_idle)
        return false;
    if (writer->has_thread)
        pthread_join(writer->thread, NULL);
    writer_free(writer);
    return true;
}
