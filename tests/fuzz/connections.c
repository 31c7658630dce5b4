/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's connections, from listening sockets to answers, with clients who do whatever they
 * like, whenever they like. Real sockets, real threads, real mailboxes (see mailroom.h).
 *
 * The input is a script. Its first byte chooses how many connections there may be, and what is
 * answered to errors; then each byte is an order, with its arguments behind it. What is no order is
 * skipped, so that scripts may have blanks. N is a client's number, one digit.
 *
 *     C        one more client connects
 *     P        one more comes by a socket of its own, with hardly any buffer for what it is told
 *     I        one more connects by TCP, where there is a loopback device
 *     O        one more connects as Postfix does
 *     N        one more of Postfix comes by a socket of its own, with hardly any buffer
 *     SN...~   sends the bytes up to the tilde
 *     RNkx     sends k times 256 bytes x
 *     HN       ends its side of the connection
 *     XN       is gone, by TCP without a farewell
 *     AN       reads what there is
 *     L        the daemon's event loop turns once
 *     W        the same, and there is time for its threads
 *     Tk       10^k milliseconds pass, k a digit up to 7, and the loop turns once
 *     Mk       mailboxes change
 *     G        the limits are read again
 *     Ek       there are only k more descriptors, until F
 *     F        there are enough again
 *     D        the daemon stops, once all who came are answered
 *     Q        the daemon ends at once
 *
 * What must hold: no client receives more than one line (and steps before it, if it asked for an
 * explanation), and nothing behind it. A client that stays receives one, in the form that its
 * request has, or is given up by the rules: the deadline, and making room for others. At the end
 * there is no connection, no descriptor, no memory left, and at no time there was more memory than
 * the connections explain.
 */
#include "fuzz.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <sanitizer/allocator_interface.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "mailroom.h"
#include "policy_model.h"
#include "protocol/pairs.h"
#include "protocol/steps.h"
#include "server/listener.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define CLIENTS_MAX     10
#define DESCRIPTORS_MAX 256

/* What there is without any connection, and what one of them may take. */
#define MEMORY_BYTES            (3 * 1024 * 1024)
#define CONNECTION_MEMORY_BYTES (48 * 1024 + POLICY_BYTES_MAX)

/* How long the daemon's threads may take for what is small, before it is called a hang. */
#define PATIENCE_USEC (20 * USEC_PER_SEC)

/* So much of a request that is too long is taken in any case. */
#define MUCH_BYTES (1024 * 1024)

/* After this every deadline has passed. */
#define LONG_USEC (60 * USEC_PER_SEC)

struct client {
    int fd;       /* -1: gone */
    bool ended;   /* it will send nothing more */
    bool refused; /* what it sends is not taken any more */
    bool excused; /* it may be given up before its request is read, and not be told all */
    bool narrow;  /* its socket has hardly any buffer, or may lose what it holds */
    size_t sent_length;
    size_t length;
    char line[REQUEST_BYTES_MAX + 1]; /* the beginning of what it has sent */
    bool told_all;
    size_t told_length;
    char told[STEPS_BYTES_MAX + 1];
    bool is_policy; /* it is Postfix; these are for it instead of the line */
    size_t replies; /* whole ones that were read; told holds what follows them */
    struct policy_model sent;
};

struct world {
    sd_event *event;
    struct query_service *service;
    struct connections *connections;
    struct listeners *listeners;
    int listen_fds[PROTOCOL_COUNT_];
    struct sockaddr_un addresses[PROTOCOL_COUNT_];
    socklen_t address_lengths[PROTOCOL_COUNT_];
    int tcp_fd; /* -1 until somebody comes that way */
    struct settings settings;
    struct client clients[CLIENTS_MAX];
    size_t clients_count;
    size_t base_bytes;
    rlim_t allowed; /* descriptors */
    bool draining, drained;
    bool quit;
};

static struct world world;
static struct journal *journal;
static bool is_mailroom_changed;

/* How far the monotonic clock runs ahead of the kernel's. It never goes back. */
static uint64_t ahead_usec;

/*
 * Instead of the C library's, for the daemon and for libsystemd. (--wrap would not reach a shared
 * library.) An event loop finds the timers that are due by its clock whenever it turns, without
 * being woken by them.
 */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t usec = __atomic_load_n(&ahead_usec, __ATOMIC_RELAXED);

    if (syscall(SYS_clock_gettime, clock, now) < 0)
        return -1;
    if (clock == CLOCK_MONOTONIC) {
        now->tv_nsec += (long)(usec % USEC_PER_SEC * 1000);
        now->tv_sec += (time_t)(usec / USEC_PER_SEC) + now->tv_nsec / 1000000000;
        now->tv_nsec %= 1000000000;
    }
    return 0;
}

