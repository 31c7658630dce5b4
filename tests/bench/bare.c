/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limit: a server that does nothing but accept, receive, send and close, and so is as fast as
 * its socket. What exim-quotad costs is measured against it.
 *
 *     bare SOCKET THREADS
 *
 * Each of the threads accepts by itself, and answers every request with "500\n", the answer that
 * the benchmark expects of the mailboxes that it makes. Whoever started it ends it by a signal. Its
 * status is 1 if it could not serve, 2 if it was called wrongly.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXIT_USAGE 2

#define BACKLOG           4096
#define THREADS_MAX       64
#define REQUEST_BYTES_MAX 8192

static const char answer[] = "500\n";

__attribute__((noreturn)) static void fail(const char *what, int error)
{
    fprintf(stderr, "bare: %s: %s\n", what, strerror(error));
    exit(EXIT_FAILURE);
}

/* Says whether the error of accept4() is that of one client alone. */
static bool is_of_the_client(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO;
}

/* A client that goes away has its reasons, and its own end to complain about it. */
static void converse(int fd)
{
    char request[REQUEST_BYTES_MAX];

    if (recv(fd, request, sizeof(request), 0) > 0)
        (void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
    close(fd);
}

static void *serve(void *userdata)
{
    const int *listen_fd = userdata;

    for (;;) {
        int fd = accept4(*listen_fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            converse(fd);
        else if (!is_of_the_client(errno))
            fail("accept", errno);
    }
    return NULL;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        fail(path, ENAMETOOLONG);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0)
        fail(path, errno);
    return fd;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    long threads = argc == 3 ? strtol(argv[2], &end, 10) : 0;
    int listen_fd;

    if (threads < 1 || threads > THREADS_MAX || *end) {
        fprintf(stderr, "usage: bare SOCKET THREADS (1 to %d)\n", THREADS_MAX);
        return EXIT_USAGE;
    }
    listen_fd = listen_at(argv[1]);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        int error = pthread_create(&thread, NULL, serve, &listen_fd);

        if (error != 0)
            fail("a thread", error);
    }
    serve(&listen_fd);
}
