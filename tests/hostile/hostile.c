/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients that mean harm, many at once, each of which does what it does again and again.
 *
 *     hostile SOCKET PATTERN COUNT QUESTION
 *
 * PATTERN is the name of a row of the table below, COUNT how many connections there are at a time,
 * and QUESTION what makes sense, without its last LF: a line, or a policy request. It says `ready`
 * once every connection was opened, goes on until standard input ends, and then prints one line:
 *
 *     opened=N closed=N sent=N
 *
 * opened counts the connections that were made, closed those of them that the other end has closed,
 * sent the bytes. It needs nothing but the C library. The exit status is 0, or 2 if it could not
 * begin.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define EXIT_USAGE 2

#define COUNT_MAX     100000
#define GARBAGE_BYTES 200
#define CHUNK_BYTES   65536
#define EVENTS_MAX    256

/* How long one attempt to connect waits where the queue of the socket is full. */
#define CONNECT_USEC 100000

/* What is sent. */
enum matter {
    NOTHING,
    LETTERS,  /* a line that never ends */
    GARBAGE,  /* anything at all, and an LF */
    QUESTION, /* what makes sense */
    FLOOD,    /* the same again and again */
};

struct pattern {
    const char *name;
    enum matter matter;
    uint64_t bytes; /* of letters */
    bool slow;      /* one of them a second */
    bool deaf;      /* never reads */
    bool leaves;    /* closes at one stage or another: connected, amid a question, after it, or
                       amid the answer */
    bool again;     /* connects again when it was closed; it keeps what is closed, else */
};

static const struct pattern patterns[] = {
    {.name = "silent", .matter = NOTHING},
    {.name = "restless", .matter = NOTHING, .again = true},
    {.name = "trickle", .matter = LETTERS, .bytes = UINT64_MAX, .slow = true, .again = true},
    {.name = "endless", .matter = LETTERS, .bytes = 8000, .again = true},
    {.name = "huge", .matter = LETTERS, .bytes = 100000000, .again = true},
    {.name = "garbage", .matter = GARBAGE, .again = true},
    {.name = "deaf", .matter = QUESTION, .deaf = true},
    {.name = "flood", .matter = FLOOD, .deaf = true, .again = true},
    {.name = "leaver", .matter = QUESTION, .leaves = true, .again = true},
};

struct client {
    int fd; /* -1: not connected */
    uint64_t sent;
    unsigned int stage; /* at which it leaves */
    bool over;          /* closed by the other end, and kept */
};

struct hostile {
    const struct pattern *pattern;
    struct sockaddr_un address;
    const char *question;
    size_t count;
    struct client *clients;
    size_t *waiting; /* clients that are to connect, a stack */
    size_t waiting_count;
    size_t first; /* clients that have not yet been connected once begin here */
    int epoll_fd;
    int timer_fd;
    unsigned int random;
    uint64_t opened, closed, sent;
    char chunk[CHUNK_BYTES];
};

/* What an event is about, where it is no client's number. */
#define ABOUT_INPUT UINT64_MAX
#define ABOUT_TIMER (UINT64_MAX - 1)

static void fail(const char *what)
{
    fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
    exit(EXIT_USAGE);
}

static void watch(struct hostile *hostile, int operation, int fd, uint32_t events, uint64_t about)
{
    struct epoll_event event = {.events = events, .data.u64 = about};

    if (epoll_ctl(hostile->epoll_fd, operation, fd, &event) < 0)
        fail("epoll_ctl");
}

static void leave(struct hostile *hostile, size_t number)
{
    struct client *client = &hostile->clients[number];

    close(client->fd);
    *client = (struct client){.fd = -1, .stage = client->stage + 1};
    hostile->waiting[hostile->waiting_count++] = number;
}

/* The other end has closed. */
static void was_closed(struct hostile *hostile, size_t number)
{
    struct client *client = &hostile->clients[number];

    hostile->closed++;
    if (hostile->pattern->again) {
        leave(hostile, number);
        return;
    }
    client->over = true;
    if (epoll_ctl(hostile->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL) < 0)
        fail("epoll_ctl");
}

