/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/connection.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "server/deadline.h"
#include "system/cleanup.h"

/* The longest line, its LF, and one byte that may be overwritten. */
#define INPUT_BYTES (REQUEST_BYTES_MAX + 2)

/* How much of a request that is too long is read and discarded, so that its client may finish. */
#define DRAIN_BYTES_MAX (1024 * 1024)

/* After this many connections, and once few are left, their memory is returned to the system. */
#define CROWD_MIN 256

/* How many clients are served before other events are. */
#define READY_MAX 64

enum state {
    READING,   /* waits for the rest of a request */
    ANSWERING, /* waits for us */
    WRITING,   /* waits until the client takes the rest of the reply */
    DRAINING,  /* waits until the client has sent all of a request that was too long */
};

struct connection {
    struct connections *connections;
    LIST_ENTRY(connection) link;
    struct deadline deadline; /* started while we wait for the client */
    enum state state;
    int fd;
    bool watched;    /* epoll_fd watches the socket */
    uint32_t events; /* for these */
    struct query query;
    bool drain;   /* before closing */
    bool evicted; /* closed after one attempt to send the reply */
    size_t drained;

    char *buffer; /* of INPUT_BYTES, or the rest of a reply; NULL until it is needed */
    size_t length;
    size_t written;
};

LIST_HEAD(connection_list, connection);

struct connections {
    sd_event *event;
    struct query_service *service;
    connections_closed_fn closed;
    void *userdata;
    struct connection_list list;
    size_t count;
    size_t crowd; /* the largest count since memory was last returned */
    size_t max;
    struct deadline_queue deadlines;
    /*
     * sd-event asks the kernel again before each source that is ready, which takes seconds if
     * thousands are. So all connections are one source.
     */
    int epoll_fd;
    sd_event_source *io;
    struct epoll_event ready[READY_MAX]; /* data.ptr: a connection, NULL once it is closed */
    int ready_count;
    char input[INPUT_BYTES]; /* of the connection that is being read: most come whole */
};

static void forget_ready(struct connections *connections, const struct connection *connection)
{
    for (int i = 0; i < connections->ready_count; i++)
        if (connections->ready[i].data.ptr == connection)
            connections->ready[i].data.ptr = NULL;
}

/* free(3) alone does not return memory below what is still in use. */
static void give_memory_back(struct connections *connections)
{
    if (connections->crowd < CROWD_MIN || connections->count > connections->crowd / 64)
        return;
    connections->crowd = connections->count;
    (void)malloc_trim(0);
}

