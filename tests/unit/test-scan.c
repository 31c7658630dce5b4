/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scanner with real threads, real mailboxes, and a file system that hangs for real.
 *
 *     test-scan HANGFS
 */
#include "box.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>

#include "child.h"
#include "hangfs.h"
#include "hoard.h"
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
    void (*react)(struct asker *asker);
};

struct fixture {
    struct box box;       /* what is shown by hangfs lies beneath its root */
    char mount_point[80]; /* "" where there is no hangfs */
    struct hangfs hangfs;
    dev_t disk, hanging; /* the devices of the two */

    sd_event *event;
    struct confine *confine;
    struct mailbox_settings mailbox_settings;
    struct pool *pool;
    struct cache *cache;
    struct devices devices;
    struct scanner *scanner;
    struct asker askers[ASKERS_MAX];
    size_t told;
};

struct limits {
    unsigned int threads;
    size_t queue_max;
    size_t stuck_waiters_max;
    uint64_t timeout_usec;
};

static const struct limits roomy = {4, 1000, 1000, HOUR};

/* Writes the path of name to text: "~" stands for what hangs, "@" for the same on disk. */
static char *path_of(const struct fixture *fixture, const char *name, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s%s",
                   name[0] == '~' ? fixture->mount_point : fixture->box.root, name + 1);
    return path;
}

static dev_t device_of(const char *path)
{
    struct stat st;

    assert_return_code(stat(path, &st), errno);
    return st.st_dev;
}

/* Makes the mailbox called name, with two messages of 700 bytes together. */
static void make_mailbox(const struct fixture *fixture, const char *name)
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
static void put_maildirsize(const struct fixture *fixture, const char *name, const char *text)
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
static int set_up_disk(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    *state = fixture;
    box_init_maildir(&fixture->box);
    for (char digit = '0'; digit <= '9'; digit++)
        make_mailbox(fixture, (char[]){'m', digit, '\0'});
    fixture->disk = device_of(fixture->box.root);
    return 0;
}

static const char *hangfs_program;

static int set_up(void **state)
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

static void make_scanner(struct fixture *fixture, struct limits limits)
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
    assert_int_equal(cache_new(100, &fixture->cache), 0);
    assert_int_equal(pool_new(fixture->event, limits.threads, limits.queue_max, &fixture->pool), 0);
    assert_int_equal(scanner_new(fixture->event, &settings, fixture->pool, fixture->cache,
                                 &fixture->devices, &fixture->scanner),
                     0);
}

static void end_scanner(struct fixture *fixture)
{
    while (!pool_end(fixture->pool))
        (void)sched_yield();
    scanner_free(fixture->scanner);
    cache_free(fixture->cache);
    confine_free(fixture->confine);
    sd_event_unref(fixture->event);
}

static int tear_down(void **state)
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

static void on_done(struct scan_waiter *waiter, const struct scan_result *result)
{
    struct asker *asker = (struct asker *)waiter;

    assert_null(waiter->scan);
    assert_int_equal(waiter->deadline.at_usec, 0);
    asker->told++;
    asker->fixture->told++;
    asker->result = *result;
    asker->result.path = strcpy(asker->path, result->path);
    if (asker->react)
        asker->react(asker);
}

/* Asks about the mailbox called name. */
static int ask_with(struct fixture *fixture, size_t index, const char *name,
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
static int ask(struct fixture *fixture, size_t index, const char *name, uint64_t limit)
{
    return ask_with(fixture, index, name,
                    (struct mailbox_policy){.have_limit = true, .limit = {limit, 0}});
}

static void must_ask(struct fixture *fixture, size_t index, const char *name, uint64_t limit)
{
    assert_int_equal(ask(fixture, index, name, limit), 0);
}

static void leave(struct fixture *fixture, size_t index)
{
    scanner_leave(fixture->scanner, &fixture->askers[index].waiter);
}

static void run_once(struct fixture *fixture)
{
    assert_true(sd_event_run(fixture->event, UINT64_MAX) >= 0);
}

/* Runs the loop until so many were told altogether. */
static void run_until(struct fixture *fixture, size_t told)
{
    while (fixture->told < told)
        run_once(fixture);
    assert_int_equal(fixture->told, told);
}

static const struct scan_counters *counters(const struct fixture *fixture)
{
    return scanner_counters(fixture->scanner);
}

/* Runs the loop until so many looks that counted are over. */
static void run_until_counted(struct fixture *fixture, uint64_t count)
{
    while (counters(fixture)->scans + counters(fixture)->cached < count)
        run_once(fixture);
}

static const struct scan_result *told(const struct fixture *fixture, size_t index)
{
    assert_int_equal(fixture->askers[index].told, 1);
    return &fixture->askers[index].result;
}

static void assert_counted(const struct fixture *fixture, size_t index)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, 0);
    assert_true(result->counted);
    assert_false(result->late);
    assert_int_equal(result->usage.bytes, 700);
    assert_int_equal(result->usage.messages, 2);
}

