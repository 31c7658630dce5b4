/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "quota/budget.h"
#include "quota/entries.h"
#include "quota/folders.h"
#include "quota/inode_set.h"
#include "quota/maildir_access.h"
#include "quota/size.h"
#include "system/cleanup.h"
#include "system/confine.h"
#include "system/utf8.h"

static const char *const part_names[MAILDIR_PARTS] = {[MAILDIR_CUR] = "cur", [MAILDIR_NEW] = "new"};

/* Numbers of messages, and what is in them. Both saturate at SIZE_BYTES_MAX. */
struct sums {
    uint64_t bytes;
    uint64_t messages;
};

/* Messages that appear twice are found among the first this many of a directory. */
#define MET_MAX 131072

struct counter {
    struct maildir_access access;
    const struct maildir_options *options;
    struct entries entries;
    struct inode_set seen; /* each `cur` and `new` that was counted, or is excluded */
    bool is_unsteady;      /* the sums of the directory read last may change without it */
    struct inode_set met;  /* names and inodes in a directory that is read again */
    struct sums twice;     /* messages that appeared with other flags before */
    bool is_second;        /* a directory is being read again */
    struct maildir_count count;
};

/* Where a `cur` or `new` is. */
struct location {
    enum maildir_part part;
    int fd;           /* the mailbox, or the folder where that is open */
    const char *name; /* the path from there */
    const char *path; /* the path from the mailbox */
};

/* Takes the stamp of what name leads to from fd (the file open there, if name is empty). */
static int stamp_get(int fd, const char *name, struct stamp *ret)
{
    struct statx st;

    if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC,
              STATX_TYPE | STAMP_STATX_MASK, &st) < 0)
        return -errno;
    *ret = stamp_from_statx(&st);
    return 0;
}

static dev_t stamp_device(const struct stamp *stamp)
{
    return makedev(stamp->device_major, stamp->device_minor);
}

/*
 * Asks the file system for the size of a message. Only that of a regular file never changes; else
 * the sums are unsteady. Returns 1, 0 if there is no such message (any more), or a negative errno.
 */
static int message_stat(struct counter *counter, const char *path, int fd, const char *name,
                        uint64_t *ret_bytes)
{
    _cleanup_(closep) int target_fd = -1;
    struct stat st;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        counter->is_unsteady = true;
    if (S_ISLNK(st.st_mode)) {
        target_fd = maildir_access_link(&counter->access, path, name);
        if (target_fd < 0)
            return target_fd == -ENOENT ? 0 : target_fd;
        if (fstat(target_fd, &st) < 0)
            return -errno;
    }
    *ret_bytes = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return 1;
}

/*
 * Notes a message of a directory that is read again. Two with the same inode and the same name up
 * to the flags are one message, whose flags have changed meanwhile.
 */
static int note_met(struct counter *counter, const struct dirent64 *entry, uint64_t bytes)
{
    static const struct hash_key key = {}; /* who names his own messages alike gains nothing */
    uint64_t name;
    int r;

    if (!counter->is_second || counter->met.table.count >= MET_MAX)
        return 0;
    name = hash_bytes(&key, entry->d_name, strcspn(entry->d_name, ":"));
    r = inode_set_add(&counter->met, name >> 1, entry->d_ino); /* a set of pairs of numbers */
    if (r == 0) {
        counter->twice.bytes = size_add(counter->twice.bytes, bytes);
        counter->twice.messages++;
    }
    return r < 0 ? r : 0;
}

static int directory_add(struct maildir_directory *directory, struct counter *counter,
                         const char *path, int fd, const struct dirent64 *entry)
{
    const char *name = entry->d_name;
    uint64_t bytes;

    if (!maildir_size_from_name(name, counter->options->size_tag, &bytes)) {
        int r = message_stat(counter, path, fd, name, &bytes);

        if (r <= 0)
            return r;
        counter->count.files_stat++;
    }
    counter->count.files_counted++;
    directory->bytes = size_add(directory->bytes, bytes);
    directory->messages = size_add(directory->messages, 1);
    return note_met(counter, entry, bytes);
}

