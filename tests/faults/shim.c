/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes calls of the C library fail, on demand: a library for LD_PRELOAD that stands in front of
 * every function by which the service asks the system for something, or for memory. Calls that the
 * service's libraries make are caught as well; what the C library calls within itself is not, but
 * for memory.
 *
 * A test and the process share the file that the variable FAULTS names, a struct control. While it
 * is armed each call is counted and noted, and the one that the test chose fails: the Nth of a
 * function with the errno that was chosen, or cut short. Nothing counts before main(). The file is
 * mapped, so neither a sandbox nor a lack of descriptors keeps the two apart.
 *
 * Which errors make sense for which function is written here, and read by the test from the file.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define FUNCTIONS_MAX 128
#define ERRORS_MAX    16
#define MODULES_MAX   64
#define RECORDS_MAX   65536

/* In place of an errno: the call does a part of what it was asked for. */
#define SHORT 1000

/* Likewise: the call takes this long first. */
#define SLOW         1001
#define SLOW_SECONDS 0.2

/* The functions, and what each may fail with. */
#define MEMORY(F)                                                                                  \
    F(malloc, ENOMEM)                                                                              \
    F(calloc, ENOMEM)                                                                              \
    F(realloc, ENOMEM)                                                                             \
    F(reallocarray, ENOMEM)                                                                        \
    F(strdup, ENOMEM)                                                                              \
    F(strndup, ENOMEM)                                                                             \
    F(asprintf, ENOMEM)

#define FILES(F)                                                                                   \
    F(open, EMFILE, ENFILE, ENOMEM, EINTR, EACCES, EIO, ESTALE, ENOSPC)                            \
    F(openat, EMFILE, ENFILE, ENOMEM, EINTR, EACCES, EIO, ESTALE)                                  \
    F(openat2, EMFILE, ENFILE, ENOMEM, EINTR, EAGAIN, EACCES, EIO, ESTALE, ENOSYS)                 \
    F(fopen, EMFILE, ENFILE, ENOMEM, EACCES, EIO)                                                  \
    F(statx, ENOMEM, EACCES, EIO, ESTALE)                                                          \
    F(fstat, ENOMEM, EIO, ESTALE)                                                                  \
    F(fstatat, ENOMEM, EACCES, EIO, ESTALE)                                                        \
    F(stat, ENOMEM, EACCES, EIO, ESTALE)                                                           \
    F(fstatfs, ENOMEM, EINTR, EIO, ESTALE)                                                         \
    F(getdents64, EINTR, EIO, ESTALE, ENOMEM, SHORT)                                               \
    F(readlinkat, ENOMEM, EACCES, EIO, ESTALE)                                                     \
    F(realpath, ENOMEM, EACCES, EIO)                                                               \
    F(access, ENOMEM, EACCES, EIO)                                                                 \
    F(read, EINTR, EAGAIN, EIO, ESTALE, ENOMEM, SHORT)                                             \
    F(library_read, EINTR, EAGAIN)                                                                 \
    F(pread, EINTR, EIO, SHORT)                                                                    \
    F(preadv2, EINTR, EAGAIN, EIO, ESTALE, ENOMEM, EOPNOTSUPP, SHORT)                              \
    F(write, EINTR, EAGAIN, EIO, ENOSPC, SHORT)                                                    \
    F(pwrite, EINTR, EIO, ENOSPC, SHORT)                                                           \
    F(ftruncate, EINTR, EIO, ENOSPC)                                                               \
    F(fchmod, EPERM, EIO)                                                                          \
    F(flock, EINTR, ENOLCK, ENOMEM)                                                                \
    F(unlinkat, EACCES, EIO, ESTALE)                                                               \
    F(close, EINTR, EIO)                                                                           \
    F(fcntl, ENOMEM)                                                                               \
    F(dup2, EINTR, EMFILE)                                                                         \
    F(chdir, ENOMEM, EIO)

