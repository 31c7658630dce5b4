/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the time of a process go on faster, on demand: a library for LD_PRELOAD that stands in
 * front of clock_gettime(). All clocks that tell the time show as many seconds more as the first
 * eight bytes of the file say that the variable CLOCK names, which a test may raise at any moment.
 * Timers that are set to a time of these clocks expire when the kernel's clocks would show it, so
 * that none is late. What files bear is the time of the kernel.
 *
 * The file is mapped, so that no sandbox keeps the two apart.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const _Atomic int64_t *ahead_sec;

__attribute__((constructor)) static void clock_begin(void)
{
    const char *path = getenv("CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *shared = mmap(NULL, sizeof(*ahead_sec), PROT_READ, MAP_SHARED, fd, 0);

    if (shared == MAP_FAILED)
        abort();
    ahead_sec = shared;
    (void)close(fd);
}

static bool tells_the_time(clockid_t clock)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        return true;
    default:
        return false;
    }
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int r = (int)syscall(SYS_clock_gettime, clock, ret);

    if (r == 0 && ahead_sec && tells_the_time(clock))
        ret->tv_sec += *ahead_sec;
    return r;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *ret_old)
{
    struct itimerspec kernel = *value;

    if ((flags & TFD_TIMER_ABSTIME) && kernel.it_value.tv_sec > *ahead_sec)
        kernel.it_value.tv_sec -= *ahead_sec;
    return (int)syscall(SYS_timerfd_settime, fd, flags, &kernel, ret_old);
}
