/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/mailbox_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "quota/arrivals.h"
#include "quota/entries.h"
#include "quota/maildirsize_cache.h"
#include "quota/stamp.h"
#include "system/cleanup.h"
#include "system/clock.h"

/* How often to try if a server reports a stale handle. */
#define STALE_ATTEMPTS 3

struct opener {
    const struct mailbox_settings *settings;
    struct mailbox_nowait *nowait; /* NULL: waiting is allowed */
    dev_t waits_for;               /* the device that it would have to wait for */
};

static const char *const part_names[] = {"new", "cur"};

#define PART_NAMES (sizeof(part_names) / sizeof(part_names[0]))

static enum filesystem_kind kind_of(const struct opener *opener, dev_t device)
{
    return opener->nowait->device_kind(device, opener->nowait->userdata);
}

static int open_path(struct opener *opener, const char *path)
{
    struct confine *confine = opener->settings->confine;

    if (opener->nowait)
        return confine_open_cached(confine, path, O_PATH, &opener->waits_for);
    return budget_open(opener->settings->maildir.budget, confine, path, O_PATH);
}

/*
 * Whether the kernel must not wait for the device. A file system in memory never waits, and its
 * name cache does not know of missing names.
 */
static bool must_not_wait(const struct opener *opener, dev_t device)
{
    return opener->nowait && kind_of(opener, device) != FILESYSTEM_MEMORY;
}

/* Opens one name in a directory of the device, and if it must not wait, on the same mount. */
static int open_name(const struct opener *opener, dev_t device, int directory_fd, const char *name,
                     int flags)
{
    enum confine_reach reach = CONFINE_ANYWHERE;

    if (opener->nowait)
        reach = must_not_wait(opener, device) ? CONFINE_CACHED : CONFINE_SAME_MOUNT;
    return confine_open_name(directory_fd, name, flags, reach);
}

static int stat_descriptor(const struct opener *opener, int fd, struct statx *ret)
{
    int flags = AT_EMPTY_PATH | (opener->nowait ? AT_STATX_DONT_SYNC : 0);

    if (statx(fd, "", flags, STATX_TYPE | MAILDIRSIZE_CACHE_STATX_MASK, ret) < 0)
        return -errno;
    return 0;
}

static dev_t statx_device(const struct statx *st)
{
    return makedev(st->stx_dev_major, st->stx_dev_minor);
}

static uint64_t statx_time_usec(const struct statx_timestamp *time)
{
    if (time->tv_sec < 0)
        return 0;
    return (uint64_t)time->tv_sec * USEC_PER_SEC + time->tv_nsec / 1000;
}

/* Returns the bytes read or -errno. */
static ssize_t read_some(const struct opener *opener, dev_t device, int fd, char *buffer,
                         size_t length)
{
    struct iovec iov = {buffer, length};
    bool nowait = must_not_wait(opener, device);
    ssize_t n = nowait ? preadv2(fd, &iov, 1, -1, RWF_NOWAIT) : read(fd, buffer, length);

    if (n >= 0)
        return n;
    if (nowait && errno == EOPNOTSUPP)
        return -EAGAIN; /* a file system that cannot promise not to wait */
    return -errno;
}

/*
 * Reads maildirsize, which has size bytes, up to MAILDIRSIZE_BYTES_MAX. What is added meanwhile
 * need not be read. Returns the bytes read or -errno.
 */