static void pass_time(uint64_t usec)
{
    __atomic_add_fetch(&ahead_usec, usec, __ATOMIC_RELAXED);
}

/* Returns the time since the start, whatever passes by pass_time(). */
static uint64_t true_usec(void)
{
    return clock_usec(CLOCK_BOOTTIME);
}

/* Sets how many descriptors there may be, for the daemon and for us. */
static void set_descriptors(rlim_t count)
{
    struct rlimit limit;

    require(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    require(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Leaves so many descriptors beyond those that are open. */
static void starve(rlim_t left)
{
    int lowest;

    set_descriptors(DESCRIPTORS_MAX);
    lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    require(lowest >= 0);
    require(close(lowest) == 0);
    world.allowed = (rlim_t)lowest + left;
    set_descriptors(world.allowed);
}

static void feed(void)
{
    world.allowed = DESCRIPTORS_MAX;
    set_descriptors(world.allowed);
}

/* Lists which descriptors are open, in one system call. */
static void list_descriptors(bool open[static DESCRIPTORS_MAX])
{
    struct pollfd all[DESCRIPTORS_MAX] = {};

    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        all[fd].fd = fd;
    require(poll(all, DESCRIPTORS_MAX, 0) >= 0);
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        open[fd] = !(all[fd].revents & POLLNVAL);
}

/* Whether what Postfix has sent so far was answered, and nothing has begun. */
static bool is_at_rest(const struct client *client)
{
    return client->replies == client->sent.valid && client->sent.length == 0 &&
           !client->sent.broken && !client->ended;
}

/* Time will pass for everybody but those at rest. */
static void excuse_all(void)
{
    for (size_t i = 0; i < world.clients_count; i++)
        if (!world.clients[i].is_policy || !is_at_rest(&world.clients[i]))
            world.clients[i].excused = true;
}

static void on_closed(void *userdata)
{
    (void)userdata;
    if (world.listeners)
        listeners_resume(world.listeners);
}

static void on_drained(void *userdata)
{
    (void)userdata;
    require(!listeners_active(world.listeners));
    world.drained = true;
}

static void on_reloaded(void *userdata)
{
    (void)userdata;
}

/* Returns whether the client has asked, and the length of its line. */
static bool has_asked(const struct client *client, size_t *ret_length)
{
    const char *lf = memchr(client->line, '\n', client->length);

    *ret_length = 0;
    if (client->is_policy)
        return client->ended;
    *ret_length = lf ? (size_t)(lf - client->line) : client->length;
    return lf || client->ended || client->length > REQUEST_BYTES_MAX;
}

/* Whether what the client has sent can be no request any more, whatever follows. */
static bool is_too_long(const struct client *client)
{
    return client->length > REQUEST_BYTES_MAX && !memchr(client->line, '\n', client->length);
}

/*
 * Where places or descriptors are few, whoever has not asked yet may have to make room, and so may
 * whoever does not take all of its answer at once, or still sends after it. Nobody else may, and
 * Postfix least of all.
 */
static void excuse_those_in_the_way(void)
{
    if (world.allowed == DESCRIPTORS_MAX && world.clients_count <= world.settings.connections_max)
        return;
    for (size_t i = 0; i < world.clients_count; i++) {
        size_t length;

        if (world.clients[i].is_policy)
            continue;
        if (world.clients[i].narrow || is_too_long(&world.clients[i]) ||
            !has_asked(&world.clients[i], &length))
            world.clients[i].excused = true;
    }
}

/* Lets the loop turn once. Returns whether there was anything to do. */
static bool turn(uint64_t wait_usec)
{
    int r;

    excuse_those_in_the_way();
    r = sd_event_run(world.event, wait_usec);
    require(r >= 0);
    require(connections_count(world.connections) <=
            PROTOCOL_COUNT_ * (size_t)world.settings.connections_max);
    return r > 0;
}

static void check_memory(void)
{
    size_t bytes = __sanitizer_get_current_allocated_bytes();

    require(bytes <= world.base_bytes + MEMORY_BYTES +
                         connections_count(world.connections) * CONNECTION_MEMORY_BYTES);
}

static struct client *add_client(int fd)
{
    struct client *client = &world.clients[world.clients_count++];

    *client = (struct client){.fd = fd};
    return client;
}

static void connect_client(enum protocol protocol)
{
    int fd;

    if (world.clients_count == CLIENTS_MAX || world.draining)
        return;
    set_descriptors(DESCRIPTORS_MAX);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    require(connect(fd, (struct sockaddr *)&world.addresses[protocol],
                    world.address_lengths[protocol]) == 0);
    set_descriptors(world.allowed);
    add_client(fd)->is_policy = protocol == PROTOCOL_POLICY;
}

/* Listens on TCP. Returns whether that is to be had. */
static bool listen_tcp(void)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_(closep) int fd = -1;

    if (world.tcp_fd >= 0)
        return true;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return false;
    world.tcp_fd = steal_fd(&fd);
    require(listen(world.tcp_fd, CLIENTS_MAX) == 0);
    require(listeners_add(world.listeners, world.tcp_fd, PROTOCOL_LINE) == 0);
    return true;
}

static void connect_tcp_client(void)
{
    static const struct linger reset = {.l_onoff = 1};
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    struct client *client;
    int fd;

    if (world.clients_count == CLIENTS_MAX || world.allowed < DESCRIPTORS_MAX || world.draining)
        return;
    if (!listen_tcp())
        return;
    require(getsockname(world.tcp_fd, (struct sockaddr *)&address, &length) == 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, length) < 0) {
        require(close(fd) == 0); /* no device, or no port */
        return;
    }
    require(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    client = add_client(fd);
    /* A reset overtakes what was sent before it. */
    client->narrow = client->excused = true;
}

static void pass_client(enum protocol protocol)
{
    static const int smallest = 1;
    struct client *client;
    int fds[2];

    if (world.clients_count == CLIENTS_MAX || world.allowed < DESCRIPTORS_MAX || world.draining)
        return;
    if (connections_blocked(world.connections, protocol))
        return; /* there must be a place, or one to be made */
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    require(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)) == 0);
    client = add_client(fds[0]);
    client->narrow = true;
    client->is_policy = protocol == PROTOCOL_POLICY;
    excuse_those_in_the_way();
    require(connections_take(world.connections, fds[1], protocol) == 0);
}

