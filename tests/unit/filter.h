/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making one system call fail, for good and with a real seccomp filter, in the process that asks
 * for it (a sanitizer's own thread too): what old kernels, containers and systemd's sandboxes do to
 * a program. Call it in a child.
 */
#pragma once

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a filter does to the call; FILTER_ERRNO(0) makes it a success that did nothing. */
#define FILTER_ERRNO(error) (SECCOMP_RET_ERRNO | (error))
#define FILTER_KILL         SECCOMP_RET_KILL_PROCESS

/* Installs a filter that does action to the system call number. Returns 0 or -errno. */
static inline int filter_install(unsigned int number, unsigned int action)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        return -errno;
    return 0;
}
