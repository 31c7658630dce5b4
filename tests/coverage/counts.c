/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lets the programs of the coverage build write down what they have run, whatever becomes of them.
 * The counts are files in the folder COUNTS_FOLDER, written as a program ends; but the service has
 * confined itself by then, and a child of a test leaves by _exit(), where nothing is written.
 *
 * This is linked into every program of that build, and into no other. It stands in front of the two
 * functions of the C library that matter, and of nothing else: the confinement stays what it is,
 * but for one folder more.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_TRUNCATE (UINT64_C(1) << 14) /* LANDLOCK_ACCESS_FS_TRUNCATE, which old headers lack */

#define RESERVE_BYTES 65536

#define ARGUMENTS 6 /* of a system call, at most */

typedef long (*syscall_fn)(long number, ...);

/* Part of gcc's runtime library: writes the counts. */
void __gcov_dump(void);

/* The C library's function; and that or whose it is that stands in front of it, to make calls fail.
 */
static syscall_fn real_syscall, next_syscall;

/* What writing the counts needs, kept for the end: a test may have used up all memory by then. */
static void *reserve;

/* Runs while there is memory, once. */
static void prepare(void) __attribute__((constructor));

static void prepare(void)
{
    void *library;

    if (next_syscall)
        return;
    library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (!library)
        abort();
    real_syscall = (syscall_fn)dlsym(library, "syscall");
    next_syscall = (syscall_fn)dlsym(RTLD_NEXT, "syscall");
    reserve = malloc(RESERVE_BYTES);
    /* Where gcc's runtime library shall complain, lest tests take that for the program's words. */
    (void)setenv("GCOV_ERROR_FILE", COUNTS_FOLDER "/errors", 1);
}

/* Adds the folder of the counts to what a rule set allows. */
static void allow_counts(int ruleset_fd)
{
    struct landlock_path_beneath_attr below = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                          LANDLOCK_ACCESS_FS_MAKE_REG | FS_TRUNCATE,
        .parent_fd = (int)real_syscall(SYS_openat, AT_FDCWD, COUNTS_FOLDER, O_PATH | O_CLOEXEC, 0),
    };

    /* An old kernel, or a set that is not about truncating, takes no such rule. */
    if (real_syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0) <
        0) {
        below.allowed_access &= ~FS_TRUNCATE;
        (void)real_syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &below,
                           0);
    }
    (void)real_syscall(SYS_close, below.parent_fd);
}

/*
 * More arguments than the caller gave are read, as the C library's own function does. A library of
 * the tests that has such a function itself keeps it.
 */
__attribute__((weak)) long syscall(long number, ...)
{
    long given[ARGUMENTS];
    va_list arguments;

    va_start(arguments, number);
    for (size_t i = 0; i < ARGUMENTS; i++)
        given[i] = va_arg(arguments, long);
    va_end(arguments);
    prepare(); /* a library that was loaded before may call this while it is */
    if (number == SYS_landlock_restrict_self)
        allow_counts((int)given[0]);
    return next_syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

/* Takes away a limit that a test has set to see what happens: files are to be written still. */
static void lift_limit(int resource)
{
    struct rlimit limit;

    if (real_syscall(SYS_prlimit64, 0, resource, NULL, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)real_syscall(SYS_prlimit64, 0, resource, &limit, NULL);
}

/* Says whether a call is let through to the kernel: a test may have a filter in front of it. */
static bool works(long number)
{
    return real_syscall(number, -1, NULL, 0) < 0 && errno == EBADF;
}

/*
 * What others have written is read and added to; who cannot read would write over it, and who
 * cannot write would damage it. The counts of such a child are lost.
 */
__attribute__((weak)) void _exit(int status)
{
    free(reserve);
    lift_limit(RLIMIT_FSIZE);
    lift_limit(RLIMIT_NOFILE);
    if (works(SYS_read) && works(SYS_write) && works(SYS_lseek))
        __gcov_dump();
    real_syscall(SYS_exit_group, status);
    __builtin_unreachable();
}
