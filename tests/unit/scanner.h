/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scanner with real threads and real mailboxes, on disk and on a file system that hangs, and
 * those who ask it. What fails here fails the test.
 */
#pragma once

#include "box.h"

#include <sched.h>
#include <sys/mount.h>
#include <systemd/sd-event.h>

#include "hangfs.h"
#include "server/scan.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define ASKERS_MAX 64
#define HOUR       (3600 * USEC_PER_SEC)

/* A time-out for the tests in which time-outs happen. */
#define SOON (50 * USEC_PER_MSEC)

/* Somebody who asks, and what he was told. */
struct asker {
    struct scan_waiter waiter;
    struct mailbox_policy policy;
    struct fixture *fixture;
    size_t told; /* how often */
    struct scan_result result;
    char path[PATH_MAX];
    char detail[MAILBOX_DETAIL_BYTES_MAX]; /* "": none */
    void (*react)(struct asker *asker);
};

/* A job that keeps a thread from what it should do. */
struct holder {
    struct pool_job job;
    int fd;
    bool done;
};

struct fixture {
    struct box box;       /* what is shown by hangfs lies below its root */
    char mount_point[80]; /* "" where there is no hangfs */
    struct hangfs hangfs;
    dev_t disk, hanging; /* the devices of the two */

    sd_event *event;
    struct confine *confine;
    struct mailbox_settings mailbox_settings;
    struct pool *fast, *slow;
    struct cache *cache;
    struct devices devices;
    struct scanner *scanner;
    struct asker askers[ASKERS_MAX];
    size_t told;
    struct holder holders[2];
    int hold[2]; /* a pipe, from which the holders read */
};

struct limits {
    unsigned int threads;
    size_t queue_max;
    size_t stuck_waiters_max;
    uint64_t timeout_usec;
};

static const struct limits roomy = {4, 1000, 1000, HOUR};

/* Writes the path of name to text: "~" stands for what hangs, "@" for the same on disk. */
static inline char *path_of(const struct fixture *fixture, const char *name,
                            char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s%s",
                   name[0] == '~' ? fixture->mount_point : fixture->box.root, name + 1);
    return path;
}

static inline dev_t device_of(const char *path)
{
    struct stat st;

    assert_return_code(stat(path, &st), errno);
    return st.st_dev;
}

/* Makes the mailbox called name, with two messages of 700 bytes together. */
static inline void make_mailbox(const struct fixture *fixture, const char *name)
{
    static const char *const parts[] = {"", "/new", "/cur"};
    static const char *const messages[] = {"/new/a,S=300", "/cur/b,S=400:2,"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        (void)snprintf(path, sizeof(path), "../%s%s", name, parts[i]);
        box_mkdir(&fixture->box, path);
    }
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
        (void)snprintf(path, sizeof(path), "../%s%s", name, messages[i]);
        box_put(&fixture->box, path, 0);
    }
}

/* Writes a maildirsize that is an hour old: what it says of a full mailbox is not believed. */
static inline void put_maildirsize(const struct fixture *fixture, const char *name,
                                   const char *text)
{
    char path[PATH_MAX];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s/maildirsize", fixture->box.root, name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(path, sizeof(path), "../%s/maildirsize", name);
    box_touch(&fixture->box, path, -3600);
}

/* Makes mailboxes "m0" to "m9", and "box" without messages. */
static inline int set_up_disk(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    *state = fixture;
    box_init_many(&fixture->box);
    for (char digit = '0'; digit <= '9'; digit++)
        make_mailbox(fixture, (char[]){'m', digit, '\0'});
    fixture->disk = device_of(fixture->box.root);
    return 0;
}

static const char *hangfs_program;

static inline int set_up(void **state)
{
    struct fixture *fixture;

    (void)set_up_disk(state);
    fixture = *state;
    (void)snprintf(fixture->mount_point, sizeof(fixture->mount_point), "%s-hangs",
                   fixture->box.root);
    assert_return_code(mkdir(fixture->mount_point, 0755), errno);
    hangfs_start(&fixture->hangfs, hangfs_program, fixture->box.root, fixture->mount_point);
    fixture->hanging = device_of(fixture->mount_point);
    return 0;
}

static inline void make_scanner(struct fixture *fixture, struct limits limits)
{
    const struct scanner_settings settings = {
        .mailbox = &fixture->mailbox_settings,
        .stuck_waiters_max = limits.stuck_waiters_max,
        .timeout_usec = limits.timeout_usec,
    };

    assert_int_equal(sd_event_new(&fixture->event), 0);
    assert_int_equal(confine_new(&fixture->confine), 0);
    assert_int_equal(confine_add_root(fixture->confine, fixture->box.root), 0);
    if (fixture->mount_point[0] != '\0')
        assert_int_equal(confine_add_root(fixture->confine, fixture->mount_point), 0);
    fixture->mailbox_settings.confine = fixture->confine;
    assert_int_equal(cache_new(1024 * 1024, &fixture->cache), 0);
    devices_init(&fixture->devices);
    assert_int_equal(pool_new(fixture->event, limits.threads, limits.queue_max, &fixture->fast), 0);
    assert_int_equal(pool_new(fixture->event, limits.threads, limits.queue_max, &fixture->slow), 0);
    assert_int_equal(scanner_new(fixture->event, &settings, fixture->fast, fixture->slow,
                                 fixture->cache, &fixture->devices, &fixture->scanner),
                     0);
}