/* Fills chunk[] with questions, the first from where the client was. Returns how much that is. */
static size_t prepare_flood(struct hostile *hostile, const struct client *client)
{
    size_t length = strlen(hostile->question) + 1, at = client->sent % length;

    for (size_t i = 0; i < CHUNK_BYTES; i++, at = (at + 1) % length)
        hostile->chunk[i] = at + 1 < length ? hostile->question[at] : '\n';
    return CHUNK_BYTES;
}

/* Returns how much of chunk[] is to be sent at once, which is made so. */
static size_t prepare(struct hostile *hostile, const struct client *client)
{
    const struct pattern *pattern = hostile->pattern;
    size_t length;

    switch (pattern->matter) {
    case LETTERS:
        memset(hostile->chunk, 'x', sizeof(hostile->chunk));
        if (client->sent == 0)
            hostile->chunk[0] = '/';
        if (pattern->slow)
            return 1;
        return pattern->bytes - client->sent < CHUNK_BYTES ? pattern->bytes - client->sent
                                                           : CHUNK_BYTES;
    case GARBAGE:
        length = (size_t)rand_r(&hostile->random) % GARBAGE_BYTES;
        if (getrandom(hostile->chunk, length, 0) < 0)
            fail("getrandom");
        hostile->chunk[length] = '\n';
        return length + 1;
    case QUESTION:
        length = strlen(hostile->question);
        if (pattern->leaves && client->stage % 4 == 0)
            return 0;
        memcpy(hostile->chunk, hostile->question, length);
        hostile->chunk[length] = '\n';
        return pattern->leaves && client->stage % 4 == 1 ? length / 2 : length + 1;
    case FLOOD:
        return prepare_flood(hostile, client);
    default:
        return 0;
    }
}

/* Sends what the pattern says, as far as the socket takes it. Returns whether it is still open. */
static bool send_some(struct hostile *hostile, size_t number)
{
    struct client *client = &hostile->clients[number];
    const struct pattern *pattern = hostile->pattern;
    size_t length = prepare(hostile, client);
    ssize_t n = 0;

    if (length > 0)
        n = send(client->fd, hostile->chunk, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) {
        was_closed(hostile, number);
        return false;
    }
    client->sent += n > 0 ? (uint64_t)n : 0;
    hostile->sent += n > 0 ? (uint64_t)n : 0;
    if (pattern->leaves && client->stage % 4 != 3) {
        leave(hostile, number);
        return false;
    }
    return true;
}

/* Whether a client has more to send as soon as it can. */
static bool wants_to_send(const struct hostile *hostile, const struct client *client)
{
    return hostile->pattern->matter == FLOOD ||
           (hostile->pattern->matter == LETTERS && !hostile->pattern->slow &&
            client->sent < hostile->pattern->bytes);
}

static uint32_t events_of(const struct hostile *hostile, const struct client *client)
{
    /* That the other end has closed is told whatever is asked for. */
    return (hostile->pattern->deaf ? 0 : EPOLLIN) | (wants_to_send(hostile, client) ? EPOLLOUT : 0);
}

/* Connects a client. Returns false where the queue is full, and it has to be tried again. */
static bool open_one(struct hostile *hostile, size_t number)
{
    struct client *client = &hostile->clients[number];
    const struct timeval patience = {.tv_usec = CONNECT_USEC};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
        fail("setsockopt");
    if (connect(fd, (const struct sockaddr *)&hostile->address, sizeof(hostile->address)) < 0) {
        /* Refused: the service is between two lives. */
        if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
            fail("connect");
        close(fd);
        return false;
    }
    hostile->opened++;
    client->fd = fd;
    client->sent = 0;
    watch(hostile, EPOLL_CTL_ADD, fd, 0, number);
    if (send_some(hostile, number))
        watch(hostile, EPOLL_CTL_MOD, fd, events_of(hostile, client), number);
    return true;
}

static void read_answer(struct hostile *hostile, size_t number)
{
    struct client *client = &hostile->clients[number];
    char answer[4096];
    ssize_t n;

    if (hostile->pattern->leaves) {
        n = recv(client->fd, answer, 1, MSG_DONTWAIT); /* and not the rest */
        leave(hostile, number);
        return;
    }
    do
        n = recv(client->fd, answer, sizeof(answer), MSG_DONTWAIT);
    while (n > 0);
    if (n == 0 || errno != EAGAIN)
        was_closed(hostile, number);
}

