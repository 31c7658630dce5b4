/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/policy.h"
#include "system/cleanup.h"

/* What all incomplete requests of a protocol may take in memory. */
#define HELD_BYTES_MAX ((size_t)128 * 1024 * 1024)

/* How much of a request that is too long is read and discarded, so that its client may finish. */
#define DRAIN_BYTES_MAX (1024 * 1024)

static struct share *share_of(const struct connection *connection)
{
    return &connection->connections->shares[connection->protocol];
}

/* Takes the input out of the connection. The caller releases it. */
static char *steal_input(struct connection *connection)
{
    share_of(connection)->held_bytes -= connection->input_length;
    connection->input_length = 0;
    connection->searched = 0;
    return steal_pointer(&connection->input);
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
static int wait_for_client(struct connection *connection, enum connection_state state,
                           uint32_t events)
{
    connection->state = state;
    if (connection->deadline.at_usec == 0)
        deadline_start(&share_of(connection)->deadlines, &connection->deadline);
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

/* Waits for the next request, without a deadline. */
static void rest(struct connection *connection)
{
    struct connections *connections = connection->connections;
    int r;

    if (connections->ending) {
        connection_close(connection);
        return;
    }
    deadline_stop(&share_of(connection)->deadlines, &connection->deadline);
    r = wait_for(connection, EPOLLIN);
    if (r < 0) {
        lose(connection, r);
        return;
    }
    connection->state = RESTING;
    connections->resting++;
    connections->idle(connections->userdata);
}

/*
 * After a reply. A client of Postfix may have sent more requests: one is answered when it is the
 * connection's turn again, and only if the client takes the replies.
 */
static void finish(struct connection *connection)
{
    bool more = connection->input_length > 0 && !connection->connections->ending;
    int r;

    if (connection->drain) {
        /* Closing with unread bytes could lose the reply. */
        (void)shutdown(connection->fd, SHUT_WR);
        drain(connection);
    } else if (connection->protocol == PROTOCOL_LINE) {
        connection_close(connection);
    } else if (more) {
        r = wait_for_client(connection, TURNING, EPOLLOUT);
        if (r < 0)
            lose(connection, r);
    } else {
        rest(connection);
    }
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
    connection->output_length = length - (size_t)n;
    connection->output = malloc(connection->output_length);
    if (!connection->output) {
        lose(connection, -ENOMEM);
        return;
    }
    connection->written = 0;
    memcpy(connection->output, reply + n, connection->output_length);
    r = wait_for_client(connection, WRITING, EPOLLOUT);
    if (r < 0)
        lose(connection, r);
}

static void send_rest(struct connection *connection)
{
    ssize_t n = send_some(connection, connection->output + connection->written,
                          connection->output_length - connection->written);

    if (n < 0) {
        give_up_sending(connection, (int)n);
        return;
    }
    connection->written += (size_t)n;
    if (connection->written < connection->output_length)
        return;
    free(steal_pointer(&connection->output));
    finish(connection);
}

void connection_on_query_done(struct query *query, const char *reply, size_t length)
{
    send_reply(container_of(query, struct connection, query), reply, length);
}

static void refuse(struct connection *connection, const char *input, size_t length,
                   enum reason reason, const char *text)
{
    struct query_service *service = connection->connections->service;

    deadline_stop(&share_of(connection)->deadlines, &connection->deadline);
    if (connection->protocol == PROTOCOL_LINE) {
        query_refuse(service, &connection->query, input, length, reason, text);
    } else {
        query_refuse_policy(service, &connection->query, reason, text);
        connection_close(connection);
    }
}

/* Answers an incomplete request that we are out of resources. */
static void refuse_overloaded(struct connection *connection, const char *input, size_t length,
                              int error)
{
    refuse(connection, input, length, REASON_OVERLOADED, reason_text_from_errno(error));
}

static void refuse_too_long(struct connection *connection, const char *input, size_t length)
{
    bool line = connection->protocol == PROTOCOL_LINE;

    connection->drain = line;
    refuse(connection, input, length, REASON_TOO_LONG,
           line ? "a request is at most 8192 bytes long" : "a request is at most 65536 bytes long");
}

/*
 * Keeps input[0..length), which begins with what is kept already. Returns 0, -ENOMEM, or -ENOBUFS
 * if too much is kept.
 */
static int hold(struct connection *connection, const char *input, size_t length)
{
    struct share *share = share_of(connection);
    size_t more = length - connection->input_length;
    char *longer;

    if (more == 0)
        return 0;
    if (more > HELD_BYTES_MAX - share->held_bytes)
        return -ENOBUFS;
    longer = realloc(connection->input, length);
    if (!longer)
        return -ENOMEM;
    memcpy(longer + connection->input_length, input + connection->input_length, more);
    connection->input = longer;
    connection->input_length = length;
    share->held_bytes += more;
    return 0;
}

static bool start_policy_query(struct connection *connection, char *input, size_t length)
{
    struct request request;
    const char *text;
    enum reason reason = policy_parse(input, length, &request, &text);

    if (reason == REASON_NONE)
        return query_start(connection->connections->service, &connection->query, &request);
    refuse(connection, input, length, reason, text);
    return true;
}

/* Answers the request input[0..end); what follows it up to length is kept for later. */
static void answer(struct connection *connection, char *input, size_t end, size_t length)
{
    struct connections *connections = connection->connections;
    bool line = connection->protocol == PROTOCOL_LINE, done;
    int r;

    free(steal_input(connection));
    r = line ? 0 : hold(connection, input + end, length - end);
    if (r < 0) {
        refuse_overloaded(connection, input, end, r);
        return;
    }
    connection->state = ANSWERING;
    deadline_stop(&share_of(connection)->deadlines, &connection->deadline);
    done = line ? query_start_line(connections->service, &connection->query, input, end)
                : start_policy_query(connection, input, end);
    /* Only the end of the connection matters now, which is always reported. */
    if (!done)
        (void)wait_for(connection, 0);
}

/* Keeps the part of a request that has arrived. */
static void keep(struct connection *connection, const char *input, size_t length)
{
    int r;

    if (connection->protocol == PROTOCOL_POLICY && length == 0) {
        rest(connection);
        return;
    }
    r = hold(connection, input, length);
    connection->searched = length;
    if (r == 0)
        r = wait_for_client(connection, READING, EPOLLIN);
    if (r < 0)
        refuse_overloaded(connection, input, length, r);
}

/* As request_find_end() and policy_find_end(). */
static ssize_t find_end(struct connection *connection, const char *input, size_t length)
{
    ssize_t r;

    if (connection->protocol == PROTOCOL_LINE)
        return request_find_end(input, length, false);
    r = policy_find_end(input, length, connection->searched);
    connection->searched = length;
    return r;
}

/* The client has sent all that it had to send. */
static void receive_end(struct connection *connection, char *input, size_t length)
{
    if (connection->protocol == PROTOCOL_LINE)
        answer(connection, input, length, length);
    else if (length > 0)
        refuse(connection, input, length, REASON_BAD_REQUEST, "the request was not complete");
    else
        connection_close(connection);
}

/* Returns how many bytes there may be of a request, and of those after it. */
static size_t most_bytes(const struct connection *connection)
{
    return connection->protocol == PROTOCOL_LINE ? REQUEST_BYTES_MAX + 1 : POLICY_BYTES_MAX;
}

static void receive(struct connection *connection)
{
    char *input = connection->connections->input;
    size_t length = connection->input_length;

    if (length > 0)
        memcpy(input, connection->input, length);
    connection->state = READING;
    for (;;) {
        ssize_t end = find_end(connection, input, length), n;

        if (end >= 0) {
            answer(connection, input, (size_t)end, length);
            return;
        }
        if (end == -EMSGSIZE) {
            refuse_too_long(connection, input, length);
            return;
        }
        do
            n = recv(connection->fd, input + length, most_bytes(connection) - length, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n > 0) {
            length += (size_t)n;
            continue;
        }
        if (n == 0)
            receive_end(connection, input, length);
        else if (errno == EAGAIN)
            keep(connection, input, length);
        else if (is_shortage(-errno))
            refuse_overloaded(connection, input, length, -errno);
        else
            connection_close(connection); /* the client has gone */
        return;
    }
}

void connection_go_on(struct connection *connection)
{
    switch (connection->state) {
    case RESTING:
        connection->connections->resting--;
        receive(connection);
        break;
    case READING:
    case TURNING:
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

void connection_give_up(struct connection *connection, enum reason reason, const char *text)
{
    if (connection->state == READING)
        refuse(connection, connection->input ? connection->input : "", connection->input_length,
               reason, text);
    else
        connection_close(connection);
}
