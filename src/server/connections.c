/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/connections.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "server/connection.h"
#include "system/cleanup.h"

/* After this many connections, and once few are left, their memory is returned to the system. */
#define CROWD_MIN 256

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

void connection_close(struct connection *connection)
{
    struct connections *connections = connection->connections;
    struct share *share = &connections->shares[connection->protocol];

    deadline_stop(&share->deadlines, &connection->deadline);
    query_cancel(connections->service, &connection->query);
    /* Another process may have the socket open, too: closing it is not enough. */
    if (connection->watched)
        (void)epoll_ctl(connections->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    forget_ready(connections, connection);
    closep(&connection->fd);
    LIST_REMOVE(connection, link);
    connections->count--;
    connections->resting -= connection->state == RESTING;
    share->count--;
    share->held_bytes -= connection->input_length;
    free(connection->input);
    free(connection->output);
    free(connection);
    give_memory_back(connections);
    connections->idle(connections->userdata);
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
            connection_go_on(connections->ready[i].data.ptr);
    connections->ready_count = 0;
    return 0;
}

static void on_deadline(struct deadline *deadline, void *userdata)
{
    (void)userdata;
    connection_give_up(container_of(deadline, struct connection, deadline), REASON_TIMEOUT,
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
    for (size_t i = 0; r >= 0 && i < PROTOCOL_COUNT_; i++)
        r = deadline_queue_init(&connections->shares[i].deadlines, connections->event, timeout_usec,
                                on_deadline, connections);
    return r < 0 ? r : 0;
}

int connections_new(sd_event *event, struct query_service *service,
                    const size_t max[static PROTOCOL_COUNT_], uint64_t timeout_usec,
                    connections_idle_fn idle, void *userdata, struct connections **ret)
{
    struct connections *connections = calloc(1, sizeof(*connections));
    int r;

    if (!connections)
        return -ENOMEM;
    connections->event = event;
    connections->service = service;
    connections->idle = idle;
    connections->userdata = userdata;
    LIST_INIT(&connections->list);
    for (size_t i = 0; i < PROTOCOL_COUNT_; i++)
        connections->shares[i].max = max[i];
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
    for (size_t i = 0; i < PROTOCOL_COUNT_; i++)
        deadline_queue_deinit(&connections->shares[i].deadlines);
    sd_event_source_disable_unref(connections->io);
    closep(&connections->epoll_fd);
    free(connections);
}

bool connections_full(const struct connections *connections, enum protocol protocol)
{
    return connections->shares[protocol].count >= connections->shares[protocol].max;
}

int connections_take(struct connections *connections, int fd, enum protocol protocol)
{
    struct connection *connection;

    query_count_connection(connections->service);
    if (connections_full(connections, protocol))
        (void)connections_make_room(
            connections, protocol,
            "made room for another client (--max-connections) before the request was complete");
    connection = calloc(1, sizeof(*connection));
    if (!connection) {
        closep(&fd);
        return -ENOMEM;
    }
    connection->connections = connections;
    connection->protocol = protocol;
    connection->fd = fd;
    connection->query.done = connection_on_query_done;
    connection->query.peer_fd = fd;
    LIST_INSERT_HEAD(&connections->list, connection, link);
    connections->shares[protocol].count++;
    if (++connections->count > connections->crowd)
        connections->crowd = connections->count;
    connection_go_on(connection);
    return 0;
}

/*
 * Serves the clients that have kept us waiting for longest, since they may have sent something
 * meanwhile, until there are fewer connections than count or one has not. Returns that one, or
 * NULL. A client of Postfix is not asked for room.
 */
static struct connection *find_idle(struct connections *connections, enum protocol protocol,
                                    size_t count)
{
    struct share *share = &connections->shares[protocol];
    struct deadline *first;

    if (protocol != PROTOCOL_LINE)
        return NULL;
    while (share->count >= count && (first = deadline_first(&share->deadlines))) {
        struct connection *connection = container_of(first, struct connection, deadline);

        connection_go_on(connection);
        if (deadline_first(&share->deadlines) == first)
            return connection;
    }
    return NULL;
}

bool connections_blocked(struct connections *connections, enum protocol protocol)
{
    return connections_full(connections, protocol) &&
           !find_idle(connections, protocol, connections->shares[protocol].max) &&
           connections_full(connections, protocol);
}

bool connections_make_room(struct connections *connections, enum protocol protocol,
                           const char *text)
{
    size_t count = connections->shares[protocol].count;
    struct connection *connection = find_idle(connections, protocol, count);

    if (!connection)
        return connections->shares[protocol].count < count;
    connection->evicted = true;
    connection_give_up(connection, REASON_OVERLOADED, text);
    return true;
}

void connections_end(struct connections *connections)
{
    struct connection *connection, *next;

    connections->ending = true;
    for (connection = LIST_FIRST(&connections->list); connection; connection = next) {
        next = LIST_NEXT(connection, link);
        if (connection->state == RESTING)
            connection_go_on(connection); /* a request may have come */
    }
}

size_t connections_count(const struct connections *connections)
{
    return connections->count;
}

size_t connections_busy(const struct connections *connections)
{
    return connections->count - connections->resting;
}
