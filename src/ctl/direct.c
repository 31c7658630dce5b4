/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/direct.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocol/request.h"
#include "quota/target.h"
#include "system/cleanup.h"
#include "system/clock.h"
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

/*
 * Probes the mailbox at path, counts it if need be, and waits for it. Shortens path to the
 * mailbox's own. *mailbox is to be closed either way.
 */
static int probe(const struct direct *direct, const struct mailbox_policy *policy, char *path,
                 struct mailbox *mailbox, struct usage *ret)
{
    const struct mailbox_settings *settings = &direct->settings->mailbox;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    int r = mailbox_probe(settings, policy, NULL, path, now_usec, mailbox);

    if (r < 0)
        return r;
    path[mailbox->path_length] = '\0';
    if (r == MAILBOX_ANSWERED) {
        *ret = mailbox->usage;
        return 0;
    }
    return mailbox_count(mailbox, path, settings, policy, now_usec, NULL, ret);
}

/*
 * Probes the candidates up to the first mailbox that exists, and makes the reply. Returns 0, or the
 * negative errno of the last probe.
 */
static int answer_target(const struct direct *direct, struct target *target, char *text, bool check,
                         struct reply *reply)
{
    _cleanup_(mailbox_close) struct mailbox mailbox = MAILBOX_NULL;
    struct target_decision decision;
    char expanded[PATH_MAX];
    char *path = target_is_path(target) ? text : expanded;
    struct usage usage = {};
    enum reason reason = REASON_NONE;
    const char *why;
    int r;

    for (;; target->candidate++) {
        if (path == expanded)
            reason = target_path(target, direct->settings, expanded, &why);
        if (reason != REASON_NONE) {
            reply_error(reply, reason, why);
            return -ENAMETOOLONG;
        }
        mailbox_close(&mailbox);
        r = probe(direct, &target->policy, path, &mailbox, &usage);
        if (!target_goes_on(target, direct->settings, r, usage.source))
            break;
    }
    if (r < 0) {
        reason = target_reason(target, r, &why);
        reply_error(reply, reason, mailbox.detail[0] != '\0' ? mailbox.detail : why);
        return r;
    }
    target_decide(target, direct->settings, path, &usage, &decision);
    reply_decision(reply, check, &decision);
    return 0;
}

int direct_look(const struct direct *direct, const struct target_terms *terms, bool check,
                char *text, size_t *ret_candidate, struct reply *reply)
{
    struct target target;
    const char *why;
    enum reason reason = target_begin(&target, direct->settings, direct->limits, terms, text, &why);
    int r;

    *ret_candidate = 0;
    if (reason != REASON_NONE) {
        reply_error(reply, reason, why);
        return -EINVAL;
    }
    r = answer_target(direct, &target, text, check, reply);
    *ret_candidate = target.candidate;
    return r;
}

void direct_answer(const struct direct *direct, char *line, size_t length, struct reply *reply)
{
    struct target_terms terms;
    struct request request;
    const char *why;
    enum reason reason = request_parse(line, length, &request, &why);
    size_t candidate;

    if (reason != REASON_NONE) {
        reply_error(reply, reason, why);
        return;
    }
    terms = (struct target_terms){
        .size_bytes = request.size_bytes,
        .verdict_alone = request.type == REQUEST_CHECK,
        .have_limit = request.have_limit,
        .limit = request.limit,
    };
    (void)direct_look(direct, &terms, request.type == REQUEST_CHECK, request.target, &candidate,
                      reply);
}
