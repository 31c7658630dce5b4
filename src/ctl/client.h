/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One request through a socket. The peer is not trusted: the reply is bounded in size and time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* The longest path of a socket. */
#define CLIENT_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/*
 * Connects to the socket at path (at most CLIENT_PATH_MAX bytes), until deadline_usec by
 * CLOCK_MONOTONIC. Returns a descriptor that the caller closes, -ETIMEDOUT, or a negative errno of
 * connect(2).
 */
int client_connect(const char *path, uint64_t deadline_usec);

/*
 * Sends bytes[0..length) until the deadline. Returns 0, -ETIMEDOUT, or a negative errno of send(2).
 */
int client_send(int fd, uint64_t deadline_usec, const char *bytes, size_t length);

/*
 * Receives up to size bytes, as soon as some are there. Returns how many, 0 if the peer has closed
 * the connection, -ETIMEDOUT, or a negative errno of recv(2).
 */
ssize_t client_receive(int fd, uint64_t deadline_usec, char *buffer, size_t size);

/*
 * Sends the request and receives the reply up to an LF (unless it has several lines), the end of
 * the connection, or the end of buffer[0..size). Returns how many bytes came, even if the peer
 * closed the connection early; -ETIMEDOUT, or a negative errno of send(2) or recv(2).
 */
ssize_t client_exchange(int fd, uint64_t deadline_usec, const char *request, size_t length,
                        bool has_lines, char *buffer, size_t size);
