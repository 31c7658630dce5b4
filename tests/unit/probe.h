/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mailbox of two messages for each test, what may stand in it and beside it, and ways to probe
 * it. What fails here fails the test.
 */
#pragma once

#include "box.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "descriptors.h"
#include "quota/mailbox.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define MINUTE (60 * USEC_PER_SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

struct fixture {
    struct box box;
    struct mailbox_settings settings;
    uint64_t written_usec; /* when put_text() says that a file was written: in an hour */
    int descriptors;       /* open before the test */
};

static const struct mailbox_policy no_policy;

/* Makes a mailbox with two messages, of 700 bytes together. */
static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->descriptors = descriptors_count();
    fixture->written_usec = ((uint64_t)time(NULL) + 3600) * USEC_PER_SEC + 123456;
    (void)umask(022);
    box_init_maildir(&fixture->box);
    box_put(&fixture->box, "cur/1700000000.a,S=300:2,S", 0);
    box_put(&fixture->box, "new/1700000000.b,S=400", 0);
    fixture->settings.confine = fixture->box.confine;
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    int before = fixture->descriptors;

    box_done(&fixture->box);
    free(fixture);
    assert_int_equal(descriptors_count(), before);
    return 0;
}

/* Writes the path of a name beside or in the mailbox: "@" stands for the root, "" for the box. */
static inline char *path_of(const struct fixture *fixture, const char *name,
                            char path[static PATH_MAX])
{
    int length;

    if (name[0] == '@')
        length = snprintf(path, PATH_MAX, "%s%s", fixture->box.root, name + 1);
    else if (name[0] == '/')
        length = snprintf(path, PATH_MAX, "%s", name);
    else
        length = snprintf(path, PATH_MAX, "%s%s%s", fixture->box.path, name[0] ? "/" : "", name);
    assert_in_range(length, 1, PATH_MAX - 1);
    return path;
}

/* Sets the mtime of name; its ctime becomes the present. */
static inline void set_modified(const struct fixture *fixture, const char *name, uint64_t usec)
{
    const struct timespec times[] = {
        {.tv_nsec = UTIME_OMIT},
        {(time_t)(usec / USEC_PER_SEC), (long)(usec % USEC_PER_SEC) * 1000}};
    char path[PATH_MAX];

    assert_return_code(utimensat(AT_FDCWD, path_of(fixture, name, path), times, 0), errno);
}

static inline void put_text(const struct fixture *fixture, const char *name, const char *text,
                            size_t length)
{
    _cleanup_(closep) int fd = -1;
    char path[PATH_MAX];

    fd = open(path_of(fixture, name, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, length), length);
    set_modified(fixture, name, fixture->written_usec);
}

static inline void put_maildirsize(const struct fixture *fixture, const char *text)
{
    put_text(fixture, "maildirsize", text, strlen(text));
}

/* Makes a folder, whose maildirsize counts for nothing. */
static inline void put_folder(const struct fixture *fixture)
{
    put_maildirsize(fixture, "1000S\n500 5\n");
    box_folder(&fixture->box, ".Sub");
    put_text(fixture, ".Sub/maildirsize", "9S\n9 9\n", 7);
    box_put(&fixture->box, ".Sub/maildirfolder", 0);
}

static inline void make_socket(const struct fixture *fixture, const char *name)
{
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PATH_MAX];

    assert_return_code(fd, errno);
    path_of(fixture, name, path);
    assert_true(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
}

static inline void make_fifo(const struct fixture *fixture, const char *name)
{
    char path[PATH_MAX];

    assert_return_code(mkfifo(path_of(fixture, name, path), 0644), errno);
}

/* Probes the mailbox at name, and may wait. Returns as mailbox_probe() does. */
static inline int probe_at(const struct fixture *fixture, const char *name,
                           const struct mailbox_policy *policy, uint64_t now_usec,
                           struct mailbox *ret)
{
    char path[PATH_MAX];

    return mailbox_probe(&fixture->settings, policy, NULL, path_of(fixture, name, path), now_usec,
                         ret);
}

static inline int probe(const struct fixture *fixture, const char *name, struct mailbox *ret)
{
    return probe_at(fixture, name, &no_policy, fixture->written_usec, ret);
}

/* Says what kind of file system everything lies on; and after so many answers, that it does not
 * know. */
struct kinds {
    enum filesystem_kind kind;
    int answers;
};

#define ALWAYS INT_MAX

static inline enum filesystem_kind on_device_kind(dev_t device, void *userdata)
{
    struct kinds *kinds = userdata;

    assert_int_not_equal(device, 0);
    return kinds->answers-- > 0 ? kinds->kind : FILESYSTEM_UNKNOWN;
}

/* Probes the mailbox at name, without waiting and with a memory that remembers nothing. */
static inline int probe_cached_at(const struct fixture *fixture, const char *name,
                                  struct kinds kinds, uint64_t now_usec, struct mailbox *ret)
{
    struct mailbox_nowait memory = {.device_kind = on_device_kind, .userdata = &kinds};
    char path[PATH_MAX];
    int r;

    assert_int_equal(cache_new(0, &memory.cache), 0);
    r = mailbox_probe(&fixture->settings, &no_policy, &memory, path_of(fixture, name, path),
                      now_usec, ret);
    cache_free(memory.cache);
    return r;
}

static inline int probe_cached(const struct fixture *fixture, const char *name, struct kinds kinds,
                               struct mailbox *ret)
{
    return probe_cached_at(fixture, name, kinds, fixture->written_usec, ret);
}

/* Whether this machine can open what is in memory at all. */
static inline bool has_cached(const struct fixture *fixture)
{
    _cleanup_(closep) int fd =
        confine_open_cached(fixture->box.confine, fixture->box.path, O_PATH, NULL);

    return fd != -EOPNOTSUPP;
}
