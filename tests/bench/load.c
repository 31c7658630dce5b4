/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks as Exim does, by many clients at once, and checks every answer: a connection a question,
 * written whole, half-closed, and read to its end.
 *
 *     load [-bm] SOCKET QUESTIONS CLIENTS COUNT [THINK]
 *
 * QUESTIONS is a file of lines, each a question, a tab and the answer that it must get; they are
 * asked in turn. It ends after COUNT answers, or, where COUNT is 0, when standard input ends. THINK
 * is how many milliseconds a client waits after an answer on average. With -b, answers need only
 * begin as the file says. With -m, questions and answers have many lines: a vertical tab stands for
 * a line feed in them.
 *
 * It needs nothing but the C library. It prints one line:
 *
 *     queries=N wrong=N failed=N seconds=S rate=R p50_usec=T p99_usec=T p999_usec=T max_usec=T
 *
 * queries counts the right answers; wrong, those that were whole lines but others than expected;
 * failed, the questions that got no whole line, or none in ten seconds. The first of each are shown
 * on standard error. The times are those of right answers, from before the socket is made until it
 * is closed, with three digits behind the point; times.h tells how exact they are. The exit status
 * is 0 if none was wrong or failed, 1 if any was, 2 if it could not begin.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "times.h"

#define EXIT_USAGE 2

/* As long as Exim waits. */
#define PATIENCE_SECONDS 10

#define CLIENTS_MAX      1024
#define ANSWER_BYTES_MAX 16384

/* As many mistakes are shown. */
#define SHOWN_MAX 5

struct question {
    char *text; /* and behind it the answer */
    size_t length;
    const char *answer; /* with its LF */
};

struct load {
    struct sockaddr_un address;
    struct question *questions;
    size_t questions_count;
    uint64_t count; /* 0: until it is told to stop */
    uint64_t think_usec;
    bool beginnings; /* of answers are known, no more */
    atomic_uint_fast64_t next;
    atomic_bool stop;
    atomic_uint shown;
};

struct client {
    pthread_t thread;
    struct load *load;
    uint64_t wrong, failed;
    unsigned int seed;
    struct times times; /* of the right answers */
};

static uint64_t now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(EXIT_USAGE);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        fail("memory");
    return memory;
}

static void feed_lines(char *text)
{
    for (; *text; text++)
        if (*text == '\v')
            *text = '\n';
}

/* Reads the file of questions. */
static void read_questions(struct load *load, const char *path, bool many_lines)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0, room = 0;
    ssize_t length;

    if (!file)
        fail(path);
    while ((length = getline(&line, &size, file)) > 0) {
        char *tab = memchr(line, '\t', (size_t)length);

        if (!tab)
            continue;
        if (load->questions_count == room) {
            room = room ? room * 2 : 64;
            load->questions = reallocarray(load->questions, room, sizeof(*load->questions));
            if (!load->questions)
                fail("memory");
        }
        if (many_lines)
            feed_lines(line);
        *tab = '\n';
        load->questions[load->questions_count++] =
            (struct question){line, (size_t)(tab + 1 - line), tab + 1};
        line = NULL; /* kept by the question */
        size = 0;
    }
    free(line);
    if (ferror(file))
        fail(path);
    fclose(file);
    if (load->questions_count == 0) {
        errno = ENODATA;
        fail(path);
    }
}

static void free_questions(struct load *load)
{
    for (size_t i = 0; i < load->questions_count; i++)
        free(load->questions[i].text);
    free(load->questions);
}

static void show(struct load *load, const struct question *question, const char *what,
                 const char *text)
{
    if (atomic_fetch_add(&load->shown, 1) < SHOWN_MAX)
        fprintf(stderr, "load: %.*s: %s%s\n", (int)question->length - 1, question->text, what,
                text);
}

/* Reads to the end of the answer. Returns its length, or -1. */
static ssize_t receive(int fd, char *answer)
{
    size_t length = 0;

    for (;;) {
        ssize_t n = recv(fd, answer + length, ANSWER_BYTES_MAX - 1 - length, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        length += (size_t)n;
        if (n == 0 || length == ANSWER_BYTES_MAX - 1) {
            answer[length] = '\0';
            return (ssize_t)length;
        }
    }
}

/* Asks over the connected socket fd. Returns what failed, or NULL. */
static const char *converse(int fd, const struct load *load, const struct question *question,
                            char *answer)
{
    ssize_t length;

    if (connect(fd, (const struct sockaddr *)&load->address, sizeof(load->address)) < 0)
        return "connect: ";
    if (send(fd, question->text, question->length, MSG_NOSIGNAL) != (ssize_t)question->length)
        return "send: ";
    if (shutdown(fd, SHUT_WR) < 0)
        return "shutdown: ";
    length = receive(fd, answer);
    if (length < 0)
        return "receive: ";
    if (length == 0 || answer[length - 1] != '\n') {
        errno = ENODATA;
        return "an answer without an end: ";
    }
    return NULL;
}

/* Makes a socket that gives up after a while. Returns -1 if that fails. */
static int make_socket(void)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0))
        fail("a time-out");
    return fd;
}

