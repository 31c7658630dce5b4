/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file system, for root, that hangs on demand, as that of a server that does not answer. It
 * shows, read only, what lies in another directory; the kernel remembers nothing of it, so that
 * everything that is asked comes here.
 *
 *     hangfs SOURCE MOUNTPOINT
 *
 * It says `ready` on its standard output when it is mounted, then obeys the lines of its standard
 * input, and answers each with a line:
 *
 *     hang KIND...    ok              what is asked of these kinds hangs from now on: `look` (for
 *                                     a name, or what stands there), `list` (a directory), `read`
 *                                     (a file)
 *     wake [KIND...]  ok              nothing hangs any longer, or nothing of these kinds
 *     still           ok              no directory shows from now on that it changes
 *     await N         ok              says so when N or more questions hang
 *     count           ok LOOK LIST READ   how many questions of each kind have come
 *     anything else   error
 *
 * With the libfuse of Debian 12 the kernel asks one question about the names in a directory, or
 * about its list, at a time: further ones wait in the kernel and are not counted.
 *
 * When its standard input ends it unmounts itself and exits with 0, and what still hangs fails.
 * Whoever started it and dies thus leaves nothing behind.
 */
#define FUSE_USE_VERSION 312

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each question that hangs takes a thread. */
#define THREADS_MAX 1024

/* When directories were changed last, as long as they show nothing else: long ago. */
#define STILL_SEC 1000000000

enum kind {
    LOOK,
    LIST,
    READ,
    KINDS,
};

static const char *const kinds[KINDS] = {[LOOK] = "look", [LIST] = "list", [READ] = "read"};

struct hangfs {
    int source_fd;
    const char *mount_point;
    pthread_t control;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool is_still;
    bool hangs[KINDS];
    uint64_t wakes[KINDS];  /* how often they were woken */
    size_t hanging[KINDS];  /* questions that hang */
    uint64_t counts[KINDS]; /* questions that have come */
};

/* Counts a question, and holds it up while its kind hangs. Returns whose it is. */
static struct hangfs *enter(enum kind kind)
{
    struct hangfs *hangfs = fuse_get_context()->private_data;
    uint64_t wakes;

    pthread_mutex_lock(&hangfs->lock);
    hangfs->counts[kind]++;
    wakes = hangfs->wakes[kind];
    if (hangfs->hangs[kind]) {
        hangfs->hanging[kind]++;
        pthread_cond_broadcast(&hangfs->changed);
    }
    while (hangfs->hangs[kind] && hangfs->wakes[kind] == wakes)
        pthread_cond_wait(&hangfs->changed, &hangfs->lock);
    pthread_mutex_unlock(&hangfs->lock);
    return hangfs;
}

/* The name below the source of what has the path below the mount. */
static const char *name_of(const char *path)
{
    return path[1] == '\0' ? "." : path + 1;
}

/* Says whether directories shall not show that they change. */
static bool is_still(struct hangfs *hangfs)
{
    bool result;

    pthread_mutex_lock(&hangfs->lock);
    result = hangfs->is_still;
    pthread_mutex_unlock(&hangfs->lock);
    return result;
}

