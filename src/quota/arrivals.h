/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When messages arrived: delivery agents begin a name with the time, in seconds since the epoch,
 * and a dot. For other names, it is the file's time of modification.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Returns whether a message in `new` or `cur` of the mailbox (O_PATH suffices) arrived later than
 * that time; false if they cannot be read. May wait.
 */
bool arrivals_after(int mailbox_fd, uint64_t sec);
