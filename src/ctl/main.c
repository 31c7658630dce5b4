/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exim-quotactl: asks exim-quotad, on behalf of an administrator, or answers as it would.
 *
 * Security: it needs no rights but to connect to the socket. With --direct it reads what
 * exim-quotad reads, with the rights of whoever runs it, and writes nothing. It trusts neither the
 * names that it is given nor what comes from the socket.
 *
 * Diagnostics: a line on standard error for each error. Exit status 0; 1 if a message does not fit
 * somewhere, or a mailbox is over; 2 if anything went wrong.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "ctl/ask.h"
#include "ctl/complain.h"
#include "ctl/explain.h"
#include "ctl/http.h"
#include "ctl/json.h"
#include "ctl/metrics.h"
#include "ctl/options.h"
#include "ctl/report.h"
#include "ctl/table.h"
#include "quota/size.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/printable.h"

/* For a report: they wait for disks and servers, and not only for processors. */
#define THREADS_MIN 4
#define THREADS_MAX 64

enum {
    EXIT_FITS = 0,
    EXIT_DOES_NOT_FIT = 1,
    EXIT_ERROR = 2,
};

/* Everything that is released at the end. */
struct program {
    struct ctl_options options;
    struct screen screen;
    struct direct direct;
    struct answer *answers;
    size_t answers_count;
    bool must_exit; /* threads are still at work: nothing may be released */
};

static void program_deinit(struct program *program)
{
    for (size_t i = 0; i < program->answers_count; i++)
        answer_deinit(&program->answers[i]);
    free(program->answers);
    direct_deinit(&program->direct);
    ctl_options_deinit(&program->options);
}

static int complain(const char *text)
{
    printable_line(stderr, "exim-quotactl: %s", text);
    return EXIT_ERROR;
}

static int complain_memory(void)
{
    return complain("out of memory");
}

static int open_direct(struct program *program)
{
    _cleanup_(freep) char *error = NULL;
    int r = direct_init(&program->direct, &program->options.quota, &error);

    if (r < 0)
        (void)complain(error ? error : "out of memory");
    return r;
}

/* Prepares to compare. Says why, if that is impossible: the service is asked all the same. */
static void open_beside(struct program *program)
{
    char error[OPTIONS_ERROR_BYTES_MAX];

    if (ctl_options_read_config(&program->options, error) < 0) {
        (void)complain(error);
        program->options.compares = false;
    } else if (open_direct(program) < 0) {
        program->options.compares = false;
    }
}

/* Asks about each target, or once if there is none. */
static int ask_all(struct program *program)
{
    const struct ctl_options *options = &program->options;
    const struct asker asker = {
        .direct = options->direct ? &program->direct : NULL,
        .beside = options->compares ? &program->direct : NULL,
        .socket_path = options->socket_path ? options->socket_path : SOCKET_PATH,
        .timeout_usec = options->timeout_usec,
    };
    size_t count = options->targets_count > 0 ? options->targets_count : 1;
    int r = 0;

    program->answers = calloc(count, sizeof(struct answer));
    if (!program->answers)
        return -ENOMEM;
    program->answers_count = count;
    for (size_t i = 0; r == 0 && i < count; i++) {
        program->answers[i].target = options->query.has_targets ? options->targets[i] : NULL;
        r = ask(&asker, &options->query, &program->answers[i]);
    }
    return r;
}

static void print_raw(const struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct answer *answer = &answers[i];

        if (!answer->raw)
            continue;
        fwrite(answer->raw, 1, answer->raw_length, stdout);
        if (answer->raw[answer->raw_length - 1] != '\n')
            putchar('\n');
    }
}

static int print_explanations(const struct program *program)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < program->answers_count; i++) {
        if (i > 0)
            putchar('\n');
        r = explain_print(stdout, &program->screen, &program->answers[i]);
    }
    return r;
}

static const struct answer *get_answer(void *userdata, size_t i)
{
    const struct answer *answers = userdata;

    return &answers[i];
}

static int print_table(const struct program *program)
{
    const struct table_answers answers = {program->answers_count, get_answer, program->answers};

    if (program->options.query.type == REQUEST_EXPLAIN)
        return print_explanations(program);
    if (program->options.query.has_targets)
        return table_print_mailboxes(stdout, &program->screen, &answers);
    if (program->answers[0].status == ANSWER_ERROR)
        return 0;
    return table_print_pairs(stdout, &program->screen, &program->answers[0]);
}

static int print(const struct program *program)
{
    switch (program->options.format) {
    case CTL_FORMAT_JSON:
        json_print(stdout, program->answers, program->answers_count);
        return 0;
    case CTL_FORMAT_PROMETHEUS:
        if (program->answers[0].status != ANSWER_ERROR)
            metrics_print(stdout, &program->answers[0]);
        return 0;
    case CTL_FORMAT_RAW:
        print_raw(program->answers, program->answers_count);
        return 0;
    default:
        return print_table(program);
    }
}

/* Says what went wrong, but only once that the service cannot be reached. */
static int complain_of_all(const struct program *program)
{
    bool was_unreachable = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < program->answers_count; i++) {
        const struct answer *answer = &program->answers[i];
        bool is_unreachable = answer_failed_with(answer, ANSWER_UNREACHABLE);

        if (answer->status == ANSWER_ERROR && !(is_unreachable && was_unreachable))
            r = complain_of(&program->screen, answer);
        was_unreachable |= is_unreachable;
    }
    return r;
}