#define SOCKETS(F)                                                                                 \
    F(socket, EMFILE, ENFILE, ENOMEM, ENOBUFS)                                                     \
    F(bind, EACCES, ENOMEM, ENOSPC)                                                                \
    F(listen, ENOMEM)                                                                              \
    F(connect, EINTR, EAGAIN, ENOMEM, EACCES)                                                      \
    F(accept4, EMFILE, ENFILE, ENOMEM, ENOBUFS, EINTR, EAGAIN, ECONNABORTED)                       \
    F(recv, EINTR, EAGAIN, ENOMEM, ECONNRESET, SHORT)                                              \
    F(send, EINTR, EAGAIN, ENOMEM, ENOBUFS, EPIPE, SHORT)                                          \
    F(sendto, EINTR, EAGAIN, ENOMEM, ENOBUFS, ECONNREFUSED)                                        \
    F(sendmsg, EINTR, EAGAIN, ENOMEM, ENOBUFS)                                                     \
    F(setsockopt, ENOMEM)                                                                          \
    F(shutdown, ENOTCONN)

#define WATCHES(F)                                                                                 \
    F(inotify_init1, EMFILE, ENFILE, ENOMEM)                                                       \
    F(inotify_add_watch, ENOMEM, ENOSPC, EACCES, EINVAL, EEXIST, ENOENT)                           \
    F(inotify_rm_watch, EINVAL)                                                                    \
    F(poll, EINTR, ENOMEM)

#define OTHERS(F)                                                                                  \
    F(epoll_create1, EMFILE, ENFILE, ENOMEM)                                                       \
    F(epoll_ctl, ENOMEM, ENOSPC)                                                                   \
    F(epoll_wait, EINTR)                                                                           \
    F(timerfd_create, EMFILE, ENFILE, ENOMEM)                                                      \
    F(signalfd, EMFILE, ENFILE, ENOMEM)                                                            \
    F(eventfd, EMFILE, ENFILE, ENOMEM)                                                             \
    F(eventfd_read, EINTR, EAGAIN)                                                                 \
    F(pipe2, EMFILE, ENFILE)                                                                       \
    F(fork, EAGAIN, ENOMEM)                                                                        \
    F(setsid, EPERM)                                                                               \
    F(pthread_create, EAGAIN)                                                                      \
    F(getrandom, EINTR, EAGAIN, ENOSYS)                                                            \
    F(setrlimit, EPERM)                                                                            \
    F(prctl, EPERM, ENOMEM)                                                                        \
    F(capset, EPERM)                                                                               \
    F(landlock_create_ruleset, EMFILE, ENFILE, ENOMEM, ENOSYS, EOPNOTSUPP, EPERM)                  \
    F(landlock_add_rule, ENOMEM)                                                                   \
    F(landlock_restrict_self, ENOMEM, E2BIG)                                                       \
    F(getpwnam, EMFILE, ENFILE, ENOMEM, EINTR, EIO)                                                \
    F(getpwuid, EMFILE, ENFILE, ENOMEM, EINTR, EIO)                                                \
    F(initgroups, ENOMEM, EPERM)                                                                   \
    F(setresuid, EAGAIN, EPERM)                                                                    \
    F(setresgid, EPERM)                                                                            \
    F(kill, EPERM)

#define ALL(F) MEMORY(F) FILES(F) SOCKETS(F) WATCHES(F) OTHERS(F)

#define ENUMERATE(name, ...) F_##name,
enum function { ALL(ENUMERATE) FUNCTIONS_COUNT };
_Static_assert(FUNCTIONS_COUNT <= FUNCTIONS_MAX, "the control has a place for each function");

struct function_entry {
    char name[32];
    int32_t errors[ERRORS_MAX]; /* 0 behind the last */
};

#define DESCRIBE(name, ...) {#name, {__VA_ARGS__}},
static const struct function_entry functions[] = {ALL(DESCRIBE)};

enum mode {
    MODE_RECORD, /* nothing fails */
    MODE_NTH,
    MODE_RANDOM,
};

/* A call that was met. */
struct record {
    uint64_t site; /* where it returns to */
    uint32_t function;
    int32_t error; /* what it was made to fail with; 0: nothing */
};

/* A program or library, to make sense of a site. */
struct module {
    uint64_t base;
    uint64_t start;
    uint64_t end;
    char name[104];
};

/* What the test and the process share. The test knows this layout. */
struct control {
    /* Set by the test. */
    atomic_uint armed;
    uint32_t mode;
    uint32_t function;
    uint32_t first; /* the first call of the function that fails, from 1 */
    uint32_t times; /* how many do */
    int32_t error;
    uint32_t per_million; /* how many calls of a million fail at random */
    uint32_t seed;
    /* Set here, made 0 by the test. */
    atomic_uint injected;
    atomic_uint records_count; /* also those for which there was no room */
    atomic_uint met[FUNCTIONS_MAX];
    /* Set here, once. */
    uint32_t functions_count;
    uint32_t modules_count;
    struct function_entry functions[FUNCTIONS_MAX];
    struct module modules[MODULES_MAX];
    struct record records[RECORDS_MAX];
};

