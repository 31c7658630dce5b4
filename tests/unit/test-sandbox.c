/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Landlock lets through and what it refuses, by the version that this kernel has. Each test
 * enters a sandbox in a child, for nobody comes out again.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "../tree.h"
#include "child.h"
#include "filter.h"
#include "system/cleanup.h"
#include "system/sandbox.h"

/* From these versions on Landlock knows of... */
#define VERSION_TRUNCATE 3
#define VERSION_TCP      4
#define VERSION_IOCTL    5
#define VERSION_SCOPES   6

/* A folder with a folder for each kind of access, and one that is allowed nothing. */
static const char *const folders[] = {"read", "names", "append", "remove", "outside"};

struct place {
    char path[32];
    int fd; /* the child stands in it */
};

static void write_file(const char *path)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

    MUST(fd >= 0 && write(fd, "#!/bin/sh\n", 10) == 10);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    (void)snprintf(place->path, sizeof(place->path), "/tmp/test-sandbox-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(place->fd, errno);
    assert_return_code(fchdir(place->fd), errno);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        char file[32];

        assert_return_code(mkdir(folders[i], 0755), errno);
        (void)snprintf(file, sizeof(file), "%s/file", folders[i]);
        write_file(file);
    }
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;

    assert_return_code(chdir("/"), errno);
    assert_return_code(tree_remove(place->path), errno);
    closep(&place->fd);
    free(place);
    return 0;
}

/* Enters a sandbox with all kinds of access. Returns the version of Landlock. */
static int enter(void)
{
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    _cleanup_(closep) int read_fd = open("read", O_PATH | O_DIRECTORY | O_CLOEXEC);

    MUST(read_fd >= 0);
    MUST(sandbox_new(&sandbox) == 0);
    MUST(sandbox_allow(sandbox, read_fd, SANDBOX_READ) == 0);
    MUST(sandbox_allow_directory_of(sandbox, "names/limits", SANDBOX_READ_FILE) == 0);
    MUST(sandbox_allow_directory_of(sandbox, "append/log", SANDBOX_APPEND) == 0);
    MUST(sandbox_allow_directory_of(sandbox, "remove/pid", SANDBOX_REMOVE) == 0);
    return sandbox_enter(sandbox, false);
}

/* Returns what came of opening: 0 or errno. */
static int try_open(const char *path, int flags)
{
    _cleanup_(closep) int fd = open(path, flags | O_CLOEXEC, 0644);

    return fd < 0 ? errno : 0;
}

static int error_of(int returned)
{
    return returned < 0 ? errno : 0;
}

static enum child_result reading(void *userdata)
{
    int version = enter();

    (void)userdata;
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(try_open("read/file", O_RDONLY) == 0);
    CHECK(try_open("read", O_RDONLY | O_DIRECTORY) == 0);
    CHECK(try_open("names/file", O_RDONLY) == 0);
    CHECK(try_open("names", O_RDONLY | O_DIRECTORY) == EACCES);
    CHECK(try_open("append/file", O_RDONLY) == EACCES);
    CHECK(try_open("remove/file", O_RDONLY) == EACCES);
    CHECK(try_open("outside/file", O_RDONLY) == EACCES);
    CHECK(try_open("outside", O_RDONLY | O_DIRECTORY) == EACCES);
    CHECK(try_open("read/../outside/file", O_RDONLY) == EACCES);
    CHECK(try_open("/etc/passwd", O_RDONLY) == EACCES);
    CHECK(try_open("/proc/self/status", O_RDONLY) == EACCES);
    return CHILD_PASSED;
}

static enum child_result writing(void *userdata)
{
    int version = enter();

    (void)userdata;
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(try_open("append/file", O_WRONLY | O_APPEND) == 0);
    CHECK(try_open("append/new", O_WRONLY | O_CREAT) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        char file[32], new[32];

        if (strcmp(folders[i], "append") == 0)
            continue;
        (void)snprintf(file, sizeof(file), "%s/file", folders[i]);
        (void)snprintf(new, sizeof(new), "%s/new", folders[i]);
        CHECK(try_open(file, O_WRONLY) == EACCES);
        CHECK(try_open(new, O_WRONLY | O_CREAT) == EACCES);
        CHECK(error_of(mknod(new, S_IFREG | S_ISUID | 0755, 0)) == EACCES);
    }
    CHECK(error_of(mkdir("append/new2", 0755)) == EACCES);
    CHECK(error_of(symlink("/", "append/new2")) == EACCES);
    CHECK(error_of(mkfifo("append/new2", 0644)) == EACCES);
    if (version >= VERSION_TRUNCATE) {
        CHECK(error_of(truncate("read/file", 0)) == EACCES);
        CHECK(try_open("append/file", O_WRONLY | O_TRUNC) == EACCES);
    }
    return CHILD_PASSED;
}