static ssize_t read_maildirsize(const struct opener *opener, dev_t device, int fd, uint64_t size,
                                char *buffer)
{
    size_t length = 0;

    while (length < MAILDIRSIZE_BYTES_MAX && length < size) {
        ssize_t n = read_some(opener, device, fd, buffer + length, MAILDIRSIZE_BYTES_MAX - length);

        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

static enum usage_rule rule_from_parse(int result)
{
    switch (result) {
    case 0:
        return USAGE_RULE_TRUSTED;
    case -EFBIG:
        return USAGE_RULE_LARGE;
    case -ERANGE:
        return USAGE_RULE_IMPLAUSIBLE;
    case -ENODATA:
        return USAGE_RULE_EMPTY;
    default:
        return USAGE_RULE_MALFORMED;
    }
}

static void take_times(struct mailbox *mailbox, const struct statx *st)
{
    mailbox->maildirsize_mtime_usec = statx_time_usec(&st->stx_mtime);
    mailbox->maildirsize_ctime_usec = statx_time_usec(&st->stx_ctime);
}

#define MAILDIRSIZE_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

/*
 * Whether an error of opening or reading maildirsize is temporary. If waiting is allowed, -EAGAIN
 * means that its owner holds a lease on it.
 */
static bool is_passing(const struct opener *opener, int error)
{
    switch (error) {
    case -EAGAIN:
        return opener->nowait != NULL;
    case -EINTR:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -ESTALE:
        return true;
    default:
        return false;
    }
}

/*
 * Reads maildirsize, which fd is open on, or the errno of opening it; *st is its state before. An
 * error that is not temporary is a reason to count instead.
 */
static int take_maildirsize(const struct opener *opener, struct mailbox *mailbox, int fd,
                            struct statx *st)
{
    char text[MAILDIRSIZE_BYTES_MAX];
    ssize_t length;
    int r;

    mailbox->maildirsize_state = USAGE_RULE_UNREADABLE;
    if (fd == -ENOENT) {
        mailbox->maildirsize_state = USAGE_RULE_MISSING;
        return 0;
    }
    if (fd < 0)
        return is_passing(opener, fd) ? fd : 0;
    r = stat_descriptor(opener, fd, st);
    if (r < 0)
        return is_passing(opener, r) ? r : 0;
    if (!S_ISREG(st->stx_mode))
        return 0;
    length = read_maildirsize(opener, mailbox->device, fd, st->stx_size, text);
    if (length < 0)
        return is_passing(opener, (int)length) ? (int)length : 0;
    mailbox->maildirsize_state =
        rule_from_parse(maildirsize_parse(text, (size_t)length, &mailbox->maildirsize));
    take_times(mailbox, st);
    return 0;
}

/* Reads the maildirsize of the mailbox, which is at path. Returns 0 or -errno. */
static int load_maildirsize(const struct opener *opener, const char *path, struct mailbox *mailbox)
{
    _cleanup_(closep) int fd =
        open_name(opener, mailbox->device, mailbox->fd, "maildirsize", MAILDIRSIZE_FLAGS);
    int64_t read_sec = stamp_now_sec();
    struct statx st;
    int r = take_maildirsize(opener, mailbox, fd, &st);

    if (r == 0 && must_not_wait(opener, mailbox->device) &&
        mailbox->maildirsize_state == USAGE_RULE_TRUSTED)
        maildirsize_cache_put(opener->nowait->cache, path, &st, read_sec, &mailbox->maildirsize);
    return r;
}

/*
 * As mailbox_parts_changed(). Both times count: a program that sets one back changes the other.
 */
static int parts_changed(const struct opener *opener, const struct mailbox *mailbox,
                         uint64_t *ret_usec)
{
    *ret_usec = 0;
    for (size_t i = 0; i < PART_NAMES; i++) {
        _cleanup_(closep) int fd =
            open_name(opener, mailbox->device, mailbox->fd, part_names[i], O_PATH);
        struct statx st;
        uint64_t usec;
        int r;

        r = fd < 0 ? fd : stat_descriptor(opener, fd, &st);
        if (r < 0)
            return r;
        if (S_ISLNK(st.stx_mode))
            return -ELOOP;
        usec = statx_time_usec(&st.stx_ctime);
        if (usec < statx_time_usec(&st.stx_mtime))
            usec = statx_time_usec(&st.stx_mtime);
        if (usec > *ret_usec)
            *ret_usec = usec;
    }
    return 0;
}

static int suspect_maildirsize(const struct opener *opener, struct mailbox *mailbox,
                               uint64_t now_usec)
{
    uint64_t written_usec = mailbox->maildirsize_mtime_usec, changed_usec;
    int r;

    if (mailbox->maildirsize_state != USAGE_RULE_TRUSTED || written_usec > now_usec ||
        now_usec - written_usec <= MAILBOX_UNKEPT_USEC)
        return 0;
    r = parts_changed(opener, mailbox, &changed_usec);
    if (r < 0)
        return is_passing(opener, r) ? r : 0;
    mailbox->is_suspect =
        changed_usec > written_usec && changed_usec - written_usec > MAILBOX_UNKEPT_USEC;
    if (mailbox->is_suspect && !opener->nowait)
        mailbox->is_unkept =
            arrivals_after(mailbox->fd, (written_usec + MAILBOX_UNKEPT_USEC) / USEC_PER_SEC);
    return 0;
}

/* Finds out what is at path. If it is a directory, mailbox->fd is open on it. */
static int open_target(struct opener *opener, const char *path, struct mailbox *mailbox)
{
    _cleanup_(closep) int fd = open_path(opener, path);
    struct statx st;
    int r;

    if (fd == -ENOENT) {
        mailbox->kind = MAILBOX_NONE;
        return 0;
    }
    if (fd < 0)
        return fd;
    r = stat_descriptor(opener, fd, &st);
    if (r < 0)
        return r;
    mailbox->device = statx_device(&st);
    if (opener->nowait && kind_of(opener, mailbox->device) == FILESYSTEM_UNKNOWN)
        return -EAGAIN;
    if (!opener->nowait)
        mailbox->device_kind = filesystem_kind(fd);
    if (S_ISREG(st.stx_mode)) {
        mailbox->kind = MAILBOX_MBOX;
        mailbox->mbox_bytes = st.stx_size > SIZE_BYTES_MAX ? SIZE_BYTES_MAX : st.stx_size;
        return 0;
    }
    if (!S_ISDIR(st.stx_mode))
        return -EMEDIUMTYPE;
    mailbox->kind = MAILBOX_MAILDIR;
    mailbox->fd = steal_fd(&fd);
    return 0;
}

/* Returns where the parent in path ends if path may be that of a folder, or 0. */
static size_t folder_parent_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash || slash[1] != '.' || strcmp(slash, "/..") == 0)
        return 0;
    return slash == path ? 1 : (size_t)(slash - path);
}

