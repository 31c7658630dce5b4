/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/admission.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "quota/budget.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine.h"
#include "system/filesystem.h"

/* Finds where each directory of the path ends, from its root on. */
static int find_ends(struct admission *admission)
{
    const char *path = admission->path;
    ssize_t root_length = confine_root_length(admission->settings->confine, path);
    size_t end;

    if (root_length < 0)
        return (int)root_length;
    end = (size_t)root_length;
    admission->ends[admission->depth++] = end;
    while (path[end] != '\0') {
        if (admission->depth == ADMISSION_DEPTH_MAX)
            return -ENAMETOOLONG;
        end += path[end] == '/';
        end += strcspn(path + end, "/");
        admission->ends[admission->depth++] = end;
    }
    return 0;
}

int admission_init(struct admission *admission, const struct mailbox_settings *settings,
                   const struct mailbox_policy *policy, const char *path,
                   const struct maildir_cache *cached)
{
    *admission = (struct admission){
        .settings = settings,
        .policy = *policy,
        .path = strdup(path),
        .mailbox = MAILBOX_NULL,
    };
    if (!admission->path)
        return -ENOMEM;
    if (cached) {
        admission->cached = malloc(maildir_cache_bytes(cached));
        if (!admission->cached)
            return -ENOMEM;
        memcpy(admission->cached, cached, maildir_cache_bytes(cached));
    }
    return find_ends(admission);
}

int admission_begin(struct admission *admission, struct watch_set *set, size_t max)
{
    admission->kinds = calloc(max, sizeof(*admission->kinds));
    return admission->kinds ? watch_batch_begin(set, max, &admission->batch) : -ENOMEM;
}

void admission_done(struct admission *admission)
{
    watch_batch_done(&admission->batch);
    free(admission->path);
    free(admission->kinds);
    maildir_cache_free(admission->cached);
    mailbox_close(&admission->mailbox);
}

/* Watches what fd is open on. Returns 0 or -errno. */
static int watch_fd(struct admission *admission, int fd, enum admission_kind kind, uint32_t mask)
{
    size_t number = admission->batch.count;
    int r =
        filesystem_reports_changes(fd) ? watch_batch_add(&admission->batch, fd, mask) : -EOPNOTSUPP;

    if (r == 0)
        admission->kinds[number] = kind;
    return r;
}

/*
 * Watches the directory of the way with that number, or the mbox at its end, and opens it. Returns
 * the descriptor or -errno, -ENOENT if nothing is there.
 */
static int watch_way(struct admission *admission, size_t number, mode_t *ret_mode)
{
    _cleanup_(closep) int fd = -1;
    char path[PATH_MAX];
    struct stat st;
    bool is_last = number + 1 == admission->depth;
    int r = 0;

    memcpy(path, admission->path, admission->ends[number]);
    path[admission->ends[number]] = '\0';
    /* The directory above is watched already, so it stays what its name leads to. */
    fd = confine_open(admission->settings->confine, path, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) && !(is_last && S_ISREG(st.st_mode)))
        return -ENOTDIR;
    if (number >= admission->known)
        r = watch_fd(admission, fd, ADMISSION_WAY, S_ISDIR(st.st_mode) ? WATCH_NAMES : WATCH_FILE);
    *ret_mode = st.st_mode;
    return r < 0 ? r : steal_fd(&fd);
}

/* Opens a directory or file of a directory that is watched. */
static int open_name(int directory_fd, const char *name)
{
    return confine_open_name(directory_fd, name, O_PATH, CONFINE_SAME_MOUNT);
}

/* Watches one `cur` or `new`, which may be missing. */
static int watch_part(struct admission *admission, int folder_fd, enum maildir_part part,
                      const struct maildir_directory *directory)
{
    _cleanup_(closep) int fd = open_name(folder_fd, part == MAILDIR_CUR ? "cur" : "new");

    if (fd == -ENOENT && directory->state == MAILDIR_ABSENT)
        return 0;
    if (fd < 0)
        return fd;
    if (directory->state != MAILDIR_CACHED || directory->linked)
        return -EAGAIN; /* it changes, or may change without an event */
    return watch_fd(admission, fd, ADMISSION_MESSAGES, WATCH_NAMES_AND_CONTENTS);
}

static int watch_parts(struct admission *admission, int folder_fd,
                       const struct maildir_directory *directories)
{
    int r = 0;

    for (enum maildir_part part = 0; r == 0 && part < MAILDIR_PARTS; part++)
        r = watch_part(admission, folder_fd, part, &directories[part]);
    return r;
}

/* Watches all that was counted of the mailbox open on fd. */
static int watch_folders(struct admission *admission, int mailbox_fd)
{
    struct maildir_cache *cached = admission->cached;
    const char *entry = maildir_cache_entries(cached);
    int r = watch_parts(admission, mailbox_fd, cached->directories);

    for (size_t i = 0; r == 0 && i < cached->folders; i++, entry += folder_entry_size(entry)) {
        _cleanup_(closep) int fd = -1;

        if (folder_entry_kind(entry) == FOLDER_EXCLUDED)
            continue;
        if (folder_entry_kind(entry) != FOLDER_COUNTED)
            return -EOPNOTSUPP;
        fd = open_name(mailbox_fd, folder_entry_path(entry));
        r = fd < 0 ? fd : watch_fd(admission, fd, ADMISSION_FOLDER, WATCH_NAMES);
        if (r == 0)
            r = watch_parts(admission, fd, maildir_cache_directories(cached, i));
    }
    return r;
}

