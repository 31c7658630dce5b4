/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting while messages move: at each moment of a count that matters something happens, by means
 * of a file system that is told when. Messages are worth a power of ten, so that a sum tells which
 * of them were counted, and how often.
 */
#include "served.h"

#define SHOWN_MAX 3

/* What is listed of a directory comes in this order. */
static const struct node all_nodes[] = {
    FOLDER("/"),
    FOLDER("/box"),
    FOLDER("/box/new"),
    FILE_OF("/box/new/n,S=1", 0),
    FILE_OF("/box/new/m,S=10", 0),
    FILE_OF("/box/new/m,S=10:2,F", 0),
    FILE_OF("/box/new/u", 100),
    FOLDER("/box/cur"),
    FILE_OF("/box/cur/begin", 0),
    FILE_OF("/box/cur/f,S=1000:2,S", 0),
    FILE_OF("/box/cur/g:2,S", 10000),
    FILE_OF("/box/cur/m,S=10:2,", 0),
    FILE_OF("/box/cur/middle", 0),
    FILE_OF("/box/cur/f,S=1000:2,", 0),
    FILE_OF("/box/cur/g:2,", 10000),
    FILE_OF("/box/cur/k,S=1", 0),
    FILE_OF("/box/cur/m,S=10:2,S", 0),
    FILE_OF("/box/cur/u:2,", 100),
};

/* What is there at first, unless a case says that more is: two messages, worth 2. */
static bool is_shown(const struct node *node)
{
    return S_ISDIR(node->mode) || strcmp(node->path, "/box/new/n,S=1") == 0 ||
           strcmp(node->path, "/box/cur/k,S=1") == 0;
}

