/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What counting a mailbox costs, beside what it cannot cost less than (a bare walk with
 * getdents64(2)) and what others do (find(1)). One command, one table:
 *
 *     bench-scan [--where=FOLDER] [--messages=N] [--folders=N] [--rounds=N] [--million]
 *
 * All is measured in turn within each round, on the same mailboxes, so that a busy machine slows
 * all alike; processor time, which neighbours disturb least, is told beside the time that passed. A
 * ratio is the median of the rounds' own ratios. Exits with 1 if it could not measure.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../tree.h"
#include "quota/maildir.h"
#include "quota/size.h"
#include "quota/stamp.h"
#include "system/cleanup.h"
#include "system/confine.h"

#define ROUNDS_MAX   101
#define BUFFER_BYTES ((size_t)256 * 1024)
#define MILLION      1000000

extern char **environ;

struct settings {
    const char *where;
    unsigned int messages;
    unsigned int folders;
    unsigned int rounds;
    bool million;
};

struct bench {
    struct settings settings;
    char root[PATH_MAX];
    struct confine *confine;
    char *buffer; /* for the bare walk, as large as that of a count */
};

/* A mailbox: so many messages, evenly in the `cur` of so many folders. */
struct mailbox {
    char path[PATH_MAX + 16];
    int fd;
    unsigned int folders;
};

/* What is measured in a round. */
enum measure {
    WALK,
    TAGGED,
    FIND,
    UNTAGGED,
    UNCHANGED,
    DELIVERED,
    MEASURES,
};

/* What something took, in milliseconds. */
struct cost {
    double passed;
    double processor;
};

