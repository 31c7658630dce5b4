/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/direct.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocol/request.h"
#include "quota/explanation.h"
#include "system/cleanup.h"
#include "system/confine.h"
#include "system/printable.h"

/* Writes a line for people; *ret_error stays NULL where there is no memory for it. */
static int fail(int error, char **ret_error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(int error, char **ret_error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(ret_error, format, arguments) < 0)
        *ret_error = NULL;
    va_end(arguments);
    return error;
}

static void say_fault(const char *line, void *userdata)
{
    (void)userdata;
    printable_line(stderr, "exim-quotactl: %s", line);
}

static int load_limits(struct direct *direct, char **ret_error)
{
    const char *path = direct->settings->limits_path;
    char error[LIMITS_ERROR_BYTES_MAX];
    int r = path ? limits_load(path, &direct->limits, error) : 0;

    if (r < 0)
        return fail(r, ret_error, "--limits=%s: %s", path, error);
    if (path)
        limits_say_faults(direct->limits, path, say_fault, NULL);
    return 0;
}

int direct_init(struct direct *direct, struct quota_settings *settings, char **ret_error)
{
    const char *failed;
    int r = quota_settings_open_roots(settings, &failed);

    *direct = (struct direct){.settings = settings};
    if (r == -ENOSYS)
        return fail(r, ret_error, CONFINE_UNAVAILABLE);
    if (r < 0)
        return fail(r, ret_error, "--root=%s: %s", failed, strerror(-r));
    return load_limits(direct, ret_error);
}

void direct_deinit(struct direct *direct)
{
    limits_free(direct->limits);
    *direct = (struct direct){};
}

/* Finds the answer, or the reason why there is none. Returns 0 or -ENOMEM. */
static int look(const struct direct *direct, const struct target_terms *terms, const char *text,
                struct explanation *ret)
{
    int r = explanation_begin(ret, direct->settings, direct->limits, terms, text);

    if (r == 0)
        explanation_answer(ret, direct->settings, NULL);
    return r;
}

int direct_look(const struct direct *direct, const struct target_terms *terms, const char *text,
                size_t *ret_candidate, struct reply *reply)
{
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    int r = look(direct, terms, text, &explanation);

    *ret_candidate = explanation.target.candidate;
    if (r < 0) {
        reply_error(reply, reason_from_errno(r), reason_text_from_errno(r));
        return r;
    }
    steps_answer(reply, &explanation, true);
    if (explanation.reason == REASON_NONE)
        return 0;
    return explanation.error < 0 ? explanation.error : -EINVAL;
}

int direct_answer(const struct direct *direct, char *line, size_t length, struct steps *ret)
{
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    const struct quota_settings *settings = direct->settings;
    struct target_terms terms;
    struct request request;
    struct reply reply;
    const char *why;
    enum reason reason = request_parse(line, length, &request, &why);

    if (reason != REASON_NONE) {
        reply_error(&reply, reason, why);
        steps_set(ret, &reply);
        return 0;
    }
    terms = request_terms(&request);
    if (look(direct, &terms, request.target, &explanation) < 0)
        return -ENOMEM;
    if (request.type == REQUEST_EXPLAIN) {
        explanation_examine(&explanation, settings, request.recount, NULL);
        steps_write(ret, &explanation, settings);
        return 0;
    }
    steps_answer(&reply, &explanation, request.type == REQUEST_CHECK);
    steps_set(ret, &reply);
    return 0;
}
