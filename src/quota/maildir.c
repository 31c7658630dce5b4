/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quota/hash.h"
#include "quota/names.h"
#include "quota/size.h"
#include "quota/stamp.h"
#include "system/cleanup.h"
#include "system/confine.h"

/* How much of a directory is read at once. */
#define BUFFER_BYTES ((size_t)256 * 1024)

enum directory_state {
    DIRECTORY_UNKNOWN,    /* never read, or read too soon after a change */
    DIRECTORY_ABSENT,     /* there was none, or something that is no directory */
    DIRECTORY_REMEMBERED, /* stamp and sums go together */
};

/* A `new` or `cur`. */
struct directory {
    struct stamp stamp;
    uint64_t bytes;
    uint64_t messages;
    enum directory_state state;
    bool linked;   /* a symbolic link is on the way to it */
    bool unsteady; /* its sums may change without it */
};

/* The letter before a folder's name in the memory: what it was when the mailbox was read. */
enum folder_kind {
    FOLDER_DIRECTORY = 'd',
    FOLDER_LINK = 'l',
};

/* The mailbox itself and each of its folders have two directories, read in this order. */
enum leaf {
    LEAF_NEW,
    LEAF_CUR,
    LEAVES,
};

static const char *const leaf_names[LEAVES] = {[LEAF_NEW] = "new", [LEAF_CUR] = "cur"};

struct maildir_memory {
    size_t bytes;
    size_t folders;
    struct stamp stamp;             /* of the mailbox when it was read for its folders */
    bool settled;                   /* that stamp can be trusted */
    struct directory directories[]; /* LEAVES of the mailbox, then LEAVES of each folder; behind
                                       them, for each folder in the same, sorted, order: its
                                       enum folder_kind, its name with the leading dot, NUL */
};

_Static_assert(sizeof(struct directory) == 64, "the header tells the bytes of a memory");
_Static_assert(sizeof(struct maildir_memory) == 64, "the header tells the bytes of a memory");

/* Folders met in a mailbox: entries as in the memory, one after the other, in no order. */
struct folder_list {
    char *text;
    size_t length;
    size_t capacity;
    size_t count;
};

/* Numbers of messages, and what is in them. Both saturate at SIZE_BYTES_MAX. */
struct sums {
    uint64_t bytes;
    uint64_t messages;
};

/*
 * What a count learns of a directory beside its sums, so that a message that is met under two names
 * counts once: it keeps its base name, which ends at the colon, when it goes from `new` to `cur`
 * and when its flags change.
 */
struct reading {
    bool done;          /* it was read for this count, not remembered */
    bool still;         /* while it was read it did not change, nor for some time before */
    bool collects;      /* base names are collected */
    bool is_second;     /* the directory is read once more for what was missed */
    bool vanished;      /* a message was not there when it was asked for its size */
    struct names names; /* the base names met in it */
    struct sums again;  /* its messages whose base name had been met before, in it or in `new` */
};

/* One count under way. */
struct scan {
    int mailbox_fd;
    const char *path;
    struct confine *confine;
    const struct maildir_options *options;
    char *buffer; /* for directory entries; NULL until the first is read */
    struct hash_key key;
    bool has_key;
    struct reading readings[LEAVES]; /* of the mailbox itself or the folder that is counted now */
    struct maildir_count count;
};

/* How far the entries in the scan's buffer have been taken. */
struct cursor {
    size_t offset;
    size_t length;
    int error; /* of reading more */
};

/* Where a directory stands. */
struct place {
    const char *folder; /* NULL: in the mailbox itself */
    enum leaf leaf;
};