static enum child_result removing(void *userdata)
{
    int version = enter(), error;

    (void)userdata;
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(error_of(unlink("read/file")) == EACCES);
    CHECK(error_of(unlink("append/file")) == EACCES);
    CHECK(error_of(unlink("outside/file")) == EACCES);
    CHECK(error_of(rename("read/file", "read/new")) == EACCES);
    CHECK(error_of(rename("remove/file", "remove/new")) == EACCES);
    error = error_of(rename("remove/file", "append/new"));
    CHECK(error == EACCES || error == EXDEV); /* before and since it can be allowed */
    error = error_of(link("read/file", "append/new"));
    CHECK(error == EACCES || error == EXDEV);
    CHECK(error_of(rmdir("remove")) == EACCES);
    CHECK(error_of(unlink("remove/file")) == 0);
    return CHILD_PASSED;
}

static enum child_result executing(void *userdata)
{
    char *const arguments[] = {NULL};
    int version = enter();

    (void)userdata;
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(error_of(execve("/bin/sh", arguments, arguments)) == EACCES);
    CHECK(error_of(execve("read/file", arguments, arguments)) == EACCES);
    CHECK(error_of(execve("append/file", arguments, arguments)) == EACCES);
    return CHILD_PASSED;
}

/* What was opened before stays open, and is good for what it was opened for. */
static enum child_result opened_before(void *userdata)
{
    _cleanup_(closep) int read_fd = open("outside/file", O_RDONLY | O_CLOEXEC);
    _cleanup_(closep) int write_fd = open("outside/file", O_WRONLY | O_CLOEXEC);
    int version = enter();
    char bytes[8];

    (void)userdata;
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(read(read_fd, bytes, sizeof(bytes)) == sizeof(bytes));
    CHECK(write(write_fd, bytes, sizeof(bytes)) == sizeof(bytes));
    return CHILD_PASSED;
}

static void *open_outside(void *userdata)
{
    *(int *)userdata = try_open("outside/file", O_RDONLY);
    return NULL;
}

static enum child_result later_thread(void *userdata)
{
    int version = enter(), error = 0;
    pthread_t thread;

    (void)userdata;
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(pthread_create(&thread, NULL, open_outside, &error) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(error == EACCES);
    return CHILD_PASSED;
}

static enum child_result tcp(void *userdata)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int version = enter();
    _cleanup_(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)userdata;
    if (version < VERSION_TCP)
        return CHILD_SKIPPED;
    CHECK(error_of(bind(fd, (const struct sockaddr *)&address, sizeof(address))) == EACCES);
    CHECK(error_of(connect(fd, (const struct sockaddr *)&address, sizeof(address))) == EACCES);
    return CHILD_PASSED;
}

static enum child_result devices(void *userdata)
{
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    _cleanup_(closep) int fd = -1;
    struct termios termios;
    int version;

    (void)userdata;
    MUST(sandbox_new(&sandbox) == 0);
    MUST(sandbox_allow_directory_of(sandbox, "/dev/null", SANDBOX_READ) == 0);
    version = sandbox_enter(sandbox, false);
    if (version < VERSION_IOCTL)
        return CHILD_SKIPPED;
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(error_of(ioctl(fd, TCGETS, &termios)) == EACCES);
    return CHILD_PASSED;
}

static enum child_result signals(void *userdata)
{
    int version = enter();

    (void)userdata;
    if (version < VERSION_SCOPES)
        return CHILD_SKIPPED;
    CHECK(error_of(kill(getppid(), 0)) == EPERM);
    CHECK(error_of(kill(getpid(), 0)) == 0);
    return CHILD_PASSED;
}

/* Returns a socket of the parent's that listens in the abstract namespace, and its address. */
static int listen_abstract(struct sockaddr_un *address, socklen_t *length)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *length = sizeof(*address);
    assert_return_code(bind(fd, (struct sockaddr *)address, sizeof(sa_family_t)), errno);
    assert_return_code(listen(fd, 1), errno);
    assert_return_code(getsockname(fd, (struct sockaddr *)address, length), errno);
    return fd;
}

struct abstract {
    struct sockaddr_un address;
    socklen_t length;
    bool keep;
};

static enum child_result connect_abstract(void *userdata)
{
    const struct abstract *abstract = userdata;
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int version, error;

    MUST(sandbox_new(&sandbox) == 0);
    version = sandbox_enter(sandbox, abstract->keep);
    if (version < VERSION_SCOPES)
        return CHILD_SKIPPED;
    error = error_of(connect(fd, (const struct sockaddr *)&abstract->address, abstract->length));
    CHECK(error == (abstract->keep ? 0 : EPERM));
    return CHILD_PASSED;
}