static struct control *control; /* NULL: nothing is ever done */
static struct module loader;
static struct module program;
static bool started; /* main() was entered */
static __thread unsigned within
    __attribute__((tls_model("initial-exec"))); /* the calls of our own */

/* The loader aborts, too, where there is no memory for what it does unasked. */
static bool is_loader(const struct module *module)
{
    return strstr(module->name, "/ld-linux") != NULL;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *userdata)
{
    struct module *module = &control->modules[control->modules_count];

    (void)size;
    (void)userdata;
    if (control->modules_count == MODULES_MAX)
        return 1;
    module->base = info->dlpi_addr;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];

        if (header->p_type == PT_LOAD && (header->p_flags & PF_X)) {
            module->start = info->dlpi_addr + header->p_vaddr;
            module->end = module->start + header->p_memsz;
        }
    }
    strncpy(module->name, info->dlpi_name, sizeof(module->name) - 1);
    if (is_loader(module))
        loader = *module;
    if (module->name[0] == '\0' && !program.start)
        program = *module;
    control->modules_count++;
    return 0;
}

/* Only what is tested is meant, not the shells and other programs that start it. */
static bool is_tested(void)
{
    return strncmp(program_invocation_short_name, "exim-quota", strlen("exim-quota")) == 0;
}

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("FAULTS");
    void *mapped;
    long fd;

    if (!path || !is_tested())
        return;
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        abort();
    mapped = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    (void)syscall(SYS_close, fd);
    if (mapped == MAP_FAILED)
        abort();
    control = mapped;
    control->functions_count = FUNCTIONS_COUNT;
    memcpy(control->functions, functions, sizeof(functions));
    control->modules_count = 0;
    dl_iterate_phdr(add_module, NULL);
}

/* A number that depends on the seed and the call alone (the finaliser of a known generator). */
static uint64_t draw(uint32_t number)
{
    uint64_t z = ((uint64_t)control->seed << 32 | number) + UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int choose_random(enum function function, uint32_t number)
{
    uint64_t drawn = draw(number);
    uint32_t count = 0;

    if (drawn % 1000000 >= control->per_million)
        return 0;
    while (count < ERRORS_MAX && functions[function].errors[count] != 0)
        count++;
    return functions[function].errors[(drawn >> 32) % count];
}

static bool is_in(const struct module *module, const void *site)
{
    return (uintptr_t)site >= module->start && (uintptr_t)site < module->end;
}

/* Returns 0, or what the call that was just met shall fail with. */
static int meet(enum function function, const void *site)
{
    uint32_t nth, number;
    int error = 0;

    if (!control || !started || within > 0 || !atomic_load(&control->armed))
        return 0;
    if (is_in(&loader, site))
        return 0;
    /* The libraries read signals and the expiry of timers, which do not lie on a disk. */
    if (function == F_read && !is_in(&program, site))
        function = F_library_read;
    nth = atomic_fetch_add(&control->met[function], 1) + 1;
    number = atomic_fetch_add(&control->records_count, 1);
    if (control->mode == MODE_NTH && function == control->function && nth >= control->first &&
        nth - control->first < control->times)
        error = control->error;
    else if (control->mode == MODE_RANDOM)
        error = choose_random(function, number);
    if (number < RECORDS_MAX)
        control->records[number] = (struct record){(uintptr_t)site, function, error};
    if (error != 0)
        atomic_fetch_add(&control->injected, 1);
    if (error != SLOW)
        return error;
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)(SLOW_SECONDS * 1e9)}, NULL);
    return 0;
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found)
        abort();
    return found;
}

#define SITE __builtin_extract_return_addr(__builtin_return_address(0))

/*
 * Stands in front of the function `symbol`, which counts as `name`. before is done between the
 * question whether to fail, whose answer is in `fault`, and the call.
 */
#define STAND_IN(name, symbol, type, failed, before, parameters, ...)                              \
    type stand_in_##symbol parameters __asm__(#symbol);                                            \
    type stand_in_##symbol parameters                                                              \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        int fault = meet(F_##name, SITE);                                                          \
                                                                                                   \
        if (!real)                                                                                 \
            real = (type(*) parameters)next(#symbol);                                              \
        before;                                                                                    \
        if (fault != 0) {                                                                          \
            errno = fault;                                                                         \
            return failed;                                                                         \
        }                                                                                          \
        return real(__VA_ARGS__);                                                                  \
    }

