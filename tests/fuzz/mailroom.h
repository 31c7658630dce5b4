/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mailboxes on disk for fuzz targets, in a temporary folder that is the only root. Inputs have to
 * name them, so the root has a name that never changes, whatever the folder is called.
 *
 *     joe       a Maildir with two messages and a maildirsize
 *     ann       one with two messages, of a folder and a link to a folder, without maildirsize
 *     ann/.Old  a folder
 *     bob       what is no mailbox, but for bob/.maildir, which says that it is a folder
 *     eve       an empty directory
 *     box       an mbox of 10 bytes
 *     out       a link out of the root
 *     loop      a link to itself
 */
#pragma once

#include "fuzz.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tree.h"
#include "quota/mailbox.h"
#include "system/confine.h"

#define MAILROOM    "/proc/self/fd/200"
#define MAILROOM_FD 200

static char mailroom_folder[PATH_MAX];
static struct mailbox_settings mailroom_mailbox_settings;

static inline const struct mailbox_settings *mailroom_settings(void)
{
    return &mailroom_mailbox_settings;
}

/* Writes a file anew. (Disk formats wait for the disk when a file is emptied and written.) */
static inline void mailroom_write(const char *name, const char *text, size_t length)
{
    int fd;

    (void)unlinkat(MAILROOM_FD, name, 0);
    fd = openat(MAILROOM_FD, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    require(fd >= 0);
    require(write(fd, text, length) == (ssize_t)length);
    require(close(fd) == 0);
}

static inline void mailroom_mkdir(const char *name)
{
    static const char *const leaves[] = {"", "/new", "/cur"};
    char path[64];

    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", name, leaves[i]);
        require(mkdirat(MAILROOM_FD, path, 0755) == 0);
    }
}

static inline void mailroom_remove(void)
{
    (void)tree_remove(mailroom_folder);
    confine_free(mailroom_mailbox_settings.confine);
}

/* Makes it all. It is removed when the program ends, unless that is by a crash. */
static inline void mailroom_init(void)
{
    int fd;

    require(snprintf(mailroom_folder, sizeof(mailroom_folder), "%s/quotad-XXXXXX", tree_parent()) <
            (int)sizeof(mailroom_folder));
    require(mkdtemp(mailroom_folder));
    fd = open(mailroom_folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    require(fd >= 0 && dup3(fd, MAILROOM_FD, O_CLOEXEC) == MAILROOM_FD);
    require(close(fd) == 0);
    mailroom_mkdir("joe");
    mailroom_write("joe/new/1,S=300", "", 0);
    mailroom_write("joe/cur/2,S=400:2,", "", 0);
    mailroom_write("joe/maildirsize", "1000S,10C\n700 2\n", 16);
    mailroom_mkdir("ann");
    mailroom_mkdir("ann/.Old");
    mailroom_write("ann/new/1", "0123456789", 10);
    mailroom_write("ann/.Old/cur/2,S=20:2,S", "", 0);
    mailroom_write("ann/.Old/maildirfolder", "", 0);
    require(symlinkat("../joe", MAILROOM_FD, "ann/.Joe") == 0);
    require(mkdirat(MAILROOM_FD, "bob", 0755) == 0);
    mailroom_mkdir("bob/.maildir");
    mailroom_write("bob/.maildir/maildirfolder", "", 0);
    require(mkdirat(MAILROOM_FD, "eve", 0755) == 0);
    mailroom_write("box", "0123456789", 10);
    require(symlinkat("/etc", MAILROOM_FD, "out") == 0);
    require(symlinkat("loop", MAILROOM_FD, "loop") == 0);
    require(confine_new(&mailroom_mailbox_settings.confine) == 0);
    require(confine_add_root(mailroom_mailbox_settings.confine, MAILROOM) == 0);
    require(atexit(mailroom_remove) == 0);
}
