/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/usage.h"

const char *usage_source_to_string(enum usage_source source)
{
    static const char *const words[] = {
        [USAGE_NONE] = "none", [USAGE_MAILDIRSIZE] = "maildirsize",
        [USAGE_SCAN] = "scan", [USAGE_CACHE] = "cache",
        [USAGE_MBOX] = "mbox",
    };

    return words[source];
}

const char *usage_rule_to_string(enum usage_rule rule)
{
    static const char *const words[USAGE_RULE_COUNT_] = {
        [USAGE_RULE_TRUSTED] = "not counted",
        [USAGE_RULE_MISSING] = "there is no maildirsize",
        [USAGE_RULE_UNREADABLE] = "maildirsize cannot be read",
        [USAGE_RULE_LARGE] = "maildirsize has 5120 bytes or more",
        [USAGE_RULE_MALFORMED] = "maildirsize does not parse",
        [USAGE_RULE_IMPLAUSIBLE] = "a sum of maildirsize is negative or too large",
        [USAGE_RULE_OVER] = "over the limit by a maildirsize that may be out of date",
    };

    return words[rule];
}
