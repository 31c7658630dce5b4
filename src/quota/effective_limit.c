/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/effective_limit.h"

/* A limit in one dimension, bytes or messages; 0 is no limit. */
struct dimension {
    uint64_t limit;
    enum limit_source from;
};

static struct dimension larger(bool has_header, uint64_t header, uint64_t by_default,
                               enum limit_source default_from)
{
    bool header_wins = has_header && (header == 0 || header > by_default);

    if (header_wins)
        return (struct dimension){header, LIMIT_SOURCE_HEADER};
    return (struct dimension){by_default, default_from};
}

/* Says who limits it, or where nobody does, who said so. */
static enum limit_source limited_by(const struct dimension *bytes, const struct dimension *messages,
                                    const struct mailbox_policy *policy,
                                    const struct limit_header *header)
{
    if (bytes->limit > 0)
        return bytes->from;
    if (messages->limit > 0)
        return messages->from;
    if (header->has_bytes || header->has_messages)
        return LIMIT_SOURCE_HEADER;
    return policy->default_from == LIMIT_SOURCE_FILE ? LIMIT_SOURCE_FILE : LIMIT_SOURCE_NONE;
}

static uint64_t sure_limit(struct dimension dimension, const struct limit_header *header)
{
    return dimension.from == LIMIT_SOURCE_HEADER && header->is_old ? 0 : dimension.limit;
}

struct effective_limit effective_limit(const struct mailbox_policy *policy,
                                       const struct limit_header *header)
{
    struct dimension bytes, messages;

    if (policy->have_limit)
        return (struct effective_limit){policy->limit, policy->limit_from, policy->limit};
    bytes = larger(header->has_bytes, header->limit.bytes, policy->default_limit.bytes,
                   policy->default_from);
    messages = larger(header->has_messages, header->limit.messages, policy->default_limit.messages,
                      policy->default_from);
    return (struct effective_limit){
        .limit = {bytes.limit, messages.limit},
        .from = limited_by(&bytes, &messages, policy, header),
        .sure = {sure_limit(bytes, header), sure_limit(messages, header)},
    };
}
