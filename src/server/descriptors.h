/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file descriptors of the service: how many there are for connections.
 */
#pragma once

#include <stddef.h>

#include "server/settings.h"
#include "system/journal.h"

/*
 * Raises the limit on descriptors to what the connections need. Returns how many connections there
 * may be: if they could take every descriptor, no mailbox could be opened any more.
 */
size_t descriptors_raise_limit(const struct settings *settings, struct journal *journal);
