/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "quota/inode_set.h"
#include "system/cleanup.h"

/* Returns the character after the one at name, which may have several bytes (UTF-8). */
static const char *next_character(const char *name)
{
    do
        name++;
    while ((*name & 0xC0) == 0x80);
    return name;
}

bool folder_pattern_matches(const char *pattern, const char *name)
{
    const char *star = NULL,
               *rest = NULL; /* the last `*`, and what of name it does not stand for */

    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            rest = name;
        } else if (*pattern == '?') {
            pattern++;
            name = next_character(name);
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++rest;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

const char *folder_excluded_by(const struct maildir_options *options, const char *path)
{
    bool has_dot = options->layout == MAILDIR_LAYOUT_MAILDIRPP && *path == '.';

    for (size_t i = 0; i < options->exclude_folders_count; i++)
        if (folder_pattern_matches(options->exclude_folders[i], path + has_dot))
            return options->exclude_folders[i];
    return NULL;
}

/* Adds a folder, as excluded if its name is. */
static int add_folder(struct folder_list *list, const struct maildir_options *options,
                      enum folder_kind kind, const char *path)
{
    if (folder_excluded_by(options, path))
        kind = kind == FOLDER_COUNTED_LINKED ? FOLDER_EXCLUDED_LINKED : FOLDER_EXCLUDED;
    return folder_list_add(list, kind, path);
}

static bool is_part(const char *name)
{
    return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int folders_add_maildirpp(struct entries *entries, int fd, const struct maildir_options *options,
                          struct folder_list *list)
{
    const struct dirent64 *entry;

    entries_begin(entries);
    while ((entry = entries_next(entries, fd))) {
        const char *name = entry->d_name;
        int type, r = 0;

        if (is_part(name) || (name[0] == '.' && (name[1] == '.' || name[1] == '\0')))
            continue;
        type = entries_type(entry, fd);
        if (type < 0)
            return type;
        if (name[0] != '.')
            r = type == DT_DIR ? folder_list_add(list, FOLDER_PLAIN, name) : 0;
        else if (type == DT_DIR || type == DT_LNK)
            r = add_folder(list, options, type == DT_DIR ? FOLDER_COUNTED : FOLDER_COUNTED_LINKED,
                           name);
        if (r < 0)
            return r;
    }
    return entries->error;
}

struct search {
    const struct maildir_access *access;
    struct entries *entries;
    const struct maildir_options *options;
    bool strays;              /* in Maildir++ */
    struct folder_list queue; /* FOLDER_PLAIN, linked or not: to be searched, or done */
    struct inode_set seen;    /* directories that were searched */
    struct folder_list *list;
};

static void search_done(struct search *search)
{
    folder_list_done(&search->queue);
    inode_set_done(&search->seen);
}

/* Returns 1 if the directory open on fd has a directory of that name, or a link; 0 or -errno. */
static int has_part(int fd, const char *name)
{
    struct stat st;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode);
}

/* Adds an entry of the directory path to the queue. */
static int search_add_entry(struct search *search, const char *path, bool linked, int fd,
                            const struct dirent64 *entry)
{
    char text[PATH_MAX];
    int type;

    if (is_dots(entry->d_name) || is_part(entry->d_name))
        return 0;
    type = entries_type(entry, fd);
    if (type < 0)
        return type;
    if (type != DT_DIR && (type != DT_LNK || search->strays))
        return 0;
    if (!maildir_access_join(search->access, path, entry->d_name, text))
        return 0;
    return folder_list_add(&search->queue,
                           linked || type == DT_LNK ? FOLDER_PLAIN_LINKED : FOLDER_PLAIN, text);
}

/* Searches the directory path ("": the mailbox), which is open on fd, unless that was done. */
static int search_directory(struct search *search, const char *path, bool linked, int fd)
{
    const struct dirent64 *entry;
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return -errno;
    r = inode_set_add(&search->seen, st.st_dev, st.st_ino);
    if (r <= 0)
        return r;
    entries_begin(search->entries);
    while ((entry = entries_next(search->entries, fd))) {
        r = search_add_entry(search, path, linked, fd, entry);
        if (r < 0)
            return r;
    }
    return search->entries->error == -ENOENT ? 0 : search->entries->error;
}

static int search_entry(struct search *search, const char *entry)
{
    const struct maildir_count before = *search->access->count;
    bool linked = folder_entry_is_linked(entry);
    enum folder_kind kind = linked ? FOLDER_COUNTED_LINKED : FOLDER_COUNTED;
    _cleanup_(closep) int fd = -1;
    char path[PATH_MAX];
    int is_folder, r = 0;

    (void)stpcpy(path, folder_entry_path(entry)); /* the queue may move as it grows */
    fd =
        maildir_access_directory(search->access, search->access->fd, path, path, O_RDONLY, &linked);
    if (fd == -ENOENT && folder_excluded_by(search->options, path))
        *search->access->count = before; /* it is excluded anyway */
    if (fd == -ENOENT || (fd == -EACCES && search->strays))
        return 0;
    if (fd < 0)
        return fd;
    is_folder = has_part(fd, "cur");
    if (is_folder == 0 && !search->strays)
        is_folder = has_part(fd, "new");
    if (is_folder < 0)
        return is_folder == -EACCES && search->strays ? 0 : is_folder;
    if (is_folder)
        r = add_folder(search->list, search->options, search->strays ? FOLDER_STRAY : kind, path);
    if (r < 0 || (search->strays && !is_folder))
        return r;
    return search_directory(search, path, linked, fd);
}

/* Searches all of the queue, which may grow meanwhile; links come last. */
static int search_run(struct search *search)
{
    for (int linked = 0; linked < 2; linked++) {
        size_t size;

        for (size_t i = 0; i < search->queue.length; i += size) {
            const char *entry = search->queue.text + i;
            int r;

            size = folder_entry_size(entry);
            if (folder_entry_is_linked(entry) != linked)
                continue;
            r = search_entry(search, entry);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int folders_add_strays(const struct maildir_access *access, struct entries *entries,
                       const struct maildir_options *options, struct folder_list *list)
{
    _cleanup_(search_done) struct search search = {
        .access = access,
        .entries = entries,
        .options = options,
        .strays = true,
        .queue = {.bytes_max = list->bytes_max},
        .list = list,
    };
    const char *entry = list->text;

    for (size_t i = 0; i < list->count; i++, entry += folder_entry_size(entry)) {
        int r = folder_entry_kind(entry) == FOLDER_PLAIN
                    ? folder_list_add(&search.queue, FOLDER_PLAIN, folder_entry_path(entry))
                    : 0;

        if (r < 0)
            return r;
    }
    return search_run(&search);
}

int folders_add_fs(const struct maildir_access *access, struct entries *entries, int fd,
                   const struct maildir_options *options, struct folder_list *list)
{
    _cleanup_(search_done) struct search search = {
        .access = access,
        .entries = entries,
        .options = options,
        .queue = {.bytes_max = list->bytes_max},
        .list = list,
    };
    int r = search_directory(&search, "", false, fd);

    return r < 0 ? r : search_run(&search);
}