#define PLAIN(name, symbol, type, parameters, ...)                                                 \
    STAND_IN(name, symbol, type, -1, , parameters, __VA_ARGS__)
#define POINTER(name, symbol, type, parameters, ...)                                               \
    STAND_IN(name, symbol, type *, NULL, , parameters, __VA_ARGS__)

/* Asked for less, a call returns less. */
static bool cut(int *fault, size_t *length, size_t least)
{
    if (*fault != SHORT)
        return false;
    *fault = 0;
    if (*length > least)
        *length = least;
    return true;
}

#define SHORTENED(name, symbol, type, parameters, ...)                                             \
    STAND_IN(name, symbol, type, -1, cut(&fault, &length, (length + 1) / 2), parameters,           \
             __VA_ARGS__)

/* Memory. Those that call malloc() themselves count once. */
POINTER(malloc, malloc, void, (size_t size), size)
POINTER(calloc, calloc, void, (size_t count, size_t size), count, size)
POINTER(realloc, realloc, void, (void *old, size_t size), old, size)

#define OUTER(name, symbol, type, failed, parameters, ...)                                         \
    type stand_in_##symbol parameters __asm__(#symbol);                                            \
    type stand_in_##symbol parameters                                                              \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        type result;                                                                               \
        int fault = meet(F_##name, SITE);                                                          \
                                                                                                   \
        if (!real)                                                                                 \
            real = (type(*) parameters)next(#symbol);                                              \
        if (fault != 0) {                                                                          \
            errno = fault;                                                                         \
            return failed;                                                                         \
        }                                                                                          \
        within++;                                                                                  \
        result = real(__VA_ARGS__);                                                                \
        within--;                                                                                  \
        return result;                                                                             \
    }

typedef char *string;
typedef void *memory;
OUTER(reallocarray, reallocarray, memory, NULL, (void *old, size_t count, size_t size), old, count,
      size)
OUTER(strdup, strdup, string, NULL, (const char *text), text)
OUTER(strndup, strndup, string, NULL, (const char *text, size_t length), text, length)

/* With and without the checks of _FORTIFY_SOURCE, these end in the same function. */
static int print_to_memory(char **ret, const char *format, va_list arguments)
{
    int length;

    within++;
    length = vasprintf(ret, format, arguments);
    within--;
    return length;
}

int stand_in_asprintf(char **ret, const char *format, ...) __asm__("asprintf")
    __attribute__((format(printf, 2, 3)));
int stand_in_asprintf_chk(char **ret, int flag, const char *format, ...) __asm__("__asprintf_chk")
    __attribute__((format(printf, 3, 4)));

#define PRINT_TO_MEMORY                                                                            \
    va_list arguments;                                                                             \
    int fault = meet(F_asprintf, SITE), length;                                                    \
                                                                                                   \
    if (fault != 0) {                                                                              \
        errno = fault;                                                                             \
        return -1;                                                                                 \
    }                                                                                              \
    va_start(arguments, format);                                                                   \
    length = print_to_memory(ret, format, arguments);                                              \
    va_end(arguments);                                                                             \
    return length;

int stand_in_asprintf(char **ret, const char *format, ...)
{
    PRINT_TO_MEMORY
}

int stand_in_asprintf_chk(char **ret, int flag, const char *format, ...)
{
    (void)flag;
    PRINT_TO_MEMORY
}

/* Files. */
PLAIN(open, open64, int, (const char *path, int flags, mode_t mode), path, flags, mode)
PLAIN(open, __open64_2, int, (const char *path, int flags), path, flags)
PLAIN(openat, openat64, int, (int fd, const char *path, int flags, mode_t mode), fd, path, flags,
      mode)
PLAIN(openat, __openat64_2, int, (int fd, const char *path, int flags), fd, path, flags)
POINTER(fopen, fopen64, FILE, (const char *path, const char *mode), path, mode)
PLAIN(statx, statx, int, (int fd, const char *path, int flags, unsigned mask, struct statx *st), fd,
      path, flags, mask, st)
PLAIN(fstat, fstat64, int, (int fd, struct stat *st), fd, st)
PLAIN(fstatat, fstatat64, int, (int fd, const char *path, struct stat *st, int flags), fd, path, st,
      flags)
PLAIN(stat, stat64, int, (const char *path, struct stat *st), path, st)
PLAIN(fstatfs, fstatfs64, int, (int fd, struct statfs *st), fd, st)
PLAIN(readlinkat, readlinkat, ssize_t, (int fd, const char *path, char *buffer, size_t length), fd,
      path, buffer, length)
POINTER(realpath, realpath, char, (const char *path, char *resolved), path, resolved)
PLAIN(access, access, int, (const char *path, int mode), path, mode)
/* An entry has to fit. */
STAND_IN(getdents64, getdents64, ssize_t, -1, cut(&fault, &length, 512),
         (int fd, void *buffer, size_t length), fd, buffer, length)
SHORTENED(read, read, ssize_t, (int fd, void *buffer, size_t length), fd, buffer, length)
SHORTENED(read, __read_chk, ssize_t, (int fd, void *buffer, size_t length, size_t size), fd, buffer,
          length, size)
SHORTENED(pread, pread64, ssize_t, (int fd, void *buffer, size_t length, off_t offset), fd, buffer,
          length, offset)
SHORTENED(write, write, ssize_t, (int fd, const void *bytes, size_t length), fd, bytes, length)
SHORTENED(pwrite, pwrite64, ssize_t, (int fd, const void *bytes, size_t length, off_t offset), fd,
          bytes, length, offset)
STAND_IN(preadv2, preadv64v2, ssize_t, -1, struct iovec less = *vector;
         if (cut(&fault, &less.iov_len, 1)) vector = &less,
         (int fd, const struct iovec *vector, int count, off_t offset, int flags), fd, vector,
         count, offset, flags)
PLAIN(ftruncate, ftruncate64, int, (int fd, off_t length), fd, length)
PLAIN(fchmod, fchmod, int, (int fd, mode_t mode), fd, mode)
PLAIN(flock, flock, int, (int fd, int operation), fd, operation)
PLAIN(unlinkat, unlinkat, int, (int fd, const char *path, int flags), fd, path, flags)
/* Linux closes a descriptor even where it says that it failed. */
STAND_IN(close, close, int, -1, if (fault != 0)(void) real(fd), (int fd), fd)
PLAIN(fcntl, fcntl64, int, (int fd, int operation, long argument), fd, operation, argument)
PLAIN(dup2, dup2, int, (int old, int new), old, new)
PLAIN(chdir, chdir, int, (const char *path), path)

/* Sockets. */
PLAIN(socket, socket, int, (int domain, int type, int protocol), domain, type, protocol)
PLAIN(bind, bind, int, (int fd, const struct sockaddr *address, socklen_t length), fd, address,
      length)
PLAIN(listen, listen, int, (int fd, int backlog), fd, backlog)
PLAIN(connect, connect, int, (int fd, const struct sockaddr *address, socklen_t length), fd,
      address, length)
PLAIN(accept4, accept4, int, (int fd, struct sockaddr *address, socklen_t *length, int flags), fd,
      address, length, flags)
STAND_IN(recv, recv, ssize_t, -1, cut(&fault, &length, 1),
         (int fd, void *buffer, size_t length, int flags), fd, buffer, length, flags)
SHORTENED(send, send, ssize_t, (int fd, const void *bytes, size_t length, int flags), fd, bytes,
          length, flags)
PLAIN(sendto, sendto, ssize_t,
      (int fd, const void *bytes, size_t length, int flags, const struct sockaddr *address,
       socklen_t address_length),
      fd, bytes, length, flags, address, address_length)
PLAIN(sendmsg, sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), fd, message,
      flags)