/* Reads the number of the first tag ,LETTER=N of name. Returns whether it is usable. */
static bool read_tag(const char *name, char letter, uint64_t *ret_bytes)
{
    uint64_t value = 0;

    for (;;) {
        name = strchr(name, ',');
        if (!name)
            return false;
        name++;
        if (name[0] == letter && name[1] == '=')
            break;
    }
    for (name += 2; *name >= '0' && *name <= '9'; name++)
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*name - '0'), &value))
            return false;
    if (value > SIZE_BYTES_MAX || (*name != ':' && *name != ',' && *name != '\0'))
        return false;
    *ret_bytes = value;
    return true;
}

bool maildir_size_from_name(const char *name, enum maildir_size_tag tag, uint64_t *ret_bytes)
{
    if (tag == MAILDIR_SIZE_TAG_W && read_tag(name, 'W', ret_bytes))
        return true;
    return read_tag(name, 'S', ret_bytes);
}

/* Opens a directory by its name in another, following no symbolic link. */
static int open_directory(int parent_fd, const char *name, int flags)
{
    return confine_open_name(parent_fd, name, flags | O_DIRECTORY, false);
}

/* Says whether an error of opening tells that there is nothing that should be counted. */
static bool is_nothing(int error)
{
    return error == -ENOENT || error == -ENOLINK || error == -ENOTDIR || error == -EXDEV ||
           error == -ELOOP;
}

/* Says whether an error of opening without following links may be due to a link. */
static bool is_maybe_link(int error)
{
    return error == -ENOTDIR || error == -ELOOP;
}

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

