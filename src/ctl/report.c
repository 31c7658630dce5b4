/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctl/complain.h"
#include "ctl/progress.h"
#include "protocol/words.h"
#include "system/cleanup.h"

/* A path that may be that of a mailbox. */
struct item {
    size_t template;
    char path[];
};

struct report {
    const struct report_options *options;
    const struct direct *direct;
    struct report_walk walk;
    int done_fd; /* an eventfd, written to when nothing is left to do */

    pthread_mutex_t lock; /* guards everything below, standard output and standard error */
    pthread_cond_t has_items;
    pthread_cond_t has_room;
    struct item *queue[REPORT_QUEUE_MAX];
    size_t queue_begin;
    size_t queue_count;
    bool is_walked;       /* no more items will come */
    bool has_ended;       /* whatever else is found is too late */
    bool is_counted;      /* `counted` is how many there are */
    unsigned int running; /* threads that find mailboxes or look at them */
    size_t counted;       /* paths, by the thread that only counts them */
    size_t found;         /* paths that came into the queue */
    size_t done;          /* paths that were looked at */
    int error;            /* 0, or what ended it */
    struct report_total total;
    struct report_rows rows;
    struct report_output output;
    struct progress progress;
};

bool report_holds(const struct report_options *options, enum ctl_format format)
{
    return format == CTL_FORMAT_TABLE || options->has_sort || options->top > 0;
}

/* Ends all threads. The lock is held. */
static void end(struct report *report, int error)
{
    if (report->error == 0)
        report->error = error;
    report->has_ended = true;
    pthread_cond_broadcast(&report->has_items);
    pthread_cond_broadcast(&report->has_room);
}

static void add_to_total(struct report_total *total, const struct answer *answer)
{
    if (answer->status == ANSWER_ERROR) {
        total->errors++;
        return;
    }
    total->mailboxes++;
    total->bytes = size_add(total->bytes, answer->bytes);
    total->messages = size_add(total->messages, answer->messages);
    total->over += answer->status == ANSWER_OVER;
    total->warn += answer->status == ANSWER_WARN;
}

/* Whether the mailbox is to be printed. What could not be read may be full. */
static bool is_shown(const struct report *report, const struct answer *answer)
{
    return answer->status == ANSWER_ERROR ||
           report_rows_percent(answer) >= report->options->min_percent;
}

static int add_answer(struct report *report, const struct answer *answer)
{
    int r = 0;

    add_to_total(&report->total, answer);
    if (answer->status == ANSWER_ERROR) {
        progress_clear(&report->progress);
        r = complain_of(report->output.screen, answer);
    }
    if (r < 0 || !is_shown(report, answer))
        return r;
    return report_holds(report->options, report->output.format)
               ? report_rows_add(&report->rows, answer)
               : report_output_answer(&report->output, answer);
}

/* Adds what the reply says of the target. */
static void add_reply(struct report *report, const char *target, const struct reply *reply)
{
    _cleanup_(answer_deinit) struct answer answer = {.target = target};
    int r = answer_read(&answer, REQUEST_CHECK, reply->bytes, reply->length);
    const char *source = r == 0 ? answer_get(&answer, "source") : NULL;

    if (source && strcmp(source, usage_source_to_string(USAGE_NONE)) == 0)
        return; /* there is no mailbox yet, or no more */
    pthread_mutex_lock(&report->lock);
    if (r == 0 && !report->has_ended)
        r = add_answer(report, &answer);
    if (r < 0)
        end(report, r);
    pthread_mutex_unlock(&report->lock);
}

/* Looking. */

static void look_at(struct report *report, const struct item *item)
{
    static const struct target_terms terms = {};
    char text[ADDRESS_TEXT_MAX + 1];
    const char *target = item->path;
    struct address address;
    struct reply reply;
    size_t candidate;
    enum report_name name = report_walk_name(&report->walk, item->template, item->path, &address);
    int r;

    if (name == REPORT_NAME_NONE)
        return;
    if (name == REPORT_NAME_ADDRESS) {
        address_write(&address, text);
        target = text;
    }
    r = direct_look(report->direct, &terms, target, &candidate, &reply);
    if (r == -ENOTDIR)
        return; /* nothing is there */
    if (name == REPORT_NAME_ADDRESS && candidate != item->template && r != -ENOMEM)
        return; /* another template leads to the mailbox of that address */
    add_reply(report, target, &reply);
}

