/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One HTTP/1.1 exchange on a socket: a request for the metrics, and the response. The client is not
 * trusted: its request is bounded in size and time, and only its first line is used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_status {
    HTTP_OK = 200,
    HTTP_BAD_REQUEST = 400,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_SERVICE_UNAVAILABLE = 503,
};

struct http_request {
    int fd;                 /* the caller's */
    uint64_t deadline_usec; /* of the whole exchange, by CLOCK_MONOTONIC */
    bool wants_body;        /* false for HEAD */
};

/*
 * Reads the request; the caller has set the first two fields. Returns the status to respond with,
 * HTTP_OK for GET and HEAD of /metrics, or a negative errno if no response is possible: -ENODATA if
 * the client sent nothing, -ETIMEDOUT, or one of recv(2).
 */
int http_read(struct http_request *request);

/*
 * Sends the response with body[0..length), of that Content-Type, and waits for the client to close.
 * Returns 0, -ETIMEDOUT, or a negative errno of send(2).
 */
int http_respond(const struct http_request *request, enum http_status status, const char *type,
                 const char *body, size_t length);
