/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question through a socket. Who listens there is not trusted: what comes back is bounded in
 * size and in time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* The longest path of a socket. */
#define CLIENT_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/*
 * Connects to the socket at path (at most CLIENT_PATH_MAX bytes), until the monotonic clock shows
 * deadline_usec. Returns a descriptor that the caller closes, -ETIMEDOUT, or a negative errno of
 * connect(2).
 */
int client_connect(const char *path, uint64_t deadline_usec);

/*
 * Sends the question and receives the answer: up to a LF, to the end of the connection, or to the
 * end of buffer[0..size), and what came behind the LF by then. Returns how many bytes came, also
 * where the other end let go early; -ETIMEDOUT, or a negative errno of send(2) or recv(2).
 */
ssize_t client_exchange(int fd, uint64_t deadline_usec, const char *question, size_t length,
                        char *buffer, size_t size);
