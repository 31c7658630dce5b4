/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/devices.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/sysmacros.h>

#include "system/cleanup.h"

static bool is_anonymous(dev_t device)
{
    return major(device) == 0;
}

/* Forgets what is anonymous, if mounts have changed since this was called last. */
static void check_mounts(struct devices *devices)
{
    struct pollfd mounts = {.fd = devices->mounts_fd, .events = POLLPRI};

    if (poll(&mounts, 1, 0) == 0)
        return;
    devices->changes++;
    for (size_t i = 0; i < devices->count; i++)
        if (is_anonymous(devices->known[i].device))
            devices->known[i].kind = FILESYSTEM_UNKNOWN;
}

void devices_init(struct devices *devices)
{
    *devices = (struct devices){
        .mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC),
    };
}

void devices_deinit(struct devices *devices)
{
    closep(&devices->mounts_fd);
}

enum filesystem_kind devices_kind(struct devices *devices, dev_t device)
{
    for (size_t i = 0; i < devices->count; i++) {
        if (devices->known[i].device != device)
            continue;
        if (is_anonymous(device))
            check_mounts(devices);
        return devices->known[i].kind;
    }
    return FILESYSTEM_UNKNOWN;
}

uint64_t devices_changes(struct devices *devices)
{
    check_mounts(devices);
    return devices->changes;
}

void devices_learn(struct devices *devices, dev_t device, enum filesystem_kind kind,
                   uint64_t changes)
{
    size_t i = 0;

    if (is_anonymous(device) && (devices->mounts_fd < 0 || devices_changes(devices) != changes))
        return;
    while (i < devices->count && devices->known[i].device != device)
        i++;
    if (i == DEVICES_MAX) {
        i = devices->next;
        devices->next = (devices->next + 1) % DEVICES_MAX;
    } else if (i == devices->count) {
        devices->count++;
    }
    devices->known[i].device = device;
    devices->known[i].kind = kind;
}