/* Whoever sends too much may go on for a while, so that it reads why it was wrong. */
static bool may_go_on(const struct client *client)
{
    return !client->is_policy && is_too_long(client) && client->sent_length < MUCH_BYTES &&
           !client->excused;
}

static void send_bytes(struct client *client, const char *bytes, size_t length)
{
    ssize_t n;

    if (client->fd < 0 || client->ended || client->refused || length == 0)
        return;
    n = send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        client->refused = errno != EAGAIN;
        require(!client->refused || !may_go_on(client));
        return;
    }
    client->sent_length += (size_t)n;
    if (client->is_policy) {
        policy_model_send(&client->sent, bytes, (size_t)n);
        return;
    }
    for (ssize_t i = 0; i < n && client->length < sizeof(client->line); i++)
        client->line[client->length++] = bytes[i];
}

static void send_run(struct client *client, size_t blocks, char byte)
{
    char block[256];

    memset(block, byte, sizeof(block));
    for (size_t i = 0; i < blocks; i++)
        send_bytes(client, block, sizeof(block));
}

/* Takes the whole replies out of what the client of Postfix has received. */
static void take_replies(struct client *client)
{
    size_t whole = client->told_length;

    while (whole > 0 && (whole < 2 || memcmp(client->told + whole - 2, "\n\n", 2) != 0))
        whole--;
    client->replies += policy_model_replies(client->told, whole);
    client->told_length -= whole;
    memmove(client->told, client->told + whole, client->told_length);
}

