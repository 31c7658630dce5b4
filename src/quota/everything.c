/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/everything.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "quota/entries.h"
#include "quota/folder_list.h"
#include "quota/inode_set.h"
#include "quota/maildir_access.h"
#include "quota/size.h"
#include "system/cleanup.h"
#include "system/confine.h"

/* Messages move from the last of these to the first, so they are read in this order. */
static const char *const parts[] = {"cur", "new", "tmp"};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

struct everything {
    struct maildir_access access;
    struct entries entries;
    struct inode_set seen;    /* directories that were read */
    struct folder_list queue; /* directories that are to be read, or were */
    struct maildir_count count;
};

/* The directory that is being read. */
struct reading {
    char path[PATH_MAX];
    bool linked;
    int fd;
    char parts[PARTS]; /* what kind of directories its parts are; NUL: not there */
};

static int queue_add(struct everything *everything, const struct reading *reading,
                     enum folder_kind kind, const char *name)
{
    char path[PATH_MAX];

    if (!maildir_access_join(&everything->access, reading->path, name, path))
        return 0;
    return folder_list_add(&everything->queue, kind, path);
}

/* Adds a directory to be read later. */
static int add_directory(struct everything *everything, struct reading *reading, const char *name,
                         bool linked)
{
    enum folder_kind kind = linked || reading->linked ? FOLDER_PLAIN_LINKED : FOLDER_PLAIN;

    for (size_t i = 0; i < PARTS; i++)
        if (strcmp(name, parts[i]) == 0) {
            reading->parts[i] = (char)kind;
            return 0;
        }
    return queue_add(everything, reading, kind, name);
}

static int add_entry(struct everything *everything, struct reading *reading, const char *name)
{
    struct maildir_count *count = &everything->count;
    _cleanup_(closep) int target_fd = -1;
    bool linked;
    struct stat st;

    if (fstatat(reading->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno; /* it has just gone */
    count->messages = size_add(count->messages, 1);
    count->files_counted++;
    count->files_stat++;
    linked = S_ISLNK(st.st_mode);
    if (linked) {
        target_fd = maildir_access_link(&everything->access, reading->path, name);
        if (target_fd < 0)
            return target_fd == -ENOENT ? 0 : target_fd;
        if (fstat(target_fd, &st) < 0)
            return -errno;
    }
    if (S_ISDIR(st.st_mode))
        return add_directory(everything, reading, name, linked);
    if (S_ISREG(st.st_mode) && st.st_nlink > 0)
        count->bytes = size_add(count->bytes, (uint64_t)st.st_size / st.st_nlink);
    return 0;
}

/* Reads the directory, unless that was done by another name. */
static int read_directory(struct everything *everything, struct reading *reading)
{
    const struct dirent64 *entry;
    struct stat st;
    int r;

    if (fstat(reading->fd, &st) < 0)
        return -errno;
    r = inode_set_add(&everything->seen, st.st_dev, st.st_ino);
    if (r <= 0)
        return r;
    everything->count.directories_read++;
    entries_begin(&everything->entries);
    while ((entry = entries_next(&everything->entries, reading->fd))) {
        r = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0
                ? 0
                : add_entry(everything, reading, entry->d_name);
        if (r < 0)
            return r;
    }
    r = everything->entries.error == -ENOENT ? 0 : everything->entries.error;
    for (size_t i = 0; i < PARTS && r == 0; i++)
        if (reading->parts[i])
            r = queue_add(everything, reading, (enum folder_kind)reading->parts[i], parts[i]);
    return r;
}

static int read_queued(struct everything *everything, const char *entry)
{
    const struct maildir_access *access = &everything->access;
    struct reading reading = {.linked = folder_entry_is_linked(entry)};
    int r;

    (void)stpcpy(reading.path, folder_entry_path(entry)); /* the queue may move as it grows */
    reading.fd = maildir_access_directory(access, access->fd, reading.path, reading.path, O_RDONLY,
                                          &reading.linked);
    if (reading.fd < 0)
        return reading.fd == -ENOENT ? 0 : reading.fd;
    r = read_directory(everything, &reading);
    (void)close(reading.fd);
    return r;
}

static int read_all_directories(struct everything *everything)
{
    struct reading reading = {
        .fd =
            confine_open_name(everything->access.fd, ".", O_RDONLY | O_DIRECTORY, CONFINE_ANYWHERE),
    };
    int r;

    if (reading.fd < 0)
        return reading.fd;
    r = read_directory(everything, &reading);
    (void)close(reading.fd);
    for (size_t i = 0, size; i < everything->queue.length && r == 0; i += size) {
        const char *entry = everything->queue.text + i;

        size = folder_entry_size(entry);
        r = read_queued(everything, entry);
    }
    return r;
}

int everything_count(int directory_fd, const char *path, struct confine *confine,
                     struct budget *budget, struct maildir_count *ret)
{
    struct everything everything = {
        .access = {directory_fd, path, confine, &everything.count, budget},
        .entries = {.budget = budget},
        .queue = folder_list_for(budget),
        .count = {.is_mailbox = true},
    };
    int r = read_all_directories(&everything);

    entries_done(&everything.entries);
    inode_set_done(&everything.seen);
    folder_list_done(&everything.queue);
    if (r < 0)
        return r;
    *ret = everything.count;
    return 0;
}
