/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When messages arrived, by their names: delivery agents begin a name with the time, in seconds
 * since the epoch, and a dot. Of a name that does not, the file's time of modification is taken.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Returns whether a message in the `new` or `cur` of the directory that mailbox_fd is open on
 * (O_PATH suffices) arrived later than that time; false if they cannot be read. May wait.
 */
bool arrivals_after(int mailbox_fd, uint64_t sec);
