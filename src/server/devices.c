/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/devices.h"

enum filesystem_kind devices_kind(const struct devices *devices, dev_t device)
{
    for (size_t i = 0; i < devices->count; i++)
        if (devices->known[i].device == device)
            return devices->known[i].kind;
    return FILESYSTEM_UNKNOWN;
}

void devices_learn(struct devices *devices, dev_t device, enum filesystem_kind kind)
{
    size_t i = 0;

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