/* Writes the path of place from the mailbox on into text. Returns 0 or -ENAMETOOLONG. */
static int place_path(const struct place *place, char text[static PATH_MAX])
{
    int length = snprintf(text, PATH_MAX, "%s%s%s", place->folder ? place->folder : "",
                          place->folder ? "/" : "", leaf_names[place->leaf]);

    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Opens place, or the message called name in it, wherever symbolic links lead beneath the root. */
static int place_open_confined(const struct scan *scan, const struct place *place, const char *name,
                               int flags)
{
    _cleanup_(freep) char *path = NULL;

    if (asprintf(&path, "%s/%s%s%s%s%s", scan->path, place->folder ? place->folder : "",
                 place->folder ? "/" : "", leaf_names[place->leaf], name ? "/" : "",
                 name ? name : "") < 0) {
        path = NULL;
        return -ENOMEM;
    }
    return confine_open(scan->confine, path, flags);
}

/*
 * Opens place by plain lookups that follow no link. The folder is opened by itself, since
 * O_NOFOLLOW guards the last component alone.
 */
static int place_open_plain(const struct scan *scan, const struct place *place)
{
    _cleanup_(closep) int folder_fd = -1;

    if (!place->folder)
        return open_directory(scan->mailbox_fd, leaf_names[place->leaf], O_RDONLY);
    folder_fd = open_directory(scan->mailbox_fd, place->folder, O_PATH);
    if (folder_fd < 0)
        return folder_fd;
    return open_directory(folder_fd, leaf_names[place->leaf], O_RDONLY);
}

/* Opens place for reading, links or not, and says which. */
static int place_open(const struct scan *scan, const struct place *place, bool *ret_linked)
{
    int fd = place_open_plain(scan, place);

    *ret_linked = is_maybe_link(fd);
    return *ret_linked ? place_open_confined(scan, place, NULL, O_RDONLY | O_DIRECTORY) : fd;
}

/*
 * Reads the next entries of the directory into the scan's buffer. Returns their bytes, 0 at the
 * end, or a negative errno.
 */
static ssize_t read_entries(struct scan *scan, int fd)
{
    ssize_t n;

    if (!scan->buffer) {
        /* The kernel's entries are shorter than struct dirent64: no access goes past the end. */
        scan->buffer = malloc(BUFFER_BYTES + sizeof(struct dirent64));
        if (!scan->buffer)
            return -ENOMEM;
    }
    n = getdents64(fd, scan->buffer, BUFFER_BYTES);
    return n < 0 ? -errno : n;
}

/*
 * Returns the next entry of the directory that is open on fd, good until the next is asked for, or
 * NULL: at the end, with an error of 0 in the cursor, or at a negative errno there.
 */
static const struct dirent64 *next_entry(struct scan *scan, int fd, struct cursor *cursor)
{
    const struct dirent64 *entry;

    if (cursor->offset == cursor->length) {
        ssize_t length = read_entries(scan, fd);

        *cursor = (struct cursor){
            .length = length > 0 ? (size_t)length : 0,
            .error = length < 0 ? (int)length : 0,
        };
        if (length <= 0)
            return NULL;
    }
    entry = (const void *)(scan->buffer + cursor->offset);
    cursor->offset += entry->d_reclen;
    return entry;
}

/*
 * Asks the file system for the size of a message. It does not change; that of anything but a
 * regular file does, and a link's target may come and go: *unsteady becomes true then. Returns 1, 0
 * if there is no such message (any more), or a negative errno.
 */
static int message_stat(const struct scan *scan, const struct place *place, int fd,
                        const char *name, bool *unsteady, uint64_t *ret_bytes)
{
    _cleanup_(closep) int target_fd = -1;
    struct stat st;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        *unsteady = true;
    if (S_ISLNK(st.st_mode)) {
        target_fd = place_open_confined(scan, place, name, O_PATH);
        if (target_fd < 0)
            return is_nothing(target_fd) ? 0 : target_fd;
        if (fstat(target_fd, &st) < 0)
            return -errno;
    }
    *ret_bytes = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return 1;
}

static void reading_begin(struct reading *reading, bool collects)
{
    names_clear(&reading->names);
    *reading = (struct reading){.collects = collects};
}

/* Hashes the base name of a message. Returns 0 or the negative errno of getrandom(2). */
static int scan_hash(struct scan *scan, const char *name, uint64_t *ret)
{
    if (!scan->has_key) {
        int r = hash_key_init_random(&scan->key);

        if (r < 0)
            return r;
        scan->has_key = true;
    }
    *ret = hash_bytes(&scan->key, name, (size_t)(strchrnul(name, ':') - name));
    return 0;
}

/*
 * Says whether the base name of a message was met before, in its own directory or in `new`. Returns
 * 1 or 0, or a negative errno. If it was not, *ret_hash is what to collect, should that be wanted.
 */
static int scan_has_met(struct scan *scan, const struct place *place, const char *name,
                        uint64_t *ret_hash)
{
    const struct reading *reading = &scan->readings[place->leaf];
    const struct names *in_new = &scan->readings[LEAF_NEW].names;
    /* Where not all are known that were in `new`, none is. */
    bool compares = place->leaf != LEAF_NEW && in_new->count > 0 && !in_new->is_full;
    int r;

    if (!reading->collects && !compares)
        return 0;
    r = scan_hash(scan, name, ret_hash);
    if (r < 0)
        return r;
    return names_has(&reading->names, *ret_hash) || (compares && names_has(in_new, *ret_hash));
}

/* Adds the message called name to the sums of its directory, which is open on fd. */
static int directory_add(struct directory *directory, struct scan *scan, const struct place *place,
                         int fd, const char *name)
{
    struct reading *reading = &scan->readings[place->leaf];
    uint64_t bytes, hash = 0;
    int met, r;

    met = scan_has_met(scan, place, name, &hash);
    if (met < 0 || (met && reading->is_second))
        return met < 0 ? met : 0;
    if (!maildir_size_from_name(name, scan->options->size_tag, &bytes)) {
        r = message_stat(scan, place, fd, name, &directory->unsteady, &bytes);
        if (r == 0)
            reading->vanished = true;
        if (r <= 0)
            return r;
        scan->count.files_stat++;
    }
    scan->count.files_counted++;
    directory->bytes = size_add(directory->bytes, bytes);
    directory->messages = size_add(directory->messages, 1);
    if (met) {
        reading->again.bytes = size_add(reading->again.bytes, bytes);
        reading->again.messages = size_add(reading->again.messages, 1);
        return 0;
    }
    r = reading->collects ? names_add(&reading->names, hash) : 0;
    return r < 0 ? r : 0;
}

/* Adds up the messages of a directory that is open on fd. */
static int directory_sum(struct directory *directory, struct scan *scan, const struct place *place,
                         int fd)
{
    struct cursor cursor = {};
    const struct dirent64 *entry;

    while ((entry = next_entry(scan, fd, &cursor))) {
        int r = 0;

        if (entry->d_name[0] != '.')
            r = directory_add(directory, scan, place, fd, entry->d_name);
        if (r < 0)
            return r;
    }
    return cursor.error;
}

/*
 * Reads a directory that changed once more, for messages whose names changed behind the reader's
 * back. In `new` they do not, and where not all names are known, nothing is known to be missing.
 */
static int directory_sum_again(struct directory *directory, struct scan *scan,
                               const struct place *place, int fd)
{
    struct reading *reading = &scan->readings[place->leaf];

    if (place->leaf == LEAF_NEW || reading->names.is_full)
        return 0;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    reading->is_second = true;
    return directory_sum(directory, scan, place, fd);
}

/*
 * Reads a directory that is open on fd. What it had been before does not count, nor is it
 * remembered if it changed while it was read. Returns 0, 1 if it changed and has to be read again
 * with its names collected, or a negative errno.
 */
static int directory_read_open(struct directory *directory, struct scan *scan,
                               const struct place *place, int fd, int64_t read_sec)
{
    struct reading *reading = &scan->readings[place->leaf];
    struct stamp after;
    bool changed, settled;
    int r;

    r = stamp_get(fd, "", &directory->stamp);
    if (r < 0)
        return r;
    /* What changes while it is read has often changed just before. */
    if (!stamp_is_settled(&directory->stamp, read_sec))
        reading->collects = true;
    r = directory_sum(directory, scan, place, fd);
    if (r < 0)
        return r;
    r = stamp_get(fd, "", &after);
    if (r < 0)
        return r;
    changed = !stamp_equal(&directory->stamp, &after);
    if (changed && !reading->collects)
        return 1;
    settled = stamp_is_settled(&after, read_sec);
    reading->still = !changed && settled;
    if (reading->still && !directory->unsteady)
        directory->state = DIRECTORY_REMEMBERED;
    /* Within a tick of the clock a change may show in this alone. */
    if (changed || (!settled && reading->vanished))
        return directory_sum_again(directory, scan, place, fd);
    return 0;
}

/* Reads a directory once. Returns as directory_read_open() does. */
static int directory_try(struct directory *directory, struct scan *scan, const struct place *place)
{
    const struct maildir_count before = scan->count;
    int64_t read_sec = stamp_now_sec();
    struct directory fresh = {};
    _cleanup_(closep) int fd = -1;
    int r;

    *directory = (struct directory){};
    fd = place_open(scan, place, &fresh.linked);
    if (fd < 0 && !is_nothing(fd))
        return fd;
    r = fd < 0 ? -ENOENT : directory_read_open(&fresh, scan, place, fd, read_sec);
    if (r != 0)
        scan->count = before;
    if (r != 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT) { /* not there, or removed while it was read */
        fresh = (struct directory){.state = DIRECTORY_ABSENT, .linked = fresh.linked};
        reading_begin(&scan->readings[place->leaf], false);
    }
    *directory = fresh;
    return 0;
}

/*
 * Reads a directory. A server that has forgotten it (ESTALE) may have got another of its name, so
 * that is tried again, once; so is what has to be.
 */
static int directory_read(struct directory *directory, struct scan *scan, const struct place *place)
{
    int r = directory_try(directory, scan, place);

    if (r != -ESTALE && r != 1)
        return r;
    reading_begin(&scan->readings[place->leaf], true);
    return directory_try(directory, scan, place);
}

/* Takes the stamp of place as it is now, by its path, or where links lead by opening it. */
static int place_stamp(const struct scan *scan, const struct place *place, bool linked,
                       struct stamp *ret)
{
    _cleanup_(closep) int fd = -1;
    char path[PATH_MAX];
    int r;

    if (linked) {
        fd = place_open_confined(scan, place, NULL, O_PATH | O_DIRECTORY);
        return fd < 0 ? fd : stamp_get(fd, "", ret);
    }
    r = place_path(place, path);
    return r < 0 ? r : stamp_get(scan->mailbox_fd, path, ret);
}

/* Says whether a directory is as it was when its sums were made, as far as its stamp tells. */
static bool directory_is_same(const struct directory *directory, const struct scan *scan,
                              const struct place *place)
{
    struct stamp now;
    int r;

    r = place_stamp(scan, place, directory->linked, &now);
    if (directory->state == DIRECTORY_ABSENT)
        return is_nothing(r);
    return r == 0 && stamp_equal(&directory->stamp, &now);
}

/* Says whether what is remembered of a directory still holds. */
static bool directory_is_current(const struct directory *directory, const struct scan *scan,
                                 const struct place *place)
{
    return directory->state != DIRECTORY_UNKNOWN && directory_is_same(directory, scan, place);
}

/* Brings the sums of a directory up to date. */
static int directory_refresh(struct directory *directory, struct scan *scan,
                             const struct place *place)
{
    struct reading *reading = &scan->readings[place->leaf];
    int r;

    reading_begin(reading, place->leaf == LEAF_NEW);
    if (directory_is_current(directory, scan, place)) {
        if (directory->state == DIRECTORY_REMEMBERED)
            scan->count.directories_remembered++;
        return 0;
    }
    r = directory_read(directory, scan, place);
    if (r < 0)
        return r;
    reading->done = true;
    if (directory->state != DIRECTORY_ABSENT)
        scan->count.directories_read++;
    return 0;
}

/* Says whether the folder, a name without the leading dot, is excluded, itself or with another. */
static bool is_excluded(const struct maildir_options *options, const char *folder)
{
    for (size_t i = 0; i < options->exclude_folders_count; i++) {
        size_t length = strlen(options->exclude_folders[i]);

        if (strncmp(folder, options->exclude_folders[i], length) == 0 &&
            (folder[length] == '\0' || folder[length] == '.'))
            return true;
    }
    return false;
}

static void folder_list_done(struct folder_list *list)
{
    free(list->text);
}

static int folder_list_add(struct folder_list *list, enum folder_kind kind, const char *name)
{
    size_t size = strlen(name) + 1;

    if (list->count >= MAILDIR_FOLDERS_MAX)
        return -E2BIG;
    if (list->capacity - list->length < size + 1) {
        size_t capacity = 2 * list->capacity + size + 1;
        char *text = realloc(list->text, capacity);

        if (!text)
            return -ENOMEM;
        list->text = text;
        list->capacity = capacity;
    }
    list->text[list->length] = (char)kind;
    memcpy(list->text + list->length + 1, name, size);
    list->length += size + 1;
    list->count++;
    return 0;
}

/* Returns the entry behind the given one, in a list or a memory. */
static const char *folder_next(const char *folder)
{
    return folder + strlen(folder) + 1;
}

/*
 * Returns the type of an entry, asking the file system where the entry does not tell: DT_DIR,
 * DT_LNK, ..., DT_UNKNOWN if it vanished, or a negative errno.
 */
static int entry_type(int fd, const struct dirent64 *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? DT_UNKNOWN : -errno;
    return IFTODT(st.st_mode);
}

/*
 * Finds out whether a symbolic link names its neighbour, by a text without a slash. Returns 1, 0 if
 * not (nor if it is no link any more), or a negative errno: a guess might count messages twice.
 */
static int is_alias(int fd, const char *name)
{
    char text[PATH_MAX];
    ssize_t length = readlinkat(fd, name, text, sizeof(text));

    if (length < 0)
        return errno == EINVAL || errno == ENOENT ? 0 : -errno;
    return !memchr(text, '/', (size_t)length);
}

/* Adds an entry of the mailbox to its folders, if it is one. */
static int folder_list_add_entry(struct folder_list *list, const struct scan *scan, int fd,
                                 const struct dirent64 *entry)
{
    const char *name = entry->d_name;
    int type, r;

    if (name[0] != '.' || name[1] == '.' || name[1] == '\0' || is_excluded(scan->options, name + 1))
        return 0;
    type = entry_type(fd, entry);
    if (type < 0)
        return type;
    if (type == DT_DIR)
        return folder_list_add(list, FOLDER_DIRECTORY, name);
    if (type != DT_LNK)
        return 0;
    r = is_alias(fd, name);
    return r == 0 ? folder_list_add(list, FOLDER_LINK, name) : r < 0 ? r : 0;
}

static int folder_list_read(struct folder_list *list, struct scan *scan, int fd)
{
    struct cursor cursor = {};
    const struct dirent64 *entry;

    while ((entry = next_entry(scan, fd, &cursor))) {
        int r = folder_list_add_entry(list, scan, fd, entry);

        if (r < 0)
            return r;
    }
    return cursor.error;
}

static int compare_folders(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * Makes an array of a list's entries, sorted, each once: a directory that changes while it is read
 * may show an entry twice. The caller frees the array, which points into the list. Returns the
 * number of entries or -ENOMEM.
 */
static ssize_t folder_list_sort(const struct folder_list *list, const char ***ret)
{
    const char **folders = calloc(list->count + 1, sizeof(*folders));
    const char *folder = list->text;
    size_t count = 0;

    if (!folders)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++, folder = folder_next(folder))
        folders[i] = folder;
    qsort(folders, list->count, sizeof(*folders), compare_folders);
    for (size_t i = 0; i < list->count; i++)
        if (count == 0 || strcmp(folders[count - 1], folders[i]) != 0)
            folders[count++] = folders[i];
    *ret = folders;
    return (ssize_t)count;
}

/* Returns where the directories of a memory's folder stand (those of the mailbox before them). */
static size_t folder_index(size_t folder)
{
    return LEAVES + LEAVES * folder;
}

/* Returns the first folder of a memory: its kind, then its name. */
static const char *memory_folders(const struct maildir_memory *memory)
{
    return (const char *)(memory->directories + folder_index(memory->folders));
}

/* Copies what is known of the directories of the mailbox, and of the folders in both memories. */
static void memory_carry_over(struct maildir_memory *memory, const struct maildir_memory *old)
{
    const char *folder = memory_folders(memory), *old_folder = memory_folders(old);
    size_t i = 0, j = 0;

    memcpy(memory->directories, old->directories, LEAVES * sizeof(*memory->directories));
    while (i < memory->folders && j < old->folders) {
        int order = strcmp(folder, old_folder);

        if (order == 0)
            memcpy(memory->directories + folder_index(i), old->directories + folder_index(j),
                   LEAVES * sizeof(*memory->directories));
        if (order <= 0) {
            folder = folder_next(folder);
            i++;
        }
        if (order >= 0) {
            old_folder = folder_next(old_folder);
            j++;
        }
    }
}

/* Makes a memory of the listed folders, whose directories are all unknown. */
static int memory_new(const struct folder_list *list, struct maildir_memory **ret)
{
    _cleanup_(freep) const char **folders = NULL;
    struct maildir_memory *memory;
    ssize_t count;
    size_t bytes;
    char *text;

    count = folder_list_sort(list, &folders);
    if (count < 0)
        return (int)count;
    bytes = sizeof(*memory) + folder_index((size_t)count) * sizeof(*memory->directories);
    for (ssize_t i = 0; i < count; i++)
        bytes += strlen(folders[i]) + 1;
    memory = calloc(1, bytes);
    if (!memory)
        return -ENOMEM;
    memory->bytes = bytes;
    memory->folders = (size_t)count;
    text = (char *)(memory->directories + folder_index(memory->folders));
    for (ssize_t i = 0; i < count; i++)
        text = stpcpy(text, folders[i]) + 1;
    *ret = memory;
    return 0;
}

/* Says whether the list of folders that is remembered still holds. */
static bool mailbox_is_current(const struct scan *scan, const struct maildir_memory *memory)
{
    struct stamp now;

    return memory && memory->settled && stamp_get(scan->mailbox_fd, "", &now) == 0 &&
           stamp_equal(&memory->stamp, &now);
}

/* Reads the mailbox for its folders, once, into a memory that knows nothing of their sums. */
static int mailbox_try(struct scan *scan, struct maildir_memory **ret)
{
    _cleanup_(maildir_memory_freep) struct maildir_memory *memory = NULL;
    _cleanup_(folder_list_done) struct folder_list list = {};
    _cleanup_(closep) int fd = -1;
    int64_t read_sec = stamp_now_sec();
    struct stamp before, after;
    int r;

    fd = open_directory(scan->mailbox_fd, ".", O_RDONLY);
    if (fd < 0)
        return fd;
    r = stamp_get(fd, "", &before);
    if (r < 0)
        return r;
    r = folder_list_read(&list, scan, fd);
    if (r < 0 && r != -ENOENT) /* a mailbox that is removed meanwhile has no folders */
        return r;
    r = stamp_get(fd, "", &after);
    if (r < 0)
        return r;
    r = memory_new(&list, &memory);
    if (r < 0)
        return r;
    memory->stamp = before;
    memory->settled = stamp_equal(&before, &after) && stamp_is_settled(&after, read_sec);
    *ret = steal_pointer(&memory);
    return 0;
}

/* Brings the list of folders up to date. */
static int mailbox_refresh(struct scan *scan, struct maildir_memory **memory)
{
    struct maildir_memory *fresh;
    int r;

    if (mailbox_is_current(scan, *memory)) {
        scan->count.directories_remembered++;
        return 0;
    }
    r = mailbox_try(scan, &fresh);
    if (r == -ESTALE)
        r = mailbox_try(scan, &fresh);
    if (r < 0)
        return r;
    scan->count.directories_read++;
    if (*memory)
        memory_carry_over(fresh, *memory);
    maildir_memory_free(*memory);
    *memory = fresh;
    return 0;
}

/* Brings the sums of `new` and then `cur` up to date. */
static int leaves_refresh(struct directory directories[static LEAVES], struct scan *scan,
                          const char *folder)
{
    for (enum leaf leaf = 0; leaf < LEAVES; leaf++) {
        const struct place place = {.folder = folder, .leaf = leaf};
        int r = directory_refresh(&directories[leaf], scan, &place);

        if (r < 0)
            return r;
    }
    return 0;
}

/*
 * Says whether nothing moved between `new` and `cur`, nor within them, while they were read: `new`
 * has not changed since, and what was read was still.
 */
static bool leaves_are_still(const struct directory directories[static LEAVES],
                             const struct scan *scan, const char *folder)
{
    const struct place place = {.folder = folder, .leaf = LEAF_NEW};
    const struct directory *new = &directories[LEAF_NEW], *cur = &directories[LEAF_CUR];
    const struct reading *in_new = &scan->readings[LEAF_NEW], *in_cur = &scan->readings[LEAF_CUR];

    if (in_cur->done && !in_cur->still && cur->state != DIRECTORY_ABSENT)
        return false;
    if (in_new->done && !in_new->still && new->state != DIRECTORY_ABSENT)
        return false;
    return directory_is_same(new, scan, &place);
}

/*
 * Counts the directories of the mailbox itself (folder is NULL) or of one folder.
 *
 * A message that goes from `new` to `cur` after the one and before the other was read is met in
 * both. That takes a `cur` that is read, since one that is remembered had not changed after `new`
 * was read; and it shows in the stamp of `new`, unless that is too young to be trusted.
 */
static int leaves_count(struct directory directories[static LEAVES], struct scan *scan,
                        const char *folder)
{
    const struct place place = {.folder = folder, .leaf = LEAF_NEW};
    struct directory *new = &directories[LEAF_NEW], *cur = &directories[LEAF_CUR];
    struct reading *in_new = &scan->readings[LEAF_NEW], *in_cur = &scan->readings[LEAF_CUR];
    const struct maildir_count before = scan->count;
    struct sums sums, again;
    int r;

    r = leaves_refresh(directories, scan, folder);
    if (r < 0)
        return r;
    if (in_cur->done && !in_new->done && new->messages > 0 &&
        !directory_is_current(new, scan, &place)) {
        /* The names in `new` were wanted after all. */
        scan->count = before;
        new->state = DIRECTORY_UNKNOWN;
        r = leaves_refresh(directories, scan, folder);
        if (r < 0)
            return r;
    }
    if (in_cur->done && in_new->names.is_full && !directory_is_current(new, scan, &place)) {
        /* After `cur`, `new` holds nothing that was met there; what has moved on is missed. */
        reading_begin(in_new, true);
        r = directory_read(new, scan, &place);
        if (r < 0)
            return r;
    }
    sums.bytes = size_add(new->bytes, cur->bytes);
    sums.messages = size_add(new->messages, cur->messages);
    again.bytes = size_add(in_new->again.bytes, in_cur->again.bytes);
    again.messages = size_add(in_new->again.messages, in_cur->again.messages);
    /* Two messages of one base name are two where nothing moves, as whoever else counts finds. */
    if (again.messages > 0 && !leaves_are_still(directories, scan, folder)) {
        sums.bytes -= again.bytes;
        sums.messages -= again.messages;
    }
    scan->count.bytes = size_add(scan->count.bytes, sums.bytes);
    scan->count.messages = size_add(scan->count.messages, sums.messages);
    return 0;
}

static int mailbox_count(struct scan *scan, struct maildir_memory **memory)
{
    const char *folder;
    int r;

    r = mailbox_refresh(scan, memory);
    if (r < 0)
        return r;
    r = leaves_count((*memory)->directories, scan, NULL);
    if (r < 0)
        return r;
    folder = memory_folders(*memory);
    for (size_t i = 0; i < (*memory)->folders; i++, folder = folder_next(folder)) {
        /* The name stands behind the letter of its kind. */
        r = leaves_count((*memory)->directories + folder_index(i), scan, folder + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

int maildir_count(int mailbox_fd, const char *path, struct confine *confine,
                  const struct maildir_options *options, struct maildir_memory **memory,
                  struct maildir_count *ret)
{
    _cleanup_(maildir_memory_freep) struct maildir_memory *unwanted = NULL;
    struct maildir_memory **slot = memory ? memory : &unwanted;
    struct scan scan = {
        .mailbox_fd = mailbox_fd,
        .path = path,
        .confine = confine,
        .options = options,
    };
    int r;

    r = mailbox_count(&scan, slot);
    free(scan.buffer);
    for (enum leaf leaf = 0; leaf < LEAVES; leaf++)
        names_clear(&scan.readings[leaf].names);
    if (maildir_memory_bytes(*slot) > MAILDIR_MEMORY_BYTES_MAX) {
        maildir_memory_free(*slot);
        *slot = NULL;
    }
    if (r < 0)
        return r;
    *ret = scan.count;
    return 0;
}

void maildir_memory_free(struct maildir_memory *memory)
{
    free(memory);
}

void maildir_memory_freep(struct maildir_memory **memory)
{
    maildir_memory_free(*memory);
}

size_t maildir_memory_bytes(const struct maildir_memory *memory)
{
    return memory ? memory->bytes : 0;
}
