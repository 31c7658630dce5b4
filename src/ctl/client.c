/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/client.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/clock.h"

/* Limits how long the next send or receive waits, as option says, to the deadline. */
static int limit_wait(int fd, int option, uint64_t deadline_usec)
{
    uint64_t now_usec = clock_usec(CLOCK_MONOTONIC);
    struct timeval left;

    if (now_usec >= deadline_usec)
        return -ETIMEDOUT;
    left.tv_sec = (time_t)((deadline_usec - now_usec) / USEC_PER_SEC);
    left.tv_usec = (suseconds_t)((deadline_usec - now_usec) % USEC_PER_SEC);
    return setsockopt(fd, SOL_SOCKET, option, &left, sizeof(left)) < 0 ? -errno : 0;
}

/* Returns -errno, where EAGAIN says that the deadline is over. */
static int last_error(void)
{
    return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

int client_connect(const char *path, uint64_t deadline_usec)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r;

    if (fd < 0)
        return -errno;
    r = limit_wait(fd, SO_SNDTIMEO, deadline_usec);
    if (r < 0)
        return r;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return last_error();
    return steal_fd(&fd);
}

int client_send(int fd, uint64_t deadline_usec, const char *bytes, size_t length)
{
    while (length > 0) {
        int r = limit_wait(fd, SO_SNDTIMEO, deadline_usec);
        ssize_t n;

        if (r < 0)
            return r;
        n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return last_error();
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

/* Whether the peer closed the connection: it may have replied before. */
static bool is_hangup(int error)
{
    return error == -EPIPE || error == -ECONNRESET;
}

ssize_t client_receive(int fd, uint64_t deadline_usec, char *buffer, size_t size)
{
    for (;;) {
        int r = limit_wait(fd, SO_RCVTIMEO, deadline_usec);
        ssize_t n;

        if (r < 0)
            return r;
        n = recv(fd, buffer, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return is_hangup(-errno) ? 0 : last_error();
        return n;
    }
}

static ssize_t receive_reply(int fd, uint64_t deadline_usec, bool has_lines, char *buffer,
                             size_t size)
{
    size_t length = 0;

    while (length < size && (has_lines || !memchr(buffer, '\n', length))) {
        ssize_t n = client_receive(fd, deadline_usec, buffer + length, size - length);

        if (n < 0)
            return n;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

ssize_t client_exchange(int fd, uint64_t deadline_usec, const char *request, size_t length,
                        bool has_lines, char *buffer, size_t size)
{
    int r = client_send(fd, deadline_usec, request, length);

    if (r < 0 && !is_hangup(r))
        return r;
    return receive_reply(fd, deadline_usec, has_lines, buffer, size);
}