static int exit_status(const struct answer *answers, size_t count)
{
    int status = EXIT_FITS;

    for (size_t i = 0; i < count; i++) {
        if (answers[i].status == ANSWER_ERROR)
            return EXIT_ERROR;
        if (verdict_refuses((enum verdict)answers[i].status))
            status = EXIT_DOES_NOT_FIT;
    }
    return status;
}

/* Writes what there is to respond to an HTTP request. Returns its status, or -ENOMEM. */
static int write_body(struct program *program, int status, FILE *body)
{
    const struct answer *answer;

    if (status != HTTP_OK) {
        fputs("There is only /metrics, for GET and HEAD.\n", body);
        return status;
    }
    if (ask_all(program) < 0)
        return -ENOMEM;
    answer = &program->answers[0];
    if (answer->status == ANSWER_ERROR) {
        printable_line(body, "%s", answer_get(answer, "text"));
        return HTTP_SERVICE_UNAVAILABLE;
    }
    metrics_print(body, answer);
    return HTTP_OK;
}

static int respond(struct program *program, struct http_request *request, int status)
{
    _cleanup_(freep) char *bytes = NULL;
    size_t length;
    FILE *body = open_memstream(&bytes, &length);

    if (!body)
        return complain_memory();
    status = write_body(program, status, body);
    if (fclose(body) != 0 || status < 0)
        return complain_memory();
    request->deadline_usec = size_add(clock_usec(CLOCK_MONOTONIC), program->options.timeout_usec);
    /* A client that is gone is no fault of ours. */
    (void)http_respond(request, (enum http_status)status,
                       status == HTTP_OK ? METRICS_CONTENT_TYPE : "text/plain; charset=utf-8",
                       bytes, length);
    return complain_of_all(program) < 0 ? complain_memory()
                                        : exit_status(program->answers, program->answers_count);
}

static int run_http(struct program *program)
{
    struct http_request request = {
        .fd = STDIN_FILENO,
        .deadline_usec = size_add(clock_usec(CLOCK_MONOTONIC), program->options.timeout_usec),
    };
    int status = http_read(&request);

    if (status == -ENOTSOCK)
        return complain("standard input is not a socket");
    return status < 0 ? EXIT_FITS : respond(program, &request, status);
}

static int run(struct program *program)
{
    int r;

    if (program->options.direct && open_direct(program) < 0)
        return EXIT_ERROR;
    if (program->options.http)
        return run_http(program);
    if (program->options.compares)
        open_beside(program);
    r = ask_all(program);
    if (r == 0)
        r = print(program);
    if (r < 0)
        return complain_memory();
    fflush(stdout);
    if (complain_of_all(program) < 0)
        return complain_memory();
    return exit_status(program->answers, program->answers_count);
}

/* How many threads look at mailboxes. */
static unsigned int threads_count(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (processors < THREADS_MIN)
        return THREADS_MIN;
    return processors > THREADS_MAX ? THREADS_MAX : (unsigned int)processors;
}

/* Whether the progress can be shown and what is printed meanwhile does not go there as well. */
static bool shows_progress(const struct ctl_options *options)
{
    return isatty(STDERR_FILENO) == 1 &&
           (report_holds(&options->report, options->format) || isatty(STDOUT_FILENO) != 1);
}

static int complain_of_report(const struct report_total *total)
{
    if (total->is_incomplete)
        return complain("interrupted: the report is not complete");
    if (total->mailboxes == 0 && total->errors == 0)
        return complain("no mailbox was found");
    if (total->errors > 0)
        return EXIT_ERROR;
    return total->over > 0 ? EXIT_DOES_NOT_FIT : EXIT_FITS;
}

static int report(struct program *program)
{
    const struct ctl_options *options = &program->options;
    struct report_total total = {};
    int r;

    if (open_direct(program) < 0)
        return EXIT_ERROR;
    r = report_run(&options->report, options->format, &program->direct, &program->screen,
                   threads_count(), shows_progress(options), &total);
    program->must_exit = total.is_incomplete;
    if (r == -ENOMEM)
        return complain_memory();
    if (r < 0) {
        printable_line(stderr, "exim-quotactl: cannot begin the report: %s", strerror(-r));
        return EXIT_ERROR;
    }
    fflush(stdout);
    return complain_of_report(&total);
}

static int end_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    return complain("cannot write to standard output");
}

/* Becomes the script that checks the set-up. Returns only if it cannot be run. */
static int check_setup(char **argv)
{
    (void)execv(CHECK_SETUP_PATH, argv);
    printable_line(stderr, "exim-quotactl: %s: cannot be run: %s", CHECK_SETUP_PATH,
                   strerror(errno));
    return EXIT_ERROR;
}

int main(int argc, char **argv)
{
    _cleanup_(program_deinit) struct program program = {};
    char error[OPTIONS_ERROR_BYTES_MAX];
    int status;

    (void)setlocale(LC_CTYPE, "");
    if (argc > 1 && strcmp(argv[1], "check-setup") == 0)
        return check_setup(argv + 1);
    if (ctl_options_parse(argc, argv, &program.options, error) < 0)
        return complain(error);
    switch (program.options.action) {
    case CTL_HELP:
        ctl_options_print_help();
        return end_output(EXIT_FITS);
    case CTL_VERSION:
        puts("exim-quotactl " PROJECT_VERSION);
        return end_output(EXIT_FITS);
    default:
        screen_init(&program.screen, program.options.colour);
        status = program.options.action == CTL_REPORT ? report(&program) : run(&program);
        status = end_output(status);
        if (program.must_exit)
            _exit(status);
        return status;
    }
}
