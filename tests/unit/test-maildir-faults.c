/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting on a file system that is awkward or broken: one of our own (FUSE), which tells no types
 * of entries, keeps odd stamps and fails on demand. It is mounted in a namespace of the test's own
 * and goes with it.
 */
#include "served.h"

/* Four messages, a bit of the bytes for each, in the mailbox and four more directories. */
static const struct node all_nodes[] = {
    FOLDER("/"),
    FOLDER("/box"),
    FOLDER("/box/cur"),
    FILE_OF("/box/cur/a,S=1", 5000),
    FILE_OF("/box/cur/b", 10),
    FOLDER("/box/new"),
    FOLDER("/box/.A"),
    FOLDER("/box/.A/cur"),
    FILE_OF("/box/.A/cur/c", 100),
    FILE_OF("/box/.file", 5000),
    FOLDER("/other"),
    FOLDER("/other/new"),
    FILE_OF("/other/new/d", 1000),
    LINK("/box/.L", "../other"),
    LINK("/box/.Alias", ".A"),
};

static void assert_whole(const struct maildir_count *count)
{
    assert_int_equal(count->messages, 4);
    assert_int_equal(count->bytes, 1111);
    assert_int_equal(count->directories_read + count->directories_cached, 5);
}

static void types_of_entries_are_asked_for(void **state)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct server server;

    (void)state;
    server_start(&server, all_nodes, ARRAY_SIZE(all_nodes));
    count = box_count(&server.box, &memory);
    assert_whole(&count);
    assert_int_equal(count.files_counted, 4);
    assert_int_equal(count.files_stat, 3);
    assert_int_equal(count.directories_read, 5);
    count = box_count(&server.box, &memory);
    assert_whole(&count);
    assert_int_equal(count.directories_cached, 5);
    server_stop(&server);
}

static void faults(void **state)
{
    static const struct {
        const char *path;
        enum operation fails;
        int error, failures;
        int result;
        uint64_t messages, bytes;
    } cases[] = {
        {"/box/cur", READ, EIO, ALWAYS, -EIO, 0, 0},
        {"/box/cur", READ, EACCES, ALWAYS, -EACCES, 0, 0},
        {"/box/cur", READ, ENOENT, ALWAYS, 0, 2, 1100},
        {"/box/cur", READ, ESTALE, 1, 0, 4, 1111},
        {"/box/cur", READ, ESTALE, 2, -ESTALE, 0, 0},
        {"/box/cur", LOOK, EIO, ALWAYS, -EIO, 0, 0},
        {"/box/cur", LOOK, ENOENT, ALWAYS, 0, 2, 1100},
        {"/box/cur/b", LOOK, EIO, ALWAYS, -EIO, 0, 0},
        {"/box/cur/b", LOOK, EACCES, ALWAYS, -EACCES, 0, 0},
        {"/box/cur/b", LOOK, ENOENT, ALWAYS, 0, 3, 1101},
        /* The kernel itself asks twice. */
        {"/box/cur/b", LOOK, ESTALE, 2, 0, 4, 1111},
        {"/box/cur/b", LOOK, ESTALE, ALWAYS, -ESTALE, 0, 0},
        {"/box", READ, EIO, ALWAYS, -EIO, 0, 0},
        {"/box", READ, ENOENT, ALWAYS, 0, 2, 11},
        {"/box", READ, ESTALE, 1, 0, 4, 1111},
        {"/box", READ, ESTALE, 2, -ESTALE, 0, 0},
        {"/box/.A", LOOK, EIO, ALWAYS, -EIO, 0, 0},
        {"/box/.A", LOOK, ENOENT, ALWAYS, 0, 3, 1011},
        {"/box/.L", LOOK, EIO, ALWAYS, -EIO, 0, 0},
        {"/box/.L", READ, EIO, ALWAYS, -EIO, 0, 0},
        {"/other", LOOK, EIO, ALWAYS, -EIO, 0, 0},
        {"/other", LOOK, ENOENT, ALWAYS, 0, 3, 111},
        {"/other/new", READ, EIO, ALWAYS, -EIO, 0, 0},
    };

    (void)state;
    for (size_t j = 0; j < 2 * ARRAY_SIZE(cases); j++) {
        _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
        struct maildir_count count = {};
        size_t i = j / 2;
        struct server server;

        print_message("%s: %s\n", cases[i].path, strerror(cases[i].error));
        server_start(&server, all_nodes, ARRAY_SIZE(all_nodes));
        /* What has just changed is read in another way. */
        if (j % 2)
            server_touch_all(&server);
        server_fail(&server, cases[i].path, cases[i].fails, cases[i].error, cases[i].failures);
        assert_int_equal(maildir_count(server.box.fd, server.box.path, server.box.confine,
                                       &box_options, &memory, &count),
                         cases[i].result);
        assert_int_equal(count.messages, cases[i].messages);
        assert_int_equal(count.bytes, cases[i].bytes);
        assert_int_equal(count.files_counted, cases[i].messages);
        /* It heals. What came back had not changed its stamp, but was not remembered as gone. */
        server_fail(&server, cases[i].path, NEVER, 0, 0);
        if (cases[i].result < 0) {
            count = box_count(&server.box, &memory);
            assert_whole(&count);
        }
        server_stop(&server);
    }
}

