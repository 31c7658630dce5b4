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

/* Sets the limit of the limits file, which outranks all but the request. */
static void set_limit(struct target *target, const struct target_limit *found)
{
    struct mailbox_policy *policy = &target->policy;
    bool is_found = found->answer == LIMITS_FOUND;

    target->file_limit = *found;
    if (policy->limit_from == LIMIT_SOURCE_REQUEST)
        return;
    policy->have_limit = is_found;
    policy->limit = is_found ? found->entry.limit : (struct quota_limit){};
    policy->limit_from = is_found ? LIMIT_SOURCE_FILE : LIMIT_SOURCE_NONE;
}

/* Looks up the address, whole and without its extension. */
static void look_up(struct target *target, const struct limits *limits)
{
    struct target_limit whole = {}, *base_limit = &target->base_limit;
    struct address base;

    whole.answer = limits_lookup(limits, &target->address, &whole.entry);
    set_limit(target, &whole);
    if (!target->had_extension)
        return;
    base = target->address;
    (void)address_drop_extension(&base);
    if (whole.answer != LIMITS_NONE && whole.entry.key == LIMITS_KEY_ADDRESS)
        *base_limit = whole;
    else
        base_limit->answer = limits_lookup(limits, &base, &base_limit->entry);
}

static enum reason begin_address(struct target *target, const struct quota_settings *settings,
                                 const struct limits *limits, const char *text, bool internal,
                                 const char **ret_why)
{
    const char *delimiters = settings->delimiters ? settings->delimiters : "";
    int r;

    if (settings->templates_count == 0)
        return refuse(REASON_NO_TEMPLATE, "an address requires --mailbox=, and there is none",
                      ret_why);
    r = (internal ? address_parse_internal : address_parse)(text, strlen(text), delimiters,
                                                            &target->address, ret_why);
    if (r < 0)
        return REASON_BAD_ADDRESS;
    target->had_extension = target->address.base_length < target->address.local_length;
    if (limits)
        look_up(target, limits);
    return REASON_NONE;
}

static bool find_address(const struct quota_settings *settings, const char *path,
                         struct address *ret)
{
    for (size_t i = 0; i < settings->templates_count; i++)
        if (address_from_path(settings->templates[i], path, ret))
            return true;
    return false;
}

bool target_owner(const struct quota_settings *settings, char *path, struct address *ret)
{
    char *slash = strrchr(path, '/');
    bool is_found = find_address(settings, path, ret);

    if (is_found || slash[1] != '.' || strcmp(slash, "/..") == 0)
        return is_found;
    *slash = '\0';
    is_found = find_address(settings, path, ret);
    *slash = '/';
    return is_found;
}

static void begin_path(struct target *target, const struct quota_settings *settings,
                       const struct limits *limits, char *path)
{
    struct mailbox_policy *policy = &target->policy;
    struct target_limit found = {};
    struct address address;

    mailbox_normalise_path(path);
    if (!limits)
        return;
    if (target_owner(settings, path, &address)) {
        found.answer = limits_lookup(limits, &address, &found.entry);
        set_limit(target, &found);
        return;
    }
    /*
     * Nobody can tell whose limit is meant: what holds for everybody comes after what the mailbox
     * says of itself, so that no one with more is called full.
     */
    found.answer = limits_lookup_default(limits, &found.entry);
    target->file_limit = found;
    if (found.answer != LIMITS_FOUND)
        return;
    policy->default_limit = found.entry.limit;
    policy->default_from = LIMIT_SOURCE_FILE;
}

