/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many addresses led to a mailbox. That one does not is normal, since aliases have none; that
 * hardly any does means that the service looks for mailboxes where they are not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOOKUPS_WINDOW 1000

/* All zero: no address was looked up yet. */
struct lookups {
    uint64_t total;
    uint64_t found;
    unsigned int window_missed;         /* of the last LOOKUPS_WINDOW */
    uint8_t missed[LOOKUPS_WINDOW / 8]; /* a bit for each of them */
};

/* Takes in whether an address led to a mailbox. */
void lookups_add(struct lookups *lookups, bool found);

/*
 * Returns whether addresses do not lead to mailboxes: none has so far, or most of the last
 * LOOKUPS_WINDOW did not. False if there were none.
 */
bool lookups_fail(const struct lookups *lookups);
