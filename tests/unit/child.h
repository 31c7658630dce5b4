/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of a test in a child: for what a process cannot undo, such as giving up its privileges.
 * cmocka's assertions have no place there (they would go on with the tests in the child): a child
 * uses CHECK() and returns.
 */
#pragma once

#include "unit.h"

#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534 /* a user who owns nothing, and has no threads of his own */

enum child_result {
    CHILD_PASSED,
    CHILD_FAILED,
    CHILD_SKIPPED = 77, /* the machine does not let it happen */
};

/* Returns CHILD_FAILED from the function, and says where, unless the condition holds. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            return CHILD_FAILED;                                                                   \
        }                                                                                          \
    } while (0)

/* Ends the program, and says where, unless the condition holds, which a test needs to begin with.
 */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef enum child_result (*child_fn)(void *userdata);

/* Runs function in a child and returns what it returned, or CHILD_FAILED if the child was killed.
 */
static inline enum child_result child_run(child_fn function, void *userdata)
{
    int status;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        enum child_result result = function(userdata);

        (void)fflush(NULL);
        _exit((int)result);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return CHILD_FAILED;
    return (enum child_result)WEXITSTATUS(status);
}

/*
 * Becomes a user whom permissions hold for: nobody, if that is root. Returns whether it is one now.
 */
static inline bool child_become_nobody(void)
{
    if (geteuid() != 0)
        return true;
    return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
           setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

/* Lets no more threads start. Returns whether that can be had: for root it cannot. */
static inline bool child_stop_threads(void)
{
    const struct rlimit none = {0, 0};

    return child_become_nobody() && setrlimit(RLIMIT_NPROC, &none) == 0;
}

/* Fails or skips the test, as the result of a child says. */
#define assert_child_result(result)                                                                \
    do {                                                                                           \
        enum child_result result_ = (result);                                                      \
                                                                                                   \
        if (result_ == CHILD_SKIPPED)                                                              \
            skip_because(geteuid() != 0 ? "it needs root" : "not on this machine");                \
        assert_int_equal(result_, CHILD_PASSED);                                                   \
    } while (0)

/* Runs function in a child, and fails or skips the test as the child says. */
#define assert_child_passes(function, userdata) assert_child_result(child_run(function, userdata))