static int directory_sum(struct maildir_directory *directory, struct counter *counter,
                         const char *path, int fd)
{
    const struct dirent64 *entry;

    counter->is_unsteady = false;
    counter->twice = (struct sums){};
    inode_set_done(&counter->met);
    entries_begin(&counter->entries);
    while ((entry = entries_next(&counter->entries, fd))) {
        int r = 0;

        if (entry->d_name[0] != '.')
            r = directory_add(directory, counter, path, fd, entry);
        if (r < 0)
            return r;
    }
    return counter->entries.error;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The result of reading a directory, unless it is an error. */
enum read_result {
    READ_DONE,
    READ_UNSURE, /* read, but messages may have appeared twice */
    READ_SEEN,   /* not read, since it is counted by another name */
};

/*
 * Reads a directory that is open on fd, whose stamp was just taken. It is not cached if it changed
 * meanwhile. Returns a read_result or a negative errno.
 */
static int directory_read_open(struct maildir_directory *directory, struct counter *counter,
                               const struct location *location, int fd, int64_t read_sec)
{
    struct stamp after;
    bool is_settled;
    int r;

    r = directory_sum(directory, counter, location->path, fd);
    if (r < 0)
        return r;
    r = stamp_get(fd, "", &after);
    if (r < 0)
        return r;
    is_settled = stamp_equal(&directory->stamp, &after) && stamp_is_settled(&after, read_sec);
    if (is_settled && !counter->is_unsteady)
        directory->state = MAILDIR_CACHED;
    /* Messages get another name when their flags change, which they have in `cur` alone. */
    if (is_settled || location->part == MAILDIR_NEW)
        return READ_DONE;
    directory->bytes -= least(directory->bytes, counter->twice.bytes);
    directory->messages -= least(directory->messages, counter->twice.messages);
    return READ_UNSURE;
}

/* Reads a directory once, unless it is cached. Returns a read_result or a negative errno. */
static int directory_try(struct maildir_directory *directory, struct counter *counter,
                         const struct location *location)
{
    const struct maildir_directory before = *directory;
    int64_t read_sec = stamp_now_sec();
    _cleanup_(closep) int fd = -1;
    int r;

    *directory = (struct maildir_directory){.linked = before.linked};
    fd = maildir_access_directory(&counter->access, location->fd, location->name, location->path,
                                  O_RDONLY, &directory->linked);
    r = fd < 0 ? fd : stamp_get(fd, "", &directory->stamp);
    if (r >= 0 &&
        inode_set_has(&counter->seen, stamp_device(&directory->stamp), directory->stamp.inode))
        return READ_SEEN;
    if (r >= 0 && before.state == MAILDIR_CACHED && stamp_equal(&before.stamp, &directory->stamp)) {
        *directory = before;
        counter->count.directories_cached++;
        return READ_DONE;
    }
    if (r >= 0)
        r = directory_read_open(directory, counter, location, fd, read_sec);
    if (r == -ENOENT) { /* not there, left out, or removed while it was read */
        *directory = (struct maildir_directory){
            .state = MAILDIR_ABSENT,
            .linked = directory->linked,
        };
        return READ_DONE;
    }
    if (r >= 0)
        counter->count.directories_read++;
    return r;
}

/*
 * Reads a directory. If a server has forgotten it (ESTALE), or if the result is unsure, it is read
 * a second time; of two unsure results, the lesser counts.
 */
static int directory_read(struct maildir_directory *directory, struct counter *counter,
                          const struct location *location)
{
    const struct maildir_count before = counter->count;
    struct maildir_directory first;
    int r = directory_try(directory, counter, location), again;

    if (r != -ESTALE && r != READ_UNSURE)
        return r;
    first = *directory;
    counter->count = before;
    counter->is_second = true;
    again = directory_try(directory, counter, location);
    counter->is_second = false;
    if (r == READ_UNSURE && again == READ_UNSURE) {
        directory->bytes = least(first.bytes, directory->bytes);
        directory->messages = least(first.messages, directory->messages);
    }
    return again;
}

/* Returns whether what is cached of a directory is still true, if there are no links to it. */
static bool directory_is_current(const struct maildir_directory *directory,
                                 const struct location *location)
{
    struct stamp now;
    int r;

    if (directory->state == MAILDIR_UNKNOWN || directory->linked)
        return false;
    r = stamp_get(location->fd, location->name, &now);
    if (directory->state == MAILDIR_ABSENT)
        return r == -ENOENT || r == -ENOTDIR;
    return r == 0 && stamp_equal(&directory->stamp, &now);
}

/*
 * Adds a directory to the sums, and reads it if it has changed. Returns 1, 0 if there is none or it
 * counts by another name, or a negative errno.
 */
static int directory_count(struct maildir_directory *directory, struct counter *counter,
                           const struct location *location, struct sums *sums)
{
    bool is_current;
    int r = budget_spend(counter->options->budget);

    if (r < 0)
        return r;
    is_current = directory_is_current(directory, location);
    if (!is_current) {
        r = directory_read(directory, counter, location);
        if (r == READ_SEEN || r < 0)
            return r < 0 ? r : 0;
    }
    if (directory->state == MAILDIR_ABSENT)
        return 0;
    r = inode_set_add(&counter->seen, stamp_device(&directory->stamp), directory->stamp.inode);
    if (r <= 0)
        return r;
    if (is_current)
        counter->count.directories_cached++;
    sums->bytes = size_add(sums->bytes, directory->bytes);
    sums->messages = size_add(sums->messages, directory->messages);
    return 1;
}

/* Makes sure that an excluded directory does not count by another name either. */
static int directory_exclude(struct counter *counter, const struct location *location)
{
    struct stamp stamp;

    if (stamp_get(location->fd, location->name, &stamp) < 0)
        return 0; /* it is not there, or cannot be read by any name */
    return inode_set_add(&counter->seen, stamp_device(&stamp), stamp.inode);
}

/* Adds the sums of one folder, or of the mailbox itself. */
static void note_sums(struct counter *counter, enum folder_kind kind, const char *path,
                      const struct sums *sums)
{
    struct maildir_count *count = &counter->count;

    if (kind != FOLDER_STRAY) {
        count->bytes = size_add(count->bytes, sums->bytes);
        count->messages = size_add(count->messages, sums->messages);
        return;
    }
    if (count->stray_folders++ == 0)
        (void)snprintf(count->stray_name, sizeof(count->stray_name), "%.*s",
                       (int)utf8_prefix(path, strlen(path), sizeof(count->stray_name) - 1), path);
    count->stray_bytes = size_add(count->stray_bytes, sums->bytes);
    count->stray_messages = size_add(count->stray_messages, sums->messages);
}

static bool kind_is_excluded(enum folder_kind kind)
{
    return kind == FOLDER_EXCLUDED || kind == FOLDER_EXCLUDED_LINKED;
}

/*
 * Counts the directories of a folder, or of the mailbox itself (path is ""). folder_fd is open on
 * the folder, or negative: then path leads there from the mailbox.
 */
static int parts_count(struct maildir_directory directories[static MAILDIR_PARTS],
                       struct counter *counter, enum folder_kind kind, const char *path,
                       int folder_fd)
{
    struct sums sums = {};
    bool is_there = false;

    for (enum maildir_part part = 0; part < MAILDIR_PARTS; part++) {
        char text[PATH_MAX + 8];
        const struct location location = {
            .part = part,
            .fd = folder_fd < 0 ? counter->access.fd : folder_fd,
            .name = folder_fd < 0 ? text : part_names[part],
            .path = text,
        };
        int r;

        (void)snprintf(text, sizeof(text), "%s%s%s", path, *path ? "/" : "", part_names[part]);
        r = kind_is_excluded(kind) ? directory_exclude(counter, &location)
                                   : directory_count(&directories[part], counter, &location, &sums);
        if (r < 0)
            return r;
        is_there |= r > 0;
    }
    if (is_there)
        note_sums(counter, kind, path, &sums);
    return 0;
}

static int folder_count(struct maildir_directory directories[static MAILDIR_PARTS],
                        struct counter *counter, const char *entry)
{
    const struct maildir_count before = counter->count;
    enum folder_kind kind = folder_entry_kind(entry);
    const char *path = folder_entry_path(entry);
    bool linked = folder_entry_is_linked(entry);
    _cleanup_(closep) int fd = -1;

    if (kind == FOLDER_PLAIN)
        return 0;
    /* A folder in the mailbox that is no link need not be opened to check what has changed. */
    if (linked || strchr(path, '/')) {
        fd = maildir_access_directory(&counter->access, counter->access.fd, path, path, O_PATH,
                                      &linked);
        if (fd < 0 && kind_is_excluded(kind)) {
            counter->count = before; /* it is excluded anyway */
            return 0;
        }
        if (fd < 0)
            return fd == -ENOENT ? 0 : fd;
    }
    return parts_count(directories, counter, kind, path, fd);
}

/* Returns whether the cached list of folders is still true. */
static bool mailbox_is_current(const struct counter *counter, const struct maildir_cache *cached)
{
    struct stamp now;

    return cached && stamp_get(counter->access.fd, "", &now) == 0 &&
           stamp_equal(&cached->stamp, &now);
}

/* Lists the cached folders. */
static int mailbox_recall(const struct maildir_cache *cached, struct folder_list *list)
{
    const char *entry = maildir_cache_entries(cached);

    for (size_t i = 0; i < cached->folders; i++, entry += folder_entry_size(entry)) {
        const char *path = folder_entry_path(entry);
        int r = 0;

        if (folder_entry_kind(entry) != FOLDER_STRAY && !strchr(path, '/'))
            r = folder_list_add(list, folder_entry_kind(entry), path);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Reads the folders of the mailbox. *stamp is all zero if the list must not be cached. */
static int mailbox_list(struct counter *counter, struct folder_list *list, struct stamp *stamp)
{
    const struct maildir_options *options = counter->options;
    int64_t read_sec = stamp_now_sec();
    _cleanup_(closep) int fd = -1;
    struct stamp before;
    int r;

    fd = confine_open_name(counter->access.fd, ".", O_RDONLY | O_DIRECTORY, CONFINE_ANYWHERE);
    if (fd < 0)
        return fd;
    if (options->layout == MAILDIR_LAYOUT_FS)
        return folders_add_fs(&counter->access, &counter->entries, fd, options, list);
    r = stamp_get(fd, "", &before);
    if (r < 0)
        return r;
    r = folders_add_maildirpp(&counter->entries, fd, options, list);
    if (r < 0 && r != -ENOENT) /* a mailbox that is removed meanwhile has no folders */
        return r;
    r = stamp_get(fd, "", stamp);
    if (r < 0)
        return r;
    if (!stamp_equal(&before, stamp) || !stamp_is_settled(stamp, read_sec))
        *stamp = (struct stamp){};
    counter->count.directories_read++;
    return 0;
}

/* Updates the list of folders, once. */
static int mailbox_try(struct counter *counter, struct maildir_cache **cached)
{
    _cleanup_(folder_list_done) struct folder_list list = folder_list_for(counter->options->budget);
    struct maildir_cache *fresh;
    struct stamp stamp = {};
    int r;

    if (mailbox_is_current(counter, *cached)) {
        counter->count.directories_cached++;
        if (!(*cached)->has_plain)
            return 0;
        stamp = (*cached)->stamp;
        r = mailbox_recall(*cached, &list);
    } else {
        r = mailbox_list(counter, &list, &stamp);
    }
    if (r == 0)
        r = folders_add_strays(&counter->access, &counter->entries, counter->options, &list);
    if (r == 0)
        r = maildir_cache_new(&list, *cached, &fresh);
    if (r < 0)
        return r;
    fresh->stamp = stamp;
    maildir_cache_free(*cached);
    *cached = fresh;
    return 0;
}

/* Updates the list of folders, in a second attempt if a server has forgotten something. */
static int mailbox_refresh(struct counter *counter, struct maildir_cache **cached)
{
    const struct maildir_count before = counter->count;
    int r = mailbox_try(counter, cached);

    if (r != -ESTALE)
        return r;
    counter->count = before;
    return mailbox_try(counter, cached);
}

static int mailbox_count_own(struct counter *counter, struct maildir_cache *cached)
{
    uint32_t left_out = counter->count.left_out;
    int r = parts_count(cached->directories, counter, FOLDER_COUNTED, "", -1);

    for (enum maildir_part part = 0; part < MAILDIR_PARTS; part++)
        counter->count.is_mailbox |= cached->directories[part].state != MAILDIR_ABSENT;
    counter->count.is_mailbox |= counter->count.left_out != left_out;
    return r;
}

static int mailbox_count_all(struct counter *counter, struct maildir_cache *cached)
{
    const char *entry = maildir_cache_entries(cached);
    int r;

    r = mailbox_count_own(counter, cached);
    if (r < 0)
        return r;
    for (size_t i = 0; i < cached->folders; i++, entry += folder_entry_size(entry)) {
        if (counter->options->layout == MAILDIR_LAYOUT_FS)
            counter->count.is_mailbox = true;
        r = folder_count(maildir_cache_directories(cached, i), counter, entry);
        if (r < 0)
            return r;
    }
    return 0;
}

int maildir_count(int mailbox_fd, const char *path, struct confine *confine,
                  const struct maildir_options *options, struct maildir_cache **cached,
                  struct maildir_count *ret)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *unwanted = NULL;
    struct maildir_cache **slot = cached ? cached : &unwanted;
    struct counter counter = {
        .access = {.fd = mailbox_fd,
                   .path = path,
                   .confine = confine,
                   .count = &counter.count,
                   .budget = options->budget},
        .options = options,
        .entries = {.budget = options->budget},
    };
    int r;

    r = mailbox_refresh(&counter, slot);
    if (r == 0)
        r = mailbox_count_all(&counter, *slot);
    entries_done(&counter.entries);
    inode_set_done(&counter.seen);
    inode_set_done(&counter.met);
    if (r < 0)
        return r;
    *ret = counter.count;
    return 0;
}