static void connection_close(struct connection *connection)
{
    struct connections *connections = connection->connections;

    deadline_stop(&connections->deadlines, &connection->deadline);
    query_cancel(connections->service, &connection->query);
    /* Another process may have the socket open, too: closing it is not enough. */
    if (connection->watched)
        (void)epoll_ctl(connections->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    forget_ready(connections, connection);
    closep(&connection->fd);
    LIST_REMOVE(connection, link);
    connections->count--;
    free(connection->buffer);
    free(connection);
    give_memory_back(connections);
    connections->closed(connections->userdata);
}

/* Closes a connection because of an error of ours, and logs it. */
static void lose(struct connection *connection, int error)
{
    query_lost(connection->connections->service, &connection->query, error);
    connection_close(connection);
}

/* Waits for the socket. Returns 0 or a negative errno. */
static int wait_for(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    if (connection->watched && connection->events == events)
        return 0;
    if (epoll_ctl(connection->connections->epoll_fd,
                  connection->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, connection->fd, &event) < 0)
        return -errno;
    connection->watched = true;
    connection->events = events;
    return 0;
}

/* As wait_for(), with the deadline for the client. */
static int wait_for_client(struct connection *connection, enum state state, uint32_t events)
{
    struct deadline_queue *deadlines = &connection->connections->deadlines;

    connection->state = state;
    if (connection->deadline.at_usec == 0)
        deadline_start(deadlines, &connection->deadline);
    return wait_for(connection, events);
}

static void drain(struct connection *connection)
{
    struct connections *connections = connection->connections;
    ssize_t n;
    bool more;

    do
        n = recv(connection->fd, connections->input, sizeof(connections->input), MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    more = n < 0 ? errno == EAGAIN : n > 0;
    connection->drained += n > 0 ? (size_t)n : 0;
    /* If this fails, the client may or may not read the reply, which has been sent. */
    if (!more || connection->drained >= DRAIN_BYTES_MAX ||
        wait_for_client(connection, DRAINING, EPOLLIN) < 0)
        connection_close(connection);
}

static void finish(struct connection *connection)
{
    if (!connection->drain) {
        connection_close(connection);
        return;
    }
    /* Closing with unread bytes could lose the reply. */
    (void)shutdown(connection->fd, SHUT_WR);
    drain(connection);
}

/* Whether recv(2) or send(2) failed for lack of memory. Other errors mean the client has gone. */
static bool is_shortage(int error)
{
    return error == -ENOMEM || error == -ENOBUFS;
}

static void give_up_sending(struct connection *connection, int error)
{
    if (is_shortage(error))
        lose(connection, error);
    else
        connection_close(connection);
}

/* Returns how many of bytes[0..length) were sent, or -errno. */
static ssize_t send_some(const struct connection *connection, const char *bytes, size_t length)
{
    ssize_t n;

    do
        n = send(connection->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return n;
}

/* Sends the reply, and keeps what the socket does not take at once. */
static void send_reply(struct connection *connection, const char *reply, size_t length)
{
    ssize_t n = send_some(connection, reply, length);
    char *rest;
    int r;

    if (n < 0) {
        give_up_sending(connection, (int)n);
        return;
    }
    if (connection->evicted) {
        connection_close(connection);
        return;
    }
    if ((size_t)n == length) {
        finish(connection);
        return;
    }
    rest = malloc(length - (size_t)n);
    if (!rest) {
        lose(connection, -ENOMEM);
        return;
    }
    connection->length = length - (size_t)n;
    connection->written = 0;
    memcpy(rest, reply + n, connection->length);
    free(connection->buffer);
    connection->buffer = rest;
    r = wait_for_client(connection, WRITING, EPOLLOUT);
    if (r < 0)
        lose(connection, r);
}

static void send_rest(struct connection *connection)
{
    ssize_t n = send_some(connection, connection->buffer + connection->written,
                          connection->length - connection->written);

    if (n < 0) {
        give_up_sending(connection, (int)n);
        return;
    }
    connection->written += (size_t)n;
    if (connection->written == connection->length)
        finish(connection);
}

static void on_query_done(struct query *query, const char *reply, size_t length)
{
    send_reply(container_of(query, struct connection, query), reply, length);
}

static void refuse(struct connection *connection, const char *line, size_t length,
                   enum reason reason, const char *text)
{
    struct connections *connections = connection->connections;

    deadline_stop(&connections->deadlines, &connection->deadline);
    query_refuse(connections->service, &connection->query, line, length, reason, text);
}

static void answer(struct connection *connection, char *line, size_t length)
{
    struct connections *connections = connection->connections;

    connection->state = ANSWERING;
    deadline_stop(&connections->deadlines, &connection->deadline);
    if (query_start(connections->service, &connection->query, line, length))
        return;
    /* Only the end of the connection matters now, which is always reported. */
    (void)wait_for(connection, 0);
}

/* Answers an incomplete request that we are out of resources. */
static void refuse_overloaded(struct connection *connection, const char *input, size_t length,
                              int error)
{
    refuse(connection, input, length, REASON_OVERLOADED, reason_text_from_errno(error));
}

/* Keeps the part of a request that has arrived. */
static void keep(struct connection *connection, const char *input, size_t length)
{
    int r;

    if (!connection->buffer && length > 0) {
        connection->buffer = malloc(INPUT_BYTES);
        if (!connection->buffer) {
            refuse_overloaded(connection, input, length, -ENOMEM);
            return;
        }
        memcpy(connection->buffer, input, length);
    }
    connection->length = length;
    r = wait_for_client(connection, READING, EPOLLIN);
    if (r < 0)
        refuse_overloaded(connection, input, length, r);
}

static void receive(struct connection *connection)
{
    char *input = connection->buffer ? connection->buffer : connection->connections->input;
    size_t length = connection->length;

    for (;;) {
        ssize_t n = recv(connection->fd, input + length, INPUT_BYTES - 1 - length, MSG_DONTWAIT);
        ssize_t end;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            keep(connection, input, length);
            return;
        }
        if (n < 0) {
            if (is_shortage(-errno))
                refuse_overloaded(connection, input, length, -errno);
            else
                connection_close(connection); /* the client has gone */
            return;
        }
        length += (size_t)n;
        end = request_find_end(input, length, n == 0);
        if (end >= 0) {
            answer(connection, input, (size_t)end);
            return;
        }
        if (end == -EMSGSIZE) {
            connection->drain = true;
            refuse(connection, input, length, REASON_TOO_LONG,
                   "a request is at most 8192 bytes long");
            return;
        }
    }
}

static void on_ready(struct connection *connection)
{
    switch (connection->state) {
    case READING:
        receive(connection);
        break;
    case ANSWERING:
        connection_close(connection); /* nobody is left to take the reply */
        break;
    case WRITING:
        send_rest(connection);
        break;
    case DRAINING:
        drain(connection);
        break;
    }
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct connections *connections = userdata;

    (void)source;
    (void)events;
    /* Where this fails, nothing is ready. */
    connections->ready_count = epoll_wait(fd, connections->ready, READY_MAX, 0);
    for (int i = 0; i < connections->ready_count; i++)
        if (connections->ready[i].data.ptr)
            on_ready(connections->ready[i].data.ptr);
    connections->ready_count = 0;
    return 0;
}

/* Gives up waiting for the client. */
static void give_up(struct connection *connection, enum reason reason, const char *text)
{
    if (connection->state == READING)
        refuse(connection, connection->buffer ? connection->buffer : "", connection->length, reason,
               text);
    else
        connection_close(connection);
}

static void on_deadline(struct deadline *deadline, void *userdata)
{
    (void)userdata;
    give_up(container_of(deadline, struct connection, deadline), REASON_TIMEOUT,
            "the request was not complete in time (--timeout)");
}

static int connections_init(struct connections *connections, uint64_t timeout_usec)
{
    int r;

    connections->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (connections->epoll_fd < 0)
        return -errno;
    r = sd_event_add_io(connections->event, &connections->io, connections->epoll_fd, EPOLLIN, on_io,
                        connections);
    if (r < 0)
        return r;
    return deadline_queue_init(&connections->deadlines, connections->event, timeout_usec,
                               on_deadline, connections);
}

int connections_new(sd_event *event, struct query_service *service, size_t max,
                    uint64_t timeout_usec, connections_closed_fn closed, void *userdata,
                    struct connections **ret)
{
    struct connections *connections = calloc(1, sizeof(*connections));
    int r;

    if (!connections)
        return -ENOMEM;
    connections->event = event;
    connections->service = service;
    connections->max = max;
    connections->closed = closed;
    connections->userdata = userdata;
    LIST_INIT(&connections->list);
    r = connections_init(connections, timeout_usec);
    if (r < 0) {
        connections_free(connections);
        return r;
    }
    *ret = connections;
    return 0;
}

void connections_free(struct connections *connections)
{
    struct connection *connection;

    if (!connections)
        return;
    while ((connection = LIST_FIRST(&connections->list)))
        connection_close(connection);
    deadline_queue_deinit(&connections->deadlines);
    sd_event_source_disable_unref(connections->io);
    closep(&connections->epoll_fd);
    free(connections);
}

static bool is_full(const struct connections *connections)
{
    return connections->count >= connections->max;
}

int connections_take(struct connections *connections, int fd)
{
    struct connection *connection;

    query_count_connection(connections->service);
    if (is_full(connections))
        (void)connections_make_room(
            connections,
            "made room for another client (--max-connections) before the request was complete");
    connection = calloc(1, sizeof(*connection));
    if (!connection) {
        closep(&fd);
        return -ENOMEM;
    }
    connection->connections = connections;
    connection->fd = fd;
    connection->query.done = on_query_done;
    connection->query.peer_fd = fd;
    LIST_INSERT_HEAD(&connections->list, connection, link);
    if (++connections->count > connections->crowd)
        connections->crowd = connections->count;
    receive(connection);
    return 0;
}

/*
 * Serves the clients that have kept us waiting for longest, since they may have sent something
 * meanwhile, until there are fewer connections than count or one has not. Returns that one, or
 * NULL.
 */
static struct connection *find_idle(struct connections *connections, size_t count)
{
    struct deadline *first;

    while (connections->count >= count && (first = deadline_first(&connections->deadlines))) {
        struct connection *connection = container_of(first, struct connection, deadline);

        on_ready(connection);
        if (deadline_first(&connections->deadlines) == first)
            return connection;
    }
    return NULL;
}

bool connections_blocked(struct connections *connections)
{
    return is_full(connections) && !find_idle(connections, connections->max) &&
           is_full(connections);
}

bool connections_make_room(struct connections *connections, const char *text)
{
    size_t count = connections->count;
    struct connection *connection = find_idle(connections, count);

    if (!connection)
        return connections->count < count;
    connection->evicted = true;
    give_up(connection, REASON_OVERLOADED, text);
    return true;
}

size_t connections_count(const struct connections *connections)
{
    return connections->count;
}