/* The sums of maildirsize were believed. */
static void assert_trusted(const struct fixture *fixture, size_t index, uint64_t bytes)
{
    const struct scan_result *result = told(fixture, index);

    assert_int_equal(result->error, 0);
    assert_false(result->counted);
    assert_false(result->late);
    assert_int_equal(result->usage.source, USAGE_MAILDIRSIZE);
    assert_int_equal(result->usage.bytes, bytes);
}

static void what_a_look_finds(void **state)
{
    static const struct {
        const char *name;
        uint64_t limit;
        int error;
        bool counted;
        enum usage_source source;
        uint64_t bytes;
        const char *found; /* NULL: what was asked for */
    } cases[] = {
        {"@/m0", 0, 0, true, USAGE_SCAN, 700, NULL},
        {"@/m1", 1000, 0, false, USAGE_MAILDIRSIZE, 1000, NULL},
        {"@/m1", 999, 0, true, USAGE_SCAN, 700, NULL},
        {"@/m1/.Sub", 1000, 0, false, USAGE_MAILDIRSIZE, 1000, "@/m1"},
        {"@/m1/.Sub", 999, 0, true, USAGE_SCAN, 700, "@/m1"},
        {"@/box", 1, 0, true, USAGE_SCAN, 0, NULL},
        {"@/mbox", 1, 0, false, USAGE_MBOX, 12345, NULL},
        {"@/nothing", 1, 0, false, USAGE_NONE, 0, NULL},
        {"@/m1/maildirsize/x", 1, -ENOTDIR, false, 0, 0, NULL},
        {"@/fifo", 1, -EMEDIUMTYPE, false, 0, 0, NULL},
        {"@/../x", 1, -EXDEV, false, 0, 0, NULL},
    };
    struct fixture *fixture = *state;
    char path[PATH_MAX];
    uint64_t scans = 0;

    put_maildirsize(fixture, "m1", "1S\n1000 9\n");
    box_mkdir(&fixture->box, "../m1/.Sub");
    box_put(&fixture->box, "../m1/.Sub/maildirfolder", 0);
    box_put(&fixture->box, "../mbox", 12345);
    assert_return_code(mkfifo(path_of(fixture, "@/fifo", path), 0644), errno);
    make_scanner(fixture, roomy);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct scan_result *result;

        must_ask(fixture, i, cases[i].name, cases[i].limit);
        run_until(fixture, i + 1);
        result = told(fixture, i);
        assert_int_equal(result->error, cases[i].error);
        assert_false(result->late);
        assert_int_equal(result->counted, cases[i].counted);
        assert_string_equal(
            result->path, path_of(fixture, cases[i].found ? cases[i].found : cases[i].name, path));
        if (cases[i].error < 0)
            continue;
        assert_int_equal(result->usage.source, cases[i].source);
        assert_int_equal(result->usage.bytes, cases[i].bytes);
        scans += cases[i].counted;
        assert_int_equal(counters(fixture)->scans, scans);
    }
    assert_int_equal(counters(fixture)->cached, 0);
    assert_int_equal(counters(fixture)->shared, 0);
    assert_int_equal(counters(fixture)->timeouts, 0);
    assert_int_equal(scanner_stuck(fixture->scanner), 0);
}

static void a_look_learns_the_device(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    assert_int_equal(devices_kind(&fixture->devices, fixture->disk), FILESYSTEM_UNKNOWN);
    must_ask(fixture, 0, "@/nothing", 0);
    run_until(fixture, 1);
    assert_int_equal(devices_kind(&fixture->devices, fixture->disk), FILESYSTEM_UNKNOWN);
    must_ask(fixture, 0, "@/m0", 0);
    run_until(fixture, 2);
    assert_int_equal(devices_kind(&fixture->devices, fixture->disk),
                     filesystem_kind(fixture->box.fd));
}