/* Nothing allowed at all is a sandbox, too. */
static enum child_result nothing(void *userdata)
{
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    int version;

    (void)userdata;
    MUST(sandbox_new(&sandbox) == 0);
    version = sandbox_enter(sandbox, false);
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(try_open("read/file", O_RDONLY) == EACCES);
    return CHILD_PASSED;
}

#define CHILD_TEST(name, function)                                                                 \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        assert_child_passes(function, NULL);                                                       \
    }

CHILD_TEST(reads_where_it_may, reading)
CHILD_TEST(writes_where_it_may, writing)
CHILD_TEST(removes_where_it_may, removing)
CHILD_TEST(executes_nothing, executing)
CHILD_TEST(keeps_what_was_opened_before, opened_before)
CHILD_TEST(confines_later_threads, later_thread)
CHILD_TEST(has_no_tcp, tcp)
CHILD_TEST(controls_no_devices, devices)
CHILD_TEST(sends_no_signals, signals)
CHILD_TEST(allows_nothing_that_was_not_said, nothing)

static void has_abstract_sockets_only_if_told(void **state)
{
    struct abstract abstract;
    _cleanup_(closep) int fd = listen_abstract(&abstract.address, &abstract.length);

    (void)state;
    abstract.keep = false;
    assert_child_passes(connect_abstract, &abstract);
    abstract.keep = true;
    assert_child_passes(connect_abstract, &abstract);
    assert_true(fd >= 0);
}

/* A system call that fails, and what entering comes to then. */
struct failure {
    unsigned int number;
    int error;
    int expected;
};

static enum child_result enter_filtered(void *userdata)
{
    const struct failure *failure = userdata;

    if (filter_install(failure->number, FILTER_ERRNO((unsigned int)failure->error)) < 0)
        return CHILD_SKIPPED;
    CHECK(enter() == failure->expected);
    CHECK(try_open("outside/file", O_RDONLY) == 0);
    return CHILD_PASSED;
}

