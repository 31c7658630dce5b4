/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tests' end of the wire to hangfs, the file system that hangs on demand (tests/fuse/hangfs.c
 * says which words it understands). What fails here fails the test.
 */
#pragma once

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct hangfs {
    pid_t pid;
    FILE *to, *from;
};

static inline void hangfs_assert_answer(struct hangfs *hangfs, const char *expected)
{
    char line[128];

    assert_non_null(fgets(line, sizeof(line), hangfs->from));
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(line, expected);
}

/* Says a line to hangfs, which must understand it. */
static inline void hangfs_say(struct hangfs *hangfs, const char *line)
{
    assert_true(fprintf(hangfs->to, "%s\n", line) > 0);
    assert_int_equal(fflush(hangfs->to), 0);
    hangfs_assert_answer(hangfs, "ok");
}

/* Returns how many directories were listed since the start. */
static inline unsigned long hangfs_lists(struct hangfs *hangfs)
{
    unsigned long looks, lists, reads;
    char line[128];

    assert_true(fputs("count\n", hangfs->to) >= 0);
    assert_int_equal(fflush(hangfs->to), 0);
    assert_non_null(fgets(line, sizeof(line), hangfs->from));
    assert_int_equal(sscanf(line, "ok %lu %lu %lu", &looks, &lists, &reads), 3);
    return lists;
}

/* Starts the program, which shows the directory source at mount_point. */
static inline void hangfs_start(struct hangfs *hangfs, const char *program, const char *source,
                                const char *mount_point)
{
    int to[2], from[2];

    assert_return_code(pipe2(to, O_CLOEXEC), errno);
    assert_return_code(pipe2(from, O_CLOEXEC), errno);
    hangfs->pid = fork();
    assert_return_code(hangfs->pid, errno);
    if (hangfs->pid == 0) {
        if (dup2(to[0], STDIN_FILENO) >= 0 && dup2(from[1], STDOUT_FILENO) >= 0)
            (void)execl(program, program, source, mount_point, NULL);
        _exit(127);
    }
    assert_return_code(close(to[0]), errno);
    assert_return_code(close(from[1]), errno);
    hangfs->to = fdopen(to[1], "w");
    hangfs->from = fdopen(from[0], "r");
    assert_non_null(hangfs->to);
    assert_non_null(hangfs->from);
    hangfs_assert_answer(hangfs, "ready");
}

/* Ends the program. Nothing may use its files any longer. */
static inline void hangfs_stop(struct hangfs *hangfs)
{
    int status;

    assert_int_equal(fclose(hangfs->to), 0);
    assert_int_equal(fclose(hangfs->from), 0);
    assert_int_equal(waitpid(hangfs->pid, &status, 0), hangfs->pid);
    assert_int_equal(status, 0);
}