static double clock_msec(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct cost cost_begin(void)
{
    return (struct cost){
        .passed = clock_msec(CLOCK_MONOTONIC),
        .processor = clock_msec(CLOCK_PROCESS_CPUTIME_ID),
    };
}

static struct cost cost_since(struct cost begun)
{
    const struct cost now = cost_begin();

    return (struct cost){
        .passed = now.passed - begun.passed,
        .processor = now.processor - begun.processor,
    };
}

static void print_path(char path[static PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print_path(char path[static PATH_MAX], const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(path, PATH_MAX, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= PATH_MAX)
        errx(EXIT_FAILURE, "a path is too long");
}

static void make_folder(const char *path)
{
    if (mkdir(path, 0755) < 0)
        err(EXIT_FAILURE, "cannot make %s", path);
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0 || close(fd) < 0)
        err(EXIT_FAILURE, "cannot make %s", path);
}

/* Makes path a link to the file source, or source anew if that has as many as it may. */
static void make_link(const char *source, const char *path)
{
    if (link(source, path) == 0)
        return;
    if (errno == EMLINK && unlink(source) == 0) {
        make_file(source);
        if (link(source, path) == 0)
            return;
    }
    err(EXIT_FAILURE, "cannot make %s", path);
}

/*
 * Makes a mailbox. Its messages are files of their own, or, with a source, links to it: then only
 * their names are good for anything.
 */
static void mailbox_make(struct mailbox *mailbox, const struct bench *bench, const char *name,
                         unsigned int messages, bool tagged, const char *source)
{
    char path[PATH_MAX];

    (void)snprintf(mailbox->path, sizeof(mailbox->path), "%s/%s", bench->root, name);
    mailbox->folders = bench->settings.folders;
    make_folder(mailbox->path);
    for (unsigned int i = 0; i < mailbox->folders; i++) {
        static const char *const leaves[] = {"", "/new", "/cur"};

        for (size_t j = 0; j < sizeof(leaves) / sizeof(leaves[0]); j++) {
            print_path(path, "%s/.folder%u%s", mailbox->path, i, leaves[j]);
            make_folder(path);
        }
    }
    for (unsigned int i = 0; i < messages; i++) {
        print_path(path, "%s/.folder%u/cur/%u.M%06uP%u.mail.example.org%s:2,S", mailbox->path,
                   i % mailbox->folders, 1700000000 + i, i % 999983, 1000 + i % 30000,
                   tagged ? ",S=12345,W=12600" : "");
        if (source)
            make_link(source, path);
        else
            make_file(path);
    }
    mailbox->fd = open(mailbox->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (mailbox->fd < 0)
        err(EXIT_FAILURE, "cannot open %s", mailbox->path);
}

/* Waits until all that has changed is old enough to be remembered. */
static void settle(void)
{
    const struct timespec wait = {.tv_sec = STAMP_SETTLED_SEC + 1, .tv_nsec = 20000000};

    (void)nanosleep(&wait, NULL);
}

/* Reads a directory's entries and looks at none. */
static void walk_directory(const struct bench *bench, int parent_fd, const char *name)
{
    _cleanup_(closep) int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t length;

    if (fd < 0)
        err(EXIT_FAILURE, "cannot open %s", name);
    while ((length = getdents64(fd, bench->buffer, BUFFER_BYTES)) > 0)
        ;
    if (length < 0)
        err(EXIT_FAILURE, "cannot read %s", name);
}

/* Measures a walk over the same directories as a count's. */
static struct cost measure_walk(const struct bench *bench, const struct mailbox *mailbox)
{
    const struct cost begun = cost_begin();
    char name[64];

    walk_directory(bench, mailbox->fd, ".");
    for (unsigned int i = 0; i < mailbox->folders; i++) {
        (void)snprintf(name, sizeof(name), ".folder%u/cur", i);
        walk_directory(bench, mailbox->fd, name);
        (void)snprintf(name, sizeof(name), ".folder%u/new", i);
        walk_directory(bench, mailbox->fd, name);
    }
    return cost_since(begun);
}

/* Measures a count, which must find so many messages. */
static struct cost measure_count(const struct bench *bench, const struct mailbox *mailbox,
                                 struct maildir_cache **memory, uint64_t messages,
                                 uint32_t directories_read)
{
    const struct maildir_options options = {};
    struct maildir_count count;
    const struct cost begun = cost_begin();
    struct cost cost;
    int r;

    r = maildir_count(mailbox->fd, mailbox->path, bench->confine, &options, memory, &count);
    cost = cost_since(begun);
    if (r < 0)
        errx(EXIT_FAILURE, "cannot count %s: %s", mailbox->path, strerror(-r));
    if (count.messages != messages || count.directories_read != directories_read)
        errx(EXIT_FAILURE, "%s: %llu messages in %u directories read, not %llu in %u",
             mailbox->path, (unsigned long long)count.messages, count.directories_read,
             (unsigned long long)messages, directories_read);
    return cost;
}

static double timeval_msec(const struct timeval *time)
{
    return (double)time->tv_sec * 1e3 + (double)time->tv_usec / 1e3;
}

/* Measures find(1) printing all sizes to nowhere. */
static struct cost measure_find(const struct mailbox *mailbox)
{
    char find[] = "find", type[] = "-type", file[] = "f", print[] = "-printf", size[] = "%s\n";
    char path[sizeof(mailbox->path)];
    char *const arguments[] = {find, path, type, file, print, size, NULL};
    posix_spawn_file_actions_t actions;
    struct cost begun, cost;
    struct rusage usage;
    int status, r;
    pid_t pid;

    memcpy(path, mailbox->path, sizeof(path));
    r = posix_spawn_file_actions_init(&actions);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    begun = cost_begin();
    if (r == 0)
        r = posix_spawnp(&pid, find, &actions, NULL, arguments, environ);
    if (r != 0)
        errx(EXIT_FAILURE, "cannot run find: %s", strerror(r));
    (void)posix_spawn_file_actions_destroy(&actions);
    if (wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(EXIT_FAILURE, "find failed");
    cost = cost_since(begun);
    cost.processor = timeval_msec(&usage.ru_utime) + timeval_msec(&usage.ru_stime);
    return cost;
}

/* Measures a count after a message came to the `cur` of one folder, which holds the most. */
static struct cost measure_delivery(const struct bench *bench, const struct mailbox *mailbox,
                                    struct maildir_cache **memory, unsigned int round)
{
    char path[PATH_MAX];
    struct cost cost;

    print_path(path, "%s/.folder%u/cur/new,S=1:2,", mailbox->path, round % mailbox->folders);
    make_file(path);
    cost = measure_count(bench, mailbox, memory, bench->settings.messages + 1, 1);
    if (unlink(path) < 0)
        err(EXIT_FAILURE, "cannot remove %s", path);
    return cost;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts the numbers and returns the median. */
static double sort_to_median(double *numbers, unsigned int count)
{
    qsort(numbers, count, sizeof(*numbers), compare_numbers);
    return (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
}

static void print_row(const char *what, const struct cost *costs, unsigned int rounds)
{
    double passed[ROUNDS_MAX], processor[ROUNDS_MAX], median;

    for (unsigned int i = 0; i < rounds; i++) {
        passed[i] = costs[i].passed;
        processor[i] = costs[i].processor;
    }
    median = sort_to_median(passed, rounds);
    printf("%-36s %9.3f %9.3f %9.3f %9.3f", what, median, passed[0], passed[rounds - 1],
           sort_to_median(processor, rounds));
}

/* Prints how many times others the costs are, and what that is worth. */
static void print_ratio(const struct cost *costs, const struct cost *others, unsigned int rounds,
                        const char *text)
{
    double passed[ROUNDS_MAX], processor[ROUNDS_MAX];

    for (unsigned int i = 0; i < rounds; i++) {
        passed[i] = costs[i].passed / others[i].passed;
        processor[i] = costs[i].processor / others[i].processor;
    }
    printf(" %9.4f %9.4f  %s\n", sort_to_median(passed, rounds), sort_to_median(processor, rounds),
           text);
}

static void print_table(const struct settings *settings,
                        const struct cost table[static MEASURES][ROUNDS_MAX])
{
    unsigned int n = settings->rounds;

    printf("%u messages in %u folders, %u rounds, milliseconds\n\n", settings->messages,
           settings->folders, n);
    printf("%-36s %9s %9s %9s %9s %9s %9s\n", "", "median", "least", "most", "processor", "ratio",
           "processor");
    print_row("bare getdents64 walk", table[WALK], n);
    printf("\n");
    print_row("tagged, first count", table[TAGGED], n);
    print_ratio(table[TAGGED], table[WALK], n, "of the walk (at most 1.3)");
    print_row("find -printf %s", table[FIND], n);
    printf("\n");
    print_row("untagged, first count", table[UNTAGGED], n);
    print_ratio(table[UNTAGGED], table[FIND], n, "of find (at most 0.8)");
    print_row("unchanged, count again", table[UNCHANGED], n);
    print_ratio(table[UNCHANGED], table[TAGGED], n, "of the first count (at most 0.01)");
    print_row("one message delivered, count again", table[DELIVERED], n);
    print_ratio(table[DELIVERED], table[TAGGED], n, "of the first count");
}

static void run_rounds(const struct bench *bench)
{
    const struct settings *settings = &bench->settings;
    uint32_t all = 1 + 2 * settings->folders;
    struct mailbox tagged, untagged;
    struct cost table[MEASURES][ROUNDS_MAX];

    mailbox_make(&tagged, bench, "tagged", settings->messages, true, NULL);
    mailbox_make(&untagged, bench, "untagged", settings->messages, false, NULL);
    for (unsigned int i = 0; i < settings->rounds; i++) {
        _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;

        /* After the wait, what is measured first would be colder than what comes next. */
        settle();
        (void)measure_walk(bench, &tagged);
        (void)measure_find(&untagged);
        table[WALK][i] = measure_walk(bench, &tagged);
        table[TAGGED][i] = measure_count(bench, &tagged, &memory, settings->messages, all);
        table[FIND][i] = measure_find(&untagged);
        table[UNTAGGED][i] = measure_count(bench, &untagged, NULL, settings->messages, all);
        table[UNCHANGED][i] = measure_count(bench, &tagged, &memory, settings->messages, 0);
        table[DELIVERED][i] = measure_delivery(bench, &tagged, &memory, i);
    }
    print_table(settings, table);
    (void)close(tagged.fd);
    (void)close(untagged.fd);
}

/* Returns a number of KiB out of /proc/self/status. */
static unsigned long status_kib(const char *key)
{
    _cleanup_(fclosep) FILE *status = fopen("/proc/self/status", "re");
    size_t length = strlen(key);
    char line[256];

    while (status && fgets(line, sizeof(line), status))
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return strtoul(line + length + 1, NULL, 10);
    errx(EXIT_FAILURE, "cannot read %s", key);
}

/* Makes the peak of the memory in use what is in use now. */
static void reset_peak(void)
{
    _cleanup_(fclosep) FILE *file = fopen("/proc/self/clear_refs", "we");

    if (!file || fputs("5", file) < 0 || fflush(file) != 0)
        err(EXIT_FAILURE, "cannot reset the peak of memory");
}

/* Counts a million messages and prints by how much memory grew meanwhile. */
static void run_million(const struct bench *bench)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    uint32_t all = 1 + 2 * bench->settings.folders;
    struct mailbox mailbox;
    char source[PATH_MAX];
    unsigned long before;
    struct cost walk, cost;

    print_path(source, "%s/source", bench->root);
    make_file(source);
    mailbox_make(&mailbox, bench, "million", MILLION, true, source);
    settle();
    walk = measure_walk(bench, &mailbox);
    reset_peak();
    before = status_kib("VmRSS");
    cost = measure_count(bench, &mailbox, &memory, MILLION, all);
    printf("\n1000000 messages: peak memory grew by %lu KiB (less than 8192); %.0f ms, %.0f of the "
           "processor; %.2f of the walk, %.2f of the processor\n",
           status_kib("VmHWM") - before, cost.passed, cost.processor, cost.passed / walk.passed,
           cost.processor / walk.processor);
    (void)close(mailbox.fd);
}

static unsigned int read_number(const char *value, uint64_t max)
{
    uint64_t number;

    if (size_parse_number(value, strlen(value), &number) < 0 || number < 1 || number > max)
        errx(EXIT_FAILURE, "%s is not a number from 1 to %llu", value, (unsigned long long)max);
    return (unsigned int)number;
}

static void read_settings(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"where", required_argument, NULL, 'w'},   {"messages", required_argument, NULL, 'm'},
        {"folders", required_argument, NULL, 'f'}, {"rounds", required_argument, NULL, 'r'},
        {"million", no_argument, NULL, 'M'},       {},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
        switch (c) {
        case 'w':
            settings->where = optarg;
            break;
        case 'm':
            settings->messages = read_number(optarg, 100 * MILLION);
            break;
        case 'f':
            settings->folders = read_number(optarg, 10000);
            break;
        case 'r':
            settings->rounds = read_number(optarg, ROUNDS_MAX);
            break;
        case 'M':
            settings->million = true;
            break;
        default:
            exit(EXIT_FAILURE);
        }
    if (optind < argc)
        errx(EXIT_FAILURE, "%s: no arguments are taken", argv[optind]);
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .settings =
            {
                .where = tree_parent(),
                .messages = 100000,
                .folders = 20,
                .rounds = 7,
            },
    };
    int r;

    read_settings(&bench.settings, argc, argv);
    print_path(bench.root, "%s/quotad-scan-XXXXXX", bench.settings.where);
    if (!mkdtemp(bench.root))
        err(EXIT_FAILURE, "cannot make %s", bench.root);
    bench.buffer = malloc(BUFFER_BYTES);
    if (!bench.buffer)
        err(EXIT_FAILURE, "cannot measure");
    r = confine_new(&bench.confine);
    if (r == 0)
        r = confine_add_root(bench.confine, bench.root);
    if (r < 0)
        errx(EXIT_FAILURE, "cannot confine to %s: %s", bench.root, strerror(-r));

    run_rounds(&bench);
    if (bench.settings.million)
        run_million(&bench);

    confine_free(bench.confine);
    free(bench.buffer);
    if (tree_remove(bench.root) < 0)
        err(EXIT_FAILURE, "cannot remove %s", bench.root);
    return EXIT_SUCCESS;
}
