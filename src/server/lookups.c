/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/lookups.h"

void lookups_add(struct lookups *lookups, bool found)
{
    unsigned int at = (unsigned int)(lookups->total % LOOKUPS_WINDOW);
    uint8_t *byte = &lookups->missed[at / 8];
    uint8_t bit = (uint8_t)(1U << at % 8);

    if (*byte & bit)
        lookups->window_missed--;
    if (found)
        *byte &= (uint8_t)~bit;
    else
        *byte |= bit;
    lookups->window_missed += !found;
    lookups->total++;
    lookups->found += found;
}

bool lookups_fail(const struct lookups *lookups)
{
    if (lookups->found == 0)
        return lookups->total > 0;
    return lookups->total >= LOOKUPS_WINDOW && lookups->window_missed > LOOKUPS_WINDOW / 2;
}