static void a_look_is_remembered(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    box_settle();
    for (size_t i = 0; i < 3; i++) {
        must_ask(fixture, i, "@/m0", 0);
        run_until(fixture, i + 1);
        assert_counted(fixture, i);
        assert_int_equal(told(fixture, i)->usage.source, i == 0 ? USAGE_SCAN : USAGE_CACHE);
    }
    assert_int_equal(counters(fixture)->scans, 1);
    assert_int_equal(counters(fixture)->cached, 2);
    assert_int_equal(cache_count(fixture->cache), 1);
}

static void many_share_one_look(void **state)
{
    struct fixture *fixture = *state;
    unsigned long lists_before, lists_of_one;

    make_scanner(fixture, roomy);
    lists_before = hangfs_lists(&fixture->hangfs);
    must_ask(fixture, 50, "~/m0", 0);
    run_until(fixture, 1);
    lists_of_one = hangfs_lists(&fixture->hangfs) - lists_before;
    assert_true(lists_of_one > 0);

    hangfs_say(&fixture->hangfs, "hang list");
    for (size_t i = 0; i < 50; i++) {
        must_ask(fixture, i, "~/m0", i);
        if (i == 24)
            hangfs_say(&fixture->hangfs, "await 1");
    }
    assert_int_equal(counters(fixture)->shared, 49);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 51);
    for (size_t i = 0; i < 50; i++)
        assert_counted(fixture, i);
    assert_int_equal(counters(fixture)->scans, 2);
    assert_int_equal(hangfs_lists(&fixture->hangfs) - lists_before, 2 * lists_of_one);
}

static void others_are_looked_into_meanwhile(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang look list read");
    for (size_t i = 0; i < 10; i++)
        must_ask(fixture, i, (char[]){'~', '/', 'm', (char)('0' + i), '\0'}, 0);
    hangfs_say(&fixture->hangfs, "await 1");
    for (size_t i = 0; i < 30; i++)
        must_ask(fixture, 10 + i, (char[]){'@', '/', 'm', (char)('0' + i % 10), '\0'}, 0);
    run_until(fixture, 30);
    for (size_t i = 10; i < 40; i++)
        assert_counted(fixture, i);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 40);
    for (size_t i = 0; i < 10; i++)
        assert_counted(fixture, i);
}

/* The look waits until all are there: reading maildirsize hangs. */
static void a_lower_limit_is_looked_at_for_itself(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang read");
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 999);
    must_ask(fixture, 2, "~/m0", 1000);
    must_ask(fixture, 3, "~/m0", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 4);
    assert_trusted(fixture, 0, 1000);
    assert_counted(fixture, 1);
    assert_trusted(fixture, 2, 1000);
    assert_counted(fixture, 3);
    assert_int_equal(counters(fixture)->scans, 1); /* the two share the second look */
}

static void a_larger_message_is_looked_at_for_itself(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang read");
    must_ask(fixture, 0, "~/m0", 1000);
    assert_int_equal(
        ask_with(fixture, 1, "~/m0",
                 (struct mailbox_policy){.have_limit = true, .limit = {1000, 0}, .size_bytes = 1}),
        0);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 2);
    assert_trusted(fixture, 0, 1000);
    assert_counted(fixture, 1);
}

/* Who asked first, and made the look what it is, has gone. */
static void a_lower_limit_is_not_answered_for_another(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang read");
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    leave(fixture, 0);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 1);
    assert_counted(fixture, 1);

    /* nor has he come back with another question */
    hangfs_say(&fixture->hangfs, "hang read");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    leave(fixture, 0);
    must_ask(fixture, 0, "~/m0", 500);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 2);
    assert_counted(fixture, 0);
}

static void a_second_look_has_the_time_of_the_first(void **state)
{
    struct fixture *fixture = *state;
    uint64_t at_usec;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, roomy);
    hangfs_say(&fixture->hangfs, "hang read list");
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 500);
    at_usec = fixture->askers[1].waiter.deadline.at_usec;
    hangfs_say(&fixture->hangfs, "await 1");
    hangfs_say(&fixture->hangfs, "wake read");
    run_until(fixture, 1);
    hangfs_say(&fixture->hangfs, "await 1");
    assert_int_equal(fixture->askers[1].waiter.deadline.at_usec, at_usec);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 2);
    assert_trusted(fixture, 0, 1000);
    assert_counted(fixture, 1);
}

