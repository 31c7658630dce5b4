/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "quota/everything.h"
#include "quota/stamp.h"
#include "system/cleanup.h"
#include "system/clock.h"

/* How often a server may say that a handle has gone stale before it is believed. */
#define STALE_ATTEMPTS 3

/* How a mailbox is opened: from memory alone, or not. */
struct opener {
    const struct mailbox_settings *settings;
    struct mailbox_memory *memory; /* NULL: waiting is allowed */
    dev_t waits_for;               /* the device that it would have had to wait for */
};

void mailbox_normalise_path(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        size_t length;

        from += strspn(from, "/");
        length = strcspn(from, "/");
        if (length > 0 && !(length == 1 && *from == '.')) {
            *to++ = '/';
            memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    if (to == path)
        *to++ = '/';
    *to = '\0';
}

/* Where the path of the parent of path ends; 0 where the text does not tell. */
static size_t parent_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash || strcmp(slash, "/..") == 0)
        return 0;
    return slash == path ? 1 : (size_t)(slash - path);
}

static enum filesystem_kind kind_of(const struct opener *opener, dev_t device)
{
    return opener->memory->device_kind(device, opener->memory->userdata);
}

static int open_path(struct opener *opener, const char *path)
{
    if (opener->memory)
        return confine_open_cached(opener->settings->confine, path, O_PATH, &opener->waits_for);
    return confine_open(opener->settings->confine, path, O_PATH);
}

/*
 * Whether the kernel must be kept from waiting for the device. A file system in memory never waits,
 * and keeps no record of names that are not there: it may simply be asked.
 */
static bool must_not_wait(const struct opener *opener, dev_t device)
{
    return opener->memory && kind_of(opener, device) != FILESYSTEM_MEMORY;
}

/* Opens one name in a directory of the device, never through a symbolic link. */
static int open_name(const struct opener *opener, dev_t device, int directory_fd, const char *name,
                     int flags)
{
    return confine_open_name(directory_fd, name, flags, must_not_wait(opener, device));
}

static int stat_descriptor(const struct opener *opener, int fd, struct statx *ret)
{
    int flags = AT_EMPTY_PATH | (opener->memory ? AT_STATX_DONT_SYNC : 0);

    if (statx(fd, "", flags, STATX_TYPE | MAILDIRSIZE_MEMORY_STATX_MASK, ret) < 0)
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

/* Reads what is to be read at once, or waits for it. Returns the bytes read or -errno. */
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
 * Reads maildirsize, which has size bytes, to one byte beyond what may be trusted. What is added
 * meanwhile need not be seen. Returns the bytes read or -errno.
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
    default:
        return USAGE_RULE_MALFORMED;
    }
}

#define MAILDIRSIZE_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

/*
 * Whether an error of opening or reading maildirsize is one of the question, not of the file: what
 * it says, its limits for one, may be known the next time.
 */
