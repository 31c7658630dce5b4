/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/usage.h"

const char *usage_source_to_string(enum usage_source source)
{
    static const char *const words[] = {
        [USAGE_NONE] = "none", [USAGE_MAILDIRSIZE] = "maildirsize",
        [USAGE_SCAN] = "scan", [USAGE_CACHE] = "cache",
        [USAGE_MBOX] = "mbox", [USAGE_UNKNOWN] = "unknown",
    };

    return words[source];
}

static const struct {
    const char *word;
    const char *text;
} rules[USAGE_RULE_COUNT_] = {
    [USAGE_RULE_TRUSTED] = {"trusted", "no count was needed"},
    [USAGE_RULE_MISSING] = {"missing", "there is no maildirsize"},
    [USAGE_RULE_IGNORED] = {"ignored", "maildirsize is ignored (--maildirsize=ignore)"},
    [USAGE_RULE_EMPTY] = {"empty", "maildirsize has a first line and no other"},
    [USAGE_RULE_UNREADABLE] = {"unreadable", "maildirsize cannot be read"},
    [USAGE_RULE_LARGE] = {"large", "maildirsize has 5120 bytes or more"},
    [USAGE_RULE_MALFORMED] = {"malformed", "maildirsize does not parse"},
    [USAGE_RULE_IMPLAUSIBLE] = {"implausible", "a sum in maildirsize is negative or too large"},
    [USAGE_RULE_OVER] = {"over", "over the limit by a maildirsize that may be out of date"},
    [USAGE_RULE_EVERYTHING] = {"everything", "every file counts (--count=everything)"},
    [USAGE_RULE_LAYOUT] = {"layout", "over the limit by maildirsize, and the mailbox has folders "
                                     "that --layout=maildir++ does not count"},
    [USAGE_RULE_STALE_LIMIT] = {"stale-limit", "the limit is only in a maildirsize that was "
                                               "written more than 24 hours ago"},
    [USAGE_RULE_TOOLARGE] = {"toolarge", "the message alone is larger than the limit"},
};

const char *usage_rule_to_string(enum usage_rule rule)
{
    return rules[rule].word;
}

const char *usage_rule_text(enum usage_rule rule)
{
    return rules[rule].text;
}

bool usage_fits(const struct usage *usage, const struct mailbox_policy *policy)
{
    const struct effective_limit limit = effective_limit(policy, &usage->header);

    return policy->verdict_alone && usage->rule != USAGE_RULE_TOOLARGE &&
           !verdict_is_over(usage->bytes, usage->messages, limit.limit, policy->size_bytes,
                            policy->grace);
}