/* There is no room for the second look when the first is over. */
static void a_second_look_may_be_refused(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, (struct limits){1, 1, 1000, HOUR});
    hangfs_say(&fixture->hangfs, "hang read list");
    must_ask(fixture, 0, "~/m0", 0);
    must_ask(fixture, 1, "~/m0", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 2, "~/m1", 0);
    hangfs_say(&fixture->hangfs, "wake read"); /* the only thread goes on to m1 */
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 3, "~/m2", 0);
    run_until(fixture, 2);
    assert_trusted(fixture, 0, 1000);
    assert_int_equal(told(fixture, 1)->error, -EBUSY);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 4);
    assert_counted(fixture, 2);
    assert_counted(fixture, 3);
}

static void who_leaves_is_not_told(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    leave(fixture, 0); /* waits for nothing */
    hangfs_say(&fixture->hangfs, "hang list");
    for (size_t i = 0; i < 3; i++)
        must_ask(fixture, i, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    leave(fixture, 0);
    leave(fixture, 2);
    leave(fixture, 2);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 1);
    assert_counted(fixture, 1);
    assert_int_equal(fixture->askers[0].told, 0);
    assert_int_equal(fixture->askers[2].told, 0);

    /* a look that nobody waits for goes on */
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m1", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    leave(fixture, 0);
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 2);
    assert_int_equal(fixture->told, 1);
    assert_int_equal(cache_count(fixture->cache), 2);
}

static void make_others_leave(struct asker *asker)
{
    for (size_t i = 1; i < 5; i++)
        leave(asker->fixture, i);
}

static void ask_again(struct asker *asker)
{
    asker->react = NULL;
    must_ask(asker->fixture, 0, "@/m1", 0);
}

static void who_is_told_may_ask_and_make_others_leave(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, roomy);
    for (size_t i = 0; i < 6; i++)
        must_ask(fixture, i, "@/m0", 0);
    fixture->askers[0].react = make_others_leave;
    run_until(fixture, 2);
    assert_counted(fixture, 0);
    assert_counted(fixture, 5);

    fixture->askers[0].react = ask_again;
    must_ask(fixture, 0, "@/m0", 0);
    run_until(fixture, 4);
    assert_counted(fixture, 0);
    assert_int_equal(fixture->askers[0].result.path[strlen(fixture->box.root) + 2], '1');
}

static void a_late_count_is_answered_by_maildirsize(void **state)
{
    struct fixture *fixture = *state;
    const struct scan_result *result;
    char path[PATH_MAX];

    put_maildirsize(fixture, "m0", "10S,20C\n1000 9\n");
    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    box_settle();
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 500);
    must_ask(fixture, 1, "~/m0", 400);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 2);
    for (size_t i = 0; i < 2; i++) {
        result = told(fixture, i);
        assert_int_equal(result->error, 0);
        assert_true(result->late);
        assert_false(result->counted);
        assert_int_equal(result->usage.source, USAGE_MAILDIRSIZE);
        assert_int_equal(result->usage.bytes, 1000);
        assert_int_equal(result->usage.messages, 9);
        assert_int_equal(result->usage.header_limit.bytes, 10);
        assert_string_equal(result->path, path_of(fixture, "~/m0", path));
    }
    assert_int_equal(counters(fixture)->timeouts, 2);
    assert_int_equal(counters(fixture)->scans, 0);
    while (scanner_stuck(fixture->scanner) == 0)
        (void)sched_yield();
    assert_int_equal(scanner_stuck(fixture->scanner), 1);

    /* who asks now joins the look that hangs, and has a time of his own */
    must_ask(fixture, 0, "~/m0", 500);
    run_until(fixture, 3);
    assert_true(told(fixture, 0)->late);
    assert_int_equal(counters(fixture)->shared, 2);

    /* the count goes on, and the next question finds it done */
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 1);
    assert_int_equal(fixture->told, 3);
    assert_int_equal(scanner_stuck(fixture->scanner), 0);
}

static void what_was_counted_too_late_is_remembered(void **state)
{
    struct fixture *fixture = *state;
    uint64_t counted = 0;
    size_t asked = 0;

    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    box_settle();
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 1);
    assert_int_equal(told(fixture, 0)->error, -ETIMEDOUT); /* there is no maildirsize */
    assert_true(told(fixture, 0)->late);
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 1);
    assert_int_equal(counters(fixture)->scans, 1);

    /* on a slow machine even what is remembered may take too long, but not for ever */
    do {
        must_ask(fixture, 0, "~/m0", 0);
        run_until(fixture, ++asked + 1);
        run_until_counted(fixture, ++counted + 1);
    } while (told(fixture, 0)->error == -ETIMEDOUT);
    assert_counted(fixture, 0);
    assert_int_equal(told(fixture, 0)->usage.source, USAGE_CACHE);
}

