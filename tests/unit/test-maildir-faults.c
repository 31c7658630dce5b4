/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting on a file system that is awkward or broken: one of our own (FUSE), which tells no types
 * of entries, keeps odd stamps and fails on demand. It is mounted in a namespace of the test's own
 * and goes with it.
 */
#define FUSE_USE_VERSION 31
#include "box.h"

#include <fuse.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>

#include "system/cleanup.h"

#ifdef __SANITIZE_ADDRESS__
/* libfuse may end while one of its threads still holds a request; that is its own affair. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libfuse3";
}
#endif

#define ALWAYS  1000000
#define OLD_SEC 1600000000

enum operation {
    NEVER,
    LOOK, /* finding a file, or asking what it is */
    READ, /* reading a directory, or a link */
};

struct node {
    const char *path; /* from the mount on */
    mode_t mode;
    off_t bytes;
    const char *target; /* of a link */

    struct timespec mtime, ctime;
    bool unsteady;        /* its mtime is another whenever it is asked for */
    enum operation fails; /* what fails, so many times, with that error */
    int failures;
    int error;
    unsigned int read_at; /* the number of the reading that was its last */
};

#define FOLDER(name)                                                                               \
    {                                                                                              \
        .path = (name), .mode = S_IFDIR | 0755                                                     \
    }
#define FILE_OF(name, n)                                                                           \
    {                                                                                              \
        .path = (name), .mode = S_IFREG | 0644, .bytes = (n)                                       \
    }
#define LINK(name, to)                                                                             \
    {                                                                                              \
        .path = (name), .mode = S_IFLNK | 0777, .target = (to)                                     \
    }

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
#define NODES ARRAY_SIZE(all_nodes)

/* A mount and its only client. The lock guards the nodes. */
struct server {
    pthread_mutex_t lock;
    struct node nodes[NODES];
    unsigned int readings;
    struct fuse *fuse;
    pthread_t thread;
    struct box box; /* its root is what is mounted on */
};

static struct node *find_node(struct server *server, const char *path)
{
    for (size_t i = 0; i < NODES; i++)
        if (strcmp(server->nodes[i].path, path) == 0)
            return &server->nodes[i];
    return NULL;
}

/* Returns the negative error that the operation on the node meets this time, or 0. */
static int node_fail(struct node *node, enum operation operation)
{
    if (node->fails != operation || node->failures == 0)
        return 0;
    node->failures--;
    return -node->error;
}

static int node_look(struct server *server, const char *path, struct stat *ret)
{
    struct node *node = find_node(server, path);
    int r;

    if (!node)
        return -ENOENT;
    r = node_fail(node, LOOK);
    if (r < 0)
        return r;
    if (node->unsteady)
        node->mtime.tv_nsec++;
    *ret = (struct stat){
        .st_ino = (ino_t)(node - server->nodes) + 1,
        .st_mode = node->mode,
        .st_nlink = 1,
        .st_size = node->bytes,
        .st_mtim = node->mtime,
        .st_ctim = node->ctime,
    };
    return 0;
}

static int node_list(struct server *server, const char *path, void *buffer, fuse_fill_dir_t fill)
{
    size_t length = strcmp(path, "/") == 0 ? 0 : strlen(path);
    struct node *node = find_node(server, path);
    int r = node_fail(node, READ);

    node->read_at = ++server->readings;
    for (size_t i = 1; i < NODES && r == 0; i++) {
        const char *other = server->nodes[i].path;

        if (strncmp(other, path, length) == 0 && strrchr(other, '/') == other + length &&
            fill(buffer, other + length + 1, NULL, 0, 0) != 0)
            return -ENOMEM;
    }
    return r;
}

static int node_read_link(struct server *server, const char *path, char *text, size_t size)
{
    struct node *node = find_node(server, path);
    int r = node_fail(node, READ);

    if (r == 0)
        (void)snprintf(text, size, "%s", node->target);
    return r;
}

static struct server *server_lock(void)
{
    struct server *server = fuse_get_context()->private_data;

    (void)pthread_mutex_lock(&server->lock);
    return server;
}

static int serve_getattr(const char *path, struct stat *ret, struct fuse_file_info *info)
{
    struct server *server = server_lock();
    int r = node_look(server, path, ret);

    (void)info;
    (void)pthread_mutex_unlock(&server->lock);
    return r;
}

static int serve_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                         struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    struct server *server = server_lock();
    int r = node_list(server, path, buffer, fill);

    (void)offset;
    (void)info;
    (void)flags;
    (void)pthread_mutex_unlock(&server->lock);
    return r;
}

static int serve_readlink(const char *path, char *text, size_t size)
{
    struct server *server = server_lock();
    int r = node_read_link(server, path, text, size);

    (void)pthread_mutex_unlock(&server->lock);
    return r;
}