/* Returns the next item, which the caller frees, or NULL at the end. */
static struct item *take_item(struct report *report)
{
    struct item *item = NULL;

    pthread_mutex_lock(&report->lock);
    while (report->queue_count == 0 && !report->is_walked && !report->has_ended)
        pthread_cond_wait(&report->has_items, &report->lock);
    if (report->queue_count > 0 && !report->has_ended) {
        item = report->queue[report->queue_begin];
        report->queue_begin = (report->queue_begin + 1) % REPORT_QUEUE_MAX;
        report->queue_count--;
        pthread_cond_signal(&report->has_room);
    }
    pthread_mutex_unlock(&report->lock);
    return item;
}

/* One thread less is running. */
static void leave(struct report *report)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&report->lock);
    if (--report->running == 0)
        while (write(report->done_fd, &one, sizeof(one)) < 0)
            ; /* it never has to wait, so there is nothing to wait for */
    pthread_mutex_unlock(&report->lock);
}

static void *look_at_all(void *userdata)
{
    struct report *report = userdata;
    struct item *item;

    while ((item = take_item(report))) {
        look_at(report, item);
        free(item);
        pthread_mutex_lock(&report->lock);
        report->done++;
        pthread_mutex_unlock(&report->lock);
    }
    leave(report);
    return NULL;
}

/* Finding. */

static bool queue_item(void *userdata, const char *path, size_t template)
{
    struct report *report = userdata;
    size_t path_bytes = strlen(path) + 1;
    struct item *item = malloc(sizeof(*item) + path_bytes);
    bool goes_on;

    pthread_mutex_lock(&report->lock);
    if (!item)
        end(report, -ENOMEM);
    while (report->queue_count == REPORT_QUEUE_MAX && !report->has_ended)
        pthread_cond_wait(&report->has_room, &report->lock);
    goes_on = !report->has_ended;
    if (goes_on) {
        report->found++;
        item->template = template;
        memcpy(item->path, path, path_bytes);
        report->queue[(report->queue_begin + report->queue_count++) % REPORT_QUEUE_MAX] = item;
        pthread_cond_signal(&report->has_items);
    } else {
        free(item);
    }
    pthread_mutex_unlock(&report->lock);
    return goes_on;
}

static bool has_ended(struct report *report)
{
    bool ended;

    pthread_mutex_lock(&report->lock);
    ended = report->has_ended;
    pthread_mutex_unlock(&report->lock);
    return ended;
}

/* Adds a path that could not be read. */
static bool add_failure(void *userdata, const char *path, int error)
{
    struct report *report = userdata;
    struct reply reply;

    reply_error(&reply, reason_from_errno(error), reason_text_from_errno(error));
    add_reply(report, path, &reply);
    return !has_ended(report);
}

static void *find_all(void *userdata)
{
    struct report *report = userdata;
    int r = report_walk(&report->walk);

    pthread_mutex_lock(&report->lock);
    if (r < 0)
        end(report, r);
    report->is_walked = true;
    pthread_cond_broadcast(&report->has_items);
    pthread_mutex_unlock(&report->lock);
    leave(report);
    return NULL;
}

/* Counting, so that the progress can be shown. */

static bool count_item(void *userdata, const char *path, size_t template)
{
    struct report *report = userdata;
    bool goes_on;

    (void)path;
    (void)template;
    pthread_mutex_lock(&report->lock);
    report->counted++;
    goes_on = !report->is_walked && !report->has_ended;
    pthread_mutex_unlock(&report->lock);
    return goes_on;
}

static bool ignore_failure(void *userdata, const char *path, int error)
{
    (void)path;
    (void)error;
    return !has_ended(userdata);
}

static void *count_all(void *userdata)
{
    struct report *report = userdata;
    struct report_walk walk = report->walk;

    walk.found = count_item;
    walk.failed = ignore_failure;
    (void)report_walk(&walk);
    pthread_mutex_lock(&report->lock);
    report->is_counted = true;
    pthread_mutex_unlock(&report->lock);
    return NULL;
}

static void show_progress(struct report *report)
{
    pthread_mutex_lock(&report->lock);
    progress_show(&report->progress, report->done,
                  report->is_walked ? report->found : report->counted,
                  report->is_walked || report->is_counted);
    pthread_mutex_unlock(&report->lock);
}

/* Waiting for all that. Returns 0, or 1 after a signal. */
static int wait_for_end(struct report *report, int signal_fd)
{
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                           {.fd = report->done_fd, .events = POLLIN}};
    int timeout_msecs = report->progress.is_wanted ? PROGRESS_MSECS : -1;

    for (;;) {
        show_progress(report);
        if (poll(fds, 2, timeout_msecs) > 0)
            return fds[1].revents == 0;
    }
}