/* Returns 1 if the directory holds a file of that name, 0 if not, or -errno. */
static int has_name(const struct opener *opener, const struct mailbox *mailbox, const char *name)
{
    _cleanup_(closep) int fd = open_name(opener, mailbox->device, mailbox->fd, name, O_PATH);

    if (fd >= 0)
        return 1;
    return fd == -ENOENT ? 0 : fd;
}

/* Returns 1 if the directory has `new` or `cur`, 0 if not, or -errno. */
static int has_part_directory(const struct opener *opener, const struct mailbox *mailbox)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < PART_NAMES; i++)
        r = has_name(opener, mailbox, part_names[i]);
    return r;
}

/* If the directory at path is a folder, the mailbox becomes its parent. */
static int go_to_parent(struct opener *opener, const char *path, size_t parent_length,
                        struct mailbox *mailbox)
{
    struct mailbox parent = MAILBOX_NULL;
    char text[PATH_MAX];
    int r = has_name(opener, mailbox, "maildirfolder");

    mailbox->may_be_folder = r != 0;
    if (r <= 0)
        return r == -EACCES ? 0 : r;
    if (opener->nowait)
        return -EAGAIN;
    (void)snprintf(text, sizeof(text), "%.*s", (int)parent_length, path);
    r = open_target(opener, text, &parent);
    if (r == 0 && parent.kind == MAILBOX_MAILDIR)
        r = has_part_directory(opener, &parent);
    if (r <= 0) { /* it is a mailbox of its own */
        mailbox_close(&parent);
        return r == -EXDEV ? 0 : r;
    }
    mailbox_close(mailbox);
    *mailbox = parent;
    mailbox->path_length = parent_length;
    return 0;
}

#define SEEN_BYTES_MAX 112

