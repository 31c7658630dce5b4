/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mailboxes of all sorts of things, by tables. */
#pragma once

#include "box.h"

#include <sys/socket.h>
#include <sys/un.h>

/*
 * Something in a mailbox. Its kind: 'd' a directory, 'm' one with new, cur and tmp, 'f' a file, 'l'
 * a link, 'p' a FIFO, 's' a socket; none at the end of a table.
 */
struct item {
    char kind;
    const char *name;
    off_t bytes;
    const char *target;
};

#define ITEMS_MAX 12

static inline void make_socket(const struct box *box, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PATH_MAX];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_return_code(fd, errno);
    assert_in_range(
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", box_path(box, name, path)), 1,
        sizeof(address.sun_path) - 1);
    assert_return_code(bind(fd, (const struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(close(fd), errno);
}

static inline void make_item(const struct box *box, const struct item *item)
{
    char path[PATH_MAX];

    switch (item->kind) {
    case 'd':
        box_mkdir(box, item->name);
        break;
    case 'm':
        box_folder(box, item->name);
        break;
    case 'f':
        box_put(box, item->name, item->bytes);
        break;
    case 'l':
        box_link(box, item->target, item->name);
        break;
    case 'p':
        assert_return_code(mkfifo(box_path(box, item->name, path), 0644), errno);
        break;
    case 's':
        make_socket(box, item->name);
        break;
    default:
        fail();
    }
}

/* Makes what a table says, which has so many lines at the most. */
static inline void make_items(const struct box *box, const struct item *items, size_t items_max)
{
    for (size_t i = 0; i < items_max && items[i].kind != '\0'; i++)
        make_item(box, &items[i]);
}
