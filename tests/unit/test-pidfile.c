/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../tree.h"
#include "child.h"
#include "filter.h"
#include "system/cleanup.h"
#include "system/pidfile.h"

struct fixture {
    char directory[PATH_MAX - 64]; /* of the one test that runs */
    char path[PATH_MAX];           /* in it, of the pid file */
};

static int set_up(void **state)
{
    const char *folder = getenv("TMPDIR");
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    MUST(fixture);
    (void)umask(022);
    (void)snprintf(fixture->directory, sizeof(fixture->directory), "%s/quotad-XXXXXX",
                   folder ? folder : "/var/tmp");
    MUST(mkdtemp(fixture->directory));
    MUST(chmod(fixture->directory, 0755) == 0);
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/pid", fixture->directory);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    (void)tree_remove(fixture->directory);
    free(fixture);
    return 0;
}

static void write_file(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "we");

    MUST(file);
    MUST(fwrite(text, 1, length, file) == length);
    MUST(fclose(file) == 0);
}

static bool holds(const char *path, const char *text)
{
    FILE *file = fopen(path, "re");
    char found[64];
    size_t length;

    if (!file)
        return false;
    length = fread(found, 1, sizeof(found), file);
    (void)fclose(file);
    return length == strlen(text) && memcmp(found, text, length) == 0;
}

/* Returns the id of a process that has been and is no more. */
static pid_t dead_pid(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    MUST(pid > 0 && waitpid(pid, NULL, 0) == pid);
    return pid;
}

static void life(void **state)
{
    struct fixture *fixture = *state;
    struct pidfile *pidfile;
    pid_t other = 1;
    struct stat st;

    (void)umask(077);
    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    assert_int_equal(other, 0);
    assert_true(holds(fixture->path, ""));
    assert_int_equal(stat(fixture->path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
    assert_int_equal(pidfile_write(pidfile, 2147483647), 0);
    assert_true(holds(fixture->path, "2147483647\n"));
    assert_int_equal(pidfile_write(pidfile, 42), 0);
    assert_true(holds(fixture->path, "42\n"));
    pidfile_release(pidfile);
    assert_int_equal(access(fixture->path, F_OK), -1);
    assert_int_equal(errno, ENOENT);
    pidfile_release(NULL);
}

/* A file of that text is taken over. */
static void assert_stale(const struct fixture *fixture, const char *text, size_t length)
{
    struct pidfile *pidfile;
    pid_t other = 1;
    struct stat st;

    write_file(fixture->path, text, length);
    assert_int_equal(chmod(fixture->path, 0600), 0);
    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    assert_int_equal(other, 0);
    assert_true(holds(fixture->path, ""));
    assert_int_equal(stat(fixture->path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
    pidfile_release(pidfile);
    assert_int_equal(access(fixture->path, F_OK), -1);
}

static void stale(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"", 0},
        {"\n", 1},
        {"0\n", 2},
        {"-1\n", 3},
        {"+1\n", 3},
        {"1x\n", 3},
        {"1 1\n", 4},
        {"1\0", 2},
        {"2147483648\n", 11},
        {"4294967297\n", 11}, /* 1, if it were cut off */
        {"18446744073709551617\n", 21},
        {"00000000000000000000000000000001", 32},
        {"1                               ", 32},
        {"no pid at all, and longer than any that ever was\n", 49},
    };
    /* That some process has the number says nothing: numbers are used again. */
    const pid_t pids[] = {dead_pid(), getpid(), getppid(), 1};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_stale(*state, cases[i].text, cases[i].length);
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%d\n", (int)pids[i]);
        assert_stale(*state, text, strlen(text));
    }
}

/* A daemon: it takes the pid file, leaves it to a child and ends; the child lives until killed. */
static enum child_result daemon_child(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct pidfile *pidfile;
    int fds[2];
    pid_t other;
    char byte;

    CHECK(pipe(fds) == 0);
    CHECK(pidfile_acquire(fixture->path, &pidfile, &other) == 0);
    if (fork() == 0) {
        bool written = pidfile_write(pidfile, getpid()) == 0;

        (void)alarm(60); /* should nobody come to kill it */
        (void)!write(fds[1], written ? "1" : "0", 1);
        for (;;)
            (void)pause();
    }
    CHECK(read(fds[0], &byte, 1) == 1 && byte == '1');
    return CHILD_PASSED;
}

static pid_t read_number(const char *path)
{
    FILE *file = fopen(path, "re");
    int number = 0;

    MUST(file);
    MUST(fscanf(file, "%d", &number) == 1);
    (void)fclose(file);
    return number;
}

static void forked(void **state)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "0\n",
                                        "x\n",
                                        "-1\n",
                                        "12",
                                        "2147483648\n",
                                        "18446744073709551617\n",
                                        "no pid at all, and longer than any that ever was\n"};
    struct fixture *fixture = *state;
    struct pidfile *pidfile;
    pid_t daemon, other = 0;

    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    assert_child_passes(daemon_child, fixture);
    daemon = read_number(fixture->path);
    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), -EEXIST);
    assert_int_equal(other, daemon);

    /* The lock is enough, whatever the file says. */
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        write_file(fixture->path, texts[i], strlen(texts[i]));
        assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), -EEXIST);
        assert_int_equal(other, 0);
        assert_true(holds(fixture->path, texts[i]));
    }

    assert_int_equal(kill(daemon, SIGKILL), 0);
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    pidfile_release(pidfile);
}