/* Appends a name to the text, without characters that a terminal might interpret. */
static void add_seen(char *text, size_t size, const char *name)
{
    size_t used = strlen(text);

    if (used > 0 && used + 2 < size) {
        text[used++] = ',';
        text[used++] = ' ';
    }
    for (size_t i = 0; i < 32 && name[i] != '\0' && used + 1 < size; i++)
        text[used++] = name[i] > ' ' && name[i] <= '~' ? name[i] : '?';
    text[used] = '\0';
}

/* Names up to three entries of the directory. Returns how many, or -errno. */
static int see_entries(const struct mailbox *mailbox, char seen[static SEEN_BYTES_MAX])
{
    _cleanup_(closep) int fd = openat(mailbox->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(entries_done) struct entries entries = {};
    const struct dirent64 *entry;
    int count = 0;

    if (fd < 0)
        return -errno;
    seen[0] = '\0';
    while (count < 3 && (entry = entries_next(&entries, fd)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            add_seen(seen, SEEN_BYTES_MAX, entry->d_name);
            count++;
        }
    return count > 0 ? count : entries.error;
}

int mailbox_describe_directory(struct mailbox *mailbox)
{
    static const char *const maildirs[] = {"Maildir", "mail", ".maildir"};
    const struct opener opener = {};
    const char *inner = NULL;
    char seen[SEEN_BYTES_MAX];
    int r = see_entries(mailbox, seen);

    if (r <= 0)
        return r;
    for (size_t i = 0; !inner && i < sizeof(maildirs) / sizeof(maildirs[0]); i++)
        if (has_name(&opener, mailbox, maildirs[i]) > 0)
            inner = maildirs[i];
    (void)snprintf(mailbox->detail, sizeof(mailbox->detail),
                   "is not a Maildir: it has no cur, new or maildirsize, but %s%s%s%s", seen,
                   inner ? "; is its " : "", inner ? inner : "", inner ? " meant?" : "");
    return -EMEDIUMTYPE;
}

/*
 * Makes sure that the directory is a mailbox. An empty one will become one. With --layout=fs, only
 * a count finds folders.
 */
static int check_maildir(const struct opener *opener, struct mailbox *mailbox)
{
    const struct mailbox_settings *settings = opener->settings;
    char seen[SEEN_BYTES_MAX];
    int r = 0;

    if (mailbox->maildirsize_state != USAGE_RULE_MISSING)
        return 0;
    if (!settings->count_everything)
        r = has_part_directory(opener, mailbox);
    if (r == 0 && settings->ignore_maildirsize)
        r = has_name(opener, mailbox, "maildirsize");
    if (r != 0)
        return r < 0 ? r : 0;
    r = see_entries(mailbox, seen);
    if (r == 0)
        mailbox->kind = MAILBOX_NONE;
    if (r <= 0 || settings->count_everything)
        return r < 0 ? r : 0;
    mailbox->is_unsure = settings->maildir.layout == MAILDIR_LAYOUT_FS;
    return mailbox->is_unsure ? 0 : mailbox_describe_directory(mailbox);
}

static int examine_maildir(const struct opener *opener, const char *path, uint64_t now_usec,
                           struct mailbox *mailbox)
{
    const struct mailbox_settings *settings = opener->settings;
    int r = 0;

    mailbox->maildirsize_state = USAGE_RULE_MISSING;
    if (!settings->ignore_maildirsize && !settings->count_everything) {
        r = load_maildirsize(opener, path, mailbox);
        if (r == 0)
            r = suspect_maildirsize(opener, mailbox, now_usec);
    }
    if (r < 0)
        return r;
    /* Without one it may be no mailbox. */
    if (opener->nowait)
        return mailbox->maildirsize_state == USAGE_RULE_MISSING ? -EAGAIN : 0;
    return check_maildir(opener, mailbox);
}

static int open_once(struct opener *opener, const char *path, uint64_t now_usec,
                     struct mailbox *mailbox)
{
    size_t parent_length = folder_parent_length(path);
    int r;

    mailbox->path_length = strlen(path);
    r = open_target(opener, path, mailbox);
    if (r == 0 && mailbox->kind == MAILBOX_MAILDIR && parent_length > 0)
        r = go_to_parent(opener, path, parent_length, mailbox);
    if (r == 0 && mailbox->kind == MAILBOX_MAILDIR)
        r = examine_maildir(opener, path, now_usec, mailbox);
    return r;
}

/* Opens an entry of the directory at path from memory, whatever it is. */
static int open_entry(const struct opener *opener, const char *path, const char *name)
{
    char text[PATH_MAX + sizeof("/maildirfolder")];

    (void)snprintf(text, sizeof(text), "%s/%s", path, name);
    return confine_open_cached(opener->settings->confine, text, O_PATH | O_NOFOLLOW, NULL);
}

/*
 * Takes the maildirsize of the directory at path from the cache. Returns whether it is there and
 * the file has not changed. Whether somebody keeps it is checked when it is read, at least once a
 * day.
 */
static bool recall_maildirsize(const struct opener *opener, const char *path, uint64_t now_usec,
                               struct mailbox *mailbox)
{
    const struct maildirsize_cached *cached = maildirsize_cache_find(opener->nowait->cache, path);
    _cleanup_(closep) int fd = -1;
    struct statx st;

    if (!cached)
        return false;
    fd = open_entry(opener, path, "maildirsize");
    if (fd < 0 || stat_descriptor(opener, fd, &st) < 0 ||
        kind_of(opener, statx_device(&st)) == FILESYSTEM_UNKNOWN ||
        !maildirsize_cached_get(cached, &st, (int64_t)(now_usec / USEC_PER_SEC),
                                &mailbox->maildirsize))
        return false;
    mailbox->device = statx_device(&st);
    mailbox->maildirsize_state = USAGE_RULE_TRUSTED;
    take_times(mailbox, &st);
    return true;
}

/* Whether the directory is known to be no folder of a mailbox. */
static bool is_no_folder(const struct opener *opener, const char *path)
{
    _cleanup_(closep) int fd = open_entry(opener, path, "maildirfolder");

    return fd == -ENOENT;
}

/* Opens the Maildir at path by its cached maildirsize, with half of the system calls, if it can. */
static bool open_from_cache(const struct opener *opener, const char *path, uint64_t now_usec,
                            struct mailbox *ret)
{
    struct mailbox mailbox = {.kind = MAILBOX_MAILDIR, .fd = -1, .path_length = strlen(path)};

    if (!recall_maildirsize(opener, path, now_usec, &mailbox) ||
        (folder_parent_length(path) > 0 && !is_no_folder(opener, path)))
        return false;
    *ret = mailbox;
    return true;
}

static int open_nowait(struct opener *opener, const char *path, uint64_t now_usec,
                       struct mailbox *ret)
{
    int r;

    if (open_from_cache(opener, path, now_usec, ret))
        return 0;
    r = open_once(opener, path, now_usec, ret);
    if (r == -EOPNOTSUPP || r == -ESTALE)
        r = -EAGAIN;
    if (r == -EAGAIN && opener->waits_for != 0)
        ret->device = opener->waits_for;
    return r;
}

int mailbox_open(const struct mailbox_settings *settings, struct mailbox_nowait *nowait,
                 const char *path, uint64_t now_usec, struct mailbox *ret)
{
    struct opener opener = {.settings = settings, .nowait = nowait};
    int r = -ESTALE;

    *ret = (struct mailbox)MAILBOX_NULL;
    if (nowait)
        return open_nowait(&opener, path, now_usec, ret);
    for (int i = 0; i < STALE_ATTEMPTS && r == -ESTALE; i++) {
        mailbox_close(ret);
        r = open_once(&opener, path, now_usec, ret);
    }
    return r;
}

int mailbox_parts_changed(const struct mailbox *mailbox, uint64_t *ret_usec)
{
    const struct opener opener = {};

    return parts_changed(&opener, mailbox, ret_usec);
}

void mailbox_close(struct mailbox *mailbox)
{
    closep(&mailbox->fd);
    *mailbox = (struct mailbox)MAILBOX_NULL;
}
