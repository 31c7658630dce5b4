/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limit on file descriptors, and how many connections it allows.
 */
#pragma once

#include <stddef.h>

#include "config/settings.h"
#include "system/journal.h"

/*
 * Raises the limit on descriptors to what the settings need. Returns how many connections there may
 * be; if that is fewer than the settings say, it is logged. Some descriptors are reserved, since
 * otherwise connections could use them all, and no mailbox could be opened.
 */
size_t descriptors_raise_limit(const struct settings *settings, struct journal *journal);