PLAIN(setsockopt, setsockopt, int,
      (int fd, int level, int option, const void *value, socklen_t length), fd, level, option,
      value, length)
PLAIN(shutdown, shutdown, int, (int fd, int how), fd, how)

/* Watches. */
PLAIN(inotify_init1, inotify_init1, int, (int flags), flags)
PLAIN(inotify_add_watch, inotify_add_watch, int, (int fd, const char *path, uint32_t mask), fd,
      path, mask)
PLAIN(inotify_rm_watch, inotify_rm_watch, int, (int fd, int number), fd, number)
PLAIN(poll, poll, int, (struct pollfd * fds, nfds_t count, int timeout), fds, count, timeout)
PLAIN(poll, __poll_chk, int, (struct pollfd * fds, nfds_t count, int timeout, size_t size), fds,
      count, timeout, size)

/* Others. */
PLAIN(epoll_create1, epoll_create1, int, (int flags), flags)
int stand_in_epoll_ctl(int epoll, int operation, int fd,
                       struct epoll_event *event) __asm__("epoll_ctl");

/* Only what is added takes memory. */
int stand_in_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    static int (*real)(int, int, int, struct epoll_event *);
    int fault = operation == EPOLL_CTL_ADD ? meet(F_epoll_ctl, SITE) : 0;

    if (!real)
        real = (int (*)(int, int, int, struct epoll_event *))next("epoll_ctl");
    if (fault != 0) {
        errno = fault;
        return -1;
    }
    return real(epoll, operation, fd, event);
}