enum reason target_begin(struct target *target, const struct quota_settings *settings,
                         const struct limits *limits, const struct target_terms *terms, char *text,
                         const char **ret_why)
{
    static const struct quota_limit no_limit = {};
    /* Limits that could not be read may be larger than the default, which then refuses nobody. */
    const struct quota_limit *default_limit =
        settings->limits_path && !limits ? &no_limit : &settings->default_limit;
    bool have_default = default_limit->bytes > 0 || default_limit->messages > 0;

    target->address.local_length = 0;
    target->candidate = 0;
    target->had_extension = false;
    target->file_limit = (struct target_limit){};
    target->base_limit = (struct target_limit){};
    target->policy = (struct mailbox_policy){
        .have_limit = terms->have_limit,
        .limit = terms->limit,
        .limit_from = terms->have_limit ? LIMIT_SOURCE_REQUEST : LIMIT_SOURCE_NONE,
        .default_limit = *default_limit,
        .default_from = have_default ? LIMIT_SOURCE_DEFAULT : LIMIT_SOURCE_NONE,
        .grace = settings->verdict.grace,
        .size_bytes = terms->size_bytes,
        .verdict_alone = terms->verdict_alone,
    };
    if (terms->internal_address || *text != '/')
        return begin_address(target, settings, limits, text, terms->internal_address, ret_why);
    begin_path(target, settings, limits, text);
    return REASON_NONE;
}

bool target_is_path(const struct target *target)
{
    return target->address.local_length == 0;
}

/* Expands the template of a candidate for the address as it is spelled now. */
static int expand(const struct target *target, const struct quota_settings *settings,
                  size_t candidate, char path[PATH_MAX])
{
    const char *template = settings->templates[candidate % settings->templates_count];
    int r = address_template_expand(template, &target->address, path, PATH_MAX);

    if (r == 0)
        mailbox_normalise_path(path);
    return r;
}

static bool is_last(const struct target *target, const struct quota_settings *settings)
{
    size_t spellings = target->had_extension ? 2 : 1;

    return target->candidate + 1 == spellings * settings->templates_count;
}

enum reason target_path(struct target *target, const struct quota_settings *settings,
                        char path[PATH_MAX], const char **ret_why)
{
    for (;; target->candidate++) {
        if (target->candidate >= settings->templates_count &&
            address_drop_extension(&target->address))
            set_limit(target, &target->base_limit);
        if (expand(target, settings, target->candidate, path) == 0)
            return REASON_NONE;
        if (is_last(target, settings))
            return refuse(REASON_BAD_ADDRESS, path_too_long, ret_why);
    }
}

bool target_goes_on(const struct target *target, const struct quota_settings *settings, int error,
                    enum usage_source source)
{
    bool nothing =
        error == -ENOTDIR || error == -ENAMETOOLONG || (error == 0 && source == USAGE_NONE);

    return nothing && !target_is_path(target) && !is_last(target, settings);
}

enum reason target_reason(const struct target *target, int error, const char **ret_why)
{
    if (error == -ENAMETOOLONG && !target_is_path(target))
        return refuse(REASON_BAD_ADDRESS, path_too_long, ret_why);
    return refuse(reason_from_errno(error), reason_text_from_errno(error), ret_why);
}

/* Decides by the limit that counts, but refuses only by the part of it that is sure. */
static void decide(const struct usage *usage, const struct effective_limit *limit,
                   const struct verdict_policy *policy, struct target_decision *ret)
{
    ret->rule = usage->rule;
    ret->verdict =
        verdict_decide(usage->bytes, usage->messages, limit->limit, ret->size_bytes, policy);
    if (!verdict_refuses(ret->verdict))
        return;
    ret->verdict =
        verdict_decide(usage->bytes, usage->messages, limit->sure, ret->size_bytes, policy);
    if (verdict_refuses(ret->verdict))
        return;
    ret->verdict = VERDICT_OK;
    ret->rule = USAGE_RULE_STALE_LIMIT;
}

void target_decide(const struct target *target, const struct quota_settings *settings,
                   const char *path, const struct usage *usage, struct target_decision *ret)
{
    const struct effective_limit limit = effective_limit(&target->policy, &usage->header);

    ret->usage = usage;
    ret->limit = limit.limit;
    ret->limit_from = limit.from;
    ret->percent = verdict_percent(usage->bytes, ret->limit);
    ret->size_bytes = target->policy.size_bytes;
    decide(usage, &limit, &settings->verdict, ret);
    ret->mailbox = path;
    /* Of several places where nothing is, the first is the one where a mailbox will be made. */
    if (usage->source == USAGE_NONE && target->candidate > 0 &&
        expand(target, settings, 0, ret->first) == 0)
        ret->mailbox = ret->first;
}
