/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/directory.h"

#define MODE 0644

/* More than a number and its line end take. */
#define TEXT_MAX 32

struct pidfile {
    int directory_fd; /* where it is */
    char *name;       /* there */
    int fd;           /* locked */
};

/* Releases the struct and the lock, but not the file. */
static void forget(struct pidfile *pidfile)
{
    closep(&pidfile->fd);
    closep(&pidfile->directory_fd);
    free(pidfile->name);
    free(pidfile);
}

static void forgetp(struct pidfile **pidfile)
{
    if (*pidfile)
        forget(*pidfile);
}

static int open_directory(struct pidfile *pidfile, const char *path)
{
    const char *name;

    pidfile->directory_fd = directory_open_of(path, O_PATH, &name);
    if (pidfile->directory_fd < 0)
        return pidfile->directory_fd;
    if (name[0] == '\0')
        return -EINVAL;
    pidfile->name = strdup(name);
    return pidfile->name ? 0 : -ENOMEM;
}

/* Opens the file, or makes it. */
static int open_file(struct pidfile *pidfile)
{
    struct stat st;

    closep(&pidfile->fd);
    pidfile->fd = openat(pidfile->directory_fd, pidfile->name,
                         O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, MODE);
    if (pidfile->fd < 0) /* a symbolic link, a directory and a socket cannot even be opened so */
        return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EINVAL : -errno;
    if (fstat(pidfile->fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) && st.st_nlink <= 1 ? 0 : -EINVAL;
}

/* Returns 1 if the open file still has its name, 0 if it was removed or replaced, or -errno. */
static int is_named(const struct pidfile *pidfile)
{
    struct stat opened, named;

    if (fstat(pidfile->fd, &opened) < 0)
        return -errno;
    if (fstatat(pidfile->directory_fd, pidfile->name, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Reads the process id in the file. Returns it, or 0 if the file holds none. */
static pid_t read_pid(const struct pidfile *pidfile)
{
    char text[TEXT_MAX + 1];
    ssize_t n = pread(pidfile->fd, text, TEXT_MAX, 0);
    unsigned long pid;
    char *end;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    pid = strtoul(text, &end, 10);
    return *end == '\n' && pid <= INT_MAX ? (pid_t)pid : 0;
}

/*
 * Locks the file. Returns 1, 0 if it no longer has its name, -EEXIST and whose lock it is, or
 * another -errno.
 */
static int take(const struct pidfile *pidfile, pid_t *ret_other)
{
    /* The owner may have removed the file after it was opened here. */
    if (flock(pidfile->fd, LOCK_EX | LOCK_NB) == 0)
        return is_named(pidfile);
    if (errno != EWOULDBLOCK)
        return -errno;
    *ret_other = read_pid(pidfile);
    return -EEXIST;
}

static int set_length(const struct pidfile *pidfile, off_t length)
{
    return ftruncate(pidfile->fd, length) < 0 ? -errno : 0;
}

int pidfile_acquire(const char *path, struct pidfile **ret, pid_t *ret_other)
{
    _cleanup_(forgetp) struct pidfile *pidfile = malloc(sizeof(*pidfile));
    int r;

    *ret_other = 0;
    if (!pidfile)
        return -ENOMEM;
    *pidfile = (struct pidfile){.directory_fd = -1, .fd = -1};
    r = open_directory(pidfile, path);
    if (r < 0)
        return r;
    do {
        r = open_file(pidfile);
        if (r == 0)
            r = take(pidfile, ret_other);
    } while (r == 0);
    if (r < 0)
        return r;
    r = set_length(pidfile, 0);
    if (r == 0 && fchmod(pidfile->fd, MODE) < 0)
        r = -errno;
    if (r < 0) {
        pidfile_release(steal_pointer(&pidfile));
        return r;
    }
    *ret = steal_pointer(&pidfile);
    return 0;
}

int pidfile_write(struct pidfile *pidfile, pid_t pid)
{
    char text[TEXT_MAX];
    int length = snprintf(text, sizeof(text), "%d\n", (int)pid);
    ssize_t n = pwrite(pidfile->fd, text, (size_t)length, 0);
    int r = n < 0 ? -errno : n < length ? -ENOSPC : 0;
    /* Part of a number would be another number. */
    int s = set_length(pidfile, r < 0 ? 0 : length);

    return r < 0 ? r : s;
}

void pidfile_release(struct pidfile *pidfile)
{
    if (!pidfile)
        return;
    if (is_named(pidfile) > 0 && unlinkat(pidfile->directory_fd, pidfile->name, 0) < 0)
        (void)set_length(pidfile, 0);
    forget(pidfile);
}
