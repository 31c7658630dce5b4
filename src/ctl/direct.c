/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/direct.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocol/request.h"
#include "quota/target.h"
#include "system/clock.h"
#include "system/confine.h"

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
    fprintf(stderr, "exim-quotactl: %s\n", line);
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

/* Looks into the mailbox at path, and waits for it. */
static int look(const struct direct *direct, const struct mailbox_policy *policy, char *path,
                struct usage *ret)
{
    const struct mailbox_settings *settings = &direct->settings->mailbox;
    struct mailbox mailbox = MAILBOX_NULL;
    enum usage_rule rule;
    int r = mailbox_open(settings, path, &mailbox);

    if (r < 0)
        return r;
    rule = mailbox_must_count(&mailbox, policy, clock_usec(CLOCK_REALTIME), true);
    if (rule == USAGE_RULE_TRUSTED)
        (void)mailbox_usage(&mailbox, ret);
    else
        r = mailbox_count(&mailbox, path, settings, rule, NULL, ret);
    mailbox_close(&mailbox);
    return r;
}

/* Looks into what the target may mean, up to the first mailbox that there is, and answers. */
static enum reason answer_target(const struct direct *direct, struct target *target, char *text,
                                 bool check, struct reply *reply, const char **ret_why)
{
    struct target_judgement judgement;
    char expanded[PATH_MAX];
    char *path = target_is_path(target) ? text : expanded;
    struct usage usage = {};
    int r;

    for (;; target->candidate++) {
        enum reason reason = REASON_NONE;

        if (path == expanded)
            reason = target_path(target, direct->settings, expanded, ret_why);
        if (reason != REASON_NONE)
            return reason;
        r = look(direct, &target->policy, path, &usage);
        if (target_goes_on(target, direct->settings, r, usage.source))
            continue;
        if (r == 0)
            break;
        return target_reason(target, r, ret_why);
    }
    target_judge(target, direct->settings, path, &usage, &judgement);
    reply_judgement(reply, check, &judgement);
    return REASON_NONE;
}

static enum reason answer_line(const struct direct *direct, char *line, size_t length,
                               struct reply *reply, const char **ret_why)
{
    struct target_question question;
    struct request request;
    struct target target;
    enum reason reason = request_parse(line, length, &request, ret_why);

    if (reason != REASON_NONE)
        return reason;
    question = (struct target_question){
        .size_bytes = request.size_bytes,
        .have_limit = request.have_limit,
        .limit = request.limit,
    };
    reason =
        target_begin(&target, direct->settings, direct->limits, &question, request.target, ret_why);
    if (reason != REASON_NONE)
        return reason;
    return answer_target(direct, &target, request.target, request.type == REQUEST_CHECK, reply,
                         ret_why);
}

void direct_answer(const struct direct *direct, char *line, size_t length, struct reply *reply)
{
    const char *why;
    enum reason reason = answer_line(direct, line, length, reply, &why);

    if (reason != REASON_NONE)
        reply_error(reply, reason, why);
}
