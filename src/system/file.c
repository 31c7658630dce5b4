/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/cleanup.h"

static int fail(char *error, int error_number, const char *what)
{
    errno = error_number;
    (void)snprintf(error, FILE_ERROR_BYTES_MAX, "%s: %m", what);
    return -error_number;
}

/*
 * Opens path if it is a regular file of a size that we take. Returns a descriptor and the size, or
 * a negative errno.
 */
static int open_file(const char *path, size_t bytes_max, size_t *ret_length, char *error)
{
    _cleanup_(closep) int fd = -1;
    struct stat status;

    /* O_NONBLOCK: a FIFO is refused below, and must not keep us waiting here. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return fail(error, errno, "cannot be opened");
    if (fstat(fd, &status) < 0)
        return fail(error, errno, "cannot be examined");
    if (!S_ISREG(status.st_mode)) {
        (void)snprintf(error, FILE_ERROR_BYTES_MAX, "is not a regular file");
        return -EINVAL;
    }
    if ((uint64_t)status.st_size > bytes_max) {
        (void)snprintf(error, FILE_ERROR_BYTES_MAX, "is larger than %zu MiB", bytes_max >> 20);
        return -EFBIG;
    }
    *ret_length = (size_t)status.st_size;
    return steal_fd(&fd);
}

/* Reads until the end of the file or until buffer[0..size) is full. Returns 0 and the length. */
static int read_all(int fd, char *buffer, size_t size, size_t *ret_length)
{
    size_t used = 0;

    while (used < size) {
        ssize_t got = read(fd, buffer + used, size - used);

        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -errno;
        used += got > 0 ? (size_t)got : 0;
    }
    *ret_length = used;
    return 0;
}

int file_read(const char *path, size_t bytes_max, char **ret_text, size_t *ret_length,
              char error[static FILE_ERROR_BYTES_MAX])
{
    _cleanup_(closep) int fd = -1;
    _cleanup_(freep) char *text = NULL;
    size_t length = 0, got = 0;
    int r;

    fd = open_file(path, bytes_max, &length, error);
    if (fd < 0)
        return fd;
    text = malloc(length + 2);
    if (!text)
        return fail(error, ENOMEM, "cannot be held in memory");
    r = read_all(fd, text, length + 1, &got);
    if (r < 0)
        return fail(error, -r, "cannot be read");
    if (got != length) {
        (void)snprintf(error, FILE_ERROR_BYTES_MAX, "changed its size while it was read");
        return -EAGAIN;
    }
    *ret_text = steal_pointer(&text);
    *ret_length = length;
    return 0;
}
