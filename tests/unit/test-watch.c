/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/watch.h"

#define DIRECTORIES 600

struct fixture {
    char folder[64];
    int folder_fd;
    int other[2]; /* a pipe, which nobody writes to */
    struct watch_set *set;
    struct watch watches[DIRECTORIES];
    size_t lost;
    bool is_void; /* what other() is to say */
    /* What came last. */
    size_t events;
    const struct watch *watch;
    uint32_t mask;
    uint32_t cookie;
    char name[256];
};

static void on_event(const struct watch_event *event, void *userdata)
{
    struct fixture *fixture = userdata;

    fixture->events++;
    fixture->watch = event->watch;
    fixture->mask = event->mask;
    fixture->cookie = event->cookie;
    (void)snprintf(fixture->name, sizeof(fixture->name), "%s", event->name);
}

static bool on_other(void *userdata)
{
    struct fixture *fixture = userdata;

    return !fixture->is_void;
}

static void on_lost(void *userdata)
{
    struct fixture *fixture = userdata;

    fixture->lost++;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct watch_callbacks callbacks = {.event = on_event, .other = on_other, .lost = on_lost};

    assert_non_null(fixture);
    *state = fixture;
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/test-watch-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->folder_fd = open(fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fixture->folder_fd >= 0);
    assert_int_equal(pipe2(fixture->other, O_CLOEXEC), 0);
    callbacks.other_fd = fixture->other[0];
    assert_int_equal(watch_set_new(&callbacks, fixture, &fixture->set), 0);
    return 0;
}

/* Removes the folder, which has files and empty directories. */
static void remove_folder(struct fixture *fixture)
{
    DIR *folder = fdopendir(fixture->folder_fd);
    const struct dirent *entry;

    assert_non_null(folder);
    while ((entry = readdir(folder)))
        if (unlinkat(fixture->folder_fd, entry->d_name, 0) < 0)
            (void)unlinkat(fixture->folder_fd, entry->d_name, AT_REMOVEDIR);
    (void)closedir(folder);
    assert_int_equal(rmdir(fixture->folder), 0);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    watch_set_free(fixture->set);
    (void)close(fixture->other[0]);
    (void)close(fixture->other[1]);
    remove_folder(fixture);
    free(fixture);
    return 0;
}

static void make_file(struct fixture *fixture, const char *name)
{
    int fd = openat(fixture->folder_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    (void)close(fd);
}

static void write_to(struct fixture *fixture, const char *name)
{
    int fd = openat(fixture->folder_fd, name, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
}

/* Adds a watch of a name in the folder ("." is itself) to the batch. */
static int add(struct fixture *fixture, struct watch_batch *batch, const char *name, uint32_t mask)
{
    int fd = openat(fixture->folder_fd, name, O_PATH | O_CLOEXEC);
    int r;

    assert_true(fd >= 0);
    r = watch_batch_add(batch, fd, mask);
    (void)close(fd);
    return r;
}

/* Watches a name by a batch of its own. */
static void watch(struct fixture *fixture, size_t number, const char *name, uint32_t mask)
{
    struct watch_batch batch;

    assert_int_equal(watch_batch_begin(fixture->set, 1, &batch), 0);
    assert_int_equal(add(fixture, &batch, name, mask), 0);
    assert_true(watch_batch_end(&batch));
    assert_int_equal(watch_batch_take(&batch, 0, &fixture->watches[number]), 0);
    watch_batch_done(&batch);
}

static void make_directories(struct fixture *fixture)
{
    for (int i = 0; i < DIRECTORIES; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(mkdirat(fixture->folder_fd, name, 0700), 0);
    }
}

static void events_are_handed_over(void **state)
{
    struct fixture *fixture = *state;

    make_file(fixture, "file");
    watch(fixture, 0, ".", WATCH_NAMES);
    watch(fixture, 1, "file", WATCH_FILE);
    assert_int_equal(watch_set_count(fixture->set), 2);
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 0);

    make_file(fixture, "new");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 1);
    assert_ptr_equal(fixture->watch, &fixture->watches[0]);
    assert_int_equal(fixture->mask, IN_CREATE);
    assert_string_equal(fixture->name, "new");

    write_to(fixture, "file");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 2);
    assert_ptr_equal(fixture->watch, &fixture->watches[1]);
    assert_int_equal(fixture->mask, IN_MODIFY);
    assert_string_equal(fixture->name, "");

    write_to(fixture, "new"); /* of no interest here */
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 2);

    assert_int_equal(renameat(fixture->folder_fd, "new", fixture->folder_fd, "newer"), 0);
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 4);
    assert_int_equal(fixture->mask, IN_MOVED_TO);
    assert_string_equal(fixture->name, "newer");
    assert_int_not_equal(fixture->cookie, 0);
    assert_int_equal(fixture->lost, 0);
}

static void a_removed_watch_tells_nothing(void **state)
{
    struct fixture *fixture = *state;

    watch(fixture, 0, ".", WATCH_NAMES);
    make_file(fixture, "new");
    watch_set_remove(fixture->set, &fixture->watches[0]);
    make_file(fixture, "newer");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 0);
    assert_int_equal(watch_set_count(fixture->set), 0);
    /* It can be watched again. */
    watch(fixture, 0, ".", WATCH_NAMES);
    make_file(fixture, "newest");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 1);
}

