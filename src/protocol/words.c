/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/words.h"

#include <stddef.h>

static const struct {
    const char *word;
    const char *text;
    const char *smtp_code;
} verdicts[VERDICT_COUNT_] = {
    [VERDICT_OK] = {"ok", "Mailbox has room", NULL},
    [VERDICT_WARN] = {"warn", "Mailbox is nearly full", NULL},
    [VERDICT_OVER] = {"over", "Mailbox is full", "452 4.2.2"},
    [VERDICT_TOOLARGE] = {"toolarge", "Message is larger than the mailbox may ever be",
                          "552 5.2.2"},
};

static const char *const reasons[REASON_COUNT_] = {
    [REASON_NONE] = "none",
    [REASON_BAD_REQUEST] = "bad-request",
    [REASON_TOO_LONG] = "too-long",
    [REASON_BAD_VALUE] = "bad-value",
    [REASON_BAD_ADDRESS] = "bad-address",
    [REASON_NO_TEMPLATE] = "no-template",
    [REASON_OUTSIDE_ROOT] = "outside-root",
    [REASON_PERMISSION_DENIED] = "permission-denied",
    [REASON_NOT_A_MAILBOX] = "not-a-mailbox",
    [REASON_IO_ERROR] = "io-error",
    [REASON_TIMEOUT] = "timeout",
    [REASON_OVERLOADED] = "overloaded",
    [REASON_MISCONFIGURED] = "misconfigured",
};

static const char *const sources[] = {
    [USAGE_NONE] = "none", [USAGE_MAILDIRSIZE] = "maildirsize",
    [USAGE_SCAN] = "scan", [USAGE_CACHE] = "cache",
    [USAGE_MBOX] = "mbox", [USAGE_UNKNOWN] = "unknown",
};

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
    [USAGE_RULE_MALFORMED] = {"malformed", "maildirsize cannot be parsed"},
    [USAGE_RULE_IMPLAUSIBLE] = {"implausible", "a sum in maildirsize is negative or too large"},
    [USAGE_RULE_OVER] = {"over",
                         "over the limit according to maildirsize, which may be out of date"},
    [USAGE_RULE_EVERYTHING] = {"everything", "every file counts (--count=everything)"},
    [USAGE_RULE_LAYOUT] = {"layout",
                           "over the limit according to maildirsize, and the mailbox has folders "
                           "that --layout=maildir++ does not count"},
    [USAGE_RULE_STALE_LIMIT] = {"stale-limit", "the limit is only in a maildirsize that was "
                                               "written more than 24 hours ago"},
    [USAGE_RULE_TOOLARGE] = {"toolarge", "the message alone is larger than the limit"},
};

static const char *const limit_sources[] = {
    [LIMIT_SOURCE_NONE] = "none",       [LIMIT_SOURCE_REQUEST] = "request",
    [LIMIT_SOURCE_FILE] = "file",       [LIMIT_SOURCE_HEADER] = "header",
    [LIMIT_SOURCE_DEFAULT] = "default",
};

const char *verdict_to_string(enum verdict verdict)
{
    return verdicts[verdict].word;
}

const char *verdict_text(enum verdict verdict)
{
    return verdicts[verdict].text;
}

const char *verdict_smtp_code(enum verdict verdict)
{
    return verdicts[verdict].smtp_code;
}

const char *reason_to_string(enum reason reason)
{
    return reasons[reason];
}

const char *usage_source_to_string(enum usage_source source)
{
    return sources[source];
}

const char *usage_rule_to_string(enum usage_rule rule)
{
    return rules[rule].word;
}

const char *usage_rule_text(enum usage_rule rule)
{
    return rules[rule].text;
}

const char *limit_source_to_string(enum limit_source source)
{
    return limit_sources[source];
}
