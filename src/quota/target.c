/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/target.h"

#include <errno.h>
#include <string.h>

static const char path_too_long[] = "the path of its mailbox is too long";

static enum reason refuse(enum reason reason, const char *why, const char **ret_why)
{
    *ret_why = why;
    return reason;
}

static enum reason begin_address(struct target *target, const struct quota_settings *settings,
                                 const struct limits *limits, const char *text,
                                 const char **ret_why)
{
    const char *delimiters = settings->delimiters ? settings->delimiters : "";
    struct mailbox_policy *policy = &target->policy;

    if (settings->templates_count == 0)
        return refuse(REASON_NO_TEMPLATE,
                      "there is no --mailbox= that says where the mailbox of an address is",
                      ret_why);
    if (address_parse(text, strlen(text), delimiters, &target->address, ret_why) < 0)
        return REASON_BAD_ADDRESS;
    if (!policy->have_limit && limits)
        policy->have_limit =
            limits_lookup(limits, &target->address, &policy->limit) == LIMITS_FOUND;
    return REASON_NONE;
}

static void begin_path(struct target *target, const struct limits *limits, char *path)
{
    /*
     * Nobody can tell whose limit is meant: what holds for everybody comes after what the mailbox
     * says of itself, so that no one with more is called full.
     */
    if (limits)
        (void)limits_lookup_default(limits, &target->policy.default_limit);
    mailbox_normalise_path(path);
}

enum reason target_begin(struct target *target, const struct quota_settings *settings,
                         const struct limits *limits, const struct target_question *question,
                         char *text, const char **ret_why)
{
    target->address.local_length = 0;
    target->candidate = 0;
    target->policy = (struct mailbox_policy){
        .have_limit = question->have_limit,
        .limit = question->limit,
        .default_limit = settings->default_limit,
        .grace = settings->verdict.grace,
        .size_bytes = question->size_bytes,
    };
    if (*text != '/')
        return begin_address(target, settings, limits, text, ret_why);
    begin_path(target, limits, text);
    return REASON_NONE;
}

bool target_is_path(const struct target *target)
{
    return target->address.local_length == 0;
}

/* Expands one of the templates for the target's address. */
static int expand(const struct target *target, const struct quota_settings *settings,
                  size_t candidate, char path[PATH_MAX])
{
    int r =
        address_template_expand(settings->templates[candidate], &target->address, path, PATH_MAX);

    if (r == 0)
        mailbox_normalise_path(path);
    return r;
}

enum reason target_path(const struct target *target, const struct quota_settings *settings,
                        char path[PATH_MAX], const char **ret_why)
{
    if (expand(target, settings, target->candidate, path) < 0)
        return refuse(REASON_BAD_ADDRESS, path_too_long, ret_why);
    return REASON_NONE;
}

bool target_goes_on(const struct target *target, const struct quota_settings *settings, int error,
                    enum usage_source source)
{
    bool nothing = error == -ENOTDIR || (error == 0 && source == USAGE_NONE);

    return nothing && !target_is_path(target) && target->candidate + 1 < settings->templates_count;
}

enum reason target_reason(const struct target *target, int error, const char **ret_why)
{
    if (error == -ENAMETOOLONG && !target_is_path(target))
        return refuse(REASON_BAD_ADDRESS, path_too_long, ret_why);
    return refuse(reason_from_errno(error), reason_text_from_errno(error), ret_why);
}

void target_judge(const struct target *target, const struct quota_settings *settings,
                  const char *path, const struct usage *usage, struct target_judgement *ret)
{
    const struct mailbox_policy *policy = &target->policy;

    ret->usage = usage;
    ret->limit = mailbox_effective_limit(policy, &usage->header_limit);
    ret->percent = verdict_percent(usage->bytes, ret->limit);
    ret->size_bytes = policy->size_bytes;
    ret->verdict = verdict_decide(usage->bytes, usage->messages, ret->limit, policy->size_bytes,
                                  &settings->verdict);
    ret->mailbox = path;
    /* Of several places where nothing is, the first is the one where a mailbox will be made. */
    if (usage->source == USAGE_NONE && target->candidate > 0 &&
        expand(target, settings, 0, ret->first) == 0)
        ret->mailbox = ret->first;
}
