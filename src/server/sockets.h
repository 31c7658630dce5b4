/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets for requests: those that systemd passes, one on standard input, or one that is made
 * at a path.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/protocol.h"
#include "system/journal.h"

struct own_socket;

enum sockets_origin {
    SOCKETS_SYSTEMD,
    SOCKETS_STDIN,
    SOCKETS_OWN,
};

/* One stream socket. */
struct socket_entry {
    int fd;
    bool listening; /* else it is a connection */
    enum protocol protocol;
};

struct sockets {
    enum sockets_origin origin;
    struct socket_entry *entries;
    size_t count;
    struct own_socket *own; /* of SOCKETS_OWN */
};

/* Closes and releases the sockets. */
void sockets_deinit(struct sockets *sockets);

/*
 * Takes the sockets that systemd passes (sd_listen_fds(3)). Those that are not stream sockets are
 * closed with a warning. On those whose name is `policy`, clients are Postfix.
 * Returns 1 if anything was passed, 0 if not, or a negative errno.
 */
int sockets_take_systemd(struct sockets *ret, struct journal *journal);

/* Takes the stream socket on standard input. Returns 1 if there is one, 0 if not, or -ENOMEM. */
int sockets_take_stdin(struct sockets *ret);

/*
 * Makes a socket at path, of that mode, and listens on it. A socket file on which nobody listens is
 * replaced. Returns 0, -EADDRINUSE if another process listens there, -EEXIST if it is not a socket,
 * or another negative errno.
 */
int sockets_make(const char *path, mode_t mode, struct sockets *ret);

/* Returns whether any of the sockets listens: whether there may be more than one query. */
bool sockets_listen(const struct sockets *sockets);

/* Returns whether any of the sockets listens for clients of the protocol. */
bool sockets_listen_for(const struct sockets *sockets, enum protocol protocol);

/*
 * Removes the file of the socket that sockets_make() made, unless it has been replaced. Clients in
 * the queue can still be accepted.
 */
void sockets_unlink(struct sockets *sockets);