PLAIN(epoll_wait, epoll_wait, int, (int epoll, struct epoll_event *events, int max, int timeout),
      epoll, events, max, timeout)
PLAIN(timerfd_create, timerfd_create, int, (int clock, int flags), clock, flags)
PLAIN(signalfd, signalfd, int, (int fd, const sigset_t *mask, int flags), fd, mask, flags)
PLAIN(eventfd, eventfd, int, (unsigned value, int flags), value, flags)
PLAIN(eventfd_read, eventfd_read, int, (int fd, eventfd_t *value), fd, value)
PLAIN(pipe2, pipe2, int, (int fds[2], int flags), fds, flags)
PLAIN(fork, fork, pid_t, (void), )
PLAIN(setsid, setsid, pid_t, (void), )
STAND_IN(pthread_create, pthread_create, int, fault, ,
         (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *),
          void *argument),
         thread, attributes, start, argument)
PLAIN(getrandom, getrandom, ssize_t, (void *buffer, size_t length, unsigned flags), buffer, length,
      flags)
PLAIN(setrlimit, setrlimit64, int, (int resource, const struct rlimit *limit), resource, limit)
PLAIN(prctl, prctl, int, (int option, long a, long b, long c, long d), option, a, b, c, d)
/* Short of memory amid these, the C library aborts by itself: they fail as a whole, or not. */
typedef struct passwd *passwd_entry;
OUTER(getpwnam, getpwnam, passwd_entry, NULL, (const char *name), name)
OUTER(getpwuid, getpwuid, passwd_entry, NULL, (uid_t user), user)
OUTER(initgroups, initgroups, int, -1, (const char *user, gid_t group), user, group)
PLAIN(setresuid, setresuid, int, (uid_t real_id, uid_t effective, uid_t saved), real_id, effective,
      saved)
PLAIN(setresgid, setresgid, int, (gid_t real_id, gid_t effective, gid_t saved), real_id, effective,
      saved)
PLAIN(kill, kill, int, (pid_t pid, int number), pid, number)

/* What has no function of its own. Returns FUNCTIONS_COUNT for what never fails here. */
static enum function function_of(long number)
{
    switch (number) {
    case SYS_openat2:
        return F_openat2;
    case SYS_capset:
        return F_capset;
    case SYS_landlock_create_ruleset:
        return F_landlock_create_ruleset;
    case SYS_landlock_add_rule:
        return F_landlock_add_rule;
    case SYS_landlock_restrict_self:
        return F_landlock_restrict_self;
    default:
        return FUNCTIONS_COUNT;
    }
}

long stand_in_syscall(long number, long a, long b, long c, long d, long e,
                      long f) __asm__("syscall");

long stand_in_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*real)(long, long, long, long, long, long, long);
    enum function function = function_of(number);
    int fault = function == FUNCTIONS_COUNT ? 0 : meet(function, SITE);

    if (!real)
        real = (long (*)(long, long, long, long, long, long, long))next("syscall");
    if (fault != 0) {
        errno = fault;
        return -1;
    }
    return real(number, a, b, c, d, e, f);
}

typedef int (*main_function)(int, char **, char **);
typedef void (*plain_function)(void);

int stand_in_start(main_function start, int argc, char **argv, plain_function init,
                   plain_function fini, plain_function loader_fini,
                   void *stack) __asm__("__libc_start_main");

int stand_in_start(main_function start, int argc, char **argv, plain_function init,
                   plain_function fini, plain_function loader_fini, void *stack)
{
    int (*real)(main_function, int, char **, plain_function, plain_function, plain_function,
                void *) = next("__libc_start_main");

    started = true;
    return real(start, argc, argv, init, fini, loader_fini, stack);
}
