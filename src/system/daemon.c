/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "system/cleanup.h"

/* Waits until the child is ready or has ended. */
static void wait_and_exit(int fd) __attribute__((noreturn));

static void wait_and_exit(int fd)
{
    char byte;
    ssize_t n;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    _exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int daemon_fork(struct daemon *ret)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid < 0) {
        int error = -errno;

        close(fds[0]);
        close(fds[1]);
        return error;
    }
    if (pid > 0) {
        close(fds[1]);
        wait_and_exit(fds[0]);
    }
    close(fds[0]);
    ret->ready_fd = fds[1];
    ret->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return ret->null_fd < 0 ? -errno : 0;
}

int daemon_ready(struct daemon *daemon)
{
    _cleanup_(closep) int null_fd = steal_fd(&daemon->null_fd);

    if (daemon->ready_fd < 0)
        return 0;
    if (setsid() < 0 || chdir("/") < 0)
        return -errno;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (dup2(null_fd, fd) < 0)
            return -errno;
    if (write(daemon->ready_fd, "", 1) < 0)
        return -errno;
    (void)close(steal_fd(&daemon->ready_fd));
    return 0;
}
