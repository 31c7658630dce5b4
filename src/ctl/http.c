/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "ctl/client.h"

/* More than a Prometheus sends. */
#define REQUEST_BYTES_MAX 8192

/* How much of a request's body to read after the response, so that the client gets to read that. */
#define DISCARD_BYTES_MAX (64 * 1024)

#define PATH "/metrics"

static const char *reason_phrase(enum http_status status)
{
    switch (status) {
    case HTTP_OK:
        return "OK";
    case HTTP_BAD_REQUEST:
        return "Bad Request";
    case HTTP_NOT_FOUND:
        return "Not Found";
    case HTTP_METHOD_NOT_ALLOWED:
        return "Method Not Allowed";
    default:
        return "Service Unavailable";
    }
}

static bool is_complete(const char *text, size_t length)
{
    return memmem(text, length, "\n\r\n", 3) || memmem(text, length, "\n\n", 2);
}

/* Receives the head of a request. Returns its length, or a negative errno. */
static ssize_t receive_head(const struct http_request *request, char text[REQUEST_BYTES_MAX])
{
    size_t length = 0;
    ssize_t n;

    do {
        n = client_receive(request->fd, request->deadline_usec, text + length,
                           REQUEST_BYTES_MAX - length);
        if (n < 0)
            return n;
        length += (size_t)n;
    } while (n > 0 && length < REQUEST_BYTES_MAX && !is_complete(text, length));
    return (ssize_t)length;
}

/* Cuts a word off *text, which ends with a blank, and moves *text behind it. NULL: there is none.
 */
static char *cut_word(char **text)
{
    char *word = *text, *end = strchr(word, ' ');

    if (!end || end == word)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return word;
}

/* Judges a request by its first line, in place. */
static enum http_status judge(char *line, bool *ret_wants_body)
{
    char *method = cut_word(&line), *target = method ? cut_word(&line) : NULL;

    if (!target || *target != '/' || strncmp(line, "HTTP/1.", strlen("HTTP/1.")) != 0)
        return HTTP_BAD_REQUEST;
    *ret_wants_body = strcmp(method, "HEAD") != 0;
    if (strlen(PATH) != strcspn(target, "?") || strncmp(target, PATH, strlen(PATH)) != 0)
        return HTTP_NOT_FOUND;
    if (*ret_wants_body && strcmp(method, "GET") != 0)
        return HTTP_METHOD_NOT_ALLOWED;
    return HTTP_OK;
}

int http_read(struct http_request *request)
{
    char text[REQUEST_BYTES_MAX];
    ssize_t length = receive_head(request, text);

    if (length < 0)
        return (int)length;
    if (length == 0)
        return -ENODATA;
    request->wants_body = true;
    if (!is_complete(text, (size_t)length) || memchr(text, '\0', (size_t)length))
        return HTTP_BAD_REQUEST;
    text[strcspn(text, "\r\n")] = '\0';
    return judge(text, &request->wants_body);
}

/* Closing a socket with unread bytes would make the client lose the response. */
static void discard(const struct http_request *request)
{
    char bytes[4096];
    size_t total = 0;

    if (shutdown(request->fd, SHUT_WR) < 0)
        return;
    while (total < DISCARD_BYTES_MAX) {
        ssize_t n = client_receive(request->fd, request->deadline_usec, bytes, sizeof(bytes));

        if (n <= 0)
            return;
        total += (size_t)n;
    }
}

int http_respond(const struct http_request *request, enum http_status status, const char *type,
                 const char *body, size_t length)
{
    char head[512];
    int r, head_length;

    head_length = snprintf(head, sizeof(head),
                           "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                           "%sConnection: close\r\n\r\n",
                           (int)status, reason_phrase(status), type, length,
                           status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "");
    r = client_send(request->fd, request->deadline_usec, head, (size_t)head_length);
    if (r == 0 && request->wants_body)
        r = client_send(request->fd, request->deadline_usec, body, length);
    if (r == 0)
        discard(request);
    return r;
}