static int fs_getattr(const char *path, struct stat *ret, struct fuse_file_info *info)
{
    struct hangfs *hangfs = enter(LOOK);

    (void)info;
    if (fstatat(hangfs->source_fd, name_of(path), ret, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISDIR(ret->st_mode) && is_still(hangfs)) {
        ret->st_mtim = (struct timespec){.tv_sec = STILL_SEC};
        ret->st_ctim = ret->st_mtim;
    }
    return 0;
}

static int fs_readlink(const char *path, char *text, size_t size)
{
    const struct hangfs *hangfs = enter(LOOK);
    ssize_t n = readlinkat(hangfs->source_fd, name_of(path), text, size - 1);

    if (n < 0)
        return -errno;
    text[n] = '\0';
    return 0;
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    const struct hangfs *hangfs = enter(LIST);
    int fd = openat(hangfs->source_fd, name_of(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    (void)offset;
    (void)info;
    (void)flags;
    if (!directory)
        return -errno;
    while ((entry = readdir(directory))) {
        const struct stat st = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};

        (void)fill(buffer, entry->d_name, &st, 0, 0);
    }
    closedir(directory);
    return 0;
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
    const struct hangfs *hangfs = enter(READ);
    int fd = openat(hangfs->source_fd, name_of(path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    info->fh = (uint64_t)fd;
    return 0;
}

static int fs_read(const char *path, char *buffer, size_t size, off_t offset,
                   struct fuse_file_info *info)
{
    ssize_t n;

    (void)path;
    (void)enter(READ);
    n = pread((int)info->fh, buffer, size, offset);
    return n < 0 ? -errno : (int)n;
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    (void)close((int)info->fh);
    return 0;
}

/* Reads words that name kinds. Returns whether they all do. */
static bool read_kinds(char *words, bool ret[static KINDS])
{
    char *rest = NULL;

    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        size_t kind = 0;

        while (kind < KINDS && strcmp(kinds[kind], word) != 0)
            kind++;
        if (kind == KINDS)
            return false;
        ret[kind] = true;
    }
    return true;
}

static void hang(struct hangfs *hangfs, char *words)
{
    bool named[KINDS] = {};

    if (!read_kinds(words, named)) {
        puts("error");
        return;
    }
    pthread_mutex_lock(&hangfs->lock);
    for (size_t kind = 0; kind < KINDS; kind++)
        hangfs->hangs[kind] |= named[kind];
    pthread_mutex_unlock(&hangfs->lock);
    puts("ok");
}

static void wake(struct hangfs *hangfs, char *words)
{
    bool named[KINDS] = {};
    bool all = *words == '\0';

    if (!read_kinds(words, named)) {
        puts("error");
        return;
    }
    pthread_mutex_lock(&hangfs->lock);
    for (size_t kind = 0; kind < KINDS; kind++)
        if (all || named[kind]) {
            hangfs->hangs[kind] = false;
            hangfs->hanging[kind] = 0;
            hangfs->wakes[kind]++;
        }
    pthread_cond_broadcast(&hangfs->changed);
    pthread_mutex_unlock(&hangfs->lock);
    puts("ok");
}

static void keep_still(struct hangfs *hangfs)
{
    pthread_mutex_lock(&hangfs->lock);
    hangfs->is_still = true;
    pthread_mutex_unlock(&hangfs->lock);
    puts("ok");
}

static void await(struct hangfs *hangfs, unsigned long least)
{
    pthread_mutex_lock(&hangfs->lock);
    while (hangfs->hanging[LOOK] + hangfs->hanging[LIST] + hangfs->hanging[READ] < least)
        pthread_cond_wait(&hangfs->changed, &hangfs->lock);
    pthread_mutex_unlock(&hangfs->lock);
    puts("ok");
}

static void count(struct hangfs *hangfs)
{
    pthread_mutex_lock(&hangfs->lock);
    printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", hangfs->counts[LOOK], hangfs->counts[LIST],
           hangfs->counts[READ]);
    pthread_mutex_unlock(&hangfs->lock);
}

static void obey(struct hangfs *hangfs, char *line)
{
    char *arguments = line + strcspn(line, " ");

    if (*arguments != '\0')
        *arguments++ = '\0';
    if (strcmp(line, "hang") == 0) {
        hang(hangfs, arguments);
    } else if (strcmp(line, "wake") == 0) {
        wake(hangfs, arguments);
    } else if (strcmp(line, "still") == 0) {
        keep_still(hangfs);
    } else if (strcmp(line, "await") == 0) {
        await(hangfs, strtoul(arguments, NULL, 10));
    } else if (strcmp(line, "count") == 0) {
        count(hangfs);
    } else {
        puts("error");
    }
}

static void *control_main(void *userdata)
{
    struct hangfs *hangfs = userdata;
    char line[256];

    puts("ready");
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        obey(hangfs, line);
    }
    if (umount2(hangfs->mount_point, MNT_DETACH) < 0)
        _exit(EXIT_FAILURE);
    _exit(EXIT_SUCCESS);
}

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    struct hangfs *hangfs = fuse_get_context()->private_data;

    (void)connection;
    config->use_ino = 1;
    config->entry_timeout = 0;
    config->attr_timeout = 0;
    config->negative_timeout = 0;
    if (pthread_create(&hangfs->control, NULL, control_main, hangfs) != 0)
        abort();
    return hangfs;
}

static const struct fuse_operations operations = {
    .init = fs_init,
    .getattr = fs_getattr,
    .readlink = fs_readlink,
    .readdir = fs_readdir,
    .open = fs_open,
    .read = fs_read,
    .release = fs_release,
};

int main(int argc, char **argv)
{
    static struct hangfs hangfs = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    char name[] = "hangfs", option[] = "-oro,allow_other,default_permissions,fsname=hangfs";
    char *arguments[] = {name, option};
    struct fuse_args args = FUSE_ARGS_INIT(2, arguments);
    struct fuse *fuse;
    struct fuse_loop_config *config = fuse_loop_cfg_create();

    if (argc != 3) {
        (void)fprintf(stderr, "usage: hangfs SOURCE MOUNTPOINT\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    hangfs.source_fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (hangfs.source_fd < 0) {
        perror(argv[1]);
        return 1;
    }
    hangfs.mount_point = argv[2];
    fuse = fuse_new(&args, &operations, sizeof(operations), &hangfs);
    if (!config || !fuse || fuse_mount(fuse, argv[2]) < 0)
        return 1;
    fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
    fuse_loop_cfg_set_idle_threads(config, THREADS_MAX);
    (void)fuse_loop_mt(fuse, config);
    (void)pthread_join(hangfs.control, NULL); /* it ends the program */
    return 1;
}