static void nothing_is_watched_twice(void **state)
{
    struct fixture *fixture = *state;
    struct watch_batch batch;

    make_file(fixture, "file");
    assert_int_equal(linkat(fixture->folder_fd, "file", fixture->folder_fd, "alias", 0), 0);
    watch(fixture, 0, "file", WATCH_FILE);
    assert_int_equal(watch_batch_begin(fixture->set, 4, &batch), 0);
    assert_int_equal(add(fixture, &batch, "alias", WATCH_FILE), -EEXIST);
    assert_int_equal(add(fixture, &batch, ".", WATCH_NAMES), 0);
    assert_int_equal(add(fixture, &batch, ".", WATCH_NAMES), -EEXIST);
    assert_int_equal(batch.count, 1);
    watch_batch_done(&batch);
    write_to(fixture, "file");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 1);
}

static void a_batch_has_a_bound(void **state)
{
    struct fixture *fixture = *state;
    struct watch_batch batch;

    make_directories(fixture);
    assert_int_equal(watch_batch_begin(fixture->set, 2, &batch), 0);
    assert_int_equal(add(fixture, &batch, "0", WATCH_NAMES), 0);
    assert_int_equal(add(fixture, &batch, "1", WATCH_NAMES), 0);
    assert_int_equal(add(fixture, &batch, "2", WATCH_NAMES), -E2BIG);
    watch_batch_done(&batch);
}

static void what_cannot_be_watched_is_no_missing_file(void **state)
{
    struct fixture *fixture = *state;
    struct watch_batch batch;

    make_file(fixture, "file");
    assert_int_equal(watch_batch_begin(fixture->set, 2, &batch), 0);
    assert_int_equal(add(fixture, &batch, "file", WATCH_NAMES), -ENOTDIR);
    assert_int_equal(watch_batch_add(&batch, 9999, WATCH_NAMES), -EIO);
    watch_batch_done(&batch);
}

static void a_batch_that_is_disturbed_says_so(void **state)
{
    static const struct {
        const char *changes; /* a directory in which a file is made */
        bool is_whole;
    } cases[] = {{"0", false}, {"1", false}, {"2", true}, {NULL, true}};
    struct fixture *fixture = *state;

    make_directories(fixture);
    watch(fixture, 2, "2", WATCH_NAMES);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct watch_batch batch;
        char path[64];

        assert_int_equal(watch_batch_begin(fixture->set, 2, &batch), 0);
        assert_int_equal(add(fixture, &batch, "0", WATCH_NAMES), 0);
        assert_int_equal(add(fixture, &batch, "1", WATCH_NAMES), 0);
        if (cases[i].changes) {
            (void)snprintf(path, sizeof(path), "%s/file", cases[i].changes);
            make_file(fixture, path);
            (void)unlinkat(fixture->folder_fd, path, 0);
        }
        /* Whether it is read before the end makes no difference. */
        if (i % 2 == 0)
            assert_true(watch_set_read(fixture->set));
        assert_int_equal(watch_batch_end(&batch), cases[i].is_whole);
        watch_batch_done(&batch);
        assert_int_equal(watch_set_count(fixture->set), 1);
    }
    assert_int_equal(fixture->lost, 0);
}

/* More strangers had events than the set can remember. */
static void too_many_strangers_disturb_a_batch(void **state)
{
    struct fixture *fixture = *state;
    struct watch_batch batch;

    make_directories(fixture);
    for (size_t i = 1; i < DIRECTORIES; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "%zu", i);
        watch(fixture, i, name, WATCH_NAMES);
    }
    assert_int_equal(watch_batch_begin(fixture->set, 1, &batch), 0);
    assert_int_equal(add(fixture, &batch, "0", WATCH_NAMES), 0);
    for (size_t i = 1; i < DIRECTORIES; i++)
        watch_set_remove(fixture->set, &fixture->watches[i]); /* each makes an event */
    assert_false(watch_batch_end(&batch));
    watch_batch_done(&batch);
    /* The next one is none the worse for it. */
    watch(fixture, 0, "0", WATCH_NAMES);
    make_file(fixture, "0/file");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 1);
    (void)unlinkat(fixture->folder_fd, "0/file", 0);
}

static void what_is_not_taken_is_not_watched(void **state)
{
    struct fixture *fixture = *state;
    struct watch_batch batch;

    make_directories(fixture);
    assert_int_equal(watch_batch_begin(fixture->set, 3, &batch), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(add(fixture, &batch, (const char *[]){"0", "1", "2"}[i], WATCH_NAMES), 0);
    assert_true(watch_batch_end(&batch));
    assert_int_equal(watch_batch_take(&batch, 1, &fixture->watches[1]), 0);
    watch_batch_done(&batch);
    assert_int_equal(watch_set_count(fixture->set), 1);
    for (int i = 0; i < 3; i++) {
        const char *path = (const char *[]){"0/file", "1/file", "2/file"}[i];

        make_file(fixture, path);
        (void)unlinkat(fixture->folder_fd, path, 0);
    }
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 2);
    assert_ptr_equal(fixture->watch, &fixture->watches[1]);
}

