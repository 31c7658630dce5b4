/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* Accepted at a time, before clients that are connected already are served. */
#define BATCH 32

/* How long nothing is accepted if there are no descriptors. */
#define PAUSE_USEC (100 * USEC_PER_MSEC)

struct listener {
    struct listeners *listeners;
    SLIST_ENTRY(listener) link;
    sd_event_source *io; /* NULL: stopped */
    enum protocol protocol;
    bool paused; /* until there is room */
};

SLIST_HEAD(listener_list, listener);

struct listeners {
    sd_event *event;
    struct connections *connections;
    struct journal *journal;
    struct listener_list list;
    sd_event_source *pause;
    listeners_drained_fn drained; /* NULL: not draining */
    void *userdata;
    bool starved; /* of descriptors or memory, since the last connection */
};

static void listener_stop(struct listener *listener)
{
    listener->io = sd_event_source_disable_unref(listener->io);
}

static void stop_for_now(struct listener *listener)
{
    listener->paused = true;
    (void)sd_event_source_set_enabled(listener->io, SD_EVENT_OFF); /* which always works */
}

static void limit_pause(struct listeners *listeners)
{
    sd_event_source_set_time_relative(listeners->pause, PAUSE_USEC);
    sd_event_source_set_enabled(listeners->pause, SD_EVENT_ONESHOT);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    listeners_resume(userdata);
    return 0;
}

/* Without descriptors or memory, a connection whose client is slow is closed, or we wait. */
static void out_of_resources(struct listener *listener, int error)
{
    struct listeners *listeners = listener->listeners;

    if (connections_make_room(listeners->connections, listener->protocol,
                              "made room for another client (neither descriptors nor memory are "
                              "left), no complete request had come"))
        return;
    if (!listeners->starved)
        journal_event(listeners->journal, JOURNAL_OVERLOADED, NULL,
                      "cannot accept connections: %s; trying again every 100 ms (is LimitNOFILE= "
                      "too low?)",
                      strerror(error));
    listeners->starved = true;
    stop_for_now(listener);
    limit_pause(listeners);
}

/*
 * Accepts a connection. Returns it, or a negative errno. The kernel reports that there are no
 * descriptors even if the queue is empty.
 */
static int accept_connection(int listen_fd)
{
    struct pollfd queue = {.fd = listen_fd, .events = POLLIN};
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int error = errno;

    if (fd >= 0)
        return fd;
    if ((error == EMFILE || error == ENFILE) && poll(&queue, 1, 0) == 0)
        return -EAGAIN;
    return -error;
}

/* Accepts one. Returns whether there may be more to accept. */
static bool accept_one(struct listener *listener, int listen_fd)
{
    struct listeners *listeners = listener->listeners;
    int fd;

    if (connections_blocked(listeners->connections, listener->protocol)) {
        stop_for_now(listener);
        return false;
    }
    fd = accept_connection(listen_fd);
    if (fd >= 0) {
        listeners->starved = false;
        if (connections_take(listeners->connections, fd, listener->protocol) < 0)
            out_of_resources(listener, ENOMEM);
        return !listener->paused;
    }
    switch (fd) {
    case -EAGAIN:
        if (listeners->drained)
            listener_stop(listener);
        return false;
    case -EINTR:
    case -ECONNABORTED:
    case -EPERM:
    case -EPROTO:
        return true; /* that connection is gone; the next may not be */
    default:
        out_of_resources(listener, -fd);
        return !listener->paused;
    }
}

/* Empties the queues, as far as there is room. */
static void drain(struct listeners *listeners)
{
    struct listener *listener;

    SLIST_FOREACH (listener, &listeners->list, link)
        while (listener->io && !listener->paused &&
               accept_one(listener, sd_event_source_get_io_fd(listener->io)))
            ;
    if (!listeners_active(listeners))
        listeners->drained(listeners->userdata);
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct listener *listener = userdata;

    (void)source;
    (void)events;
    for (int i = 0; i < BATCH; i++)
        if (!accept_one(listener, fd))
            break;
    return 0;
}

int listeners_new(sd_event *event, struct connections *connections, struct journal *journal,
                  struct listeners **ret)
{
    _cleanup_(freep) struct listeners *listeners = calloc(1, sizeof(*listeners));
    int r;

    if (!listeners)
        return -ENOMEM;
    listeners->event = event;
    listeners->connections = connections;
    listeners->journal = journal;
    SLIST_INIT(&listeners->list);
    r = sd_event_add_time(event, &listeners->pause, CLOCK_MONOTONIC, 0, 0, on_pause_over,
                          listeners);
    if (r < 0)
        return r;
    sd_event_source_set_enabled(listeners->pause, SD_EVENT_OFF);
    *ret = steal_pointer(&listeners);
    return 0;
}

void listeners_free(struct listeners *listeners)
{
    struct listener *listener;

    if (!listeners)
        return;
    while ((listener = SLIST_FIRST(&listeners->list))) {
        SLIST_REMOVE_HEAD(&listeners->list, link);
        listener_stop(listener);
        free(listener);
    }
    sd_event_source_disable_unref(listeners->pause);
    free(listeners);
}

int listeners_add(struct listeners *listeners, int fd, enum protocol protocol)
{
    _cleanup_(freep) struct listener *listener = calloc(1, sizeof(*listener));
    int flags = fcntl(fd, F_GETFL);
    int r;

    if (!listener)
        return -ENOMEM;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    listener->listeners = listeners;
    listener->protocol = protocol;
    r = sd_event_add_io(listeners->event, &listener->io, fd, EPOLLIN, on_connection, listener);
    if (r < 0)
        return r;
    SLIST_INSERT_HEAD(&listeners->list, listener, link);
    (void)steal_pointer(&listener);
    return 0;
}

void listeners_resume(struct listeners *listeners)
{
    struct listener *listener;
    bool resumed = false;

    SLIST_FOREACH (listener, &listeners->list, link) {
        if (!listener->io || !listener->paused ||
            connections_full(listeners->connections, listener->protocol))
            continue;
        if (sd_event_source_set_enabled(listener->io, SD_EVENT_ON) < 0) {
            limit_pause(listeners); /* there is no memory to watch it */
            continue;
        }
        listener->paused = false;
        resumed = true;
    }
    if (resumed && listeners->drained)
        drain(listeners);
}

void listeners_stop(struct listeners *listeners)
{
    struct listener *listener;

    SLIST_FOREACH (listener, &listeners->list, link)
        listener_stop(listener);
}

void listeners_drain(struct listeners *listeners, listeners_drained_fn drained, void *userdata)
{
    listeners->drained = drained;
    listeners->userdata = userdata;
    drain(listeners);
}

bool listeners_active(const struct listeners *listeners)
{
    const struct listener *listener;

    SLIST_FOREACH (listener, &listeners->list, link)
        if (listener->io)
            return true;
    return false;
}
