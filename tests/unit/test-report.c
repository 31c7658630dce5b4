/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reports by many threads: what the thread sanitizer is for. And the order of what is held. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tree.h"
#include "ctl/report.h"

#define DOMAINS   7
#define MAILBOXES 40 /* in each */
#define THREADS   8

struct store {
    char root[64];
    char template[96];
    char *roots[1];
    char *templates[1];
    struct quota_settings settings;
    struct direct direct;
};

static void make_directory(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void make_directory(const char *format, ...)
{
    char path[256];
    va_list arguments;

    va_start(arguments, format);
    assert_in_range(vsnprintf(path, sizeof(path), format, arguments), 1, sizeof(path) - 1);
    va_end(arguments);
    assert_return_code(mkdir(path, 0755), errno);
}

static int set_up(void **state)
{
    struct store *store = calloc(1, sizeof(*store));
    char *error = NULL;

    assert_non_null(store);
    (void)snprintf(store->root, sizeof(store->root), "/tmp/quotad-XXXXXX");
    assert_non_null(mkdtemp(store->root));
    for (int domain = 0; domain < DOMAINS; domain++) {
        make_directory("%s/d%d.example", store->root, domain);
        for (int i = 0; i < MAILBOXES; i++) {
            make_directory("%s/d%d.example/n%d", store->root, domain, i);
            make_directory("%s/d%d.example/n%d/cur", store->root, domain, i);
        }
    }
    (void)snprintf(store->template, sizeof(store->template), "%s/%%d/%%n", store->root);
    store->roots[0] = store->root;
    store->templates[0] = store->template;
    store->settings = (struct quota_settings){
        .roots = store->roots,
        .roots_count = 1,
        .templates = store->templates,
        .templates_count = 1,
    };
    assert_int_equal(direct_init(&store->direct, &store->settings, &error), 0);
    *state = store;
    return 0;
}

static int tear_down(void **state)
{
    struct store *store = *state;

    direct_deinit(&store->direct);
    confine_free(store->settings.mailbox.confine);
    assert_return_code(tree_remove(store->root), errno);
    free(store);
    return 0;
}

/* Makes a report with its output, which the caller frees, in a file in the place of stdout. */
static struct report_total reported(const struct store *store, const struct report_options *options,
                                    enum ctl_format format, bool shows_progress, char **ret_text)
{
    const struct screen screen = {.columns = SIZE_MAX};
    struct report_total total = {};
    FILE *ours = stdout;
    size_t length;

    stdout = open_memstream(ret_text, &length);
    assert_non_null(stdout);
    assert_int_equal(
        report_run(options, format, &store->direct, &screen, THREADS, shows_progress, &total), 0);
    assert_int_equal(fclose(stdout), 0);
    stdout = ours;
    return total;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void many_threads(void **state)
{
    const struct report_options options = {};
    const enum ctl_format formats[] = {CTL_FORMAT_TABLE, CTL_FORMAT_JSON, CTL_FORMAT_CSV};
    const size_t lines[] = {3, 3, 1}; /* beside the mailboxes */

    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        char *text;
        struct report_total total = reported(*state, &options, formats[i], i == 0, &text);

        assert_int_equal(total.mailboxes, DOMAINS * MAILBOXES);
        assert_int_equal(total.errors, 0);
        assert_int_equal(count_lines(text), DOMAINS * MAILBOXES + lines[i]);
        free(text);
    }
}

static void errors_by_many_threads(void **state)
{
    struct store *store = *state;
    const struct report_options options = {.top = 3};
    struct report_total total;
    char path[256], *text;

    for (int domain = 0; domain < DOMAINS; domain++) {
        (void)snprintf(path, sizeof(path), "%s/d%d.example/out", store->root, domain);
        assert_return_code(symlink("/etc", path), errno);
    }
    total = reported(store, &options, CTL_FORMAT_JSON, false, &text);
    assert_int_equal(total.errors, DOMAINS);
    assert_int_equal(total.mailboxes, DOMAINS * MAILBOXES);
    free(text);
}

static void add(struct report_rows *rows, const char *target, const char *line)
{
    struct answer answer = {.target = target};

    assert_int_equal(answer_read(&answer, REQUEST_CHECK, line, strlen(line)), 0);
    assert_int_equal(report_rows_add(rows, &answer), 0);
    answer_deinit(&answer);
}

/* The rows that are held at most are the first of all, whatever comes when. */
static void a_heap(void **state)
{
    (void)state;
    for (size_t top = 0; top < 60; top++) {
        struct report_rows rows = {.sort = REPORT_SORT_BYTES, .top = top};
        struct answer answer;
        char line[256], target[32];

        for (unsigned int i = 0; i < 50; i++) {
            unsigned int bytes = i * 37 % 50 / 2; /* two of each */

            (void)snprintf(line, sizeof(line),
                           "status=ok bytes=%u messages=0 limit=0 message_limit=0 percent=0 "
                           "source=scan mailbox=/x\n",
                           bytes);
            (void)snprintf(target, sizeof(target), "%02u", i * 37 % 50);
            add(&rows, target, line);
        }
        add(&rows, "00", "status=error reason=io-error text=\"x\"\n");
        report_rows_sort(&rows);
        assert_int_equal(rows.count, top == 0 || top > 51 ? 51 : top);
        for (size_t i = 0; i < rows.count && i < 50; i++) {
            size_t bytes = 24 - i / 2;

            (void)snprintf(target, sizeof(target), "%02zu", 2 * bytes + i % 2);
            assert_int_equal(report_rows_get(&rows, i, &answer), 0);
            assert_string_equal(answer.target, target);
            answer_deinit(&answer);
        }
        report_rows_deinit(&rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_by_many_threads, set_up, tear_down),
        cmocka_unit_test(a_heap),
    };

    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