static void a_mailbox_that_cannot_even_be_found_times_out(void **state)
{
    struct fixture *fixture = *state;
    const struct scan_result *result;
    char path[PATH_MAX];

    put_maildirsize(fixture, "m0", "\n1000 9\n");
    make_scanner(fixture, (struct limits){4, 1000, 1000, SOON});
    hangfs_say(&fixture->hangfs, "hang look");
    must_ask(fixture, 0, "~/m0/.Sub", 500);
    hangfs_say(&fixture->hangfs, "await 1");
    run_until(fixture, 1);
    result = told(fixture, 0);
    assert_int_equal(result->error, -ETIMEDOUT);
    assert_true(result->late);
    assert_string_equal(result->path, path_of(fixture, "~/m0/.Sub", path));
    assert_int_equal(counters(fixture)->timeouts, 1);
    hangfs_say(&fixture->hangfs, "wake");
}

static void a_hanging_device_takes_so_many_questions(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    make_scanner(fixture, (struct limits){4, 1000, 3, 10 * SOON});
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");

    /* a device that may yet answer takes them all */
    for (size_t i = 1; i < 10; i++)
        must_ask(fixture, i, "~/m0", 0);
    run_until(fixture, 10);
    while (scanner_stuck(fixture->scanner) == 0)
        (void)sched_yield();

    must_ask(fixture, 0, "~/m1", 0);
    must_ask(fixture, 1, "~/m0", 0);
    must_ask(fixture, 2, "~/m2", 0);
    assert_int_equal(ask(fixture, 3, "~/m3", 0), -EBUSY); /* a look of its own */
    assert_int_equal(ask(fixture, 3, "~/m1", 0), -EBUSY); /* one that is in flight */
    assert_null(fixture->askers[3].waiter.scan);
    leave(fixture, 3);

    /* others go on, and so does who leaves room */
    must_ask(fixture, 4, "@/m0", 0);
    must_ask(fixture, 5, "@/m1", 0);
    leave(fixture, 2);
    must_ask(fixture, 3, "~/m3", 0);
    assert_int_equal(ask(fixture, 2, "~/m2", 0), -EBUSY);
    leave(fixture, 0);
    leave(fixture, 1);
    leave(fixture, 3);
    run_until(fixture, 12);
    assert_string_equal(told(fixture, 4)->path, path_of(fixture, "@/m0", path));

    /* a device that is awake again takes them all again */
    hangfs_say(&fixture->hangfs, "wake");
    run_until_counted(fixture, 6);
    assert_int_equal(scanner_stuck(fixture->scanner), 0);
    for (size_t i = 0; i < 10; i++)
        must_ask(fixture, i, "~/m0", 0);
    run_until(fixture, 22);
}

static void a_full_queue_refuses(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, (struct limits){1, 1, 1000, HOUR});
    must_ask(fixture, 0, "~/m2", 0);
    run_until(fixture, 1);
    assert_int_equal(cache_count(fixture->cache), 1);
    hangfs_say(&fixture->hangfs, "hang list");
    must_ask(fixture, 0, "~/m0", 0);
    hangfs_say(&fixture->hangfs, "await 1");
    must_ask(fixture, 1, "~/m1", 0);
    assert_int_equal(ask(fixture, 2, "~/m2", 0), -EBUSY);
    assert_int_equal(ask(fixture, 3, "@/m2", 0), -EBUSY);
    assert_null(fixture->askers[2].waiter.scan);
    assert_int_equal(cache_count(fixture->cache), 1); /* nothing is forgotten for it */
    must_ask(fixture, 4, "~/m0", 0);                  /* looks in flight have room */
    must_ask(fixture, 5, "~/m1", 0);
    hangfs_say(&fixture->hangfs, "wake");
    run_until(fixture, 5);
    assert_int_equal(fixture->askers[2].told, 0);
    assert_int_equal(fixture->askers[3].told, 0);
    must_ask(fixture, 2, "~/m2", 0);
    run_until(fixture, 6);
    assert_counted(fixture, 2);
}

