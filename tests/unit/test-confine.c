/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What confine.c opens and refuses on a real tree, by tables of paths.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>

#include "../tree.h"
#include "child.h"
#include "descriptors.h"
#include "filter.h"
#include "system/cleanup.h"
#include "system/confine.h"

/* Sets of roots. */
enum roots {
    BENEATH, /* those of beneath_roots */
    WHOLE,   /* `/` */
    SYSTEM,  /* /proc and /dev */
    SETS_COUNT,
};

struct fixture {
    char base[PATH_MAX]; /* the tree, a path without symbolic links */
    struct confine *sets[SETS_COUNT];
};

/* A path to open. `@` at the beginning of a path stands for the tree. */
struct row {
    const char *path;
    int flags;
    int result;       /* 0: a descriptor */
    const char *same; /* of this file (the symbolic link itself, if it is one) */
};

/* The nested roots lie in the first one; nested-absolute is an absolute symbolic link. */
static const char *const beneath_roots[] = {
    "@/inside", "@/mail", "@//inside/./nested/", "@/inside/nested-absolute", "@/rootlink", "@/gone",
};

/* Writes the path that text stands for to ret. */
static void expand(const struct fixture *fixture, const char *text, char ret[static 2 * PATH_MAX])
{
    bool in_tree = text[0] == '@';

    (void)snprintf(ret, 2 * PATH_MAX, "%s%s", in_tree ? fixture->base : "", text + in_tree);
}

static void make_directory(const struct fixture *fixture, const char *path)
{
    char name[2 * PATH_MAX];

    expand(fixture, path, name);
    MUST(mkdir(name, 0755) == 0);
}

static void make_file(const struct fixture *fixture, const char *path, const char *text)
{
    char name[2 * PATH_MAX];
    FILE *file;

    expand(fixture, path, name);
    file = fopen(name, "wxe");
    MUST(file);
    MUST(fputs(text, file) >= 0);
    MUST(fclose(file) == 0);
}

static void make_link(const struct fixture *fixture, const char *path, const char *target)
{
    char name[2 * PATH_MAX], to[2 * PATH_MAX];

    expand(fixture, path, name);
    expand(fixture, target, to);
    MUST(symlink(to, name) == 0);
}

static void make_rename(const struct fixture *fixture, const char *from, const char *to)
{
    char old[2 * PATH_MAX], new[2 * PATH_MAX];

    expand(fixture, from, old);
    expand(fixture, to, new);
    MUST(rename(old, new) == 0);
}

static void make_mode(const struct fixture *fixture, const char *path, mode_t mode)
{
    char name[2 * PATH_MAX];

    expand(fixture, path, name);
    MUST(chmod(name, mode) == 0);
}

