/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "system/cleanup.h"

/* Writes the address of the socket at path. Returns its length, or 0 where it is none. */
static socklen_t make_address(const char *path, struct sockaddr_un *address)
{
    size_t length = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || length >= sizeof(address->sun_path))
        return 0;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@')
        address->sun_path[0] = '\0'; /* a name in the abstract namespace, which no NUL ends */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

int notify(const char *format, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    _cleanup_(freep) char *state = NULL;
    _cleanup_(closep) int fd = -1;
    struct sockaddr_un address = {};
    socklen_t address_length;
    va_list arguments;
    int length;

    if (!path)
        return 0;
    address_length = make_address(path, &address);
    if (address_length == 0)
        return -EINVAL;
    va_start(arguments, format);
    length = vasprintf(&state, format, arguments);
    va_end(arguments);
    if (length < 0) {
        state = NULL;
        return -ENOMEM;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL,
                         (const struct sockaddr *)&address, address_length) < 0)
        return -errno;
    return 1;
}
