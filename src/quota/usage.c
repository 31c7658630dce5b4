/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/usage.h"

bool usage_fits(const struct usage *usage, const struct mailbox_policy *policy)
{
    const struct effective_limit limit = effective_limit(policy, &usage->header);

    return policy->verdict_alone && usage->rule != USAGE_RULE_TOOLARGE &&
           !verdict_is_over(usage->bytes, usage->messages, limit.limit, policy->size_bytes,
                            policy->grace);
}