/* None of these is touched. */
static void not_a_pid_file(void **state)
{
    static const char *const names[] = {"link",   "dangling", "directory", "fifo",
                                        "socket", "first",    "second",    ".",
                                        "..",     "",         "directory/"};
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pidfile *pidfile;
    char path[PATH_MAX];
    pid_t other = 1;

    assert_int_equal(chdir(fixture->directory), 0);
    write_file("target", "garbage\n", 8);
    assert_int_equal(symlink("target", "link"), 0);
    assert_int_equal(symlink("nothing", "dangling"), 0);
    assert_int_equal(mkdir("directory", 0755), 0);
    assert_int_equal(mkfifo("fifo", 0644), 0);
    memcpy(address.sun_path, "socket", sizeof("socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    write_file("first", "garbage\n", 8);
    assert_int_equal(link("first", "second"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", fixture->directory, names[i]);
        assert_int_equal(pidfile_acquire(path, &pidfile, &other), -EINVAL);
        assert_int_equal(other, 0);
        assert_int_equal(pidfile_acquire(names[i], &pidfile, &other), -EINVAL);
    }
    assert_int_equal(pidfile_acquire("/dev/null", &pidfile, &other), -EINVAL);
    assert_true(holds("target", "garbage\n"));
    assert_true(holds("first", "garbage\n"));
    assert_int_equal(access("nothing", F_OK), -1);

    assert_int_equal(pidfile_acquire("nothing/pid", &pidfile, &other), -ENOENT);
    assert_int_equal(pidfile_acquire("target/pid", &pidfile, &other), -ENOTDIR);
    memset(path, 'n', 256);
    path[256] = '\0';
    assert_int_equal(pidfile_acquire(path, &pidfile, &other), -ENAMETOOLONG);
    assert_int_equal(chdir("/"), 0);
}

/* The path is a matter of the moment: a daemon changes to `/` later. */
static void relative(void **state)
{
    struct fixture *fixture = *state;
    struct pidfile *pidfile;
    pid_t other;

    assert_int_equal(chdir(fixture->directory), 0);
    assert_int_equal(pidfile_acquire("pid", &pidfile, &other), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(pidfile_write(pidfile, getpid()), 0);
    assert_int_equal(access(fixture->path, F_OK), 0);
    pidfile_release(pidfile);
    assert_int_equal(access(fixture->path, F_OK), -1);
}

/* What somebody else has put in place of it, or has taken away, is not ours to remove. */
static void replaced(void **state)
{
    struct fixture *fixture = *state;
    struct pidfile *pidfile;
    pid_t other;

    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    assert_int_equal(unlink(fixture->path), 0);
    write_file(fixture->path, "theirs\n", 7);
    pidfile_release(pidfile);
    assert_true(holds(fixture->path, "theirs\n"));

    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    assert_int_equal(unlink(fixture->path), 0);
    pidfile_release(pidfile);
    assert_int_equal(access(fixture->path, F_OK), -1);
}

static enum child_result dropped_child(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct pidfile *pidfile;
    pid_t other;

    CHECK(pidfile_acquire(fixture->path, &pidfile, &other) == 0);
    CHECK(child_become_nobody());
    CHECK(pidfile_write(pidfile, getpid()) == 0);
    CHECK(!holds(fixture->path, ""));
    pidfile_release(pidfile);
    return CHILD_PASSED;
}

/* After the privileges are gone the file stays, and is stale. */
static void dropped(void **state)
{
    struct fixture *fixture = *state;
    struct pidfile *pidfile;
    pid_t other;

    if (geteuid() != 0)
        skip_because("it needs root");
    assert_child_passes(dropped_child, fixture);
    assert_true(holds(fixture->path, ""));
    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    pidfile_release(pidfile);
}

static enum child_result refused_child(const struct fixture *fixture, int result)
{
    struct pidfile *pidfile;
    pid_t other;

    CHECK(child_become_nobody());
    CHECK(pidfile_acquire(fixture->path, &pidfile, &other) == result);
    return CHILD_PASSED;
}

static enum child_result permissions_child(void *userdata)
{
    return refused_child(userdata, -EACCES);
}

static enum child_result foreign_owner_child(void *userdata)
{
    return refused_child(userdata, -EPERM);
}

static void permissions(void **state)
{
    struct fixture *fixture = *state;

    if (geteuid() != 0)
        skip_because("it needs root");
    assert_child_passes(permissions_child, fixture); /* the directory's */
    write_file(fixture->path, "", 0);
    assert_child_passes(permissions_child, fixture); /* the file's */
    assert_int_equal(chmod(fixture->path, 0666), 0);
    assert_child_passes(foreign_owner_child, fixture);
}

static enum child_result no_room_child(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct rlimit limit = {0, RLIM_INFINITY};
    struct pidfile *pidfile;
    pid_t other;

    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK(pidfile_acquire(fixture->path, &pidfile, &other) == 0);
    CHECK(pidfile_write(pidfile, 123456) == 0);
    limit.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(pidfile_write(pidfile, 123456) == -ENOSPC); /* and not 123, whoever that is */
    CHECK(holds(fixture->path, ""));
    limit.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(pidfile_write(pidfile, 123456) == -EFBIG);
    CHECK(holds(fixture->path, ""));
    pidfile_release(pidfile);
    return CHILD_PASSED;
}

static void no_room(void **state)
{
    assert_child_passes(no_room_child, *state);
}

struct failing_call {
    const struct fixture *fixture;
    unsigned int number;
};

static enum child_result failing_call_child(void *userdata)
{
    const struct failing_call *call = userdata;
    struct pidfile *pidfile;
    pid_t other = 1;

    CHECK(filter_install(call->number, FILTER_ERRNO(EIO)) == 0);
    CHECK(pidfile_acquire(call->fixture->path, &pidfile, &other) == -EIO);
    CHECK(other == 0);
    return CHILD_PASSED;
}

static enum child_result failing_write_child(void *userdata)
{
    const struct failing_call *call = userdata;
    struct pidfile *pidfile;
    pid_t other = 1;

    CHECK(pidfile_acquire(call->fixture->path, &pidfile, &other) == 0);
    CHECK(filter_install(call->number, FILTER_ERRNO(EIO)) == 0);
    CHECK(pidfile_write(pidfile, 1) == -EIO);
    pidfile_release(pidfile);
    return CHILD_PASSED;
}

static void failing_calls(void **state)
{
    static const unsigned int acquiring[] = {SYS_flock, CALL_FTRUNCATE, SYS_fchmod, CALL_FSTAT};
    static const unsigned int writing[] = {SYS_pwrite64, CALL_FTRUNCATE};

    for (size_t i = 0; i < ARRAY_SIZE(acquiring); i++) {
        struct failing_call call = {*state, acquiring[i]};

        assert_child_passes(failing_call_child, &call);
    }
    for (size_t i = 0; i < ARRAY_SIZE(writing); i++) {
        struct failing_call call = {*state, writing[i]};

        assert_child_passes(failing_write_child, &call);
    }
}

#define CONTENDERS 4
#define TURNS      100

/* Takes and releases the pid file again and again: whoever has it is alone. */
static enum child_result contend(const struct fixture *fixture)
{
    char marker[PATH_MAX];
    struct pidfile *pidfile;
    pid_t other;

    (void)snprintf(marker, sizeof(marker), "%s/marker", fixture->directory);
    for (int turn = 0; turn < TURNS;) {
        int r = pidfile_acquire(fixture->path, &pidfile, &other);

        if (r == -EEXIST)
            continue;
        CHECK(r == 0);
        CHECK(mkdir(marker, 0700) == 0);
        CHECK(turn % 2 == 0 || pidfile_write(pidfile, getpid()) == 0);
        CHECK(rmdir(marker) == 0);
        pidfile_release(pidfile);
        turn++;
    }
    return CHILD_PASSED;
}

static void contention(void **state)
{
    struct fixture *fixture = *state;
    pid_t pids[CONTENDERS];
    struct pidfile *pidfile;
    int passed = 0;
    pid_t other;

    for (size_t i = 0; i < CONTENDERS; i++) {
        pids[i] = fork();
        MUST(pids[i] >= 0);
        if (pids[i] == 0)
            _exit((int)contend(fixture));
    }
    for (size_t i = 0; i < CONTENDERS; i++) {
        int status;

        MUST(waitpid(pids[i], &status, 0) == pids[i]);
        passed += status == 0;
    }
    assert_int_equal(passed, CONTENDERS);
    assert_int_equal(pidfile_acquire(fixture->path, &pidfile, &other), 0);
    pidfile_release(pidfile);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(life),           TEST(stale),         TEST(forked),      TEST(relative),
        TEST(replaced),       TEST(dropped),       TEST(permissions), TEST(no_room),
        TEST(not_a_pid_file), TEST(failing_calls), TEST(contention),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