static inline void end_scanner(struct fixture *fixture)
{
    while (!pool_end(fixture->fast))
        (void)sched_yield();
    while (!pool_end(fixture->slow))
        (void)sched_yield();
    scanner_free(fixture->scanner);
    cache_free(fixture->cache);
    devices_deinit(&fixture->devices);
    confine_free(fixture->confine);
    sd_event_unref(fixture->event);
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;

    if (fixture->mount_point[0] != '\0')
        hangfs_say(&fixture->hangfs, "wake");
    if (fixture->scanner)
        end_scanner(fixture);
    if (fixture->mount_point[0] != '\0') {
        hangfs_stop(&fixture->hangfs);
        assert_return_code(rmdir(fixture->mount_point), errno);
    }
    box_done(&fixture->box);
    free(fixture);
    return 0;
}

static inline void on_done(struct scan_waiter *waiter, const struct scan_result *result)
{
    struct asker *asker = (struct asker *)waiter;

    assert_null(waiter->scan);
    assert_int_equal(waiter->deadline.at_usec, 0);
    asker->told++;
    asker->fixture->told++;
    asker->result = *result;
    asker->result.path = strcpy(asker->path, result->path);
    strcpy(asker->detail, result->detail ? result->detail : "");
    if (asker->react)
        asker->react(asker);
}

/* Asks about the mailbox called name. */
static inline int ask_with(struct fixture *fixture, size_t index, const char *name,
                           struct mailbox_policy policy)
{
    struct asker *asker = &fixture->askers[index];
    char path[PATH_MAX];

    asker->fixture = fixture;
    asker->told = 0;
    asker->policy = policy;
    asker->waiter.policy = &asker->policy;
    asker->waiter.done = on_done;
    return scanner_ask(fixture->scanner, &asker->waiter, path_of(fixture, name, path),
                       name[0] == '~' ? fixture->hanging : fixture->disk);
}

/* Asks with a limit in bytes (0: none). */
static inline int ask(struct fixture *fixture, size_t index, const char *name, uint64_t limit)
{
    return ask_with(fixture, index, name,
                    (struct mailbox_policy){.have_limit = true, .limit = {limit, 0}});
}

static inline void must_ask(struct fixture *fixture, size_t index, const char *name, uint64_t limit)
{
    assert_int_equal(ask(fixture, index, name, limit), 0);
}

/* Asks about a message of that size. */
static inline void must_ask_with_size(struct fixture *fixture, size_t index, const char *name,
                                      uint64_t limit, uint64_t size_bytes)
{
    const struct mailbox_policy policy = {
        .have_limit = true,
        .limit = {limit, 0},
        .size_bytes = size_bytes,
        .verdict_alone = true,
    };

    assert_int_equal(ask_with(fixture, index, name, policy), 0);
}

static inline void leave(struct fixture *fixture, size_t index)
{
    scanner_leave(fixture->scanner, &fixture->askers[index].waiter);
}

static inline void run_once(struct fixture *fixture)
{
    assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
}

static inline void wait_for_release(struct pool_job *job)
{
    char byte;

    if (read(((struct holder *)job)->fd, &byte, 1) != 1)
        abort();
}

static inline void on_held(struct pool_job *job)
{
    ((struct holder *)job)->done = true;
}

/*
 * Takes the share of threads that what hangs has of four: whoever asks about a mailbox there waits
 * for a look that has not begun, until release().
 */
static inline void hold(struct fixture *fixture)
{
    assert_return_code(pipe2(fixture->hold, O_CLOEXEC), errno);
    for (size_t i = 0; i < ARRAY_SIZE(fixture->holders); i++) {
        fixture->holders[i] = (struct holder){
            .job = {.device = fixture->hanging, .work = wait_for_release, .finished = on_held},
            .fd = fixture->hold[0],
        };
        assert_int_equal(pool_submit(fixture->fast, &fixture->holders[i].job), 0);
    }
}

static inline void release(struct fixture *fixture)
{
    assert_int_equal(write(fixture->hold[1], "xx", 2), 2);
    while (!fixture->holders[0].done || !fixture->holders[1].done)
        run_once(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(fixture->hold); i++)
        (void)close(fixture->hold[i]);
}

/* Runs the loop until so many were told altogether. */
static inline void run_until(struct fixture *fixture, size_t told)
{
    while (fixture->told < told)
        run_once(fixture);
    assert_int_equal(fixture->told, told);
}

static inline const struct scan_counters *counters(const struct fixture *fixture)
{
    return scanner_counters(fixture->scanner);
}

/* Runs the loop until so many looks that counted are over. */
static inline void run_until_counted(struct fixture *fixture, uint64_t count)
{
    while (counters(fixture)->scans + counters(fixture)->cached < count)
        run_once(fixture);
}

static inline const struct scan_result *told(const struct fixture *fixture, size_t index)
{
    assert_int_equal(fixture->askers[index].told, 1);
    return &fixture->askers[index].result;
}

static inline void assert_counted(const struct fixture *fixture, size_t index)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, 0);
    assert_true(result->counted);
    assert_false(result->late);
    assert_int_equal(result->usage.bytes, 700);
    assert_int_equal(result->usage.messages, 2);
}

/* The sums of maildirsize were believed. */
static inline void assert_trusted(const struct fixture *fixture, size_t index, uint64_t bytes)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, 0);
    assert_false(result->counted);
    assert_false(result->late);
    assert_int_equal(result->usage.source, USAGE_MAILDIRSIZE);
    assert_int_equal(result->usage.bytes, bytes);
}

/*
 * Prepares for tests with hangfs, whose program is the first argument. Everything that is mounted
 * is seen by this process and its children alone. Returns whether a file system can be made to hang
 * here.
 */
static inline bool prepare_hangfs(int argc, char **argv)
{
    if (argc < 2 || access("/dev/fuse", R_OK | W_OK) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        print_message("no file system can be made to hang here\n");
        return false;
    }
    hangfs_program = argv[1];
    return true;
}
