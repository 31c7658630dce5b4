/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of a set: reads requests, has them answered, and sends the replies, without
 * waiting. Only connections.c uses it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "protocol/policy.h"
#include "server/connections.h"
#include "server/deadline.h"
#include "server/query.h"

/* The longest request. */
#define INPUT_BYTES POLICY_BYTES_MAX

/* How many clients are served before other events are. */
#define READY_MAX 64

enum connection_state {
    READING,   /* waits for the rest of a request */
    ANSWERING, /* waits for us */
    WRITING,   /* waits until the client takes the rest of the reply */
    DRAINING,  /* waits until the client has sent all of a request that was too long */
    TURNING,   /* has more requests, waits until the client can take another reply */
    RESTING,   /* waits between two requests, as long as the client likes */
};

struct connection {
    struct connections *connections;
    LIST_ENTRY(connection) link;
    struct deadline deadline; /* started while we wait for the client, unless it is at rest */
    enum protocol protocol;
    enum connection_state state;
    int fd;
    bool watched;    /* epoll_fd watches the socket */
    uint32_t events; /* for these */
    struct query query;
    bool drain;   /* before closing */
    bool evicted; /* closed after one attempt to send the reply */
    size_t drained;

    char *input; /* what was received of requests that are not being answered; NULL: nothing */
    size_t input_length;
    size_t searched; /* of these, bytes that hold no end of a request */

    char *output; /* the rest of a reply; NULL until it is needed */
    size_t output_length;
    size_t written;
};

LIST_HEAD(connection_list, connection);

/* The connections of one protocol. None makes room for those of another. */
struct share {
    size_t count;
    size_t max;
    size_t held_bytes; /* of input */
    struct deadline_queue deadlines;
};

struct connections {
    sd_event *event;
    struct query_service *service;
    connections_idle_fn idle;
    void *userdata;
    struct connection_list list;
    struct share shares[PROTOCOL_COUNT_];
    size_t count;
    size_t resting;
    size_t crowd; /* the largest count since memory was last returned */
    bool ending;  /* no connection comes to rest */
    /*
     * sd-event asks the kernel again before each source that is ready, which takes seconds if
     * thousands are. So all connections are one source.
     */
    int epoll_fd;
    sd_event_source *io;
    struct epoll_event ready[READY_MAX]; /* data.ptr: a connection, NULL once it is closed */
    int ready_count;
    char input[INPUT_BYTES]; /* of the connection that is being read: most requests come whole */
};

/*
 * Goes on after the socket became ready, or to find out whether it is, also at first. It may close
 * the connection.
 */
void connection_go_on(struct connection *connection);

/* Gives up waiting for the client: closes the connection, after a reply if the request lacks. */
void connection_give_up(struct connection *connection, enum reason reason, const char *text);

/* Closes and releases the connection, which leaves its set. */
void connection_close(struct connection *connection);

/* Sends the reply to the query of a connection: its done(). */
void connection_on_query_done(struct query *query, const char *reply, size_t length);