static void all_is_lost_if_there_are_too_many_events(void **state)
{
    struct fixture *fixture = *state;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    struct watch_batch batch;
    unsigned long max;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &max), 1);
    (void)fclose(file);
    if (max > 1000000)
        skip_because("the kernel keeps too many events");
    make_directories(fixture);
    watch(fixture, 0, ".", WATCH_NAMES);
    assert_int_equal(watch_batch_begin(fixture->set, 1, &batch), 0);
    assert_int_equal(add(fixture, &batch, "0", WATCH_NAMES), 0);
    for (unsigned long i = 0; i <= max / 2 + 1; i++) {
        make_file(fixture, "file");
        assert_int_equal(unlinkat(fixture->folder_fd, "file", 0), 0);
    }
    assert_false(watch_set_read(fixture->set));
    assert_int_equal(fixture->lost, 1);
    assert_int_equal(watch_set_count(fixture->set), 0);
    /* The batch belonged to the watches that are lost. */
    assert_false(watch_batch_end(&batch));
    watch_batch_done(&batch);
    assert_true(watch_set_read(fixture->set));
    watch(fixture, 0, ".", WATCH_NAMES);
    fixture->events = 0;
    make_file(fixture, "file");
    assert_true(watch_set_read(fixture->set));
    assert_int_equal(fixture->events, 1);
    assert_int_equal(fixture->lost, 1);
}

static void a_set_that_is_cleared_begins_again(void **state)
{
    struct fixture *fixture = *state;
    struct watch_batch batch;

    make_directories(fixture);
    watch(fixture, 0, ".", WATCH_NAMES);
    assert_int_equal(watch_batch_begin(fixture->set, 1, &batch), 0);
    assert_int_equal(add(fixture, &batch, "0", WATCH_NAMES), 0);
    watch_set_clear(fixture->set);
    assert_int_equal(watch_set_count(fixture->set), 0);
    make_file(fixture, "file");
    assert_true(watch_set_read(fixture->set));
    assert_false(watch_batch_end(&batch));
    watch_batch_done(&batch);
    assert_int_equal(fixture->events, 0);
    assert_int_equal(fixture->lost, 0);
    watch(fixture, 0, "0", WATCH_NAMES);
    assert_int_equal(unlinkat(fixture->folder_fd, "0", AT_REMOVEDIR), 0);
    assert_true(watch_set_read(fixture->set));
    assert_true(fixture->events > 0);
    assert_true(fixture->mask & WATCH_GONE);
}

static void *add_on_a_thread(void *argument)
{
    struct fixture *fixture = ((void **)argument)[0];
    struct watch_batch *batch = ((void **)argument)[1];

    for (int i = 0; i < DIRECTORIES; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "%d", i);
        if (add(fixture, batch, name, WATCH_NAMES) < 0)
            return batch;
    }
    return NULL;
}

/* The set is read, and even cleared, while a thread adds watches. */
static void a_thread_adds_watches(void **state)
{
    struct fixture *fixture = *state;

    make_directories(fixture);
    for (int round = 0; round < 2; round++) {
        struct watch_batch batch;
        void *arguments[] = {fixture, &batch}, *failed;
        pthread_t thread;

        assert_true(watch_set_read(fixture->set)); /* that watches were removed is an event, too */
        watch(fixture, 0, ".", WATCH_NAMES);
        assert_int_equal(watch_batch_begin(fixture->set, DIRECTORIES, &batch), 0);
        assert_int_equal(pthread_create(&thread, NULL, add_on_a_thread, arguments), 0);
        for (int i = 0; i < 50; i++) {
            make_file(fixture, "file");
            assert_int_equal(unlinkat(fixture->folder_fd, "file", 0), 0);
            assert_true(watch_set_read(fixture->set));
        }
        if (round > 0)
            watch_set_clear(fixture->set);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        assert_int_equal(watch_batch_end(&batch), round == 0);
        watch_batch_done(&batch);
        if (round == 0)
            watch_set_remove(fixture->set, &fixture->watches[0]);
    }
    assert_int_equal(fixture->events, 2 * 50 * 2);
}

static void the_default_leaves_something_to_others(void **state)
{
    (void)state;
    assert_in_range(watch_default_max(), 1, WATCH_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_handed_over),
        TEST(a_removed_watch_tells_nothing),
        TEST(nothing_is_watched_twice),
        TEST(a_batch_has_a_bound),
        TEST(what_cannot_be_watched_is_no_missing_file),
        TEST(a_batch_that_is_disturbed_says_so),
        TEST(too_many_strangers_disturb_a_batch),
        TEST(what_is_not_taken_is_not_watched),
        TEST(all_is_lost_if_there_are_too_many_events),
        TEST(a_set_that_is_cleared_begins_again),
        TEST(a_thread_adds_watches),
        cmocka_unit_test(the_default_leaves_something_to_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