/* Whether maildirsize says "over", be it believed or not. */
static bool is_over(const struct mailbox *mailbox)
{
    return mailbox->rule == USAGE_RULE_OVER;
}

/* Counts the mailbox, as far as that is not in *cached. */
static int count_once(struct admission *admission, const struct mailbox_settings *settings,
                      uint64_t now_usec, struct maildir_cache **cached, struct maildir_count *ret)
{
    struct usage usage;
    int r = mailbox_count(&admission->mailbox, admission->path, settings, &admission->policy,
                          now_usec, cached, &usage);

    if (r < 0)
        return r;
    *ret = usage.count;
    return ret->left_out > 0 || ret->stray_folders > 0 ? -EOPNOTSUPP : 0;
}

/* Counts the mailbox, watches what was counted, and makes sure that it is still so. */
static int count(struct admission *admission, const struct mailbox_settings *settings,
                 uint64_t now_usec)
{
    struct mailbox *mailbox = &admission->mailbox;
    struct maildir_count counted, again;
    bool is_new = !admission->cached;
    int r;

    if (settings->count_everything || settings->maildir.layout != MAILDIR_LAYOUT_MAILDIRPP)
        return -EOPNOTSUPP;
    r = count_once(admission, settings, now_usec, &admission->cached, &counted);
    if (r == 0)
        r = watch_folders(admission, mailbox->fd);
    if (r == 0)
        r = count_once(admission, settings, now_usec, &admission->cached, &counted);
    /* A message that grows does not change its directory. Who caches counts does without that. */
    if (r == 0 && is_new)
        r = count_once(admission, settings, now_usec, NULL, &again);
    if (r < 0)
        return r;
    if (counted.directories_read > 0 ||
        (is_new && (again.bytes != counted.bytes || again.messages != counted.messages)))
        return -EAGAIN;
    /* Whether maildirsize is to be believed depends on what is watched only now. */
    mailbox_close(mailbox);
    r = mailbox_probe(settings, &admission->policy, NULL, admission->path, now_usec, mailbox);
    if (r < 0)
        return r;
    admission->is_counted = true;
    admission->sums = (struct mailbox_sums){
        .bytes = counted.bytes,
        .messages = counted.messages,
        .directories = counted.directories_cached,
        .since_usec = admission->cached->since_usec,
        .is_sure = r == MAILBOX_ANSWERED && is_over(mailbox),
    };
    return 0;
}

static int watch_maildirsize(struct admission *admission, int mailbox_fd)
{
    _cleanup_(closep) int fd = open_name(mailbox_fd, "maildirsize");

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    return watch_fd(admission, fd, ADMISSION_SUMS, WATCH_FILE);
}

/* Reads the mailbox, which is watched, and watches what is in it as far as that matters. */
static int watch_mailbox(struct admission *admission, const struct mailbox_settings *settings,
                         int fd, bool is_directory)
{
    struct mailbox *mailbox = &admission->mailbox;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    int r = is_directory ? watch_maildirsize(admission, fd) : 0;

    if (r == 0)
        r = mailbox_probe(settings, &admission->policy, NULL, admission->path, now_usec, mailbox);
    if (r < 0)
        return r;
    if (mailbox->kind != (is_directory ? MAILBOX_MAILDIR : MAILBOX_MBOX) || mailbox->is_unsure ||
        mailbox->is_suspect || mailbox->may_be_folder ||
        mailbox->path_length != strlen(admission->path))
        return -EOPNOTSUPP;
    if (mailbox->kind == MAILBOX_MBOX || (mailbox->maildirsize_state == USAGE_RULE_TRUSTED &&
                                          r == MAILBOX_ANSWERED && !is_over(mailbox)))
        return 0;
    return count(admission, settings, now_usec);
}

static int work(struct admission *admission, const struct mailbox_settings *settings)
{
    for (size_t i = 0; i < admission->depth; i++) {
        bool is_last = i + 1 == admission->depth;
        mode_t mode;
        _cleanup_(closep) int fd = watch_way(admission, i, &mode);

        if (fd == -ENOENT && i > 0) {
            admission->depth = i + 1; /* what will be there first */
            return 0;
        }
        if (fd < 0)
            return fd;
        if (is_last)
            return watch_mailbox(admission, settings, fd, S_ISDIR(mode));
    }
    return 0;
}

void admission_work(struct admission *admission)
{
    struct mailbox_settings settings = *admission->settings;
    struct budget budget = BUDGET_SMALL; /* a mailbox that costs more is not watched */

    settings.maildir.budget = &budget;
    budget_start(&budget);
    admission->error = work(admission, &settings);
    closep(&admission->mailbox.fd);
    admission->mailbox.fd = -1;
}