static void on_client(struct hostile *hostile, size_t number, uint32_t events)
{
    struct client *client = &hostile->clients[number];

    if (client->fd < 0 || client->over)
        return;
    if (hostile->pattern->deaf && events != EPOLLOUT) {
        was_closed(hostile, number);
    } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_answer(hostile, number);
    } else if (send_some(hostile, number) && !wants_to_send(hostile, client)) {
        watch(hostile, EPOLL_CTL_MOD, client->fd, events_of(hostile, client), number);
    }
}

/* A second is over: each of the slow sends a byte. */
static void on_timer(struct hostile *hostile)
{
    uint64_t count;

    if (read(hostile->timer_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        fail("read");
    for (size_t i = 0; i < hostile->first; i++)
        if (hostile->clients[i].fd >= 0)
            (void)send_some(hostile, i);
}

/* Opens some of the connections that are to be opened, so that others get their turn. */
static void open_some(struct hostile *hostile)
{
    for (int i = 0; i < EVENTS_MAX; i++) {
        if (hostile->first < hostile->count) {
            if (!open_one(hostile, hostile->first))
                return;
            if (++hostile->first == hostile->count) {
                puts("ready");
                fflush(stdout);
            }
        } else if (hostile->waiting_count > 0) {
            size_t number = hostile->waiting[--hostile->waiting_count];

            if (!open_one(hostile, number)) {
                hostile->waiting[hostile->waiting_count++] = number;
                return;
            }
        } else {
            return;
        }
    }
}

static void run(struct hostile *hostile)
{
    struct epoll_event events[EVENTS_MAX];

    for (;;) {
        bool busy = hostile->first < hostile->count || hostile->waiting_count > 0;
        int n = epoll_wait(hostile->epoll_fd, events, EVENTS_MAX, busy ? 0 : -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == ABOUT_INPUT)
                return;
            if (events[i].data.u64 == ABOUT_TIMER)
                on_timer(hostile);
            else
                on_client(hostile, (size_t)events[i].data.u64, events[i].events);
        }
        open_some(hostile);
    }
}

static void init(struct hostile *hostile)
{
    const struct itimerspec second = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("setrlimit");
    hostile->clients = calloc(hostile->count, sizeof(*hostile->clients));
    hostile->waiting = calloc(hostile->count, sizeof(*hostile->waiting));
    hostile->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    hostile->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (!hostile->clients || !hostile->waiting || hostile->epoll_fd < 0 || hostile->timer_fd < 0)
        fail("begin");
    for (size_t i = 0; i < hostile->count; i++)
        hostile->clients[i] = (struct client){.fd = -1, .stage = (unsigned int)i};
    watch(hostile, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, ABOUT_INPUT);
    watch(hostile, EPOLL_CTL_ADD, hostile->timer_fd, EPOLLIN, ABOUT_TIMER);
    if (hostile->pattern->slow && timerfd_settime(hostile->timer_fd, 0, &second, NULL) < 0)
        fail("timerfd_settime");
}

static const struct pattern *find_pattern(const char *name)
{
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        if (strcmp(patterns[i].name, name) == 0)
            return &patterns[i];
    return NULL;
}

int main(int argc, char **argv)
{
    static struct hostile hostile = {.address = {.sun_family = AF_UNIX}};

    if (argc != 5 || strlen(argv[1]) >= sizeof(hostile.address.sun_path) ||
        !find_pattern(argv[2]) || strlen(argv[4]) >= CHUNK_BYTES) {
        fputs("usage: hostile SOCKET PATTERN COUNT QUESTION\n", stderr);
        return EXIT_USAGE;
    }
    strcpy(hostile.address.sun_path, argv[1]);
    hostile.pattern = find_pattern(argv[2]);
    hostile.count = strtoul(argv[3], NULL, 10);
    hostile.question = argv[4];
    if (hostile.count < 1 || hostile.count > COUNT_MAX) {
        fprintf(stderr, "hostile: %s is no number from 1 to %d\n", argv[3], COUNT_MAX);
        return EXIT_USAGE;
    }
    init(&hostile);
    run(&hostile);
    printf("opened=%" PRIu64 " closed=%" PRIu64 " sent=%" PRIu64 "\n", hostile.opened,
           hostile.closed, hostile.sent);
    free(hostile.clients);
    free(hostile.waiting);
    return EXIT_SUCCESS;
}