static void make_socket(const struct fixture *fixture, const char *path)
{
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[2 * PATH_MAX];

    expand(fixture, path, name);
    MUST(strlen(name) < sizeof(address.sun_path));
    memcpy(address.sun_path, name, strlen(name) + 1);
    MUST(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

static void make_fifo(const struct fixture *fixture, const char *path)
{
    char name[2 * PATH_MAX];

    expand(fixture, path, name);
    MUST(mkfifo(name, 0644) == 0);
}

static void make_tree(const struct fixture *fixture)
{
    char name[64], to[64];

    make_directory(fixture, "@/inside");
    make_file(fixture, "@/inside/file", "inside");
    make_file(fixture, "@/inside/a file with  spaces ", "inside");
    make_file(fixture, "@/inside/..file", "inside");
    make_file(fixture, "@/inside/...", "inside");
    make_directory(fixture, "@/inside/dir");
    make_file(fixture, "@/inside/dir/file", "inside");
    make_directory(fixture, "@/inside/dir/sub");
    make_file(fixture, "@/inside/dir/sub/file", "inside");
    make_fifo(fixture, "@/inside/fifo");
    make_socket(fixture, "@/inside/socket");

    make_link(fixture, "@/inside/to-file", "dir/file");
    make_link(fixture, "@/inside/to-spaces", "a file with  spaces ");
    make_link(fixture, "@/inside/to-dir", "dir");
    make_link(fixture, "@/inside/to-dir-slash", "dir/");
    make_link(fixture, "@/inside/to-dir-dot", "./dir/.");
    make_link(fixture, "@/inside/to-to-dir-slash", "to-dir/");
    make_link(fixture, "@/inside/to-file-slash", "file/");
    make_link(fixture, "@/inside/to-sub", "dir/sub");
    make_link(fixture, "@/inside/to-self", ".");
    make_link(fixture, "@/inside/to-up", "..");
    make_link(fixture, "@/inside/to-around", "dir/../dir//./sub/../file");
    make_link(fixture, "@/inside/to-nothing", "nothing");
    make_link(fixture, "@/inside/to-nothing-deep", "nothing/file");
    make_link(fixture, "@/inside/to-fifo", "fifo");
    make_link(fixture, "@/inside/dir/up", "..");
    make_link(fixture, "@/inside/dir/sub/up", "../../to-dir");
    make_link(fixture, "@/inside/out", "../outside/secret");
    make_link(fixture, "@/inside/out-and-in", "../inside/file");
    make_link(fixture, "@/inside/dir/out", "../../outside");
    make_link(fixture, "@/inside/absolute-out", "@/outside/secret");
    make_link(fixture, "@/inside/absolute-in", "@/inside/file");
    make_link(fixture, "@/inside/absolute-dir", "@/inside/dir");
    make_link(fixture, "@/inside/absolute-chain", "absolute-dir/sub/../file");
    make_link(fixture, "@/inside/absolute-root", "/");
    make_link(fixture, "@/inside/absolute-self", "@/inside");
    make_link(fixture, "@/inside/absolute-dir-slash", "@/./inside//dir/");
    make_link(fixture, "@/inside/absolute-file-slash", "@/inside/file/");
    make_link(fixture, "@/inside/absolute-around", "@/inside/dir/../to-dir/file");
    make_link(fixture, "@/inside/absolute-up", "@/inside/../outside/secret");
    make_link(fixture, "@/inside/absolute-nothing", "@/inside/nothing");
    make_link(fixture, "@/inside/absolute-nothing-deep", "@/inside/dir/nothing/file");
    make_link(fixture, "@/inside/absolute-loop", "@/inside/absolute-loop");
    make_link(fixture, "@/inside/absolute-loop-1", "@/mail/absolute-loop-2");
    make_link(fixture, "@/inside/to-mail", "@/mail");
    make_link(fixture, "@/inside/to-mail-chain", "dir/to-mail");
    make_link(fixture, "@/inside/to-mail-nothing", "dir/to-mail/nothing");
    make_link(fixture, "@/inside/dir/to-mail", "../to-mail");
    make_link(fixture, "@/inside/to-mailbox", "@/mailbox");
    make_link(fixture, "@/inside/to-nested", "@/inside/nested/file");
    make_link(fixture, "@/inside/to-nested-up", "@/inside/nested/../file");
    make_link(fixture, "@/inside/to-nested-absolute", "@/inside/nested-absolute");
    make_link(fixture, "@/inside/to-elsewhere", "@/elsewhere");
    make_link(fixture, "@/inside/to-gone", "@/gone");
    make_link(fixture, "@/inside/proc-root", "/proc/self/root");
    make_link(fixture, "@/inside/loop", "loop");
    make_link(fixture, "@/inside/loop-1", "dir/../loop-2");
    make_link(fixture, "@/inside/loop-2", "./loop-1");
    make_link(fixture, "@/inside/chain-1", "file");
    for (int i = 2; i <= 41; i++) {
        (void)snprintf(name, sizeof(name), "@/inside/chain-%d", i);
        (void)snprintf(to, sizeof(to), "chain-%d", i - 1);
        make_link(fixture, name, to);
    }
    make_link(fixture, "@/inside/absolute-1", "@/inside/file");
    for (int i = 2; i <= 41; i++) {
        (void)snprintf(name, sizeof(name), "@/inside/absolute-%d", i);
        (void)snprintf(to, sizeof(to), "@/inside/absolute-%d", i - 1);
        make_link(fixture, name, to);
    }

    make_directory(fixture, "@/inside/nested");
    make_file(fixture, "@/inside/nested/file", "inside");
    make_directory(fixture, "@/elsewhere");
    make_file(fixture, "@/elsewhere/file", "inside");
    make_link(fixture, "@/inside/nested-absolute", "@/elsewhere");
    make_directory(fixture, "@/outside");
    make_file(fixture, "@/outside/secret", "secret");
    make_directory(fixture, "@/mail");
    make_file(fixture, "@/mail/file", "inside");
    make_link(fixture, "@/mail/back", "@/inside/dir");
    make_link(fixture, "@/mail/absolute-loop-2", "@/inside/absolute-loop-1");
    make_directory(fixture, "@/mailbox");
    make_file(fixture, "@/mailbox/file", "secret");
    make_link(fixture, "@/rootlink", "inside/dir");
    make_directory(fixture, "@/gone");
    make_file(fixture, "@/gone/file", "inside");
}

static struct confine *new_set(const struct fixture *fixture, const char *const *roots,
                               size_t count)
{
    struct confine *confine;

    MUST(confine_new(&confine) == 0);
    for (size_t i = 0; i < count; i++) {
        char root[2 * PATH_MAX];

        expand(fixture, roots[i], root);
        MUST(confine_add_root(confine, root) == 0);
    }
    return confine;
}

static struct confine *new_inside(const struct fixture *fixture)
{
    return new_set(fixture, beneath_roots, 1);
}

static int set_up(void **state)
{
    const char *const whole_roots[] = {"/"};
    const char *const system_roots[] = {"/proc", "/dev"};
    const char *folder = getenv("TMPDIR");
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    char name[PATH_MAX];

    assert_non_null(fixture);
    *state = fixture;
    (void)snprintf(name, sizeof(name), "%s/quotad-XXXXXX", folder ? folder : "/var/tmp");
    assert_non_null(mkdtemp(name));
    assert_int_equal(chmod(name, 0755), 0);
    assert_non_null(realpath(name, fixture->base));
    (void)umask(022);
    make_tree(fixture);
    fixture->sets[BENEATH] = new_set(fixture, beneath_roots, ARRAY_SIZE(beneath_roots));
    fixture->sets[WHOLE] = new_set(fixture, whole_roots, ARRAY_SIZE(whole_roots));
    fixture->sets[SYSTEM] = new_set(fixture, system_roots, ARRAY_SIZE(system_roots));
    make_rename(fixture, "@/gone", "@/gone-old");
    make_directory(fixture, "@/gone");
    make_file(fixture, "@/gone/file", "secret");
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < SETS_COUNT; i++)
        confine_free(fixture->sets[i]);
    (void)tree_remove(fixture->base);
    free(fixture);
    return 0;
}

static bool is_file(const struct fixture *fixture, int fd, const char *name)
{
    char path[2 * PATH_MAX];
    struct stat expected, found;

    expand(fixture, name, path);
    return lstat(path, &expected) == 0 && fstat(fd, &found) == 0 &&
           expected.st_dev == found.st_dev && expected.st_ino == found.st_ino;
}

/* Tells whether a set answers as the row says. */
static bool row_holds(const struct fixture *fixture, struct confine *confine, const struct row *row)
{
    char path[2 * PATH_MAX];
    int fd;
    bool sound;

    expand(fixture, row->path, path);
    fd = confine_open(confine, path, row->flags);
    if (fd < 0) {
        if (fd != row->result)
            print_error("%.200s (flags 0%o): %s, not %s\n", row->path, (unsigned int)row->flags,
                        strerror(-fd), strerror(-row->result));
        return fd == row->result;
    }
    sound = row->result == 0 && is_file(fixture, fd, row->same) &&
            (fcntl(fd, F_GETFD) & FD_CLOEXEC) &&
            (fcntl(fd, F_GETFL) & O_PATH) == (row->flags & O_PATH);
    (void)close(fd);
    if (!sound)
        print_error("%.200s (flags 0%o): opened, which was to be %s\n", row->path,
                    (unsigned int)row->flags,
                    row->result == 0 ? row->same : strerror(-row->result));
    return sound;
}

/* Tells whether the set answers each of the rows as it says. */
static bool rows_hold(const struct fixture *fixture, enum roots roots, const struct row *rows,
                      size_t count)
{
    bool hold = true;

    for (size_t i = 0; i < count; i++)
        hold &= row_holds(fixture, fixture->sets[roots], &rows[i]);
    return hold;
}

static void paths(void **state)
{
    static const struct row rows[] = {
        {"@/inside/file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/file", O_PATH, 0, "@/inside/file"},
        {"@/inside/file", O_RDONLY | O_NOFOLLOW, 0, "@/inside/file"},
        {"@/inside/file", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0, "@/inside/file"},
        {"@/inside/a file with  spaces ", O_RDONLY, 0, "@/inside/a file with  spaces "},
        {"@/inside/..file", O_RDONLY, 0, "@/inside/..file"},
        {"@/inside/...", O_RDONLY, 0, "@/inside/..."},
        {"@//inside///dir////file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/./inside/././dir/./file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/dir", O_RDONLY, 0, "@/inside/dir"},
        {"@/inside/dir", O_RDONLY | O_DIRECTORY, 0, "@/inside/dir"},
        {"@/inside/dir", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/dir/", O_RDONLY, 0, "@/inside/dir"},
        {"@/inside/dir//", O_PATH, 0, "@/inside/dir"},
        {"@/inside/dir/.", O_PATH, 0, "@/inside/dir"},
        {"@/inside/dir/./", O_RDONLY, 0, "@/inside/dir"},
        /* the root itself */
        {"@/inside", O_RDONLY, 0, "@/inside"},
        {"@/inside", O_PATH, 0, "@/inside"},
        {"@/inside/", O_RDONLY | O_DIRECTORY, 0, "@/inside"},
        {"@/inside//./", O_RDONLY, 0, "@/inside"},
        {"@/inside/.", O_PATH | O_NOFOLLOW, 0, "@/inside"},
        /* `..` */
        {"@/inside/dir/..", O_PATH, 0, "@/inside"},
        {"@/inside/dir/../", O_RDONLY, 0, "@/inside"},
        {"@/inside/dir/../file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/dir/sub/../../dir/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/dir/sub/.././/../file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/..", O_PATH, -EXDEV, NULL},
        {"@/inside/../", O_PATH, -EXDEV, NULL},
        {"@/inside/../inside/file", O_RDONLY, -EXDEV, NULL},
        {"@/inside/../outside/secret", O_RDONLY, -EXDEV, NULL},
        {"@/inside/dir/../../outside/secret", O_RDONLY, -EXDEV, NULL},
        {"@/inside/nothing/../../outside/secret", O_RDONLY, -ENOENT, NULL},
        {"@/inside/../../../../../../../../../../etc/passwd", O_RDONLY, -EXDEV, NULL},
        {"@/inside/nothing/..", O_PATH, -ENOENT, NULL},
        {"@/inside/file/..", O_PATH, -ENOTDIR, NULL},
        {"@/inside/file/../file", O_PATH, -ENOTDIR, NULL},
        /* what is no directory, or not there */
        {"@/inside/file/", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/file/", O_PATH, -ENOTDIR, NULL},
        {"@/inside/file/.", O_PATH, -ENOTDIR, NULL},
        {"@/inside/file/file", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/file", O_RDONLY | O_DIRECTORY, -ENOTDIR, NULL},
        {"@/inside/file", O_PATH | O_DIRECTORY, -ENOTDIR, NULL},
        {"@/inside/nothing", O_RDONLY, -ENOENT, NULL},
        {"@/inside/nothing/", O_PATH, -ENOENT, NULL},
        {"@/inside/nothing/file", O_RDONLY, -ENOENT, NULL},
        {"@/inside/dir/nothing", O_PATH | O_NOFOLLOW, -ENOENT, NULL},
        /* no file at all */
        {"@/inside/fifo", O_PATH, 0, "@/inside/fifo"},
        {"@/inside/fifo", O_RDONLY | O_NONBLOCK, 0, "@/inside/fifo"},
        {"@/inside/fifo/", O_PATH, -ENOTDIR, NULL},
        {"@/inside/socket", O_PATH, 0, "@/inside/socket"},
        {"@/inside/socket", O_RDONLY, -ENXIO, NULL},
        /* not below a root */
        {"", O_RDONLY, -EXDEV, NULL},
        {"file", O_RDONLY, -EXDEV, NULL},
        {"./inside/file", O_RDONLY, -EXDEV, NULL},
        {"..", O_RDONLY, -EXDEV, NULL},
        {"/", O_PATH, -EXDEV, NULL},
        {"/etc/passwd", O_RDONLY, -EXDEV, NULL},
        {"@", O_PATH, -EXDEV, NULL},
        {"@/outside/secret", O_RDONLY, -EXDEV, NULL},
        {"@/insid", O_RDONLY, -EXDEV, NULL},
        {"@/outside/../inside/file", O_RDONLY, -EXDEV, NULL},
        {"@/../inside/file", O_RDONLY, -EXDEV, NULL},
    };

    assert_true(rows_hold(*state, BENEATH, rows, ARRAY_SIZE(rows)));
}

static void links(void **state)
{
    static const struct row rows[] = {
        {"@/inside/to-file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/to-file", O_PATH, 0, "@/inside/dir/file"},
        {"@/inside/to-spaces", O_RDONLY, 0, "@/inside/a file with  spaces "},
        {"@/inside/to-dir", O_RDONLY, 0, "@/inside/dir"},
        {"@/inside/to-dir", O_RDONLY | O_DIRECTORY, 0, "@/inside/dir"},
        {"@/inside/to-dir", O_PATH | O_DIRECTORY, 0, "@/inside/dir"},
        {"@/inside/to-dir-slash", O_RDONLY, 0, "@/inside/dir"},
        {"@/inside/to-dir-dot", O_PATH, 0, "@/inside/dir"},
        {"@/inside/to-dir-dot/file", O_PATH, 0, "@/inside/dir/file"},
        {"@/inside/to-to-dir-slash", O_PATH, 0, "@/inside/dir"},
        {"@/inside/to-dir/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/to-dir-slash/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/to-sub/../file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/to-sub/..", O_PATH, 0, "@/inside/dir"},
        {"@/inside/to-self", O_PATH, 0, "@/inside"},
        {"@/inside/to-self/to-self/dir/up/to-dir/sub/up/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/dir/up", O_PATH, 0, "@/inside"},
        {"@/inside/dir/up/file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/to-around", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/to-fifo", O_PATH, 0, "@/inside/fifo"},
        {"@/inside/to-file", O_RDONLY | O_DIRECTORY, -ENOTDIR, NULL},
        {"@/inside/to-file", O_PATH | O_DIRECTORY, -ENOTDIR, NULL},
        {"@/inside/to-file/", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/to-file/file", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/to-file-slash", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/to-file-slash", O_PATH, -ENOTDIR, NULL},
        /* O_NOFOLLOW concerns the end alone, and a slash there undoes it */
        {"@/inside/to-file", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/to-nothing", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/absolute-out", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/to-dir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, -ENOTDIR, NULL},
        {"@/inside/to-dir", O_PATH | O_DIRECTORY | O_NOFOLLOW, -ENOTDIR, NULL},
        {"@/inside/to-file", O_PATH | O_NOFOLLOW, 0, "@/inside/to-file"},
        {"@/inside/to-nothing", O_PATH | O_NOFOLLOW, 0, "@/inside/to-nothing"},
        {"@/inside/absolute-out", O_PATH | O_NOFOLLOW, 0, "@/inside/absolute-out"},
        {"@/inside/loop", O_PATH | O_NOFOLLOW, 0, "@/inside/loop"},
        {"@/inside/to-dir/file", O_RDONLY | O_NOFOLLOW, 0, "@/inside/dir/file"},
        {"@/inside/to-dir/up", O_PATH | O_NOFOLLOW, 0, "@/inside/dir/up"},
        {"@/inside/to-dir/", O_RDONLY | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/to-dir/", O_PATH | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/to-to-dir-slash/", O_PATH | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/to-dir/.", O_PATH | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/to-file/", O_PATH | O_NOFOLLOW, -ENOTDIR, NULL},
        /* out of the root */
        {"@/inside/out", O_RDONLY, -EXDEV, NULL},
        {"@/inside/out", O_PATH, -EXDEV, NULL},
        {"@/inside/out-and-in", O_RDONLY, -EXDEV, NULL},
        {"@/inside/to-up", O_PATH, -EXDEV, NULL},
        {"@/inside/to-up/inside/file", O_RDONLY, -EXDEV, NULL},
        {"@/inside/dir/out", O_PATH, -EXDEV, NULL},
        {"@/inside/dir/out/secret", O_RDONLY, -EXDEV, NULL},
        {"@/inside/to-dir/out/secret", O_RDONLY, -EXDEV, NULL},
        {"@/inside/absolute-out", O_RDONLY, -EXDEV, NULL},
        {"@/inside/absolute-out", O_PATH, -EXDEV, NULL},
        {"@/inside/absolute-root", O_PATH, -EXDEV, NULL},
        {"@/inside/proc-root", O_PATH, -EXDEV, NULL},
        /* too many */
        {"@/inside/loop", O_RDONLY, -ELOOP, NULL},
        {"@/inside/loop", O_PATH, -ELOOP, NULL},
        {"@/inside/loop/file", O_PATH, -ELOOP, NULL},
        {"@/inside/loop-1", O_RDONLY, -ELOOP, NULL},
        {"@/inside/chain-3", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/chain-40", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/chain-40", O_PATH, 0, "@/inside/file"},
        {"@/inside/chain-41", O_RDONLY, -ELOOP, NULL},
        {"@/inside/chain-41", O_PATH, -ELOOP, NULL},
        {"@/inside/to-self/chain-40", O_PATH, -ELOOP, NULL},
        {"@/inside/chain-41", O_PATH | O_NOFOLLOW, 0, "@/inside/chain-41"},
    };

    assert_true(rows_hold(*state, BENEATH, rows, ARRAY_SIZE(rows)));
}

/* What no openat2 below one root opens: an absolute link begins again at the root it names. */
static void absolute_links(void **state)
{
    static const struct row rows[] = {
        {"@/inside/absolute-in", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/absolute-in", O_PATH, 0, "@/inside/file"},
        {"@/inside/absolute-dir", O_RDONLY | O_DIRECTORY, 0, "@/inside/dir"},
        {"@/inside/absolute-dir/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/absolute-dir/../file", O_RDONLY, 0, "@/inside/file"},
        {"@//inside/./absolute-dir//sub/./file", O_RDONLY, 0, "@/inside/dir/sub/file"},
        {"@/inside/absolute-dir/sub/up/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/absolute-chain", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/absolute-around", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/absolute-self", O_PATH, 0, "@/inside"},
        {"@/inside/absolute-self/absolute-self/to-self/file", O_PATH, 0, "@/inside/file"},
        /* into another root, and back */
        {"@/inside/to-mail", O_PATH, 0, "@/mail"},
        {"@/inside/to-mail/file", O_RDONLY, 0, "@/mail/file"},
        {"@/inside/to-mail-chain", O_PATH, 0, "@/mail"},
        {"@/inside/to-mail-chain/file", O_RDONLY, 0, "@/mail/file"},
        {"@/inside/to-dir/to-mail/back/up/to-mail/file", O_RDONLY, 0, "@/mail/file"},
        {"@/mail/back/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/rootlink/to-mail", O_PATH, -EXDEV, NULL}, /* by way of `..` */
        {"@/inside/to-mail/..", O_PATH, -EXDEV, NULL},
        {"@/inside/to-mail/../mail/file", O_PATH, -EXDEV, NULL},
        /* the root with the longest name, whole components of it */
        {"@/inside/to-nested", O_RDONLY, 0, "@/inside/nested/file"},
        {"@/inside/to-nested-up", O_RDONLY, -EXDEV, NULL},
        {"@/inside/to-nested-absolute", O_PATH, 0, "@/elsewhere"},
        {"@/inside/to-nested-absolute/file", O_RDONLY, 0, "@/elsewhere/file"},
        {"@/inside/to-elsewhere", O_PATH, -EXDEV, NULL},
        {"@/inside/to-mailbox", O_PATH, -EXDEV, NULL},
        {"@/inside/to-mailbox/file", O_RDONLY, -EXDEV, NULL},
        {"@/inside/to-gone/file", O_RDONLY, 0, "@/gone-old/file"},
        /* out */
        {"@/inside/absolute-out", O_RDONLY, -EXDEV, NULL},
        {"@/inside/absolute-up", O_RDONLY, -EXDEV, NULL},
        {"@/inside/absolute-root/etc/passwd", O_RDONLY, -EXDEV, NULL},
        {"@/inside/absolute-dir/out/secret", O_RDONLY, -EXDEV, NULL},
        {"@/inside/absolute-dir/../../outside/secret", O_RDONLY, -EXDEV, NULL},
        {"@/inside/dir/../../outside/to-mail", O_RDONLY, -EXDEV, NULL},
        /* the end of the path */
        {"@/inside/absolute-in", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/absolute-in", O_PATH | O_NOFOLLOW, 0, "@/inside/absolute-in"},
        {"@/inside/absolute-in/", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/absolute-in/file", O_RDONLY, -ENOTDIR, NULL},
        {"@/inside/absolute-in", O_RDONLY | O_DIRECTORY, -ENOTDIR, NULL},
        {"@/inside/absolute-dir/", O_PATH | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/absolute-dir/.", O_PATH | O_NOFOLLOW, 0, "@/inside/dir"},
        {"@/inside/absolute-dir/up", O_PATH | O_NOFOLLOW, 0, "@/inside/dir/up"},
        {"@/inside/absolute-dir/up", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/absolute-dir/up/", O_RDONLY | O_NOFOLLOW, 0, "@/inside"},
        {"@/inside/absolute-dir/to-mail", O_PATH | O_NOFOLLOW, 0, "@/inside/dir/to-mail"},
        {"@/inside/absolute-dir/to-mail", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/absolute-dir-slash", O_PATH, 0, "@/inside/dir"},
        {"@/inside/absolute-dir-slash/file", O_PATH, 0, "@/inside/dir/file"},
        {"@/inside/absolute-file-slash", O_PATH, -ENOTDIR, NULL},
        {"@/inside/absolute-dir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, -ENOTDIR, NULL},
        /* too many */
        {"@/inside/absolute-40", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/absolute-41", O_RDONLY, -ELOOP, NULL},
        {"@/inside/absolute-41", O_PATH | O_NOFOLLOW, 0, "@/inside/absolute-41"},
        {"@/inside/absolute-loop", O_PATH, -ELOOP, NULL},
        {"@/inside/absolute-loop-1/file", O_PATH, -ELOOP, NULL},
        {"@/inside/absolute-self/loop", O_PATH, -ELOOP, NULL},
    };

    assert_true(rows_hold(*state, BENEATH, rows, ARRAY_SIZE(rows)));
}

/* Nothing there, or a symbolic link that leads to nothing: no mail can be delivered there. */
static void links_to_nothing(void **state)
{
    static const struct row both[] = {
        {"@/inside/to-nothing", O_RDONLY, -ENOLINK, NULL},
        {"@/inside/to-nothing", O_PATH, -ENOLINK, NULL},
        {"@/inside/to-nothing/", O_PATH, -ENOLINK, NULL},
        {"@/inside/to-nothing/file", O_RDONLY, -ENOLINK, NULL},
        {"@/inside/to-nothing-deep", O_RDONLY, -ENOLINK, NULL},
        {"@/inside/to-dir/up/to-nothing", O_RDONLY, -ENOLINK, NULL},
        {"@/inside/absolute-nothing", O_RDONLY, -ENOLINK, NULL},
        {"@/inside/absolute-nothing/file", O_RDONLY, -ENOLINK, NULL},
        {"@/inside/absolute-nothing-deep", O_PATH, -ENOLINK, NULL},
        {"@/inside/absolute-dir/up/to-nothing", O_PATH, -ENOLINK, NULL},
        {"@/inside/absolute-self/absolute-nothing", O_PATH, -ENOLINK, NULL},
        {"@/inside/to-mail-nothing", O_PATH, -ENOLINK, NULL},
        {"@/inside/to-mail-nothing/file", O_PATH, -ENOLINK, NULL},
        {"@/inside/to-dir/nothing", O_PATH, -ENOENT, NULL},
        {"@/inside/to-dir/nothing/", O_PATH, -ENOENT, NULL},
        {"@/inside/to-dir/nothing/file", O_PATH, -ENOENT, NULL},
        {"@/inside/to-self/nothing", O_PATH, -ENOENT, NULL},
        {"@/inside/to-sub/../nothing", O_PATH, -ENOENT, NULL},
        {"@/inside/to-dir/nothing/../../to-nothing", O_PATH, -ENOENT, NULL},
        {"@/inside/absolute-dir/nothing", O_PATH, -ENOENT, NULL},
        {"@/inside/absolute-self/nothing/file", O_PATH, -ENOENT, NULL},
        {"@/inside/to-mail/nothing", O_PATH, -ENOENT, NULL},
        {"@/inside/to-mail-chain/nothing", O_PATH | O_NOFOLLOW, -ENOENT, NULL},
        {"@/inside/to-nothing", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/to-nothing", O_PATH | O_NOFOLLOW, 0, "@/inside/to-nothing"},
    };
    static const struct row whole[] = {
        {"@/inside/absolute-root/nothing", O_PATH, -ENOENT, NULL},
        {"/proc/self/nothing", O_PATH, -ENOENT, NULL},
    };

    assert_true(rows_hold(*state, BENEATH, both, ARRAY_SIZE(both)));
    assert_true(rows_hold(*state, WHOLE, both, ARRAY_SIZE(both)));
    assert_true(rows_hold(*state, WHOLE, whole, ARRAY_SIZE(whole)));
}

/* A symbolic link is found wherever on a long path it is. */
static void links_anywhere(void **state)
{
    static const char *const links[] = {"absolute-self", "absolute-nothing"};
    static const char *const ways[] = {"dir/..", "to-self"};
    const struct fixture *fixture = *state;
    char path[PATH_MAX];

    for (int length = 0; length < 30; length++)
        for (int place = 0; place <= length; place++)
            for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
                const struct row row = {path, O_PATH, i == 0 ? 0 : -ENOLINK, "@/inside"};
                size_t at = (size_t)snprintf(path, sizeof(path), "@/inside");

                for (int j = 0; j <= length; j++)
                    at += (size_t)snprintf(path + at, sizeof(path) - at, "/%s",
                                           j == place ? links[i] : ways[j % 5 == 4]);
                assert_true(row_holds(fixture, fixture->sets[BENEATH], &row));
            }
}

static void roots(void **state)
{
    static const struct row rows[] = {
        /* the longest root wins, however it is spelt */
        {"@/inside/nested", O_PATH, 0, "@/inside/nested"},
        {"@/inside/nested/file", O_RDONLY, 0, "@/inside/nested/file"},
        {"@//inside/.//nested/file", O_RDONLY, 0, "@/inside/nested/file"},
        {"@/inside/nested/..", O_PATH, -EXDEV, NULL},
        {"@/inside/nested/../file", O_RDONLY, -EXDEV, NULL},
        {"@/inside/to-self/nested/../file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/dir/../nested/../file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/nested-absolute", O_PATH | O_NOFOLLOW, 0, "@/elsewhere"},
        {"@/inside/nested-absolute/file", O_RDONLY, 0, "@/elsewhere/file"},
        {"@/inside/nested-absolute/..", O_PATH, -EXDEV, NULL},
        {"@/inside/to-self/nested-absolute/file", O_RDONLY, -EXDEV, NULL}, /* no root's name */
        /* a root that is a symbolic link */
        {"@/rootlink", O_PATH, 0, "@/inside/dir"},
        {"@/rootlink/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/rootlink/up", O_PATH, -EXDEV, NULL},
        {"@/rootlink/../file", O_RDONLY, -EXDEV, NULL},
        /* a name that only begins like a root's */
        {"@/mail/file", O_RDONLY, 0, "@/mail/file"},
        {"@/mailbox", O_PATH, -EXDEV, NULL},
        {"@/mailbox/file", O_RDONLY, -EXDEV, NULL},
        {"@/mai/file", O_RDONLY, -EXDEV, NULL},
        {"@/mail/../mail/file", O_RDONLY, -EXDEV, NULL},
        /* another directory has the root's name by now */
        {"@/gone", O_PATH, 0, "@/gone-old"},
        {"@/gone/file", O_RDONLY, 0, "@/gone-old/file"},
    };

    assert_true(rows_hold(*state, BENEATH, rows, ARRAY_SIZE(rows)));
}

static void root_slash(void **state)
{
    static const struct row rows[] = {
        {"/", O_PATH, 0, "/"},
        {"//", O_RDONLY, 0, "/"},
        {"/.", O_RDONLY, 0, "/"},
        {"/..", O_PATH, 0, "/"},
        {"/../../etc/../etc/passwd", O_RDONLY, 0, "/etc/passwd"},
        {"/etc", O_PATH, 0, "/etc"},
        {"etc", O_PATH, -EXDEV, NULL},
        {"", O_PATH, -EXDEV, NULL},
        {"@/inside/file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/../outside/secret", O_RDONLY, 0, "@/outside/secret"},
        {"@/inside/out", O_RDONLY, 0, "@/outside/secret"},
        {"@/inside/absolute-out", O_RDONLY, 0, "@/outside/secret"},
        {"@/inside/absolute-in", O_PATH, 0, "@/inside/file"},
        {"@/inside/absolute-in/", O_PATH, -ENOTDIR, NULL},
        {"@/inside/absolute-dir/../file", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/absolute-dir/sub/up", O_PATH, 0, "@/inside/dir"},
        {"@/inside/absolute-chain", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/absolute-root", O_RDONLY, 0, "/"},
        {"@/inside/absolute-root/etc/passwd", O_RDONLY, 0, "/etc/passwd"},
        {"@/inside/absolute-root/../etc/passwd", O_RDONLY, 0, "/etc/passwd"},
        {"@/inside/absolute-in", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {"@/inside/absolute-in", O_PATH | O_NOFOLLOW, 0, "@/inside/absolute-in"},
        {"@/inside/loop", O_PATH, -ELOOP, NULL},
        {"@/inside/nothing", O_PATH, -ENOENT, NULL},
        {"/dev/null", O_PATH, 0, "/dev/null"},
        {"/dev/null", O_RDONLY, 0, "/dev/null"},
        {"/dev/null/", O_RDONLY, -ENOTDIR, NULL},
        {"/proc/self/status", O_RDONLY, 0, "/proc/self/status"},
        /* magic links */
        {"/proc/self/root", O_PATH, -ELOOP, NULL},
        {"/proc/self/root/", O_PATH, -ELOOP, NULL},
        {"/proc/self/root/etc/passwd", O_RDONLY, -ELOOP, NULL},
        {"/proc/self/cwd", O_RDONLY, -ELOOP, NULL},
        {"/proc/self/exe", O_RDONLY, -ELOOP, NULL},
        {"@/inside/proc-root", O_PATH, -ELOOP, NULL},
        {"@/inside/proc-root/etc/passwd", O_RDONLY, -ELOOP, NULL},
    };

    assert_true(rows_hold(*state, WHOLE, rows, ARRAY_SIZE(rows)));
}

static void magic_links(void **state)
{
    char paths[6][64];
    const struct row rows[] = {
        {paths[0], O_PATH, -ELOOP, NULL},
        {paths[1], O_PATH, -ELOOP, NULL},
        {paths[2], O_RDONLY, -ELOOP, NULL},
        {paths[3], O_PATH, -ELOOP, NULL},
        {paths[4], O_PATH, -ELOOP, NULL},
        {paths[4], O_PATH | O_NOFOLLOW, 0, paths[4]},
        {paths[4], O_RDONLY | O_NOFOLLOW, -ELOOP, NULL},
        {paths[5], O_RDONLY, 0, paths[5]},
        {"/proc/self/root", O_PATH, -ELOOP, NULL},
        {"/proc/self/cwd/file", O_RDONLY, -ELOOP, NULL},
        {"/dev/null", O_RDONLY | O_NOCTTY, 0, "/dev/null"},
    };
    const int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    const int self = (int)getpid();

    assert_true(file >= 0);
    (void)snprintf(paths[0], sizeof(paths[0]), "/proc/%d/root", self);
    (void)snprintf(paths[1], sizeof(paths[1]), "/proc/%d/root/etc", self);
    (void)snprintf(paths[2], sizeof(paths[2]), "/proc/%d/fd/%d", self, file);
    (void)snprintf(paths[3], sizeof(paths[3]), "/proc/%d/fd/%d/", self, file);
    (void)snprintf(paths[4], sizeof(paths[4]), "/proc/%d/ns/mnt", self);
    (void)snprintf(paths[5], sizeof(paths[5]), "/proc/%d/status", self);
    assert_true(rows_hold(*state, SYSTEM, rows, ARRAY_SIZE(rows)));
    assert_true(rows_hold(*state, WHOLE, rows, ARRAY_SIZE(rows)));
    (void)close(file);
}

/* An absolute link that leads into a procfs leads no further than a path of it does. */
static void magic_links_of_another_root(void **state)
{
    static const char *const names[] = {"@/inside", "/proc"};
    static const struct row rows[] = {
        {"@/inside/proc-root", O_PATH, -ELOOP, NULL},
        {"@/inside/proc-root/etc/passwd", O_RDONLY, -ELOOP, NULL},
        {"@/inside/proc-root/../status", O_RDONLY, -ELOOP, NULL},
        {"@/inside/proc-status", O_RDONLY, 0, "/proc/self/status"},
    };
    struct fixture *fixture = *state;
    _cleanup_(confine_freep) struct confine *confine = new_set(fixture, names, ARRAY_SIZE(names));

    make_link(fixture, "@/inside/proc-status", "/proc/self/status");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_true(row_holds(fixture, confine, &rows[i]));
}

static void flags_that_are_refused(void **state)
{
    static const int flags[] = {
        O_WRONLY,
        O_RDWR,
        O_CREAT,
        O_TRUNC,
        O_APPEND,
        O_TMPFILE,
        O_TMPFILE | O_RDWR,
        O_EXCL,
        O_DIRECT,
        O_PATH | O_NONBLOCK,
        O_PATH | O_CREAT,
        O_PATH | O_RDWR,
        1 << 30,
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        const struct row row = {"@/inside/file", flags[i], -EINVAL, NULL};

        assert_true(rows_hold(fixture, BENEATH, &row, 1));
    }
    assert_int_equal(confine_open_cached(fixture->sets[WHOLE], "/", O_RDONLY, NULL), -EINVAL);
    assert_int_equal(confine_open_cached(fixture->sets[WHOLE], "/", O_PATH | O_CREAT, NULL),
                     -EINVAL);
}

/* Writes begin, then repeat as often as fits length bytes with end, padded by slashes, and end. */
static void fill(char *ret, size_t length, const char *begin, const char *repeat, const char *end)
{
    size_t at = strlen(begin), last = length - strlen(end);

    memcpy(ret, begin, at);
    for (; at + strlen(repeat) <= last; at += strlen(repeat))
        memcpy(ret + at, repeat, strlen(repeat));
    memset(ret + at, '/', last - at);
    memcpy(ret + last, end, strlen(end) + 1);
}

static void lengths(void **state)
{
    struct fixture *fixture = *state;
    char inside[PATH_MAX + 16], path[PATH_MAX + 16], name[PATH_MAX + 16];

    (void)snprintf(inside, sizeof(inside), "%.4000s/inside/", fixture->base);
    {
        const struct row fits = {path, O_RDONLY, 0, "@/inside/file"};

        fill(path, PATH_MAX - 1, inside, "./", "file");
        assert_true(rows_hold(fixture, BENEATH, &fits, 1));
        assert_true(rows_hold(fixture, WHOLE, &fits, 1));
        fill(path, PATH_MAX - 1, inside, "dir/../", "file");
        assert_true(rows_hold(fixture, BENEATH, &fits, 1));
    }
    for (size_t length = PATH_MAX; length <= PATH_MAX + 8; length++) {
        const struct row too_long = {path, O_RDONLY, -ENAMETOOLONG, NULL};

        fill(path, length, inside, "./", "file");
        assert_true(rows_hold(fixture, BENEATH, &too_long, 1));
        assert_true(rows_hold(fixture, WHOLE, &too_long, 1));
    }
    {
        const struct row rows[] = {
            {path, O_RDONLY, 0, path},
            {name, O_RDONLY, -ENAMETOOLONG, NULL},
            {name, O_PATH, -ENAMETOOLONG, NULL},
        };

        fill(path, strlen(inside) + NAME_MAX, inside, "n", "");
        fill(name, strlen(inside) + NAME_MAX + 1, inside, "n", "");
        make_file(fixture, path, "inside");
        assert_true(rows_hold(fixture, BENEATH, rows, ARRAY_SIZE(rows)));
    }
}

/* Symbolic links that are followed on the way count as those at the end do. */
static void links_on_the_way(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX] = "@/inside";

    /* The kernel goes over a path up to three times, and may count the links of all of them. */
    for (int i = 0; i < 13; i++)
        memcpy(path + strlen(path), "/to-self", sizeof("/to-self"));
    {
        const struct row row = {path, O_PATH, 0, "@/inside"};

        assert_true(rows_hold(fixture, BENEATH, &row, 1));
    }
    for (int i = 13; i < 40; i++)
        memcpy(path + strlen(path), "/to-self", sizeof("/to-self"));
    memcpy(path + strlen(path), "/to-self/file", sizeof("/to-self/file"));
    {
        const struct row row = {path, O_PATH, -ELOOP, NULL};

        assert_true(rows_hold(fixture, BENEATH, &row, 1));
        assert_true(rows_hold(fixture, WHOLE, &row, 1));
    }
}

/* What an absolute link says and what follows it must be a path together. */
static void long_links(void **state)
{
    struct fixture *fixture = *state;
    char text[PATH_MAX], begin[PATH_MAX], path[PATH_MAX], name[PATH_MAX];
    const struct row rows[] = {
        {path, O_PATH, 0, "@/inside/dir/file"},
        {name, O_PATH, -ENAMETOOLONG, NULL},
    };

    (void)snprintf(begin, sizeof(begin), "%.2000s/inside/", fixture->base);
    fill(text, 4000, begin, "./", "dir");
    make_link(fixture, "@/inside/absolute-long", text);
    fill(text, 4000, "./", "./", "absolute-long");
    make_link(fixture, "@/inside/to-absolute-long", text);
    (void)snprintf(path, sizeof(path), "@/inside/to-absolute-long/file");
    (void)snprintf(begin, sizeof(begin), "%.2000s/inside/to-absolute-long/", fixture->base);
    fill(name, 400, begin, "sub/../", "file");
    assert_true(rows_hold(fixture, BENEATH, rows, ARRAY_SIZE(rows)));
}

static void adding_roots(void **state)
{
    static const struct {
        const char *path;
        int result;
    } cases[] = {
        {"", -EINVAL},
        {"relative", -EINVAL},
        {"..", -EINVAL},
        {"/..", -EINVAL},
        {"@/inside/../inside", -EINVAL},
        {"@/inside/dir/..", -EINVAL},
        {"@/nothing", -ENOENT},
        {"@/inside/file", -ENOTDIR},
        {"@/inside/file/", -ENOTDIR},
        {"@/inside/fifo", -ENOTDIR},
        {"@/inside/loop", -ELOOP},
        {"@/inside/dir/", 0},
        {"@/inside/..file", -ENOTDIR},
        {"//./", 0},
    };
    struct fixture *fixture = *state;
    struct confine *confine;
    char path[2 * PATH_MAX];

    assert_int_equal(confine_new(&confine), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t before = confine_roots(confine);

        expand(fixture, cases[i].path, path);
        assert_int_equal(confine_add_root(confine, path), cases[i].result);
        assert_int_equal(confine_roots(confine), before + (cases[i].result == 0));
    }
    assert_int_equal(confine_roots(confine), 2);
    expand(fixture, "@/inside/dir/", path);
    assert_true(is_file(fixture, confine_root_fd(confine, 0), "@/inside/dir"));
    assert_true(is_file(fixture, confine_root_fd(confine, 1), "/"));
    confine_freep(&confine);
}

static void no_roots(void **state)
{
    struct confine *confine;

    (void)state;
    assert_int_equal(confine_new(&confine), 0);
    assert_int_equal(confine_roots(confine), 0);
    assert_int_equal(confine_open(confine, "/", O_PATH), -EXDEV);
    assert_int_equal(confine_open_cached(confine, "/", O_PATH, NULL), -EXDEV);
    confine_free(confine);
    confine_free(NULL);
}

static void one_name(void **state)
{
    static const struct {
        const char *name;
        int flags;
        int result;
    } cases[] = {
        {"file", O_RDONLY, 0},
        {"file", O_PATH, 0},
        {".", O_PATH | O_DIRECTORY, 0},
        {"to-file", O_PATH, 0},
        {"...", O_RDONLY, 0},
        {"to-file", O_RDONLY, -ELOOP},
        {"to-dir", O_PATH | O_DIRECTORY, -ENOTDIR},
        {"file", O_RDONLY | O_DIRECTORY, -ENOTDIR},
        {"nothing", O_RDONLY, -ENOENT},
        {"", O_RDONLY, -EINVAL},
        {"..", O_PATH, -EINVAL},
        {"dir/", O_PATH, -EINVAL},
        {"dir/file", O_RDONLY, -EINVAL},
        {"/", O_PATH, -EINVAL},
    };
    struct fixture *fixture = *state;
    int directory = confine_root_fd(fixture->sets[BENEATH], 0);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        /* the second time the kernel has it in memory */
        for (enum confine_reach reach = CONFINE_ANYWHERE; reach <= CONFINE_SAME_MOUNT; reach++) {
            int fd = confine_open_name(directory, cases[i].name, cases[i].flags, reach);
            char path[PATH_MAX];

            if (reach == CONFINE_CACHED && fd == -EAGAIN && cases[i].result == -ENOENT)
                continue; /* not every file system remembers what it does not have */
            assert_int_equal(fd < 0 ? fd : 0, cases[i].result);
            if (fd < 0)
                continue;
            (void)snprintf(path, sizeof(path), "@/inside/%s", cases[i].name);
            assert_true(is_file(fixture, fd, path));
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            (void)close(fd);
        }
    }
}

/* /proc is a mount everywhere. */
static void one_name_that_is_a_mount(void **state)
{
    int directory = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = confine_open_name(directory, "proc", O_PATH, CONFINE_ANYWHERE);

    (void)state;
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(confine_open_name(directory, "proc", O_PATH, CONFINE_CACHED), -EAGAIN);
    assert_int_equal(confine_open_name(directory, "proc", O_PATH, CONFINE_SAME_MOUNT), -EAGAIN);
    (void)close(directory);
}

/* Skips a test on systems whose kernel cannot tell what it holds in memory. */
static void need_cached(struct confine *confine)
{
    int fd = confine_open_cached(confine, "/", O_PATH, NULL);

    if (fd == -EOPNOTSUPP)
        skip_because("the kernel does not tell what is in memory");
    assert_true(fd >= 0);
    (void)close(fd);
}

/* Opens an entry of the directory path. */
static int open_entry(struct confine *confine, const char *path, const char *name)
{
    char whole[3 * PATH_MAX];

    (void)snprintf(whole, sizeof(whole), "%s/%s", path, name);
    return confine_open_cached(confine, whole, O_PATH | O_NOFOLLOW, NULL);
}

static void entries(void **state)
{
    static const struct {
        const char *path;
        const char *name;
        int result;
        const char *same;
    } cases[] = {
        {"@/inside/dir", "file", 0, "@/inside/dir/file"},
        {"@/inside/dir/", "file", 0, "@/inside/dir/file"},
        {"@/inside", "file", 0, "@/inside/file"},
        {"@/inside", "to-file", 0, "@/inside/to-file"},
        {"@/inside/dir/sub/..", "file", 0, "@/inside/dir/file"},
        {"@/inside/dir", "nothing", -ENOENT, NULL},
        {"@/inside/nothing", "file", -ENOENT, NULL},
        {"@/inside/file", "file", -ENOTDIR, NULL},
        {"@/inside/../outside", "secret", -EXDEV, NULL},
        {"@/outside", "secret", -EXDEV, NULL},
        {"@/inside/dir/out", "secret", -EXDEV, NULL},
        {"inside", "file", -EXDEV, NULL},
    };
    struct fixture *fixture = *state;
    struct confine *confine = fixture->sets[BENEATH];
    char path[2 * PATH_MAX];
    size_t found = 0;

    need_cached(fixture->sets[WHOLE]);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char whole[3 * PATH_MAX];
        struct stat st;
        int fd;

        expand(fixture, cases[i].path, path);
        (void)snprintf(whole, sizeof(whole), "%s/%s", path, cases[i].name);
        (void)lstat(whole, &st); /* so that it is in memory, as far as such things are kept */
        fd = open_entry(confine, path, cases[i].name);
        if (fd == -EAGAIN)
            continue; /* not every file system remembers what it does not have */
        assert_int_equal(fd < 0 ? fd : 0, cases[i].result);
        if (fd < 0)
            continue;
        found++;
        assert_true(is_file(fixture, fd, cases[i].same));
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_PATH);
        (void)close(fd);
    }
    assert_true(found > 0);
    expand(fixture, "@/inside/to-dir", path);
    assert_int_equal(open_entry(confine, path, "file"), -EAGAIN);
    expand(fixture, "@/inside/absolute-dir", path);
    assert_int_equal(open_entry(confine, path, "file"), -EAGAIN);
}

static enum child_result permissions_child(void *userdata)
{
    static const struct row rows[] = {
        {"@/inside/locked", O_PATH, 0, "@/inside/locked"},
        {"@/inside/locked", O_RDONLY, -EACCES, NULL},
        {"@/inside/locked/", O_PATH, 0, "@/inside/locked"},
        {"@/inside/locked/.", O_PATH, -EACCES, NULL},
        {"@/inside/locked/..", O_PATH, -EACCES, NULL},
        {"@/inside/locked/../file", O_PATH, -EACCES, NULL},
        {"@/inside/locked/./../file", O_PATH, -EACCES, NULL},
        {"@/inside/locked/../../outside/secret", O_PATH, -EACCES, NULL},
        {"@/inside/locked/file", O_RDONLY, -EACCES, NULL},
        {"@/inside/locked/file", O_PATH, -EACCES, NULL},
        {"@/inside/locked/nothing", O_PATH, -EACCES, NULL},
        {"@/inside/to-locked", O_RDONLY, -EACCES, NULL},
        {"@/inside/absolute-locked", O_RDONLY, -EACCES, NULL},
        {"@/inside/searchable", O_RDONLY, -EACCES, NULL},
        {"@/inside/searchable/file", O_RDONLY, 0, "@/inside/searchable/file"},
        {"@/inside/searchable/..", O_PATH, 0, "@/inside"},
        {"@/inside/readable", O_RDONLY, 0, "@/inside/readable"},
        {"@/inside/readable/file", O_PATH, -EACCES, NULL},
        {"@/inside/private", O_RDONLY, -EACCES, NULL},
        {"@/inside/private", O_PATH, 0, "@/inside/private"},
    };
    static const struct row not_the_owner[] = {
        {"@/inside/file", O_RDONLY | O_NOATIME, -EPERM, NULL},
    };
    const struct fixture *fixture = userdata;
    bool was_root = geteuid() == 0;

    CHECK(child_become_nobody());
    CHECK(rows_hold(fixture, BENEATH, rows, ARRAY_SIZE(rows)));
    if (was_root)
        CHECK(rows_hold(fixture, BENEATH, not_the_owner, ARRAY_SIZE(not_the_owner)));
    return CHILD_PASSED;
}

static void permissions(void **state)
{
    static const char *const directories[] = {"@/inside/locked", "@/inside/searchable",
                                              "@/inside/readable"};
    static const mode_t modes[] = {0, 0111, 0444};
    struct fixture *fixture = *state;
    char file[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
        make_directory(fixture, directories[i]);
        (void)snprintf(file, sizeof(file), "%s/file", directories[i]);
        make_file(fixture, file, "inside");
        make_mode(fixture, directories[i], modes[i]);
    }
    make_link(fixture, "@/inside/to-locked", "locked/file");
    make_link(fixture, "@/inside/absolute-locked", "@/inside/locked/file");
    make_file(fixture, "@/inside/private", "inside");
    make_mode(fixture, "@/inside/private", 0);
    assert_child_passes(permissions_child, fixture);
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        make_mode(fixture, directories[i], 0755);
}

/* Somebody else's symbolic link in a directory where everybody may make one. */
static void planted_links(void **state)
{
    static const struct row open_to_all[] = {
        {"@/inside/sticky/own", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/sticky/foreign", O_PATH | O_NOFOLLOW, 0, "@/inside/sticky/foreign"},
        {"@/inside/sticky/foreign-dir/file", O_RDONLY, 0, "@/inside/dir/file"},
        {"@/inside/sticky/foreign-dir/nothing", O_RDONLY, -ENOENT, NULL},
        {"@/inside/plain/foreign", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/theirs/foreign", O_RDONLY, 0, "@/inside/file"},
        {"@/inside/theirs/own", O_RDONLY, 0, "@/inside/file"},
    };
    static const struct row refused[] = {
        {"@/inside/sticky/foreign", O_RDONLY, -EACCES, NULL},
        {"@/inside/sticky/foreign", O_PATH, -EACCES, NULL},
        {"@/inside/sticky/foreign-dir", O_RDONLY, -EACCES, NULL},
        {"@/inside/sticky/foreign-dir/", O_PATH | O_NOFOLLOW, -EACCES, NULL},
        {"@/inside/sticky/foreign-absolute", O_PATH, -EACCES, NULL},
        {"@/inside/absolute-self/sticky/foreign-absolute", O_PATH, -EACCES, NULL},
    };
    static const char *const foreign[] = {
        "@/inside/sticky/foreign", "@/inside/sticky/foreign-dir",
        "@/inside/plain/foreign",  "@/inside/sticky/foreign-absolute",
        "@/inside/theirs",         "@/inside/theirs/foreign"};
    struct fixture *fixture = *state;
    char path[2 * PATH_MAX], setting = '0';
    FILE *sysctl;

    if (geteuid() != 0)
        skip_because("it needs root");
    make_directory(fixture, "@/inside/sticky");
    make_directory(fixture, "@/inside/plain");
    make_directory(fixture, "@/inside/theirs");
    make_link(fixture, "@/inside/sticky/own", "../file");
    make_link(fixture, "@/inside/sticky/foreign", "../file");
    make_link(fixture, "@/inside/sticky/foreign-dir", "../dir");
    make_link(fixture, "@/inside/sticky/foreign-absolute", "@/inside/file");
    make_link(fixture, "@/inside/plain/foreign", "../file");
    make_link(fixture, "@/inside/theirs/foreign", "../file");
    make_link(fixture, "@/inside/theirs/own", "../file");
    for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
        expand(fixture, foreign[i], path);
        assert_int_equal(lchown(path, NOBODY, NOBODY), 0);
    }
    make_mode(fixture, "@/inside/sticky", 01777);
    make_mode(fixture, "@/inside/plain", 0777);
    make_mode(fixture, "@/inside/theirs", 01777);
    assert_true(rows_hold(fixture, BENEATH, open_to_all, ARRAY_SIZE(open_to_all)));

    sysctl = fopen("/proc/sys/fs/protected_symlinks", "re");
    if (sysctl) {
        setting = (char)fgetc(sysctl);
        (void)fclose(sysctl);
    }
    if (setting == '1')
        assert_true(rows_hold(fixture, BENEATH, refused, ARRAY_SIZE(refused)));
}

/* Mounts a file system of our own, seen by this child alone, on @/inside/mounted. */
static enum child_result mount_for_child(const struct fixture *fixture, const char *type,
                                         unsigned long flags, const char *options)
{
    char path[2 * PATH_MAX];

    expand(fixture, "@/inside/mounted", path);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return CHILD_SKIPPED;
    return mount(type, path, type, flags, options) < 0 ? CHILD_SKIPPED : CHILD_PASSED;
}

static enum child_result mounts_child(void *userdata)
{
    static const struct row rows[] = {
        {"@/inside/mounted", O_PATH, 0, "@/inside/mounted"},
        {"@/inside/mounted/file", O_RDONLY, 0, "@/inside/mounted/file"},
        {"@/inside/mounted/..", O_PATH, 0, "@/inside"},
        {"@/inside/mounted/../file", O_RDONLY, 0, "@/inside/file"},
        /* the mount says nosymfollow */
        {"@/inside/mounted/link", O_RDONLY, -ELOOP, NULL},
        {"@/inside/mounted/link", O_PATH, -ELOOP, NULL},
        {"@/inside/mounted/link", O_PATH | O_NOFOLLOW, 0, "@/inside/mounted/link"},
        {"@/inside/mounted/absolute", O_PATH, -ELOOP, NULL},
        {"@/inside/absolute-self/mounted/absolute", O_PATH, -ELOOP, NULL},
    };
    const struct fixture *fixture = userdata;
    enum child_result result = mount_for_child(fixture, "tmpfs", 256 /* MS_NOSYMFOLLOW */, NULL);
    struct confine *confine;

    if (result != CHILD_PASSED)
        return result;
    make_file(fixture, "@/inside/mounted/file", "inside");
    make_link(fixture, "@/inside/mounted/link", "file");
    make_link(fixture, "@/inside/mounted/absolute", "@/inside/file");
    confine = new_inside(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK(row_holds(fixture, confine, &rows[i]));
    confine_free(confine);
    return CHILD_PASSED;
}

static void mounts(void **state)
{
    assert_child_passes(mounts_child, *state);
}

struct refusal {
    const struct fixture *fixture;
    int error;
};

static enum child_result refused_child(void *userdata)
{
    const struct refusal *refusal = userdata;
    struct confine *confine = NULL;

    CHECK(filter_install(SYS_openat2, FILTER_ERRNO((unsigned int)refusal->error)) == 0);
    CHECK(confine_new(&confine) == -ENOSYS);
    CHECK(!confine);
    return CHILD_PASSED;
}

static void openat2_refused(void **state)
{
    struct refusal old_kernel = {*state, ENOSYS}, old_filter = {*state, EPERM};

    assert_child_passes(refused_child, &old_kernel);
    assert_child_passes(refused_child, &old_filter);
}

/* Linux before 5.12 knows no RESOLVE_CACHED. */
static enum child_result no_cached_child(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct confine *confine = fixture->sets[BENEATH];
    char path[2 * PATH_MAX];
    dev_t device = 1;

    expand(fixture, "@/inside/file", path);
    CHECK(filter_install(SYS_openat2, FILTER_ERRNO(EINVAL)) == 0);
    CHECK(confine_open_cached(confine, path, O_PATH, &device) == -EOPNOTSUPP);
    CHECK(device == 0);
    CHECK(confine_open_name(confine_root_fd(confine, 0), "file", O_PATH, CONFINE_CACHED) ==
          -EOPNOTSUPP);
    CHECK(open_entry(confine, path, "file") == -EOPNOTSUPP);
    return CHILD_PASSED;
}

static void no_cached(void **state)
{
    assert_child_passes(no_cached_child, *state);
}

/* Directories that are renamed without end, as far as the kernel tells. */
static enum child_result endless_race_child(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct confine *confine = fixture->sets[BENEATH];
    char path[2 * PATH_MAX];
    dev_t device = 1;

    expand(fixture, "@/inside/file", path);
    CHECK(filter_install(SYS_openat2, FILTER_ERRNO(EAGAIN)) == 0);
    CHECK(confine_open(confine, path, O_RDONLY) == -ECANCELED);
    CHECK(confine_open_cached(confine, path, O_PATH, &device) == -EAGAIN);
    CHECK(device != 0 && device != 1); /* that of the root */
    CHECK(confine_open_cached(confine, path, O_PATH, NULL) == -EAGAIN);
    return CHILD_PASSED;
}

static void endless_race(void **state)
{
    assert_child_passes(endless_race_child, *state);
}

struct failing_call {
    const struct fixture *fixture;
    unsigned int number;
    struct row row;
};

/* A symbolic link that cannot be looked at is not followed. */
static enum child_result failing_call_child(void *userdata)
{
    static const struct row unconcerned = {"@/inside/to-file", O_RDONLY, 0, "@/inside/dir/file"};
    const struct failing_call *call = userdata;
    int before = descriptors_count();

    CHECK(filter_install(call->number, FILTER_ERRNO(EIO)) == 0);
    CHECK(rows_hold(call->fixture, BENEATH, &call->row, 1));
    CHECK(descriptors_count() == before);
    if (call->number != SYS_statx) /* by which rows are compared on some machines */
        CHECK(rows_hold(call->fixture, BENEATH, &unconcerned, 1));
    return CHILD_PASSED;
}

static void failing_calls(void **state)
{
    struct failing_call calls[] = {
        {*state, SYS_statx, {"@/inside/absolute-in", O_PATH, -EXDEV, NULL}},
        {*state, SYS_statx, {"@/inside/to-nothing", O_PATH, -ENOENT, NULL}},
        {*state, SYS_readlinkat, {"@/inside/absolute-in", O_PATH, -EIO, NULL}},
        {*state, SYS_readlinkat, {"@/inside/absolute-dir/file", O_RDONLY, -EIO, NULL}},
        {*state, SYS_readlinkat, {"@/inside/to-nothing", O_PATH, -EIO, NULL}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        assert_child_passes(failing_call_child, &calls[i]);
}

static enum child_result descriptors_run_out_child(void *userdata)
{
    static const struct row opens = {"@/inside/to-file", O_RDONLY, 0, "@/inside/dir/file"};
    static const struct row fails = {"@/inside/to-file", O_RDONLY, -EMFILE, NULL};
    static const struct row follows = {"@/inside/absolute-dir/file", O_PATH, 0,
                                       "@/inside/dir/file"};
    static const struct row does_not = {"@/inside/absolute-dir/file", O_PATH, -EMFILE, NULL};
    const struct fixture *fixture = userdata;
    int before = descriptors_count(), lowest = dup(0);
    struct rlimit limit;

    CHECK(lowest > 0);
    (void)close(lowest);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int room = 0; room < 3; room++) {
        limit.rlim_cur = (rlim_t)(lowest + room);
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        CHECK(rows_hold(fixture, BENEATH, room == 0 ? &fails : &opens, 1));
        CHECK(rows_hold(fixture, BENEATH, room < 2 ? &does_not : &follows, 1));
    }
    CHECK(descriptors_count() == before);
    return CHILD_PASSED;
}

static void descriptors_run_out(void **state)
{
    assert_child_passes(descriptors_run_out_child, *state);
}

struct race {
    const struct fixture *fixture;
    atomic_bool over;
    atomic_uint exchanges;
};

struct opener {
    struct race *race;
    unsigned int opened, refused, gave_up, escaped;
};

/* Exchanges a directory with a symbolic link that leads out, and moves one out and in again. */
static void *race_swap(void *userdata)
{
    struct race *race = userdata;
    char dir[2 * PATH_MAX], out[2 * PATH_MAX], in[2 * PATH_MAX], away[2 * PATH_MAX];

    expand(race->fixture, "@/inside/race/a", dir);
    expand(race->fixture, "@/inside/race/out", out);
    expand(race->fixture, "@/inside/race/m/n", in);
    expand(race->fixture, "@/outside/n", away);
    while (!atomic_load(&race->over)) {
        if (renameat2(AT_FDCWD, dir, AT_FDCWD, out, RENAME_EXCHANGE) < 0 || rename(in, away) < 0 ||
            rename(away, in) < 0)
            break;
        atomic_fetch_add(&race->exchanges, 1);
    }
    return NULL;
}

/* Opens what the other thread changes. Whatever is opened must not be from outside. */
static void *race_open(void *userdata)
{
    static const char *const paths[] = {
        "@/inside/race/a/b/file",           "@/inside/race/m/n/o/../../../a/b/file",
        "@/inside/race/m/n/../../a/b/file", "@/inside/race/m/n/o/../../../../race/a/b/file",
        "@/inside/race/a/b/../b/file",      "@/inside/race/absolute/b/file",
        "@/inside/race/absolute/../a/file", "@/inside/race/a",
    };
    struct opener *opener = userdata;
    char path[ARRAY_SIZE(paths)][2 * PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        expand(opener->race->fixture, paths[i], path[i]);
    for (unsigned int i = 0; !atomic_load(&opener->race->over); i++) {
        int flags = i % 2 == 0 ? O_RDONLY : O_RDONLY | O_NOFOLLOW;
        char text[6] = "";
        int fd =
            confine_open(opener->race->fixture->sets[BENEATH], path[i % ARRAY_SIZE(paths)], flags);

        if (fd < 0) {
            opener->refused++;
            opener->gave_up += fd == -ECANCELED;
            continue;
        }
        opener->opened++;
        if (i % ARRAY_SIZE(paths) == ARRAY_SIZE(paths) - 1) {
            int secret = openat(fd, "secret", O_PATH | O_CLOEXEC);

            if (secret >= 0) {
                opener->escaped++;
                (void)close(secret);
            }
        } else if (read(fd, text, sizeof(text)) != sizeof(text) || memcmp(text, "inside", 6) != 0)
            opener->escaped++;
        (void)close(fd);
    }
    return NULL;
}

static void races(void **state)
{
    struct fixture *fixture = *state;
    struct race race = {.fixture = fixture};
    struct opener openers[] = {{.race = &race}, {.race = &race}};
    pthread_t threads[ARRAY_SIZE(openers) + 1];

    make_directory(fixture, "@/inside/race");
    make_directory(fixture, "@/inside/race/a");
    make_directory(fixture, "@/inside/race/a/b");
    make_file(fixture, "@/inside/race/a/b/file", "inside");
    make_link(fixture, "@/inside/race/out", "../../outside");
    make_link(fixture, "@/inside/race/absolute", "@/inside/race/a");
    make_directory(fixture, "@/inside/race/m");
    make_directory(fixture, "@/inside/race/m/n");
    make_directory(fixture, "@/inside/race/m/n/o");
    /* what is found outside where one of the paths leads out */
    make_directory(fixture, "@/outside/b");
    make_file(fixture, "@/outside/b/file", "secret");
    make_directory(fixture, "@/a");
    make_directory(fixture, "@/a/b");
    make_file(fixture, "@/a/b/file", "secret");
    make_directory(fixture, "@/race");
    make_directory(fixture, "@/race/a");
    make_directory(fixture, "@/race/a/b");
    make_file(fixture, "@/race/a/b/file", "secret");

    assert_int_equal(pthread_create(&threads[0], NULL, race_swap, &race), 0);
    for (size_t i = 0; i < ARRAY_SIZE(openers); i++)
        assert_int_equal(pthread_create(&threads[i + 1], NULL, race_open, &openers[i]), 0);
    (void)poll(NULL, 0, 1000);
    atomic_store(&race.over, true);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    assert_true(atomic_load(&race.exchanges) > 0);
    for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
        print_message("%u exchanges: %u opened, %u refused, %u given up\n",
                      atomic_load(&race.exchanges), openers[i].opened, openers[i].refused,
                      openers[i].gave_up);
        assert_true(openers[i].opened > 0);
        assert_true(openers[i].refused > 0);
        assert_int_equal(openers[i].escaped, 0);
    }
}

/*
 * Opens a path and then from memory, where opening it has brought it. Tries again, for the system
 * may need that memory for something else.
 */
static int open_warm(struct confine *confine, const char *path, int flags, dev_t *ret_device)
{
    int fd = -EAGAIN;

    for (int i = 0; fd == -EAGAIN && i < 100; i++) {
        fd = confine_open(confine, path, flags);
        if (fd >= 0)
            (void)close(fd);
        fd = confine_open_cached(confine, path, flags, ret_device);
    }
    return fd;
}

static void cached(void **state)
{
    static const struct row rows[] = {
        {"@/inside/dir/file", O_PATH, 0, "@/inside/dir/file"},
        {"@/inside/dir/sub/../file", O_PATH, 0, "@/inside/dir/file"},
        {"@/inside/to-file", O_PATH | O_NOFOLLOW, 0, "@/inside/to-file"},
        {"@/inside", O_PATH | O_DIRECTORY, 0, "@/inside"},
        {"@/inside/file/", O_PATH, -ENOTDIR, NULL},
        {"@/outside/secret", O_PATH, -EXDEV, NULL},
        {"relative", O_PATH, -EXDEV, NULL},
    };
    struct fixture *fixture = *state;
    struct confine *confine = fixture->sets[BENEATH];

    need_cached(fixture->sets[WHOLE]);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char path[2 * PATH_MAX];
        dev_t device = 1;
        int fd;

        expand(fixture, rows[i].path, path);
        fd = open_warm(confine, path, rows[i].flags, &device);
        assert_int_equal(fd < 0 ? fd : 0, rows[i].result);
        assert_int_equal(device, 0);
        if (fd < 0)
            continue;
        assert_true(is_file(fixture, fd, rows[i].same));
        (void)close(fd);
    }
}

/* What a symbolic link leads to is not looked for, however well it is known. */
static void cached_links(void **state)
{
    static const char *const paths[] = {
        "@/inside/to-file",
        "@/inside/to-dir/file",
        "@/inside/absolute-in",
        "@/inside/to-dir/",
        "@/inside/absolute-dir/sub",
        "@/inside/out",
        "@/inside/to-nothing",
        "@/inside/loop",
        "@/inside/to-self/dir/../dir/file",
        "@/inside/proc-root/x",
    };
    struct fixture *fixture = *state;

    need_cached(fixture->sets[WHOLE]);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(paths); i++) {
        struct confine *confine = fixture->sets[i % 2 ? WHOLE : BENEATH];
        char path[2 * PATH_MAX];
        dev_t device = 1;
        struct stat st;

        expand(fixture, paths[i / 2], path);
        (void)stat(path, &st);
        assert_int_equal(confine_open_cached(confine, path, O_PATH, &device), -EAGAIN);
        assert_int_equal(device, 0);
    }
}

static enum child_result cold_child(void *userdata)
{
    static const struct {
        const char *path;
        bool known; /* which device would be waited for */
    } cases[] = {
        {"@/inside/dir/never-asked-for-1", true},
        {"@/inside/dir/sub/../sub/../never-asked-for-2", true},
        {"@/inside/mounted/never-asked-for-3", true},
        {"@/inside/mounted/../mounted/never-asked-for-4/file", true},
        {"@/inside/mounted/directory/up/dir/never-asked-for-5", false},
        {"@/inside/to-dir/never-asked-for-6", false},
        {"@/inside/dir/never/asked/for/so/many/of/them", true},
        {"@//inside//dir/./never-asked-for-8//.//file/", true},
        {"@/inside/dir/../../outside/secret", true}, /* out of the root: the kernel does not say */
    };
    const struct fixture *fixture = userdata;
    enum child_result result = mount_for_child(fixture, "tmpfs", 0, NULL);
    struct confine *confine = new_inside(fixture);
    char path[2 * PATH_MAX];
    struct stat tree, mounted;

    if (result != CHILD_PASSED)
        return result;
    make_directory(fixture, "@/inside/mounted/directory");
    make_link(fixture, "@/inside/mounted/directory/up", "../..");
    expand(fixture, "@/inside/dir", path);
    CHECK(stat(path, &tree) == 0);
    expand(fixture, "@/inside/mounted", path);
    CHECK(stat(path, &mounted) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        dev_t expected = strstr(cases[i].path, "mounted") ? mounted.st_dev : tree.st_dev;
        dev_t device = 1;

        expand(fixture, cases[i].path, path);
        CHECK(confine_open_cached(confine, path, O_PATH, &device) == -EAGAIN);
        CHECK(device == (cases[i].known ? expected : 0));
        CHECK(confine_open_cached(confine, path, O_PATH, NULL) == -EAGAIN);
    }
    confine_free(confine);
    return CHILD_PASSED;
}

/* What was never asked for is not in memory, and neither is that it does not exist. */
static void cold(void **state)
{
    struct fixture *fixture = *state;

    need_cached(fixture->sets[WHOLE]);
    assert_child_passes(cold_child, fixture);
}

/* The same with a file that exists, and was in memory. */
static void cold_file(void **state)
{
    struct fixture *fixture = *state;
    struct confine *confine = fixture->sets[BENEATH];
    char path[2 * PATH_MAX], parent[2 * PATH_MAX];
    struct statfs filesystem;
    struct stat st;
    dev_t device = 0;
    FILE *sysctl;
    int fd;

    need_cached(fixture->sets[WHOLE]);
    expand(fixture, "@/inside/cold/directory/file", path);
    expand(fixture, "@/inside/cold", parent);
    assert_int_equal(statfs(fixture->base, &filesystem), 0);
    if ((unsigned long)filesystem.f_type == TMPFS_MAGIC ||
        (unsigned long)filesystem.f_type == RAMFS_MAGIC)
        skip_because("nothing is ever cold in memory");
    sysctl = fopen("/proc/sys/vm/drop_caches", "we");
    if (!sysctl)
        skip_because("nothing can be evicted from memory");
    make_directory(fixture, "@/inside/cold");
    make_directory(fixture, "@/inside/cold/directory");
    make_file(fixture, "@/inside/cold/directory/file", "inside");
    assert_int_equal(stat(parent, &st), 0);
    sync();
    (void)fputs("2\n", sysctl);
    assert_int_equal(fclose(sysctl), 0);

    assert_int_equal(confine_open_cached(confine, path, O_PATH, &device), -EAGAIN);
    assert_int_equal(device, st.st_dev);
    fd = open_warm(confine, path, O_PATH, &device);
    assert_true(fd >= 0);
    assert_true(is_file(fixture, fd, "@/inside/cold/directory/file"));
    (void)close(fd);
}

/* Opens a file and closes it. Returns 0 or -errno. */
static int open_file(const struct fixture *fixture, struct confine *confine, const char *name)
{
    char path[2 * PATH_MAX];
    int fd;

    expand(fixture, name, path);
    fd = confine_open(confine, path, O_PATH);
    if (fd >= 0)
        (void)close(fd);
    return fd < 0 ? fd : 0;
}

static void released_roots(void **state)
{
    struct fixture *fixture = *state;
    struct confine *confine = new_inside(fixture);
    char path[2 * PATH_MAX];
    int before = descriptors_count(), fd = -EAGAIN;

    assert_true(confine_release(confine));
    assert_int_equal(descriptors_count(), before - 1);
    assert_false(confine_release(confine));
    assert_int_equal(open_file(fixture, confine, "@/inside/file"), 0);
    assert_int_equal(descriptors_count(), before);
    assert_true(confine_release(confine));
    expand(fixture, "@/inside/file", path);
    for (int i = 0; i < 100 && fd == -EAGAIN; i++)
        fd = confine_open_cached(confine, path, O_PATH, NULL);
    if (fd != -EOPNOTSUPP) {
        assert_true(fd >= 0);
        (void)close(fd);
        assert_true(confine_release(confine));
    }
    assert_null(confine_moved(confine));
    confine_free(confine);
    assert_int_equal(descriptors_count(), before - 1);
}

/* A root by whose name nothing is found any more, and then another directory. */
static void moved_roots(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"@/inside", "@/wanders"};
    struct confine *confine;
    char path[2 * PATH_MAX];
    int r;

    make_directory(fixture, "@/wanders");
    make_file(fixture, "@/wanders/old", "inside");
    make_link(fixture, "@/inside/to-wanders", "@/wanders");
    confine = new_set(fixture, names, ARRAY_SIZE(names));
    expand(fixture, "@/wanders", path);
    assert_null(confine_moved(confine));

    make_rename(fixture, "@/wanders", "@/wandered");
    assert_null(confine_moved(confine));
    assert_int_equal(open_file(fixture, confine, "@/wanders/old"), 0); /* it is held */
    assert_true(confine_release(confine));
    for (int i = 0; i < 2; i++) { /* not in memory, and then in memory */
        assert_int_equal(open_file(fixture, confine, "@/wanders/old"), -ENODEV);
        assert_int_equal(open_file(fixture, confine, "@/inside/to-wanders/old"), -ENODEV);
        r = confine_open_cached(confine, path, O_PATH, NULL);
        assert_true(r == -ENODEV || r == -EAGAIN || r == -EOPNOTSUPP);
        assert_null(confine_moved(confine));
    }
    make_file(fixture, "@/wanders", "");
    assert_int_equal(open_file(fixture, confine, "@/wanders"), -ENODEV);
    assert_int_equal(unlink(path), 0);

    make_directory(fixture, "@/wanders");
    make_file(fixture, "@/wanders/new", "inside");
    assert_string_equal(confine_moved(confine), path);
    assert_null(confine_moved(confine));
    assert_int_equal(open_file(fixture, confine, "@/wanders/new"), 0);
    assert_int_equal(open_file(fixture, confine, "@/inside/to-wanders/new"), 0);
    assert_int_equal(open_file(fixture, confine, "@/wanders/old"), -ENOENT);
    confine_free(confine);
}

static enum child_result mounted_roots_child(void *userdata)
{
    static const char *const names[] = {"@/inside/mounted"};
    const struct fixture *fixture = userdata;
    struct confine *confine;
    char path[2 * PATH_MAX];
    enum child_result result;

    expand(fixture, names[0], path);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return CHILD_SKIPPED;
    confine = new_set(fixture, names, ARRAY_SIZE(names));
    result = mount_for_child(fixture, "tmpfs", 0, NULL);
    if (result != CHILD_PASSED)
        return result;
    make_file(fixture, "@/inside/mounted/file", "inside");
    CHECK(open_file(fixture, confine, "@/inside/mounted/file") == -ENOENT);
    CHECK(confine_moved(confine) && !confine_moved(confine));
    CHECK(confine_release(confine));
    CHECK(open_file(fixture, confine, "@/inside/mounted/file") == 0);
    CHECK(umount(path) < 0 && errno == EBUSY);
    CHECK(confine_release(confine));
    CHECK(umount(path) == 0);
    CHECK(confine_moved(confine) && !confine_moved(confine));
    CHECK(open_file(fixture, confine, "@/inside/mounted/file") == -ENOENT);
    confine_free(confine);
    return CHILD_PASSED;
}

static void mounted_roots(void **state)
{
    assert_child_passes(mounted_roots_child, *state);
}

struct releasing {
    const struct fixture *fixture;
    struct confine *confine;
    atomic_bool over;
    atomic_uint opened;
};

static void *open_again_and_again(void *userdata)
{
    static const char *const names[] = {"@/inside/file", "@/inside/to-mail/file", "@/mail/file"};
    struct releasing *releasing = userdata;

    for (unsigned int i = 0; !atomic_load(&releasing->over); i++)
        if (open_file(releasing->fixture, releasing->confine, names[i % ARRAY_SIZE(names)]) == 0)
            atomic_fetch_add(&releasing->opened, 1);
        else
            atomic_store(&releasing->over, true);
    return NULL;
}

static void released_while_in_use(void **state)
{
    struct fixture *fixture = *state;
    struct releasing releasing = {.fixture = fixture};
    int before = descriptors_count();
    unsigned int releases = 0;
    pthread_t threads[2];

    releasing.confine = new_set(fixture, beneath_roots, 2);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_again_and_again, &releasing), 0);
    while (atomic_load(&releasing.opened) < 10000 && !atomic_load(&releasing.over))
        releases += confine_release(releasing.confine);
    assert_false(atomic_exchange(&releasing.over, true));
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    print_message("%u opened, released %u times\n", atomic_load(&releasing.opened), releases);
    assert_true(releases > 0);
    confine_free(releasing.confine);
    assert_int_equal(descriptors_count(), before);
}

/* A file system whose server never answers anything: who waits for it waits until the alarm. */
static enum child_result hung_child(void *userdata)
{
    const struct fixture *fixture = userdata;
    _cleanup_(closep) int server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char path[2 * PATH_MAX], options[128];
    enum child_result result;
    struct confine *confine;
    struct statx st;
    dev_t device = 0;

    if (server < 0)
        return CHILD_SKIPPED;
    (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", server,
                   (unsigned int)geteuid(), (unsigned int)getegid());
    result = mount_for_child(fixture, "fuse", MS_NOSUID | MS_NODEV, options);
    if (result != CHILD_PASSED)
        return result;
    (void)alarm(60);
    confine = new_inside(fixture);
    expand(fixture, "@/inside/mounted", path);
    CHECK(statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, &st) == 0);
    expand(fixture, "@/inside/mounted/user/Maildir", path);
    CHECK(confine_open_cached(confine, path, O_PATH, &device) == -EAGAIN);
    CHECK(device == makedev(st.stx_dev_major, st.stx_dev_minor));
    expand(fixture, "@/inside/dir/../mounted/user", path);
    CHECK(confine_open_cached(confine, path, O_PATH, &device) == -EAGAIN);
    CHECK(device == makedev(st.stx_dev_major, st.stx_dev_minor));
    expand(fixture, "@/inside/mounted", path);
    CHECK(open_entry(confine, path, "maildirsize") == -EAGAIN);
    confine_free(confine);
    return CHILD_PASSED;
}

static void hung(void **state)
{
    struct fixture *fixture = *state;

    need_cached(fixture->sets[WHOLE]);
    assert_child_passes(hung_child, fixture);
}

static int make_mount_point(void **state)
{
    make_directory(*state, "@/inside/mounted");
    return 0;
}

static int remove_mount_point(void **state)
{
    char path[2 * PATH_MAX];

    expand(*state, "@/inside/mounted", path);
    return rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(links),
        cmocka_unit_test(absolute_links),
        cmocka_unit_test(links_to_nothing),
        cmocka_unit_test(links_anywhere),
        cmocka_unit_test(roots),
        cmocka_unit_test(root_slash),
        cmocka_unit_test(magic_links),
        cmocka_unit_test(magic_links_of_another_root),
        cmocka_unit_test(flags_that_are_refused),
        cmocka_unit_test(lengths),
        cmocka_unit_test(links_on_the_way),
        cmocka_unit_test(long_links),
        cmocka_unit_test(adding_roots),
        cmocka_unit_test(no_roots),
        cmocka_unit_test(one_name),
        cmocka_unit_test(one_name_that_is_a_mount),
        cmocka_unit_test(entries),
        cmocka_unit_test(permissions),
        cmocka_unit_test(planted_links),
        cmocka_unit_test_setup_teardown(mounts, make_mount_point, remove_mount_point),
        cmocka_unit_test(openat2_refused),
        cmocka_unit_test(no_cached),
        cmocka_unit_test(endless_race),
        cmocka_unit_test(failing_calls),
        cmocka_unit_test(descriptors_run_out),
        cmocka_unit_test(races),
        cmocka_unit_test(cached),
        cmocka_unit_test(cached_links),
        cmocka_unit_test_setup_teardown(cold, make_mount_point, remove_mount_point),
        cmocka_unit_test(cold_file),
        cmocka_unit_test_setup_teardown(hung, make_mount_point, remove_mount_point),
        cmocka_unit_test(released_roots),
        cmocka_unit_test(moved_roots),
        cmocka_unit_test_setup_teardown(mounted_roots, make_mount_point, remove_mount_point),
        cmocka_unit_test(released_while_in_use),
    };

    int before = descriptors_count(), failed, after;

    failed = cmocka_run_group_tests(tests, set_up, tear_down);
    after = descriptors_count();
    if (after != before)
        print_error("%d descriptors were open before the tests, %d after\n", before, after);
    return failed != 0 || after != before;
}