static void says_what_it_cannot_do(void **state)
{
    struct failure failures[] = {
        /* There is no Landlock: too old a kernel, turned off, or a container's filter. */
        {SYS_landlock_create_ruleset, ENOSYS, 0},
        {SYS_landlock_create_ruleset, EOPNOTSUPP, 0},
        {SYS_landlock_create_ruleset, EPERM, 0},
        /* It is there, and does not do its work. */
        {SYS_landlock_create_ruleset, ENOMEM, -ENOMEM},
        {SYS_landlock_add_rule, ENOMEM, -ENOMEM},
        {SYS_landlock_restrict_self, E2BIG, -E2BIG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        assert_child_passes(enter_filtered, &failures[i]);
}

/* An older kernel, as far as it tells its version. */
struct old_kernel {
    int version;
    int listener;
};

/* Answers the one question about the version. */
static void *old_kernel_main(void *userdata)
{
    const struct old_kernel *kernel = userdata;
    struct seccomp_notif call = {};
    struct seccomp_notif_resp answer = {.val = kernel->version};

    if (ioctl(kernel->listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0) {
        answer.id = call.id;
        (void)ioctl(kernel->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return NULL;
}

/*
 * The rule set of each version is made of what that version knows, no more: a newer kernel takes it
 * as the older one did, and refuses accordingly.
 */
static enum child_result on_old_kernel(void *userdata)
{
    struct old_kernel *kernel = userdata;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    pthread_t thread;

    if (version < kernel->version)
        return CHILD_SKIPPED;
    kernel->listener =
        filter_install_asking(SYS_landlock_create_ruleset, LANDLOCK_CREATE_RULESET_VERSION);
    if (kernel->listener < 0)
        return CHILD_SKIPPED;
    CHECK(pthread_create(&thread, NULL, old_kernel_main, kernel) == 0);
    CHECK(enter() == kernel->version);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(try_open("read/file", O_RDONLY) == 0);
    CHECK(try_open("read/file", O_WRONLY) == EACCES);
    CHECK(try_open("outside/file", O_RDONLY) == EACCES);
    CHECK(error_of(truncate("outside/file", 0)) ==
          (kernel->version >= VERSION_TRUNCATE ? EACCES : 0));
    CHECK(error_of(kill(getppid(), 0)) == (kernel->version >= VERSION_SCOPES ? EPERM : 0));
    return CHILD_PASSED;
}

static void confines_on_older_kernels(void **state)
{
    (void)state;
    for (int version = 1; version <= VERSION_SCOPES; version++) {
        struct old_kernel kernel = {.version = version};

        assert_child_passes(on_old_kernel, &kernel);
    }
}

static void directories_of_files(void **state)
{
    struct sandbox *sandbox;

    (void)state;
    assert_int_equal(sandbox_new(&sandbox), 0);
    assert_int_equal(sandbox_allow_directory_of(sandbox, "no/file", SANDBOX_READ), -ENOENT);
    assert_int_equal(sandbox_allow_directory_of(sandbox, "read/file/x", SANDBOX_READ), -ENOTDIR);
    /* The file itself need not be there. */
    assert_int_equal(sandbox_allow_directory_of(sandbox, "read/no", SANDBOX_READ), 0);
    assert_int_equal(sandbox_allow_directory_of(sandbox, "no", SANDBOX_READ), 0);
    assert_int_equal(sandbox_allow_directory_of(sandbox, "/no", SANDBOX_READ), 0);
    sandbox_free(sandbox);
    sandbox_free(NULL);
}

static enum child_result directory_of(void *userdata)
{
    const char *path = userdata;
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    int version;

    MUST(sandbox_new(&sandbox) == 0);
    MUST(sandbox_allow_directory_of(sandbox, path, SANDBOX_READ) == 0);
    version = sandbox_enter(sandbox, false);
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(try_open("outside/file", O_RDONLY) == 0);
    CHECK(try_open("/etc/passwd", O_RDONLY) == (*path == '/' ? 0 : EACCES));
    return CHILD_PASSED;
}

static void directory_of_a_bare_name_or_of_the_top(void **state)
{
    char bare[] = "name", top[] = "/name";

    (void)state;
    assert_child_passes(directory_of, bare);
    assert_child_passes(directory_of, top);
}

/* Mounts something over "read", once it is told to, and says when that is done. */
static enum child_result mount_when_told(const int told[2], const int done[2])
{
    char byte = 0;

    (void)close(told[1]);
    CHECK(read(told[0], &byte, 1) == 1);
    CHECK(mount("tmpfs", "read", "tmpfs", 0, NULL) == 0);
    CHECK(write(done[1], &byte, 1) == 1);
    return CHILD_PASSED;
}

/* What is mounted over an allowed directory later. userdata: whether what is above is allowed. */
static enum child_result mounted_later(void *userdata)
{
    const bool *above = userdata;
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    _cleanup_(closep) int read_fd = open("read", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int told[2], done[2], status, version;
    char byte = 0;
    pid_t pid;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return CHILD_SKIPPED;
    MUST(pipe(told) == 0 && pipe(done) == 0);
    pid = fork(); /* within a sandbox nobody may mount */
    MUST(pid >= 0);
    if (pid == 0)
        _exit((int)mount_when_told(told, done));
    MUST(sandbox_new(&sandbox) == 0);
    MUST(sandbox_allow(sandbox, read_fd, SANDBOX_READ) == 0);
    if (*above)
        MUST(sandbox_allow_above(sandbox, read_fd, SANDBOX_READ) == 0);
    version = sandbox_enter(sandbox, false);
    CHECK(write(told[1], &byte, 1) == 1);
    CHECK(read(done[0], &byte, 1) == 1);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(try_open("read", O_RDONLY | O_DIRECTORY) == (*above ? 0 : EACCES));
    CHECK(try_open("outside/file", O_RDONLY) == (*above ? 0 : EACCES));
    CHECK(try_open("/etc/passwd", O_RDONLY) == EACCES);
    return CHILD_PASSED;
}

static void what_is_mounted_later(void **state)
{
    bool above = true, not_above = false;

    (void)state;
    assert_child_passes(mounted_later, &not_above);
    assert_child_passes(mounted_later, &above);
}

/* The top is never allowed for something in it. */
static enum child_result above_is_the_top(void *userdata)
{
    const char *path = userdata;
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    _cleanup_(closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int version;

    MUST(fd >= 0);
    MUST(sandbox_new(&sandbox) == 0);
    MUST(sandbox_allow_above(sandbox, fd, SANDBOX_READ) == 0);
    version = sandbox_enter(sandbox, false);
    if (version == 0)
        return CHILD_SKIPPED;
    CHECK(version > 0);
    CHECK(try_open("/etc/passwd", O_RDONLY) == EACCES);
    CHECK(try_open("read/file", O_RDONLY) == EACCES);
    return CHILD_PASSED;
}

static void what_is_above_may_be_the_top(void **state)
{
    char in_top[] = "/usr", top[] = "/";

    (void)state;
    assert_child_passes(above_is_the_top, in_top);
    assert_child_passes(above_is_the_top, top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_where_it_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_where_it_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(removes_where_it_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(executes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_what_was_opened_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(confines_later_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(has_no_tcp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(controls_no_devices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sends_no_signals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(allows_nothing_that_was_not_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(has_abstract_sockets_only_if_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_it_cannot_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(confines_on_older_kernels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(directories_of_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(directory_of_a_bare_name_or_of_the_top, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_mounted_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_above_may_be_the_top, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