static bool is_right(const struct load *load, const struct question *question, const char *answer)
{
    return load->beginnings
               ? strncmp(answer, question->answer, strcspn(question->answer, "\n")) == 0
               : strcmp(answer, question->answer) == 0;
}

static void ask(struct client *client, const struct question *question)
{
    char answer[ANSWER_BYTES_MAX];
    uint64_t begin_nsec = now_nsec(), nsec;
    int fd = make_socket();
    const char *failed = fd < 0 ? "socket: " : converse(fd, client->load, question, answer);

    if (failed)
        show(client->load, question, failed, strerror(errno));
    if (fd >= 0)
        close(fd);
    nsec = now_nsec() - begin_nsec;
    if (failed) {
        client->failed++;
        return;
    }
    if (!is_right(client->load, question, answer)) {
        client->wrong++;
        show(client->load, question, "wrong answer: ", answer);
        return;
    }
    times_add(&client->times, nsec);
}

static void think(struct client *client)
{
    uint64_t usec = client->load->think_usec;
    struct timespec pause;

    if (usec == 0)
        return;
    usec = (uint64_t)rand_r(&client->seed) % (2 * usec + 1);
    pause = (struct timespec){(time_t)(usec / 1000000), (long)(usec % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

static void *run(void *userdata)
{
    struct client *client = userdata;
    struct load *load = client->load;

    while (!atomic_load(&load->stop)) {
        uint64_t number = atomic_fetch_add(&load->next, 1);

        if (load->count > 0 && number >= load->count)
            break;
        ask(client, &load->questions[number % load->questions_count]);
        think(client);
    }
    return NULL;
}

static double quantile_usec(const struct times *times, unsigned int permille)
{
    return (double)times_quantile_nsec(times, permille) / 1e3;
}

/* Says what came of it. Returns the exit status. */
static int report(const struct client *all, double seconds)
{
    const struct times *times = &all->times;

    printf("queries=%" PRIu64 " wrong=%" PRIu64 " failed=%" PRIu64
           " seconds=%.3f rate=%.0f p50_usec=%.3f p99_usec=%.3f p999_usec=%.3f max_usec=%.3f\n",
           times->count, all->wrong, all->failed, seconds, (double)times->count / seconds,
           quantile_usec(times, 500), quantile_usec(times, 990), quantile_usec(times, 999),
           (double)times->longest_nsec / 1e3);
    if (fflush(stdout) != 0)
        fail("standard output");
    return all->wrong > 0 || all->failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void wait_for_end_of_input(void)
{
    char buffer[64];

    while (read(STDIN_FILENO, buffer, sizeof(buffer)) > 0)
        ;
}

static int run_all(struct load *load, struct client *clients, size_t count)
{
    struct client *all = allocate(1, sizeof(*all));
    uint64_t begin_nsec = now_nsec();
    int status;

    for (size_t i = 0; i < count; i++) {
        clients[i].load = load;
        clients[i].seed = (unsigned int)i + 1;
        errno = pthread_create(&clients[i].thread, NULL, run, &clients[i]);
        if (errno != 0)
            fail("a thread");
    }
    if (load->count == 0) {
        wait_for_end_of_input();
        atomic_store(&load->stop, true);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        times_merge(&all->times, &clients[i].times);
        all->wrong += clients[i].wrong;
        all->failed += clients[i].failed;
    }
    status = report(all, (double)(now_nsec() - begin_nsec) / 1e9);
    free(all);
    return status;
}

/* Reads a number of the command line, from least on. */
static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || value < least || value > most) {
        fprintf(stderr, "load: %s is no number from %" PRIu64 " to %" PRIu64 "\n", text, least,
                most);
        exit(EXIT_USAGE);
    }
    return value;
}

__attribute__((noreturn)) static void fail_usage(void)
{
    fputs("usage: load [-bm] SOCKET QUESTIONS CLIENTS COUNT [THINK]\n", stderr);
    exit(EXIT_USAGE);
}

int main(int argc, char **argv)
{
    struct load load = {.address = {.sun_family = AF_UNIX}};
    bool many_lines = false;
    struct client *clients;
    size_t count;
    int status, c;

    while ((c = getopt(argc, argv, "bm")) >= 0) {
        if (c == 'b')
            load.beginnings = true;
        else if (c == 'm')
            many_lines = true;
        else
            fail_usage();
    }
    argc -= optind;
    argv += optind;
    if (argc < 4 || argc > 5 || strlen(argv[0]) >= sizeof(load.address.sun_path))
        fail_usage();
    strcpy(load.address.sun_path, argv[0]);
    count = (size_t)number(argv[2], 1, CLIENTS_MAX);
    load.count = number(argv[3], 0, UINT64_MAX - CLIENTS_MAX);
    load.think_usec = argc == 5 ? number(argv[4], 0, 3600000) * 1000 : 0;
    read_questions(&load, argv[1], many_lines);
    clients = allocate(count, sizeof(*clients));
    status = run_all(&load, clients, count);
    free(clients);
    free_questions(&load);
    return status;
}
