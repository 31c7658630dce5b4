/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening a mailbox: which directory or file a path means, and what its maildirsize says. The first
 * half of mailbox_probe(), which nothing but the rules in mailbox.c calls.
 */
#pragma once

#include "quota/mailbox.h"

/*
 * Opens the mailbox at path, as mailbox_probe() says, and reads its maildirsize. With nowait it
 * never waits. Returns 0, or the negative errno of mailbox_probe(), or with nowait -EAGAIN where
 * that is not enough. *ret is to be released with mailbox_close() either way.
 */
int mailbox_open(const struct mailbox_settings *settings, struct mailbox_nowait *nowait,
                 const char *path, uint64_t now_usec, struct mailbox *ret);

/*
 * Finds out when `new` or `cur` changed last. May wait. Returns 0 and the time in microseconds
 * since the epoch, -ENOENT if one is not there (who knows when it went), -ELOOP if one is a
 * symbolic link, or the negative errno of openat(2) or statx(2).
 */
int mailbox_parts_changed(const struct mailbox *mailbox, uint64_t *ret_usec);

/*
 * Says what a directory holds that is not a mailbox. May wait. Returns 0 if that is nothing,
 * -EMEDIUMTYPE and mailbox->detail, or another negative errno.
 */
int mailbox_describe_directory(struct mailbox *mailbox);