static void stamps(void **state)
{
    static const struct {
        int64_t mtime_sec, ctime_sec;
        bool unsteady, remembered;
    } cases[] = {
        {OLD_SEC, OLD_SEC, false, true},
        {OLD_SEC, OLD_SEC, true, false},
        {0, 0, false, false},
        {0, OLD_SEC, false, true},
        {OLD_SEC, 0, false, true},
        {-1, -1, false, false},
        {INT32_MAX, OLD_SEC, false, false},
        {OLD_SEC, INT32_MAX, false, false},
        {INT64_MAX, OLD_SEC, false, false},
        {OLD_SEC, INT64_MAX, false, false},
        {INT64_MIN, INT64_MIN, false, false},
    };
    static const char *const paths[] = {"/box", "/box/cur", "/other/new"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(paths); i++) {
        _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
        size_t row = i / ARRAY_SIZE(paths);
        struct maildir_count count;
        struct server server;
        struct node *node;

        /* On i386, libfuse hands on 32 bits. */
        if ((time_t)cases[row].mtime_sec != cases[row].mtime_sec ||
            (time_t)cases[row].ctime_sec != cases[row].ctime_sec)
            continue;
        server_start(&server, all_nodes, ARRAY_SIZE(all_nodes));
        node = find_node(&server, paths[i % ARRAY_SIZE(paths)]);
        assert_non_null(node);
        assert_int_equal(pthread_mutex_lock(&server.lock), 0);
        node->mtime.tv_sec = cases[row].mtime_sec;
        node->ctime.tv_sec = cases[row].ctime_sec;
        node->unsteady = cases[row].unsteady;
        assert_int_equal(pthread_mutex_unlock(&server.lock), 0);
        count = box_count(&server.box, &memory);
        assert_whole(&count);
        count = box_count(&server.box, &memory);
        assert_whole(&count);
        assert_int_equal(count.directories_read, !cases[row].remembered);
        server_stop(&server);
    }
}

/*
 * Newer kernels give most file systems a stamp of its own for every change that someone could tell
 * from the last. Not so ramfs, which stamps by the tick, as all did.
 */
static void changes_within_one_tick_are_seen(void **state)
{
    char path[] = "/tmp/quotad-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(path));
    assert_return_code(mount("ramfs", path, "ramfs", 0, "mode=0755"), errno);
    assert_return_code(setenv("TMPDIR", path, 1), errno);
    box_change_within_ticks(500);
    assert_return_code(unsetenv("TMPDIR"), errno);
    assert_return_code(umount2(path, MNT_DETACH), errno);
    assert_return_code(rmdir(path), errno);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_of_entries_are_asked_for),
        cmocka_unit_test(faults),
        cmocka_unit_test(stamps),
        cmocka_unit_test(changes_within_one_tick_are_seen),
    };

    if (!server_is_allowed())
        return 77; /* what meson takes for skipped */
    return cmocka_run_group_tests(tests, server_setup, NULL);
}
