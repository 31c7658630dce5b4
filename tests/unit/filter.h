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
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the C library calls: the calls of some processors had too few bits, and were made anew. */
#ifdef SYS_ftruncate64
#define CALL_FTRUNCATE SYS_ftruncate64
#else
#define CALL_FTRUNCATE SYS_ftruncate
#endif
#ifdef SYS_newfstatat
#define CALL_FSTAT SYS_newfstatat
#else
#define CALL_FSTAT SYS_statx
#endif
#ifdef SYS_setresuid32
#define CALL_GETRESUID SYS_getresuid32
#define CALL_GETRESGID SYS_getresgid32
#define CALL_SETGROUPS SYS_setgroups32
#define CALL_SETRESGID SYS_setresgid32
#define CALL_SETRESUID SYS_setresuid32
#else
#define CALL_GETRESUID SYS_getresuid
#define CALL_GETRESGID SYS_getresgid
#define CALL_SETGROUPS SYS_setgroups
#define CALL_SETRESGID SYS_setresgid
#define CALL_SETRESUID SYS_setresuid
#endif

/* What a filter does to the call; FILTER_ERRNO(0) makes it a success that did nothing. */
#define FILTER_ERRNO(error) (SECCOMP_RET_ERRNO | (error))
#define FILTER_KILL         SECCOMP_RET_KILL_PROCESS

/* Installs a filter. Returns what seccomp(2) does with the flags, or -errno. */
static inline int filter_install_code(struct sock_filter *code, size_t length, unsigned int flags)
{
    struct sock_fprog program = {(unsigned short)length, code};
    long r;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return r < 0 ? -errno : (int)r;
}

/* Installs a filter that does action to the system call number, as filter_install_code(). */
static inline int filter_install_with(unsigned int number, unsigned int action, unsigned int flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    return filter_install_code(code, sizeof(code) / sizeof(code[0]), flags);
}

/* Installs a filter that does action to the system call number. Returns 0 or -errno. */
static inline int filter_install(unsigned int number, unsigned int action)
{
    return filter_install_with(number, action, 0);
}

/*
 * Installs a filter that asks about the system call number where its third argument is what is
 * given. Returns the descriptor to answer by, or -errno.
 */
static inline int filter_install_asking(unsigned int number, uint32_t third)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, third, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    return filter_install_code(code, sizeof(code) / sizeof(code[0]),
                               SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

/* Who decides about the calls of a filter that asks. */
struct filter_judge {
    pthread_t thread;
    int wire[2]; /* a pipe that the filter's descriptor comes through */
    int error;
    unsigned int times;
};

static inline void *filter_judge_main(void *userdata)
{
    struct filter_judge *judge = userdata;
    struct seccomp_notif call = {};
    int fd;

    if (read(judge->wire[0], &fd, sizeof(fd)) != sizeof(fd))
        return NULL;
    while (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0) {
        struct seccomp_notif_resp answer = {.id = call.id};

        if (judge->times > 0) {
            judge->times--;
            answer.error = -judge->error;
        } else {
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        }
        (void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
        memset(&call, 0, sizeof(call));
    }
    return NULL;
}

/* Makes the system call number fail with error so many times, and not after that. The judge stays
 * with the process. Returns 0 or -errno. */
static inline int filter_install_times(unsigned int number, int error, unsigned int times,
                                       struct filter_judge *judge)
{
    int fd;

    *judge = (struct filter_judge){.error = error, .times = times};
    if (pipe(judge->wire) < 0 ||
        pthread_create(&judge->thread, NULL, filter_judge_main, judge) != 0)
        return -errno;
    fd = filter_install_with(number, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    if (fd < 0)
        return fd;
    return write(judge->wire[1], &fd, sizeof(fd)) == sizeof(fd) ? 0 : -errno;
}
