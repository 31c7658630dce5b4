/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/directory.h"

/* As many as the kernel allows (net.core.somaxconn). */
#define BACKLOG 4096

/* The file of a socket that we made, in its directory. */
struct own_socket {
    int directory_fd;
    char *name;
    dev_t device;
    ino_t inode;
};

static void own_socket_free(struct own_socket *own)
{
    if (!own)
        return;
    closep(&own->directory_fd);
    free(own->name);
    free(own);
}

DEFINE_FREEP(own_socket)

void sockets_deinit(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        closep(&sockets->entries[i].fd);
    free(sockets->entries);
    own_socket_free(sockets->own);
    *sockets = (struct sockets){};
}

static int add(struct sockets *sockets, int fd, bool listening, enum protocol protocol)
{
    struct socket_entry *entries =
        reallocarray(sockets->entries, sockets->count + 1, sizeof(*entries));

    if (!entries)
        return -ENOMEM;
    sockets->entries = entries;
    sockets->entries[sockets->count++] = (struct socket_entry){fd, listening, protocol};
    return 0;
}

/* Returns 1 if fd is a stream socket and listens, 0 if it is a connection, or -ENOTSOCK. */
static int stream_socket_listens(int fd)
{
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0)
        return 1;
    return sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 0) > 0 ? 0 : -ENOTSOCK;
}

static int take_passed(struct sockets *sockets, int fd, const char *name, struct journal *journal)
{
    bool policy = strcmp(name, "policy") == 0;
    int listens = stream_socket_listens(fd);

    if (listens >= 0)
        return add(sockets, fd, listens > 0, policy ? PROTOCOL_POLICY : PROTOCOL_LINE);
    journal_log(journal, LOG_WARNING,
                "closed descriptor %d, \"%s\", that systemd passed: it is not a stream socket", fd,
                name);
    closep(&fd);
    return 0;
}

int sockets_take_systemd(struct sockets *ret, struct journal *journal)
{
    _cleanup_(sockets_deinit) struct sockets sockets = {.origin = SOCKETS_SYSTEMD};
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    int r = 0;

    if (count <= 0)
        return count;
    for (int i = 0; i < count; i++) {
        if (r >= 0)
            r = take_passed(&sockets, SD_LISTEN_FDS_START + i, names ? names[i] : "", journal);
        if (names)
            free(names[i]);
    }
    free(names);
    if (r < 0)
        return r;
    *ret = sockets;
    sockets = (struct sockets){};
    return 1;
}

int sockets_take_stdin(struct sockets *ret)
{
    struct sockets sockets = {.origin = SOCKETS_STDIN};
    int listens = stream_socket_listens(STDIN_FILENO);
    int r;

    if (listens < 0)
        return 0;
    r = add(&sockets, STDIN_FILENO, listens > 0, PROTOCOL_LINE);
    if (r < 0)
        return r;
    *ret = sockets;
    return 1;
}

static int open_directory_of(const char *path, struct own_socket *own)
{
    const char *name;

    own->directory_fd = directory_open_of(path, O_RDONLY, &name);
    if (own->directory_fd < 0)
        return own->directory_fd;
    own->name = strdup(name);
    return own->name ? 0 : -ENOMEM;
}

/* Removes a socket file on which nobody answers. Returns 0 if the path is free now. */
static int remove_dead(const struct own_socket *own, const struct sockaddr_un *address)
{
    _cleanup_(closep) int fd = -1;
    struct stat st;

    if (fstatat(own->directory_fd, own->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* Anything but a refusal, such as a full queue, means that somebody listens. */
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
        errno != ECONNREFUSED)
        return -EADDRINUSE;
    if (unlinkat(own->directory_fd, own->name, 0) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

static int make_bound(const struct sockaddr_un *address, mode_t mode)
{
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask;
    int r;

    if (fd < 0)
        return -errno;
    /* The file gets the descriptor's mode from the start. */
    if (fchmod(fd, mode) < 0)
        return -errno;
    mask = umask(0);
    r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
    umask(mask);
    return r < 0 ? r : steal_fd(&fd);
}

/* Listens on fd, whose file was just made. */
static int listen_on(struct sockets *sockets, struct own_socket *own, int fd)
{
    struct stat st;

    if (listen(fd, BACKLOG) < 0 ||
        fstatat(own->directory_fd, own->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    own->device = st.st_dev;
    own->inode = st.st_ino;
    return add(sockets, fd, true, PROTOCOL_LINE);
}

/* Makes the socket, or leaves no file. */
static int make_own(struct sockets *sockets, struct own_socket *own,
                    const struct sockaddr_un *address, mode_t mode)
{
    _cleanup_(closep) int fd = -1;
    int r = remove_dead(own, address);

    if (r < 0)
        return r;
    fd = make_bound(address, mode);
    if (fd < 0)
        return fd;
    r = listen_on(sockets, own, fd);
    if (r < 0)
        (void)unlinkat(own->directory_fd, own->name, 0);
    else
        (void)steal_fd(&fd);
    return r;
}

int sockets_make(const char *path, mode_t mode, struct sockets *ret)
{
    _cleanup_(own_socket_freep) struct own_socket *own = calloc(1, sizeof(*own));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockets sockets = {.origin = SOCKETS_OWN};
    int r;

    if (!own)
        return -ENOMEM;
    own->directory_fd = -1;
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    r = open_directory_of(path, own);
    if (r < 0)
        return r;
    /* Of two that start at once, neither removes the other's socket. */
    if (flock(own->directory_fd, LOCK_EX) < 0)
        return -errno;
    r = make_own(&sockets, own, &address, mode);
    (void)flock(own->directory_fd, LOCK_UN);
    if (r < 0)
        return r;
    sockets.own = steal_pointer(&own);
    *ret = sockets;
    return 0;
}

bool sockets_listen(const struct sockets *sockets)
{
    return sockets_listen_for(sockets, PROTOCOL_LINE) ||
           sockets_listen_for(sockets, PROTOCOL_POLICY);
}

bool sockets_listen_for(const struct sockets *sockets, enum protocol protocol)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->entries[i].listening && sockets->entries[i].protocol == protocol)
            return true;
    return false;
}

void sockets_unlink(struct sockets *sockets)
{
    struct stat st;

    if (!sockets->own)
        return;
    if (fstatat(sockets->own->directory_fd, sockets->own->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == sockets->own->device && st.st_ino == sockets->own->inode)
        (void)unlinkat(sockets->own->directory_fd, sockets->own->name, 0);
}