/* Looks that wait, that are done, and that nobody was told of, go with the scanner. */
static void ends_with_looks_in_flight(void **state)
{
    struct fixture *fixture = *state;

    make_scanner(fixture, (struct limits){2, 1000, 1000, HOUR});
    hangfs_say(&fixture->hangfs, "hang list");
    for (size_t i = 0; i < 10; i++)
        must_ask(fixture, i, (char[]){'~', '/', 'm', (char)('0' + i), '\0'}, 0);
    hangfs_say(&fixture->hangfs, "await 1");
    assert_false(pool_end(fixture->pool));
    hangfs_say(&fixture->hangfs, "wake");
    end_scanner(fixture);
    fixture->scanner = NULL;
    assert_int_equal(fixture->told, 0);
}

/* A scanner without anything to scan, for a child in which something runs out. */
struct bare {
    sd_event *event;
    struct cache *cache;
    struct pool *pool;
    struct devices devices;
    struct scanner *scanner;
    struct scan_waiter waiter;
};

static const struct scanner_settings bare_settings = {.stuck_waiters_max = 10,
                                                      .timeout_usec = HOUR};
static const struct mailbox_policy bare_policy;

static enum child_result bare_init(struct bare *bare)
{
    *bare = (struct bare){.waiter = {.policy = &bare_policy}};
    CHECK(sd_event_new(&bare->event) == 0);
    CHECK(cache_new(10, &bare->cache) == 0);
    CHECK(pool_new(bare->event, 1, 10, &bare->pool) == 0);
    return CHILD_PASSED;
}

static int bare_new(struct bare *bare)
{
    return scanner_new(bare->event, &bare_settings, bare->pool, bare->cache, &bare->devices,
                       &bare->scanner);
}

static enum child_result without_memory(void *userdata)
{
    struct bare bare;

    (void)userdata;
    if (!HOARD_WORKS)
        return CHILD_SKIPPED;
    CHECK(hoard_prepare());
    CHECK(bare_init(&bare) == CHILD_PASSED);
    CHECK(bare_new(&bare) == 0);
    CHECK(hoard_all());
    CHECK(scanner_ask(bare.scanner, &bare.waiter, "/x", 0) == -ENOMEM);
    CHECK(!bare.waiter.scan);
    CHECK(bare_new(&bare) == -ENOMEM);
    return CHILD_PASSED;
}

static enum child_result without_threads(void *userdata)
{
    struct bare bare;

    (void)userdata;
    CHECK(bare_init(&bare) == CHILD_PASSED);
    CHECK(bare_new(&bare) == 0);
    CHECK(child_stop_threads());
    CHECK(scanner_ask(bare.scanner, &bare.waiter, "/x", 0) == -EBUSY);
    CHECK(!bare.waiter.scan);
    return CHILD_PASSED;
}

static enum child_result without_descriptors(void *userdata)
{
    const int lowest = dup(STDIN_FILENO);
    struct rlimit none = {0, 1024};
    struct bare bare;

    (void)userdata;
    CHECK(bare_init(&bare) == CHILD_PASSED);
    none.rlim_cur = (rlim_t)lowest;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(bare_new(&bare) == -EMFILE);
    return CHILD_PASSED;
}

static void memory_runs_out(void **state)
{
    (void)state;
    assert_child_passes(without_memory, NULL);
}

static void threads_run_out(void **state)
{
    (void)state;
    assert_child_passes(without_threads, NULL);
}

static void descriptors_run_out(void **state)
{
    (void)state;
    assert_child_passes(without_descriptors, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest anywhere[] = {
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(threads_run_out),
        cmocka_unit_test(descriptors_run_out),
        cmocka_unit_test_setup_teardown(what_a_look_finds, set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(a_look_learns_the_device, set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(a_look_is_remembered, set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(who_is_told_may_ask_and_make_others_leave, set_up_disk,
                                        tear_down),
    };
    const struct CMUnitTest hanging[] = {
        cmocka_unit_test_setup_teardown(many_share_one_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_looked_into_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lower_limit_is_looked_at_for_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_larger_message_is_looked_at_for_itself, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lower_limit_is_not_answered_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_second_look_has_the_time_of_the_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_look_may_be_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_leaves_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_count_is_answered_by_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_counted_too_late_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mailbox_that_cannot_even_be_found_times_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_hanging_device_takes_so_many_questions, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_with_looks_in_flight, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(anywhere, NULL, NULL);

    /* Everything that is mounted is seen by this process and its children alone. */
    if (argc < 2 || access("/dev/fuse", R_OK | W_OK) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        print_message("no file system can be made to hang here\n");
        return failed > 0 ? 1 : 77;
    }
    hangfs_program = argv[1];
    failed += cmocka_run_group_tests(hanging, NULL, NULL);
    return failed > 0;
}
