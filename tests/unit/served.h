/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mailbox on a file system of the test's own (FUSE), which tells no types of entries, keeps odd
 * stamps, fails on demand, and changes while it is read at the very moment that a test chooses. It
 * is mounted in a namespace of the test's own and goes with it. What fails here fails the test.
 */
#pragma once

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
    bool hidden; /* there is none, for now */
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

/*
 * What happens when a node is looked at, or when the listing of its directory comes to it, hidden
 * or not: one message goes, another comes, and a node fails when it is looked at next.
 */
struct change {
    enum operation on;
    const char *at;
    const char *goes, *comes; /* NULL: none */
    bool same_tick;           /* the directories' stamps do not tell */
    const char *fails;
};

#define NODES_MAX   32
#define CHANGES_MAX 4

/* A mount and its only client. The lock guards the nodes and what happens to them. */
struct server {
    pthread_mutex_t lock;
    struct node nodes[NODES_MAX];
    size_t nodes_count;
    struct change changes[CHANGES_MAX]; /* which happen in this order, each once */
    size_t changes_done;
    long ticks;
    struct fuse *fuse;
    pthread_t thread;
    struct box box; /* its root is what is mounted on */
};

static inline struct node *find_node(struct server *server, const char *path)
{
    for (size_t i = 0; i < server->nodes_count; i++)
        if (strcmp(server->nodes[i].path, path) == 0)
            return &server->nodes[i];
    return NULL;
}

/* Gives a node stamps that it never had: the present. */
static inline void node_touch(struct server *server, struct node *node)
{
    node->mtime = (struct timespec){.tv_sec = time(NULL), .tv_nsec = ++server->ticks};
    node->ctime = node->mtime;
}

/* Returns the directory that a node is in. */
static inline struct node *node_parent(struct server *server, const char *path)
{
    char parent[PATH_MAX];

    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
    return find_node(server, parent);
}

static inline void node_hide(struct server *server, const char *path, bool hidden, bool same_tick)
{
    if (!path)
        return;
    find_node(server, path)->hidden = hidden;
    if (!same_tick)
        node_touch(server, node_parent(server, path));
}

/* Makes an operation on a node fail with error so many times. */
static inline void node_set_failing(struct node *node, enum operation operation, int error,
                                    int failures)
{
    node->fails = operation;
    node->error = error;
    node->failures = failures;
}

/* Lets happen what happens when the operation comes to path. */
static inline void node_change(struct server *server, enum operation operation, const char *path)
{
    while (server->changes_done < CHANGES_MAX) {
        const struct change *change = &server->changes[server->changes_done];

        if (!change->at || change->on != operation || strcmp(change->at, path) != 0)
            return;
        server->changes_done++;
        node_hide(server, change->goes, true, change->same_tick);
        node_hide(server, change->comes, false, change->same_tick);
        /* The kernel itself asks twice. */
        if (change->fails)
            node_set_failing(find_node(server, change->fails), LOOK, EIO, 2);
    }
}

/* Returns the negative error that the operation on the node meets this time, or 0. */
static inline int node_fail(struct node *node, enum operation operation)
{
    if (node->fails != operation || node->failures == 0)
        return 0;
    node->failures--;
    return -node->error;
}

static inline int node_look(struct server *server, const char *path, struct stat *ret)
{
    struct node *node = find_node(server, path);
    int r;

    node_change(server, LOOK, path);
    if (!node || node->hidden)
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

static inline int node_list(struct server *server, const char *path, void *buffer,
                            fuse_fill_dir_t fill)
{
    size_t length = strcmp(path, "/") == 0 ? 0 : strlen(path);
    int r = node_fail(find_node(server, path), READ);

    for (size_t i = 1; i < server->nodes_count && r == 0; i++) {
        const char *other = server->nodes[i].path;

        if (strncmp(other, path, length) != 0 || strrchr(other, '/') != other + length)
            continue;
        node_change(server, READ, other);
        if (!server->nodes[i].hidden && fill(buffer, other + length + 1, NULL, 0, 0) != 0)
            return -ENOMEM;
    }
    return r;
}

static inline int node_read_link(struct server *server, const char *path, char *text, size_t size)
{
    struct node *node = find_node(server, path);
    int r = node_fail(node, READ);

    if (r == 0)
        (void)snprintf(text, size, "%s", node->target);
    return r;
}

static inline struct server *server_lock(void)
{
    struct server *server = fuse_get_context()->private_data;

    (void)pthread_mutex_lock(&server->lock);
    return server;
}

static inline int serve_getattr(const char *path, struct stat *ret, struct fuse_file_info *info)
{
    struct server *server = server_lock();
    int r = node_look(server, path, ret);

    (void)info;
    (void)pthread_mutex_unlock(&server->lock);
    return r;
}

static inline int serve_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
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

static inline int serve_readlink(const char *path, char *text, size_t size)
{
    struct server *server = server_lock();
    int r = node_read_link(server, path, text, size);

    (void)pthread_mutex_unlock(&server->lock);
    return r;
}

/* Nothing is remembered by the kernel, so that each question comes here. */
static inline void *serve_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->want &= ~(unsigned int)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    config->use_ino = 1;
    config->entry_timeout = 0;
    config->attr_timeout = 0;
    config->negative_timeout = 0;
    return fuse_get_context()->private_data;
}

static inline void *server_thread(void *userdata)
{
    const struct server *server = userdata;

    (void)fuse_loop(server->fuse);
    return NULL;
}

static inline void server_start(struct server *server, const struct node *nodes, size_t nodes_count)
{
    static const struct fuse_operations operations = {
        .init = serve_init,
        .getattr = serve_getattr,
        .readdir = serve_readdir,
        .readlink = serve_readlink,
    };
    struct box *box = &server->box;
    char name[] = "served";
    char *arguments[] = {name};
    struct fuse_args args = FUSE_ARGS_INIT(1, arguments);

    *server = (struct server){.lock = PTHREAD_MUTEX_INITIALIZER};
    assert_in_range(nodes_count, 1, NODES_MAX);
    memcpy(server->nodes, nodes, nodes_count * sizeof(*nodes));
    server->nodes_count = nodes_count;
    for (size_t i = 0; i < nodes_count; i++)
        server->nodes[i].mtime = server->nodes[i].ctime = (struct timespec){.tv_sec = OLD_SEC};
    box_init_root(box, "/tmp");
    server->fuse = fuse_new(&args, &operations, sizeof(operations), server);
    fuse_opt_free_args(&args);
    assert_non_null(server->fuse);
    assert_int_equal(fuse_mount(server->fuse, box->root), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, server_thread, server), 0);
    box_open(box);
}

static inline void server_stop(struct server *server)
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
static inline void server_fail(struct server *server, const char *path, enum operation operation,
                               int error, int failures)
{
    struct node *node = find_node(server, path);

    assert_non_null(node);
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    node_set_failing(node, operation, error, failures);
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

/* Makes every directory look as if it had changed just now. */
static inline void server_touch_all(struct server *server)
{
    assert_int_equal(pthread_mutex_lock(&server->lock), 0);
    for (size_t i = 0; i < server->nodes_count; i++)
        if (S_ISDIR(server->nodes[i].mode))
            node_touch(server, &server->nodes[i]);
    assert_int_equal(pthread_mutex_unlock(&server->lock), 0);
}

/* Everything that is mounted is seen by this process alone, and gone with it. */
static inline int server_setup(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    return 0;
}

/* Says whether the machine lets us be a file system. */
static inline bool server_is_allowed(void)
{
    return geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0;
}