/* Nothing is remembered by the kernel, so that each question comes here. */
static void *serve_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->want &= ~(unsigned int)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    config->use_ino = 1;
    config->entry_timeout = 0;
    config->attr_timeout = 0;
    config->negative_timeout = 0;
    return fuse_get_context()->private_data;
}

static void *server_thread(void *userdata)
{
    const struct server *server = userdata;

    (void)fuse_loop(server->fuse);
    return NULL;
}

static void server_start(struct server *server)
{
    static const struct fuse_operations operations = {
        .init = serve_init,
        .getattr = serve_getattr,
        .readdir = serve_readdir,
        .readlink = serve_readlink,
    };
    struct box *box = &server->box;
    char name[] = "test-maildir-faults";
    char *arguments[] = {name};
    struct fuse_args args = FUSE_ARGS_INIT(1, arguments);

    *server = (struct server){.lock = PTHREAD_MUTEX_INITIALIZER};
    memcpy(server->nodes, all_nodes, sizeof(all_nodes));
    for (size_t i = 0; i < NODES; i++)
        server->nodes[i].mtime = server->nodes[i].ctime = (struct timespec){.tv_sec = OLD_SEC};
    (void)snprintf(box->root, sizeof(box->root), "/tmp/quotad-XXXXXX");
    assert_non_null(mkdtemp(box->root));
    (void)snprintf(box->path, sizeof(box->path), "%s/box", box->root);
    server->fuse = fuse_new(&args, &operations, sizeof(operations), server);
    fuse_opt_free_args(&args);
    assert_non_null(server->fuse);
    assert_int_equal(fuse_mount(server->fuse, box->root), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, server_thread, server), 0);
    box->fd = open(box->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(box->fd, errno);
    assert_int_equal(confine_new(CONFINE_AUTO, &box->confine), 0);
    assert_int_equal(confine_add_root(box->confine, box->root), 0);
}

static void server_stop(struct server *server)
{
    struct box *box = &server->box;

    confine_free(box->confine);
    assert_return_code(close(box->fd), errno);
    /* Without its mount the loop ends. */
    assert_return_code(umount2(box->root, MNT_DETACH), errno);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    fuse_unmount(server->fuse);
    fuse_destroy(server->fuse);
    assert_return_code(rmdir(box->root), errno);
}

/* Changes what is served: what operation fails, and how often. */
static void server_fail(struct server *server, const char *path, enum operation operation,
                        int error, int failures)
{
    struct node *node = find_node(server, path);

    assert_non_null(node);
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    node->fails = operation;
    node->error = error;
    node->failures = failures;
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

static void assert_whole(const struct maildir_count *count)
{
    assert_int_equal(count->messages, 4);
    assert_int_equal(count->bytes, 1111);
    assert_int_equal(count->directories_read + count->directories_remembered, 5);
}

static void types_of_entries_are_asked_for(void **state)
{
    _cleanup_(maildir_memory_freep) struct maildir_memory *memory = NULL;
    struct maildir_count count;
    struct server server;

    (void)state;
    server_start(&server);
    count = box_count(&server.box, &memory);
    assert_whole(&count);
    assert_int_equal(count.files_counted, 4);
    assert_int_equal(count.files_stat, 3);
    assert_int_equal(count.directories_read, 5);
    count = box_count(&server.box, &memory);
    assert_whole(&count);
    assert_int_equal(count.directories_remembered, 5);
    server_stop(&server);
}

/* A message on its way from new to cur is missed then, and not counted twice. */
static void cur_is_read_before_new(void **state)
{
    struct server server;
    unsigned int cur, new;

    (void)state;
    server_start(&server);
    (void)box_count(&server.box, NULL);
    assert_int_equal(pthread_mutex_lock(&server.lock), 0);
    cur = find_node(&server, "/box/cur")->read_at;
    new = find_node(&server, "/box/new")->read_at;
    assert_int_equal(pthread_mutex_unlock(&server.lock), 0);
    assert_in_range(cur, 1, new - 1);
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
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(maildir_memory_freep) struct maildir_memory *memory = NULL;
        struct maildir_count count = {};
        struct server server;

        print_message("%s: %s\n", cases[i].path, strerror(cases[i].error));
        server_start(&server);
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
        _cleanup_(maildir_memory_freep) struct maildir_memory *memory = NULL;
        size_t row = i / ARRAY_SIZE(paths);
        struct maildir_count count;
        struct server server;
        struct node *node;

        server_start(&server);
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

/* Everything that is mounted is seen by this process alone, and gone with it. */
static int setup(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_of_entries_are_asked_for),
        cmocka_unit_test(cur_is_read_before_new),
        cmocka_unit_test(faults),
        cmocka_unit_test(stamps),
        cmocka_unit_test(changes_within_one_tick_are_seen),
    };

    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0)
        return 77; /* what meson takes for skipped */
    return cmocka_run_group_tests(tests, setup, NULL);
}
