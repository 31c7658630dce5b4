/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/mailbox.h"

#include <errno.h>
#include <string.h>

#include "quota/everything.h"
#include "quota/mailbox_open.h"
#include "system/cleanup.h"
#include "system/clock.h"

void mailbox_normalise_path(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        size_t length;

        from += strspn(from, "/");
        length = strcspn(from, "/");
        if (length > 0 && !(length == 1 && *from == '.')) {
            *to++ = '/';
            memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    if (to == path)
        *to++ = '/';
    *to = '\0';
}

/* Whether it is time to try a limit that only maildirsize gives. */
static bool is_tried(uint64_t written_usec, uint64_t now_usec)
{
    uint64_t age_usec;

    if (written_usec >= now_usec)
        return false;
    age_usec = now_usec - written_usec;
    return age_usec > HEADER_LIMIT_BELIEVED_USEC &&
           age_usec % HEADER_LIMIT_BELIEVED_USEC < HEADER_LIMIT_TRIED_USEC;
}

static struct limit_header header_of(const struct mailbox *mailbox, uint64_t now_usec)
{
    uint64_t mtime_usec = mailbox->maildirsize_mtime_usec;
    /* If mtime is in the future, use ctime, which cannot be set. */
    uint64_t written_usec = mtime_usec <= now_usec ? mtime_usec : mailbox->maildirsize_ctime_usec;

    return (struct limit_header){
        .limit = mailbox->maildirsize.limit,
        .has_bytes = mailbox->maildirsize.has_bytes,
        .has_messages = mailbox->maildirsize.has_messages,
        .is_old = is_tried(written_usec, now_usec),
    };
}

/* Whether sums that say "over" are too fresh to be out of date, but for what was removed. */
static bool is_fresh(const struct mailbox *mailbox, uint64_t now_usec)
{
    uint64_t mtime_usec = mailbox->maildirsize_mtime_usec;

    return mailbox->maildirsize.entries <= 1 && mtime_usec <= now_usec &&
           now_usec - mtime_usec < MAILBOX_MAILDIRSIZE_FRESH_USEC;
}

static struct usage usage_of_sums(const struct mailbox *mailbox, struct limit_header header)
{
    return (struct usage){
        .bytes = mailbox->maildirsize.bytes,
        .messages = mailbox->maildirsize.messages,
        .source = USAGE_MAILDIRSIZE,
        .rule = USAGE_RULE_TRUSTED,
        .header = header,
        .is_unkept = mailbox->is_unkept,
    };
}

static struct usage usage_of_other(const struct mailbox *mailbox)
{
    return (struct usage){
        .bytes = mailbox->mbox_bytes,
        .source = mailbox->kind == MAILBOX_MBOX ? USAGE_MBOX : USAGE_NONE,
    };
}

/* Decides by the sums of a maildirsize that parsed. Returns the rule that spoke. */
static enum usage_rule decide_by_sums(const struct mailbox *mailbox,
                                      const struct mailbox_policy *policy,
                                      const struct effective_limit *limit)
{
    const struct maildirsize *sums = &mailbox->maildirsize;

    if (!verdict_is_over(sums->bytes, sums->messages, limit->limit, policy->size_bytes,
                         policy->grace))
        return USAGE_RULE_TRUSTED;
    if (policy->verdict_alone && !verdict_is_over(sums->bytes, sums->messages, limit->sure,
                                                  policy->size_bytes, policy->grace))
        return USAGE_RULE_STALE_LIMIT;
    return USAGE_RULE_OVER;
}

/* As mailbox_decide(), for a Maildir. */
static enum usage_rule decide_maildir(const struct mailbox *mailbox,
                                      const struct mailbox_settings *settings,
                                      const struct mailbox_policy *policy, uint64_t now_usec,
                                      struct usage *ret_usage)
{
    const struct limit_header header = header_of(mailbox, now_usec);
    const struct effective_limit limit = effective_limit(policy, &header);
    bool has_sums = mailbox->maildirsize_state == USAGE_RULE_TRUSTED;

    *ret_usage = usage_of_sums(mailbox, header);
    if (policy->verdict_alone && !mailbox->is_unsure &&
        verdict_is_too_large(limit.sure, policy->size_bytes, policy->grace)) {
        if (!has_sums)
            *ret_usage = (struct usage){.source = USAGE_UNKNOWN, .header = header};
        return USAGE_RULE_TOOLARGE;
    }
    if (settings->count_everything)
        return USAGE_RULE_EVERYTHING;
    if (settings->ignore_maildirsize)
        return USAGE_RULE_IGNORED;
    return has_sums ? decide_by_sums(mailbox, policy, &limit) : mailbox->maildirsize_state;
}

enum mailbox_probe mailbox_decide(const struct mailbox *mailbox,
                                  const struct mailbox_settings *settings,
                                  const struct mailbox_policy *policy, uint64_t now_usec,
                                  struct usage *ret_usage)
{
    if (mailbox->kind != MAILBOX_MAILDIR) {
        *ret_usage = usage_of_other(mailbox);
        return MAILBOX_ANSWERED;
    }
    ret_usage->rule = decide_maildir(mailbox, settings, policy, now_usec, ret_usage);
    switch (ret_usage->rule) {
    case USAGE_RULE_TRUSTED:
    case USAGE_RULE_STALE_LIMIT:
    case USAGE_RULE_TOOLARGE:
        return MAILBOX_ANSWERED;
    default:
        return MAILBOX_NEEDS_COUNT;
    }
}

bool mailbox_fits(const struct usage *usage, const struct mailbox_policy *policy)
{
    const struct effective_limit limit = effective_limit(policy, &usage->header);

    return policy->verdict_alone && usage->rule != USAGE_RULE_TOOLARGE &&
           !verdict_is_over(usage->bytes, usage->messages, limit.limit, policy->size_bytes,
                            policy->grace);
}

/*
 * Whether sums that say "over" may be believed: they are fresh, and `new` and `cur` have certainly
 * not changed since.
 */
static bool is_over_for_sure(const struct mailbox *mailbox, uint64_t now_usec)
{
    uint64_t changed_usec;

    return mailbox->fd >= 0 && is_fresh(mailbox, now_usec) &&
           mailbox_parts_changed(mailbox, &changed_usec) == 0 && changed_usec > 0 &&
           changed_usec < mailbox->maildirsize_mtime_usec;
}

int mailbox_probe(const struct mailbox_settings *settings, const struct mailbox_policy *policy,
                  struct mailbox_nowait *nowait, const char *path, uint64_t now_usec,
                  struct mailbox *ret)
{
    enum mailbox_probe probe;
    int r = mailbox_open(settings, nowait, path, now_usec, ret);

    if (r == -EAGAIN)
        return MAILBOX_WOULD_BLOCK;
    if (r < 0)
        return r;
    probe = mailbox_decide(ret, settings, policy, now_usec, &ret->usage);
    ret->rule = ret->usage.rule;
    if (probe == MAILBOX_NEEDS_COUNT && ret->rule == USAGE_RULE_OVER && !nowait &&
        is_over_for_sure(ret, now_usec)) {
        ret->usage.rule = USAGE_RULE_TRUSTED;
        return MAILBOX_ANSWERED;
    }
    return probe;
}

static struct usage usage_of_count(const struct mailbox *mailbox, const struct maildir_count *count,
                                   uint64_t now_usec)
{
    bool remembered = count->directories_read == 0 && count->directories_cached > 0;

    return (struct usage){
        .bytes = count->bytes,
        .messages = count->messages,
        .source = remembered ? USAGE_CACHE : USAGE_SCAN,
        .rule = mailbox->rule,
        .header = header_of(mailbox, now_usec),
        .is_unkept = mailbox->is_unkept,
        .count = *count,
    };
}

/*
 * Overrules sums that say "over" where the mailbox has folders that the layout does not count: if
 * all messages together do not fit either, the sums were right, and know more.
 */
static void check_stray_folders(const struct mailbox *mailbox, const struct mailbox_policy *policy,
                                struct usage *usage)
{
    const struct effective_limit limit = effective_limit(policy, &usage->header);
    uint64_t bytes = size_add(usage->bytes, usage->count.stray_bytes);
    uint64_t messages = size_add(usage->messages, usage->count.stray_messages);

    if (verdict_is_over(bytes, messages, limit.limit, policy->size_bytes, policy->grace)) {
        usage->bytes = mailbox->maildirsize.bytes;
        usage->messages = mailbox->maildirsize.messages;
        usage->source = USAGE_MAILDIRSIZE;
        usage->rule = USAGE_RULE_LAYOUT;
    } else {
        usage->bytes = bytes;
        usage->messages = messages;
    }
}

/* Whether sums that were counted then are too old to refuse a message. */
static bool is_old(uint64_t since_usec)
{
    return clock_usec(CLOCK_MONOTONIC) - since_usec > MAILBOX_CACHED_USEC;
}

/*
 * Returns whether the usage comes from cached counts that are too old to refuse a message, and
 * might be used for that: by the verdict, or by a client that asks for the usage.
 */
static bool is_too_old(const struct usage *usage, const struct mailbox_policy *policy,
                       const struct maildir_cache *cached)
{
    return usage->count.directories_cached > 0 && cached && is_old(cached->since_usec) &&
           !mailbox_fits(usage, policy);
}

enum mailbox_probe mailbox_recall(const struct mailbox *mailbox,
                                  const struct mailbox_settings *settings,
                                  const struct mailbox_policy *policy, uint64_t now_usec,
                                  const struct mailbox_sums *sums, struct usage *ret_usage)
{
    enum mailbox_probe probe = mailbox_decide(mailbox, settings, policy, now_usec, ret_usage);
    struct maildir_count count = {.is_mailbox = true};
    struct usage usage;

    if (probe != MAILBOX_NEEDS_COUNT || !sums)
        return probe;
    if (sums->is_sure && ret_usage->rule == USAGE_RULE_OVER && is_fresh(mailbox, now_usec)) {
        ret_usage->rule = USAGE_RULE_TRUSTED;
        return MAILBOX_ANSWERED;
    }
    count.bytes = sums->bytes;
    count.messages = sums->messages;
    count.directories_cached = sums->directories;
    usage = usage_of_count(mailbox, &count, now_usec);
    usage.rule = ret_usage->rule;
    if ((sums->is_followed || is_old(sums->since_usec)) && !mailbox_fits(&usage, policy))
        return MAILBOX_NEEDS_COUNT;
    *ret_usage = usage;
    return MAILBOX_ANSWERED;
}

static int count_messages(const struct mailbox *mailbox, const char *path,
                          const struct mailbox_settings *settings, uint64_t now_usec,
                          struct maildir_cache **cached, struct usage *ret)
{
    struct maildir_count count = {};
    int r;

    if (settings->count_everything)
        r = everything_count(mailbox->fd, path, settings->confine, settings->maildir.budget,
                             &count);
    else
        r = maildir_count(mailbox->fd, path, settings->confine, &settings->maildir, cached, &count);
    if (r == 0)
        *ret = usage_of_count(mailbox, &count, now_usec);
    return r;
}

int mailbox_count(struct mailbox *mailbox, const char *path,
                  const struct mailbox_settings *settings, const struct mailbox_policy *policy,
                  uint64_t now_usec, struct maildir_cache **cached, struct usage *ret)
{
    int r = count_messages(mailbox, path, settings, now_usec, cached, ret);

    if (r == 0 && cached && is_too_old(ret, policy, *cached)) {
        maildir_cache_free(steal_pointer(cached));
        r = count_messages(mailbox, path, settings, now_usec, cached, ret);
    }
    if (r < 0)
        return r;
    if (mailbox->is_unsure && !ret->count.is_mailbox)
        return mailbox_describe_directory(mailbox);
    if (mailbox->rule == USAGE_RULE_OVER && ret->count.stray_folders > 0)
        check_stray_folders(mailbox, policy, ret);
    return 0;
}