/* Starts the threads. Returns how many were started, or a negative errno if that is not enough. */
static int start(struct report *report, unsigned int threads, pthread_t *started)
{
    int count = 0, r;

    pthread_mutex_lock(&report->lock); /* none is to leave before the others are there */
    r = pthread_create(&started[count], NULL, find_all, report);
    count += r == 0;
    for (unsigned int i = 0; r == 0 && i < threads; i++) {
        r = pthread_create(&started[count], NULL, look_at_all, report);
        count += r == 0;
    }
    report->running = (unsigned int)count;
    if (count < 2)
        end(report, -r);
    if (count > 0 && report->progress.is_wanted &&
        pthread_create(&started[count], NULL, count_all, report) == 0)
        count++;
    pthread_mutex_unlock(&report->lock);
    return count;
}

/* Prints what there is. The lock is held. */
static int print(struct report *report)
{
    int r = 0;

    progress_clear(&report->progress);
    if (report_holds(report->options, report->output.format)) {
        report_rows_sort(&report->rows);
        r = report_output_rows(&report->output, &report->rows);
    }
    if (r == 0)
        report_output_end(&report->output, &report->total);
    return r;
}

/* Runs the threads, with the signals blocked. */
static int run(struct report *report, unsigned int threads, int signal_fd)
{
    _cleanup_(freep) pthread_t *started = calloc(threads + 2, sizeof(*started));
    int count, r;

    if (!started)
        return -ENOMEM;
    report_output_begin(&report->output);
    count = start(report, threads, started);
    report->total.is_incomplete = count > 0 && wait_for_end(report, signal_fd) > 0;
    for (int i = 0; i < count && !report->total.is_incomplete; i++)
        (void)pthread_join(started[i], NULL);
    pthread_mutex_lock(&report->lock);
    end(report, 0);
    r = report->error;
    pthread_mutex_unlock(&report->lock);
    return r;
}

static void report_deinit(struct report *report)
{
    while (report->queue_count > 0)
        free(report->queue[(report->queue_begin + --report->queue_count) % REPORT_QUEUE_MAX]);
    report_rows_deinit(&report->rows);
    closep(&report->done_fd);
}

/* As report_run(), with the signals of the set blocked until there is something to print. */
static int run_and_print(struct report *report, unsigned int threads, const sigset_t *signals,
                         const sigset_t *before)
{
    _cleanup_(closep) int signal_fd = signalfd(-1, signals, SFD_CLOEXEC);
    int r;

    if (signal_fd < 0)
        return -errno;
    report->done_fd = eventfd(0, EFD_CLOEXEC);
    if (report->done_fd < 0)
        return -errno;
    r = run(report, threads, signal_fd);
    /* If a second signal comes, printing takes too long: it ends the process. */
    if (report->total.is_incomplete)
        (void)!read(signal_fd, &(struct signalfd_siginfo){}, sizeof(struct signalfd_siginfo));
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
    pthread_mutex_lock(&report->lock);
    if (r == 0)
        r = print(report);
    pthread_mutex_unlock(&report->lock);
    return r;
}

int report_run(const struct report_options *options, enum ctl_format format,
               const struct direct *direct, const struct screen *screen, unsigned int threads,
               bool shows_progress, struct report_total *ret)
{
    struct report *report = malloc(sizeof(*report));
    sigset_t signals, before;
    int r;

    if (!report)
        return -ENOMEM;
    *report = (struct report){
        .options = options,
        .direct = direct,
        .walk = {direct->settings, &options->scope, queue_item, add_failure, report},
        .done_fd = -1,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .has_items = PTHREAD_COND_INITIALIZER,
        .has_room = PTHREAD_COND_INITIALIZER,
        .rows = {.sort = options->sort, .top = options->top},
        .output = {.file = stdout, .screen = screen, .format = format},
        .progress = {.screen = screen, .is_wanted = shows_progress},
    };
    for (size_t i = 0; i < direct->settings->roots_count; i++)
        mailbox_normalise_path(direct->settings->roots[i]);
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &signals, &before);
    r = run_and_print(report, threads, &signals, &before);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    *ret = report->total;
    if (!ret->is_incomplete) { /* otherwise threads may still use it */
        report_deinit(report);
        free(report);
    }
    return r;
}