static void start(struct server *server, const char *const shown[static SHOWN_MAX])
{
    server_start(server, all_nodes, ARRAY_SIZE(all_nodes));
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    for (size_t i = 0; i < server->nodes_count; i++)
        server->nodes[i].hidden = !is_shown(&server->nodes[i]);
    for (size_t i = 0; i < SHOWN_MAX && shown[i]; i++)
        find_node(server, shown[i])->hidden = false;
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

/* Says what is going to happen. */
static void expect(struct server *server, const struct change changes[static CHANGES_MAX])
{
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    memcpy(server->changes, changes, sizeof(server->changes));
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

/* Asserts that all of it has happened. */
static void assert_happened(struct server *server)
{
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    assert_true(server->changes_done == CHANGES_MAX || !server->changes[server->changes_done].at);
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

static void touch(struct server *server, const char *path)
{
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    node_touch(server, find_node(server, path));
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

/* Asserts that the messages counted are worth so much. */
static void assert_worth(const struct maildir_count *count, uint64_t bytes)
{
    uint64_t messages = 0;

    assert_int_equal(count->bytes, bytes);
    for (; bytes > 0; bytes /= 10)
        messages += bytes % 10;
    assert_int_equal(count->messages, messages);
}

#define NEW    "/box/new"
#define NEW_M  "/box/new/m,S=10"
#define NEW_MF "/box/new/m,S=10:2,F"
#define NEW_U  "/box/new/u"
#define CUR_M  "/box/cur/m,S=10:2,"
#define CUR_MS "/box/cur/m,S=10:2,S"
#define CUR_F  "/box/cur/f,S=1000:2,"
#define CUR_FS "/box/cur/f,S=1000:2,S"
#define CUR_G  "/box/cur/g:2,"
#define CUR_GS "/box/cur/g:2,S"
#define BEGIN  "/box/cur/begin"
#define MIDDLE "/box/cur/middle"
#define CUR_K  "/box/cur/k,S=1"

/* What happens at that point: one goes and another comes, or the next look at a node fails. */
#define MOVE(on, at, goes, comes)                                                                  \
    {                                                                                              \
        on, at, goes, comes, false, NULL                                                           \
    }
#define MOVE_IN_TICK(on, at, goes, comes)                                                          \
    {                                                                                              \
        on, at, goes, comes, true, NULL                                                            \
    }
#define FAILURE(on, at, node)                                                                      \
    {                                                                                              \
        on, at, NULL, NULL, false, node                                                            \
    }

/* What the directories were like before the count. */
enum past {
    OLD,        /* they changed long ago */
    YOUNG,      /* they changed just now */
    REMEMBERED, /* they changed long ago, and are remembered, but cur has just changed */
};

/* Counts while the changes happen, all of them, to directories that have that past. */
static struct maildir_count count_during(struct server *server, enum past past,
                                         const struct change changes[static CHANGES_MAX],
                                         struct maildir_cache **memory)
{
    struct maildir_count count;

    if (past == YOUNG)
        server_touch_all(server);
    if (past == REMEMBERED) {
        (void)box_count(&server->box, memory);
        touch(server, "/box/cur");
    }
    expect(server, changes);
    count = box_count(&server->box, memory);
    assert_happened(server);
    return count;
}

/* A message that moves is counted once, or missed until the next count. */
static void what_moves_is_never_counted_twice(void **state)
{
    static const struct {
        const char *what;
        enum past past;
        const char *shown[SHOWN_MAX];
        struct change changes[CHANGES_MAX];
        uint64_t bytes; /* counted meanwhile */
        uint64_t later; /* counted again, at once */
    } cases[] = {
        /* From new to cur. */
        {"moved as cur is read", OLD, {NEW_M}, {MOVE(READ, BEGIN, NEW_M, CUR_M)}, 12, 12},
        {"moved as cur is read, young", YOUNG, {NEW_M}, {MOVE(READ, BEGIN, NEW_M, CUR_M)}, 12, 12},
        {"moved as cur is read, new is remembered",
         REMEMBERED,
         {NEW_M},
         {MOVE(READ, BEGIN, NEW_M, CUR_M)},
         12,
         12},
        {"moved behind the reading of cur",
         OLD,
         {NEW_M},
         {MOVE(READ, MIDDLE, NEW_M, CUR_M)},
         2,
         12},
        {"moved after cur was read", OLD, {NEW_M}, {MOVE(LOOK, NEW, NEW_M, CUR_M)}, 2, 12},
        {"moved as new is read", OLD, {NEW_M}, {MOVE(READ, NEW_M, NEW_M, CUR_M)}, 2, 12},
        {"moved as new is read, young", YOUNG, {NEW_M}, {MOVE(READ, NEW_M, NEW_M, CUR_M)}, 2, 12},
        {"moved as new is read, within a tick",
         YOUNG,
         {NEW_M},
         {MOVE_IN_TICK(READ, NEW_M, NEW_M, CUR_M)},
         2,
         12},
        {"moved after it was met in new", OLD, {NEW_M}, {MOVE(READ, NEW_MF, NEW_M, CUR_M)}, 12, 12},
        {"moved before its size is asked for",
         OLD,
         {NEW_U},
         {MOVE(LOOK, NEW_U, NEW_U, "/box/cur/u:2,")},
         2,
         102},
        {"moved as cur is read, then another flag",
         OLD,
         {NEW_M},
         {MOVE(READ, BEGIN, NEW_M, CUR_M), MOVE(READ, MIDDLE, CUR_M, CUR_MS)},
         12,
         12},
        {"deleted before its size is asked for",
         OLD,
         {NEW_U},
         {MOVE(LOOK, NEW_U, NEW_U, NULL)},
         2,
         2},
        {"deleted from cur before its size is asked for",
         YOUNG,
         {CUR_G},
         {MOVE_IN_TICK(LOOK, CUR_G, CUR_G, NULL)},
         2,
         2},
        /* The names in cur. */
        {"another flag, met twice", OLD, {CUR_FS}, {MOVE(READ, MIDDLE, CUR_FS, CUR_F)}, 1002, 1002},
        {"another flag, met twice, young",
         YOUNG,
         {CUR_FS},
         {MOVE(READ, MIDDLE, CUR_FS, CUR_F)},
         1002,
         1002},
        {"another flag, met twice, within a tick",
         YOUNG,
         {CUR_FS},
         {MOVE_IN_TICK(READ, MIDDLE, CUR_FS, CUR_F)},
         1002,
         1002},
        {"another flag, missed", OLD, {CUR_F}, {MOVE(READ, MIDDLE, CUR_F, CUR_FS)}, 2, 1002},
        {"another flag, missed, and met twice when it is read again",
         OLD,
         {CUR_F},
         {MOVE(READ, CUR_F, CUR_F, CUR_FS), MOVE(READ, MIDDLE, CUR_FS, CUR_F)},
         2,
         1002},
        {"another flag, met twice, and missed when it is read again",
         OLD,
         {CUR_FS},
         {MOVE(READ, MIDDLE, CUR_FS, CUR_F), MOVE(READ, BEGIN, NULL, NULL),
          MOVE(READ, MIDDLE, CUR_F, CUR_FS)},
         2,
         1002},
        {"another flag before its size is asked for, within a tick",
         YOUNG,
         {CUR_G},
         {MOVE_IN_TICK(LOOK, CUR_G, CUR_G, CUR_GS)},
         2,
         10002},
        {"another flag, met twice, both times",
         OLD,
         {CUR_FS},
         {MOVE(READ, MIDDLE, CUR_FS, CUR_F), MOVE(READ, BEGIN, CUR_F, CUR_FS),
          MOVE(READ, MIDDLE, CUR_FS, CUR_F)},
         1002,
         1002},
        /* Two messages of one name are two, unless they have one inode (this server lists none). */
        {"in both", OLD, {NEW_M, CUR_M}, {}, 22, 22},
        {"in both, new is remembered", REMEMBERED, {NEW_M, CUR_M}, {}, 22, 22},
        {"in both, which are young", YOUNG, {NEW_M, CUR_M}, {}, 22, 22},
        {"twice in cur, which is young", YOUNG, {CUR_M, CUR_MS}, {}, 12, 12},
        {"twice in new", YOUNG, {NEW_M, NEW_MF}, {}, 22, 22},
        /* The directory itself. */
        {"cur is removed", YOUNG, {NEW_M, CUR_M}, {MOVE(READ, CUR_K, "/box/cur", NULL)}, 11, 11},
        {"new is removed", YOUNG, {NEW_M, CUR_M}, {MOVE(READ, NEW_U, NEW, NULL)}, 11, 11},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
        struct maildir_count count;
        struct server server;

        print_message("%s\n", cases[i].what);
        start(&server, cases[i].shown);
        count = count_during(&server, cases[i].past, cases[i].changes, &memory);
        assert_worth(&count, cases[i].bytes);
        assert_int_equal(count.directories_read + count.directories_cached,
                         strstr(cases[i].what, "removed") ? 2 : 3);
        count = box_count(&server.box, &memory);
        assert_worth(&count, cases[i].later);
        server_stop(&server);
    }
}

/* What is read once more is opened once more. */
static void a_directory_that_cannot_be_read_again_is_an_error(void **state)
{
    static const char *const shown[SHOWN_MAX] = {CUR_F};
    static const struct change changes[CHANGES_MAX] = {MOVE(READ, MIDDLE, CUR_F, CUR_FS),
                                                       FAILURE(READ, CUR_K, "/box/cur")};
    struct maildir_count count;
    struct server server;

    (void)state;
    start(&server, shown);
    expect(&server, changes);
    assert_int_equal(maildir_count(server.box.fd, server.box.path, server.box.confine, &box_options,
                                   NULL, &count),
                     -EIO);
    assert_happened(&server);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_moves_is_never_counted_twice),
        cmocka_unit_test(a_directory_that_cannot_be_read_again_is_an_error),
    };

    if (!server_is_allowed())
        return 77; /* what meson takes for skipped */
    return cmocka_run_group_tests(tests, server_setup, NULL);
}