static bool is_passing(int error)
{
    switch (error) {
    case -EAGAIN:
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
 * Takes in maildirsize, which fd is open on, or the errno of opening it; and in *st what the file
 * was before it was read, if it could be. That it cannot be read is no error but a reason to count;
 * being short of descriptors or memory is one.
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
        return is_passing(fd) ? fd : 0;
    r = stat_descriptor(opener, fd, st);
    if (r < 0)
        return is_passing(r) ? r : 0;
    if (!S_ISREG(st->stx_mode))
        return 0;
    length = read_maildirsize(opener, mailbox->device, fd, st->stx_size, text);
    if (length < 0)
        return is_passing((int)length) ? (int)length : 0;
    mailbox->maildirsize_state =
        rule_from_parse(maildirsize_parse(text, (size_t)length, &mailbox->maildirsize));
    mailbox->maildirsize_modified_usec = statx_time_usec(&st->stx_mtime);
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

    /* Where absent names are not kept, a maildirfolder would have to be looked for each time. */
    if (r == 0 && must_not_wait(opener, mailbox->device) &&
        mailbox->maildirsize_state == USAGE_RULE_TRUSTED) {
        struct maildirsize_memory *memory = opener->memory->maildirsizes;

        maildirsize_memory_put(memory, maildirsize_memory_id(memory, path), &st, read_sec,
                               &mailbox->maildirsize);
    }
    return r;
}

/* Finds out what lies at path. Where that is a directory, mailbox->fd is open on it. */
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
    if (opener->memory && kind_of(opener, mailbox->device) == FILESYSTEM_UNKNOWN) {
        opener->waits_for = mailbox->device;
        return -EAGAIN;
    }
    if (!opener->memory)
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

/* Returns 1 if the directory is a folder of a mailbox, 0 if not, or -errno. */
static int is_folder(const struct opener *opener, const struct mailbox *mailbox)
{
    _cleanup_(closep) int fd =
        open_name(opener, mailbox->device, mailbox->fd, "maildirfolder", O_PATH);

    if (fd >= 0)
        return 1;
    return fd == -ENOENT || fd == -EACCES ? 0 : fd;
}

static int open_once(struct opener *opener, char *path, struct mailbox *ret)
{
    struct mailbox mailbox = MAILBOX_NULL;
    size_t parent = parent_length(path);
    char cut = path[parent];
    int r;

    r = open_target(opener, path, &mailbox);
    if (r == 0 && mailbox.kind == MAILBOX_MAILDIR && parent > 0) {
        r = is_folder(opener, &mailbox);
        if (r > 0) {
            mailbox_close(&mailbox);
            path[parent] = '\0';
            r = open_target(opener, path, &mailbox);
            mailbox.path_cut = cut;
        }
    }
    if (r == 0 && mailbox.kind == MAILBOX_MAILDIR)
        r = load_maildirsize(opener, path, &mailbox);
    if (r < 0) {
        path[parent] = cut;
        if (opener->waits_for == 0)
            opener->waits_for = mailbox.device;
        mailbox_close(&mailbox);
        return r;
    }
    *ret = mailbox;
    return 0;
}

int mailbox_open(const struct mailbox_settings *settings, char *path, struct mailbox *ret)
{
    struct opener opener = {.settings = settings};
    int r = -ESTALE;

    for (int i = 0; i < STALE_ATTEMPTS && r == -ESTALE; i++)
        r = open_once(&opener, path, ret);
    return r;
}

/*
 * Takes in the maildirsize of the directory, known by that id, from memory: it is neither opened
 * for reading nor read. Returns whether it is known and did not change.
 */
static bool recall_maildirsize(const struct opener *opener, const struct confine_target *directory,
                               uint64_t id, struct mailbox *mailbox)
{
    struct maildirsize_memory *memory = opener->memory->maildirsizes;
    _cleanup_(closep) int fd = -1;
    struct statx st;

    if (!maildirsize_memory_has(memory, id))
        return false;
    fd = confine_open_entry(opener->settings->confine, directory, "maildirsize");
    if (fd < 0 || stat_descriptor(opener, fd, &st) < 0 ||
        kind_of(opener, statx_device(&st)) == FILESYSTEM_UNKNOWN ||
        !maildirsize_memory_recall(memory, id, &st, &mailbox->maildirsize))
        return false;
    mailbox->device = statx_device(&st);
    mailbox->maildirsize_state = USAGE_RULE_TRUSTED;
    mailbox->maildirsize_modified_usec = statx_time_usec(&st.stx_mtime);
    return true;
}

/* Whether the directory is known to be no folder of a mailbox. */
static bool is_no_folder(const struct opener *opener, const struct confine_target *directory)
{
    _cleanup_(closep) int fd =
        confine_open_entry(opener->settings->confine, directory, "maildirfolder");

    return fd == -ENOENT;
}

/*
 * Opens the Maildir at path by what is remembered of its maildirsize, which takes half of the
 * system calls. Returns whether that answers; all else, errors too, is the other way's.
 */
static bool open_remembered(const struct opener *opener, const char *path, struct mailbox *ret)
{
    struct mailbox mailbox = {.kind = MAILBOX_MAILDIR, .fd = -1};
    struct confine_target directory;

    if (confine_find(opener->settings->confine, path, &directory) < 0 ||
        !recall_maildirsize(opener, &directory,
                            maildirsize_memory_id(opener->memory->maildirsizes, path), &mailbox) ||
        (parent_length(path) > 0 && !is_no_folder(opener, &directory)))
        return false;
    *ret = mailbox;
    return true;
}

int mailbox_open_cached(const struct mailbox_settings *settings, struct mailbox_memory *memory,
                        char *path, struct mailbox *ret, dev_t *ret_device)
{
    struct opener opener = {.settings = settings, .memory = memory};
    int r;

    if (open_remembered(&opener, path, ret))
        return 0;
    r = open_once(&opener, path, ret);
    if (r == -EOPNOTSUPP || r == -ESTALE)
        r = -EAGAIN;
    if (r == -EAGAIN)
        *ret_device = opener.waits_for;
    return r;
}

int mailbox_memory_init(struct mailbox_memory *memory, size_t max_mailboxes,
                        mailbox_device_kind_fn device_kind, void *userdata)
{
    *memory = (struct mailbox_memory){.device_kind = device_kind, .userdata = userdata};
    return maildirsize_memory_new(max_mailboxes, &memory->maildirsizes);
}

void mailbox_memory_done(struct mailbox_memory *memory)
{
    maildirsize_memory_free(memory->maildirsizes);
    *memory = (struct mailbox_memory){};
}

void mailbox_restore_path(const struct mailbox *mailbox, char *path)
{
    path[strlen(path)] = mailbox->path_cut;
}

void mailbox_close(struct mailbox *mailbox)
{
    closep(&mailbox->fd);
    *mailbox = (struct mailbox)MAILBOX_NULL;
}

struct quota_limit mailbox_effective_limit(const struct mailbox_policy *policy,
                                           const struct quota_limit *header)
{
    if (policy->have_limit)
        return policy->limit;
    if (header && (header->bytes > 0 || header->messages > 0))
        return *header;
    return policy->default_limit;
}

/*
 * Whether the list of messages was changed after maildirsize was. What cannot be told, was: within
 * one tick of the clock for one.
 */
static bool changed_since_maildirsize(const struct mailbox *mailbox)
{
    static const char *const names[] = {"new", "cur"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct statx st;

        if (statx(mailbox->fd, names[i], AT_SYMLINK_NOFOLLOW, STATX_MTIME, &st) < 0 ||
            statx_time_usec(&st.stx_mtime) >= mailbox->maildirsize_modified_usec)
            return true;
    }
    return false;
}

enum usage_rule mailbox_must_count(const struct mailbox *mailbox,
                                   const struct mailbox_policy *policy, uint64_t now_usec,
                                   bool may_wait)
{
    const struct maildirsize *sums = &mailbox->maildirsize;
    uint64_t modified_usec = mailbox->maildirsize_modified_usec;
    struct quota_limit limit;

    if (mailbox->kind != MAILBOX_MAILDIR)
        return USAGE_RULE_TRUSTED;
    if (mailbox->maildirsize_state != USAGE_RULE_TRUSTED)
        return mailbox->maildirsize_state;
    limit = mailbox_effective_limit(policy, &sums->limit);
    if (!verdict_is_over(sums->bytes, sums->messages, limit, policy->size_bytes, policy->grace))
        return USAGE_RULE_TRUSTED;
    /* One from the future would hide every change until then. */
    if (sums->entries > 1 || now_usec < modified_usec ||
        now_usec - modified_usec >= MAILBOX_MAILDIRSIZE_FRESH_USEC)
        return USAGE_RULE_OVER;
    if (!may_wait || mailbox->fd < 0 || changed_since_maildirsize(mailbox))
        return USAGE_RULE_OVER;
    return USAGE_RULE_TRUSTED;
}

bool mailbox_usage(const struct mailbox *mailbox, struct usage *ret)
{
    struct usage usage = {};

    switch (mailbox->kind) {
    case MAILBOX_NONE:
        usage.source = USAGE_NONE;
        break;
    case MAILBOX_MBOX:
        usage.source = USAGE_MBOX;
        usage.bytes = mailbox->mbox_bytes;
        break;
    case MAILBOX_MAILDIR:
        if (mailbox->maildirsize_state != USAGE_RULE_TRUSTED)
            return false;
        usage.source = USAGE_MAILDIRSIZE;
        usage.bytes = mailbox->maildirsize.bytes;
        usage.messages = mailbox->maildirsize.messages;
        usage.header_limit = mailbox->maildirsize.limit;
        break;
    }
    *ret = usage;
    return true;
}

int mailbox_count(const struct mailbox *mailbox, const char *path,
                  const struct mailbox_settings *settings, enum usage_rule rule,
                  struct maildir_memory **memory, struct usage *ret)
{
    struct maildir_count count;
    int r;

    if (settings->count_everything)
        r = everything_count(mailbox->fd, path, settings->confine, &count);
    else
        r = maildir_count(mailbox->fd, path, settings->confine, &settings->maildir, memory, &count);
    if (r < 0)
        return r;
    *ret = (struct usage){
        .bytes = count.bytes,
        .messages = count.messages,
        .source = count.directories_read > 0 ? USAGE_SCAN : USAGE_CACHE,
        .rule = rule,
        .header_limit = mailbox->maildirsize.limit,
        .count = count,
    };
    return 0;
}