static void read_told(struct client *client)
{
    while (client->fd >= 0 && !client->told_all) {
        ssize_t n = recv(client->fd, client->told + client->told_length,
                         sizeof(client->told) - client->told_length, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return;
        require(n >= 0 || errno == ECONNRESET || errno == EPIPE);
        if (n <= 0)
            client->told_all = true;
        else
            client->told_length += (size_t)n;
        if (client->is_policy)
            take_replies(client);
        require(client->told_length < sizeof(client->told));
    }
}

static void leave(struct client *client)
{
    read_told(client);
    if (client->fd >= 0)
        require(close(client->fd) == 0);
    client->fd = -1;
}

static bool expects_pairs(const struct client *client, size_t length)
{
    size_t i = 0;

    while (i < length && ((client->line[i] >= 'a' && client->line[i] <= 'z') ||
                          (client->line[i] >= 'A' && client->line[i] <= 'Z')))
        i++;
    return i > 0 && (i == length || client->line[i] == ' ' || client->line[i] == '\0');
}

/* The answer is about the mailbox that was asked for, or the one that it is a folder of. */
static void check_mailbox(const struct client *client, size_t length, const char *mailbox)
{
    char *path;

    if (length < 7 || memcmp(client->line, "usage /", 7) != 0)
        return;
    path = fuzz_string(client->line + 6, length - 6);
    mailbox_normalise_path(path);
    require(strncmp(path, mailbox, strlen(mailbox)) == 0);
    free(path);
}

/* The line of pairs told[0..told_length) that a client received is whole, and its own. */
static void check_pairs(const struct client *client, size_t length, const char *told,
                        size_t told_length)
{
    char *line = fuzz_copy(told, told_length - 1, 1);
    struct pairs pairs;
    const char *mailbox;

    require(pairs_parse(line, told_length - 1, &pairs) == 0);
    require(pairs_find(&pairs, "status"));
    mailbox = pairs_find(&pairs, "mailbox");
    if (mailbox)
        check_mailbox(client, length, mailbox);
    if (length == 4 && memcmp(client->line, "ping", 4) == 0)
        require(pairs_find(&pairs, "version"));
    free(line);
}

/* One reply for each request, in order, and none more; and who is at rest is not closed. */
static void check_policy(const struct client *client)
{
    require(client->replies <= client->sent.valid);
    if (client->fd < 0 || world.quit || client->excused)
        return;
    require(client->told_all == !is_at_rest(client));
    require(client->replies == client->sent.valid && client->told_length == 0);
}

/* Returns the bytes of the steps that come before the last line of an explanation. */
static size_t skip_steps(const struct client *client)
{
    bool explains = client->length >= 7 && memcmp(client->line, "explain", 7) == 0;
    size_t steps = 0;

    while (client->told_length - steps > 5 && memcmp(client->told + steps, "step=", 5) == 0) {
        const char *lf = memchr(client->told + steps, '\n', client->told_length - steps);

        require(explains);
        steps = lf ? (size_t)(lf + 1 - client->told) : client->told_length;
    }
    return steps;
}

static void check_told(const struct client *client)
{
    size_t steps = skip_steps(client), told_length = client->told_length - steps, length;
    const char *told = client->told + steps;
    const char *lf = memchr(told, '\n', told_length);
    bool pairs = told_length > 0 && told[0] == 's';

    if (client->is_policy) {
        check_policy(client);
        return;
    }
    require(!lf || lf == told + told_length - 1);
    for (size_t i = 0; !pairs && i < told_length && told + i != lf; i++)
        require(told[i] >= '0' && told[i] <= '9');
    if (client->fd < 0 || world.quit)
        return;
    require(client->told_all);
    if (client->narrow && client->excused)
        return;
    require(lf);
    if (!has_asked(client, &length) || client->excused)
        return;
    require(pairs == expects_pairs(client, length));
    if (pairs)
        check_pairs(client, length, told, told_length);
}

static bool everybody(bool only_who_asked)
{
    for (size_t i = 0; i < world.clients_count; i++) {
        const struct client *client = &world.clients[i];
        size_t length;

        if (client->fd >= 0 && !client->told_all &&
            (!only_who_asked || (has_asked(client, &length) && !client->excused)))
            return false;
    }
    return true;
}

/* Lets the loop turn, and everybody read, until all, or all who have asked, were told. */
static void settle(bool only_who_asked)
{
    uint64_t start_usec = true_usec();
    bool had_work = true;

    while (!everybody(only_who_asked) || (!only_who_asked && had_work)) {
        had_work = turn(had_work ? 0 : USEC_PER_MSEC);
        for (size_t i = 0; i < world.clients_count; i++)
            read_told(&world.clients[i]);
        if (!only_who_asked && !had_work)
            pass_time(LONG_USEC);
        require(true_usec() - start_usec < PATIENCE_USEC);
    }
}

static void half_close(struct client *client)
{
    if (client->fd >= 0)
        (void)shutdown(client->fd, SHUT_WR);
    client->ended = true;
}

/* Postfix ends its side, after whoever is at rest has turned out not to be closed. */
static void end_policy(void)
{
    for (size_t i = 0; i < world.clients_count; i++) {
        struct client *client = &world.clients[i];

        if (!client->is_policy || client->fd < 0)
            continue;
        read_told(client);
        if (!client->excused && is_at_rest(client))
            require(!client->told_all);
        half_close(client);
    }
}

/* The end of a day: everybody is answered or given up. */
static void finish(void)
{
    uint64_t start_usec = true_usec();

    feed();
    end_policy();
    if (!world.draining)
        settle(true);
    for (size_t i = 0; i < world.clients_count; i++) {
        size_t length;

        if (!has_asked(&world.clients[i], &length))
            world.clients[i].excused = true;
    }
    settle(false);
    while (connections_count(world.connections) > 0 || world.drained != world.draining) {
        pass_time(LONG_USEC);
        (void)turn(USEC_PER_MSEC);
        require(true_usec() - start_usec < 2 * PATIENCE_USEC);
    }
}

static void stop(void)
{
    world.draining = true;
    excuse_those_in_the_way();
    for (size_t i = 0; i < world.clients_count; i++)
        world.clients[i].excused |= world.clients[i].is_policy;
    connections_end(world.connections);
    listeners_drain(world.listeners, on_drained, NULL);
}

static void change_mailboxes(unsigned int how)
{
    static const char over[] = "1000S,10C\n900 1\n200 1\n", fresh[] = "1000S,10C\n1100 2\n";
    static const struct timespec old[] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

    is_mailroom_changed = true;
    set_descriptors(DESCRIPTORS_MAX);
    switch (how % 5) {
    case 0:
        mailroom_write("joe/maildirsize", over, sizeof(over) - 1);
        break;
    case 1:
        mailroom_write("joe/maildirsize", fresh, sizeof(fresh) - 1);
        break;
    case 2:
        mailroom_write("joe/maildirsize", fresh, sizeof(fresh) - 1);
        require(utimensat(MAILROOM_FD, "joe/maildirsize", old, 0) == 0);
        break;
    case 3:
        (void)unlinkat(MAILROOM_FD, "joe/maildirsize", 0);
        break;
    default:
        mailroom_write("limits", "*: x\n", 5);
        break;
    }
    set_descriptors(world.allowed);
}

static void restore_mailboxes(void)
{
    if (!is_mailroom_changed)
        return;
    mailroom_write("joe/maildirsize", "1000S,10C\n700 2\n", 16);
    mailroom_write("limits", "ann@example.org: 25\n*: 5000,1C\n", 31);
    is_mailroom_changed = false;
}

static unsigned int take_digit(struct fuzz_input *input)
{
    unsigned int digit = input->left > 0 ? (unsigned char)*input->at : '0';

    input->at += input->left > 0;
    input->left -= input->left > 0;
    return (digit - '0') & 0xff;
}

static struct client *take_client(struct fuzz_input *input)
{
    static struct client nobody = {.fd = -1};
    unsigned int number = take_digit(input);

    return world.clients_count > 0 ? &world.clients[number % world.clients_count] : &nobody;
}

static void take_sending(struct fuzz_input *input)
{
    struct client *client = take_client(input);
    const char *end = input->left > 0 ? memchr(input->at, '~', input->left) : NULL;
    size_t length = end ? (size_t)(end - input->at) : input->left;

    send_bytes(client, input->at, length);
    input->at += length + (end != NULL);
    input->left -= length + (end != NULL);
}

static void let_time_pass(unsigned int power)
{
    uint64_t usec = USEC_PER_MSEC;

    for (; power % 8 > 0; power--)
        usec *= 10;
    excuse_all();
    pass_time(usec);
    (void)turn(0); /* which would have been woken */
}

static void take_order(struct fuzz_input *input)
{
    struct client *client;
    unsigned int number;

    switch (take_digit(input) + '0') {
    case 'C':
        connect_client(PROTOCOL_LINE);
        break;
    case 'O':
        connect_client(PROTOCOL_POLICY);
        break;
    case 'P':
        pass_client(PROTOCOL_LINE);
        break;
    case 'N':
        pass_client(PROTOCOL_POLICY);
        break;
    case 'I':
        connect_tcp_client();
        break;
    case 'S':
        take_sending(input);
        break;
    case 'R':
        client = take_client(input);
        number = take_digit(input);
        send_run(client, number, (char)(take_digit(input) + '0'));
        break;
    case 'H':
        half_close(take_client(input));
        break;
    case 'X':
        leave(take_client(input));
        break;
    case 'A':
        read_told(take_client(input));
        break;
    case 'L':
        (void)turn(0);
        break;
    case 'W':
        (void)turn(USEC_PER_MSEC);
        break;
    case 'T':
        let_time_pass(take_digit(input));
        break;
    case 'M':
        change_mailboxes(take_digit(input));
        break;
    case 'G':
        limits_store_reload(query_limits(world.service), on_reloaded, NULL);
        break;
    case 'E':
        starve(take_digit(input) % 4);
        break;
    case 'F':
        feed();
        break;
    case 'D':
        stop();
        break;
    case 'Q':
        world.quit = true;
        break;
    default:
        break;
    }
}

static void listen_for(enum protocol protocol)
{
    struct sockaddr_un *address = &world.addresses[protocol];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(fd >= 0);
    address->sun_family = AF_UNIX;
    /* A name that the kernel chooses. */
    require(bind(fd, (struct sockaddr *)address, sizeof(sa_family_t)) == 0);
    require(listen(fd, CLIENTS_MAX) == 0);
    world.address_lengths[protocol] = sizeof(*address);
    require(getsockname(fd, (struct sockaddr *)address, &world.address_lengths[protocol]) == 0);
    require(listeners_add(world.listeners, fd, protocol) == 0);
    world.listen_fds[protocol] = fd;
}

static void make_world(unsigned int choice)
{
    static char by_domain[] = MAILROOM "/%d/%n", by_name[] = MAILROOM "/%n";
    static char *templates[] = {by_domain, by_name};
    static char delimiters[] = "+", limits_path[] = MAILROOM "/limits";
    size_t max[PROTOCOL_COUNT_];

    world = (struct world){
        .settings =
            {
                .connections_max = 1 + choice / 2 % 8,
                .timeout_usec = 10 * USEC_PER_SEC,
                .exit_idle_usec = UINT64_MAX,
                .on_error = choice % 2 ? ON_ERROR_DEFER : ON_ERROR_ACCEPT,
                .quota =
                    {
                        .mailbox = *mailroom_settings(),
                        .templates = templates,
                        .templates_count = 2,
                        .delimiters = delimiters,
                        .limits_path = limits_path,
                        .verdict = {.warn_percent = 90},
                    },
                .scan_threads = 2,
                .scan_timeout_usec = 5 * USEC_PER_SEC,
                .cache_bytes = (size_t)256 * 1024,
            },
        .base_bytes = __sanitizer_get_current_allocated_bytes(),
        .tcp_fd = -1,
        .allowed = DESCRIPTORS_MAX,
    };
    require(sd_event_new(&world.event) == 0);
    require(query_service_new(world.event, &world.settings, world.settings.connections_max, true,
                              journal, &world.service) == 0);
    limits_store_load(query_limits(world.service), false);
    for (size_t i = 0; i < PROTOCOL_COUNT_; i++)
        max[i] = world.settings.connections_max;
    require(connections_new(world.event, world.service, max, world.settings.timeout_usec, on_closed,
                            NULL, &world.connections) == 0);
    require(listeners_new(world.event, world.connections, journal, &world.listeners) == 0);
    for (size_t i = 0; i < PROTOCOL_COUNT_; i++)
        listen_for((enum protocol)i);
}

static void end_world(void)
{
    struct listeners *listeners = world.listeners;

    world.listeners = NULL;
    connections_free(world.connections);
    listeners_free(listeners);
    while (!query_service_end(world.service))
        (void)usleep(100); /* a thread is at work; it has little to do */
    sd_event_unref(world.event);
    for (size_t i = 0; i < PROTOCOL_COUNT_; i++)
        require(close(world.listen_fds[i]) == 0);
    closep(&world.tcp_fd);
    for (size_t i = 0; i < world.clients_count; i++) {
        read_told(&world.clients[i]);
        check_told(&world.clients[i]);
        if (world.clients[i].fd >= 0)
            require(close(world.clients[i].fd) == 0);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    mailroom_init();
    is_mailroom_changed = true;
    restore_mailboxes();
    require(journal_open(JOURNAL_FILE, "/dev/null", true, &journal) == 0);
    feed();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool open_before[DESCRIPTORS_MAX], open_after[DESCRIPTORS_MAX];
    struct fuzz_input input = {(const char *)data, size};

    list_descriptors(open_before);
    make_world(take_digit(&input));
    while (input.left > 0 && !world.quit) {
        take_order(&input);
        check_memory();
    }
    if (!world.quit)
        finish();
    feed();
    end_world();
    restore_mailboxes();
    list_descriptors(open_after);
    require(memcmp(open_before, open_after, sizeof(open_before)) == 0);
    return 0;
}
