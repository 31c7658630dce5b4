/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which limit counts, and what target_decide() makes of it.
 */
#include "unit.h"

#include <inttypes.h>
#include <string.h>

#include "protocol/words.h"
#include "quota/effective_limit.h"
#include "quota/target.h"

#define NO_HEADER                                                                                  \
    {                                                                                              \
        .is_old = false                                                                            \
    }
#define BYTES(b, old)                                                                              \
    {                                                                                              \
        .limit = {(b), 0}, .has_bytes = true, .is_old = (old)                                      \
    }
#define MESSAGES(m, old)                                                                           \
    {                                                                                              \
        .limit = {0, (m)}, .has_messages = true, .is_old = (old)                                   \
    }
#define BOTH(b, m, old)                                                                            \
    {                                                                                              \
        .limit = {(b), (m)}, .has_bytes = true, .has_messages = true, .is_old = (old)              \
    }

#define DEFAULT(b, m)                                                                              \
    {                                                                                              \
        .default_limit = {(b), (m)}, .default_from = LIMIT_SOURCE_DEFAULT                          \
    }
#define FILE_DEFAULT(b, m)                                                                         \
    {                                                                                              \
        .default_limit = {(b), (m)}, .default_from = LIMIT_SOURCE_FILE                             \
    }
#define LIMIT(b, m, source)                                                                        \
    {                                                                                              \
        .have_limit = true, .limit = {(b), (m)}, .limit_from = (source), .default_limit = {7, 7},  \
        .default_from = LIMIT_SOURCE_DEFAULT                                                       \
    }

#define NONE                                                                                       \
    {                                                                                              \
        0, 0                                                                                       \
    }

static void the_limit_that_counts(void **state)
{
    static const struct {
        struct mailbox_policy policy;
        struct limit_header header;
        struct quota_limit limit;
        enum limit_source from;
        struct quota_limit sure;
    } cases[] = {
        /* one alone */
        {DEFAULT(0, 0), NO_HEADER, NONE, LIMIT_SOURCE_NONE, NONE},
        {DEFAULT(1, 2), NO_HEADER, {1, 2}, LIMIT_SOURCE_DEFAULT, {1, 2}},
        {DEFAULT(1, 0), NO_HEADER, {1, 0}, LIMIT_SOURCE_DEFAULT, {1, 0}},
        {DEFAULT(0, 2), NO_HEADER, {0, 2}, LIMIT_SOURCE_DEFAULT, {0, 2}},
        {FILE_DEFAULT(1, 2), NO_HEADER, {1, 2}, LIMIT_SOURCE_FILE, {1, 2}},
        {DEFAULT(0, 0), BOTH(5, 6, false), {5, 6}, LIMIT_SOURCE_HEADER, {5, 6}},
        {DEFAULT(0, 0), BYTES(5, false), {5, 0}, LIMIT_SOURCE_HEADER, {5, 0}},
        {DEFAULT(0, 0), MESSAGES(6, false), {0, 6}, LIMIT_SOURCE_HEADER, {0, 6}},

        /* the larger of the two, bytes and messages each for itself */
        {DEFAULT(4, 7), BOTH(5, 6, false), {5, 7}, LIMIT_SOURCE_HEADER, {5, 7}},
        {DEFAULT(6, 5), BOTH(5, 6, false), {6, 6}, LIMIT_SOURCE_DEFAULT, {6, 6}},
        {DEFAULT(5, 6), BOTH(5, 6, false), {5, 6}, LIMIT_SOURCE_DEFAULT, {5, 6}},
        {FILE_DEFAULT(6, 5), BOTH(5, 6, false), {6, 6}, LIMIT_SOURCE_FILE, {6, 6}},
        {DEFAULT(4, 2), BYTES(5, false), {5, 2}, LIMIT_SOURCE_HEADER, {5, 2}},
        {DEFAULT(1, 5), MESSAGES(6, false), {1, 6}, LIMIT_SOURCE_DEFAULT, {1, 6}},
        {DEFAULT(0, 5), BYTES(5, false), {5, 5}, LIMIT_SOURCE_HEADER, {5, 5}},
        {DEFAULT(5, 0), MESSAGES(6, false), {5, 6}, LIMIT_SOURCE_DEFAULT, {5, 6}},

        /* a header that says 0 says that there is none */
        {DEFAULT(1, 2), BOTH(0, 0, false), NONE, LIMIT_SOURCE_HEADER, NONE},
        {DEFAULT(1, 2), BYTES(0, false), {0, 2}, LIMIT_SOURCE_DEFAULT, {0, 2}},
        {DEFAULT(1, 2), MESSAGES(0, false), {1, 0}, LIMIT_SOURCE_DEFAULT, {1, 0}},
        {DEFAULT(1, 2), BOTH(0, 6, false), {0, 6}, LIMIT_SOURCE_HEADER, {0, 6}},
        {DEFAULT(1, 7), BOTH(0, 6, false), {0, 7}, LIMIT_SOURCE_DEFAULT, {0, 7}},
        {DEFAULT(1, 2), BOTH(0, 0, true), NONE, LIMIT_SOURCE_HEADER, NONE},
        {DEFAULT(0, 0), BYTES(0, false), NONE, LIMIT_SOURCE_HEADER, NONE},
        {DEFAULT(0, 0), MESSAGES(0, false), NONE, LIMIT_SOURCE_HEADER, NONE},
        {DEFAULT(0, 2), MESSAGES(0, false), NONE, LIMIT_SOURCE_HEADER, NONE},
        {FILE_DEFAULT(0, 0), MESSAGES(0, false), NONE, LIMIT_SOURCE_HEADER, NONE},

        /* so does the limits file */
        {FILE_DEFAULT(0, 0), NO_HEADER, NONE, LIMIT_SOURCE_FILE, NONE},
        {FILE_DEFAULT(0, 0), BYTES(5, false), {5, 0}, LIMIT_SOURCE_HEADER, {5, 0}},

        /* what an old header alone limits is not sure */
        {DEFAULT(0, 0), BOTH(5, 6, true), {5, 6}, LIMIT_SOURCE_HEADER, NONE},
        {DEFAULT(4, 5), BOTH(5, 6, true), {5, 6}, LIMIT_SOURCE_HEADER, NONE},
        {DEFAULT(4, 7), BOTH(5, 6, true), {5, 7}, LIMIT_SOURCE_HEADER, {0, 7}},
        {DEFAULT(6, 5), BOTH(5, 6, true), {6, 6}, LIMIT_SOURCE_DEFAULT, {6, 0}},
        {DEFAULT(5, 6), BOTH(5, 6, true), {5, 6}, LIMIT_SOURCE_DEFAULT, {5, 6}},
        {DEFAULT(4, 2), BYTES(5, true), {5, 2}, LIMIT_SOURCE_HEADER, {0, 2}},
        {DEFAULT(0, 0), {.is_old = true}, NONE, LIMIT_SOURCE_NONE, NONE},
        {DEFAULT(1, 2), {.is_old = true}, {1, 2}, LIMIT_SOURCE_DEFAULT, {1, 2}},

        /* one of the request or of the limits file outranks both, if only by saying that there is
         * none */
        {LIMIT(3, 4, LIMIT_SOURCE_REQUEST),
         BOTH(5, 6, false),
         {3, 4},
         LIMIT_SOURCE_REQUEST,
         {3, 4}},
        {LIMIT(3, 0, LIMIT_SOURCE_FILE), BOTH(5, 6, true), {3, 0}, LIMIT_SOURCE_FILE, {3, 0}},
        {LIMIT(0, 4, LIMIT_SOURCE_FILE), BOTH(5, 6, true), {0, 4}, LIMIT_SOURCE_FILE, {0, 4}},
        {LIMIT(0, 0, LIMIT_SOURCE_FILE), BOTH(5, 6, false), NONE, LIMIT_SOURCE_FILE, NONE},
        {LIMIT(0, 0, LIMIT_SOURCE_REQUEST), NO_HEADER, NONE, LIMIT_SOURCE_REQUEST, NONE},
        {{.limit = {3, 4}, .limit_from = LIMIT_SOURCE_FILE},
         BOTH(5, 6, false),
         {5, 6},
         LIMIT_SOURCE_HEADER,
         {5, 6}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct effective_limit found = effective_limit(&cases[i].policy, &cases[i].header);

        if (memcmp(&found.limit, &cases[i].limit, sizeof(found.limit)) != 0 ||
            memcmp(&found.sure, &cases[i].sure, sizeof(found.sure)) != 0 ||
            found.from != cases[i].from)
            fail_msg("case %zu: %" PRIu64 ",%" PRIu64 "C of %s, sure %" PRIu64 ",%" PRIu64 "C", i,
                     found.limit.bytes, found.limit.messages, limit_source_to_string(found.from),
                     found.sure.bytes, found.sure.messages);
    }
}

static void every_source_has_its_word(void **state)
{
    (void)state;
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_NONE), "none");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_REQUEST), "request");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_FILE), "file");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_HEADER), "header");
    assert_string_equal(limit_source_to_string(LIMIT_SOURCE_DEFAULT), "default");
}

/* By a limit that is not sure nobody is refused, not even with a message larger than that. */
static void only_a_sure_limit_refuses(void **state)
{
    static const struct {
        struct mailbox_policy policy;
        struct limit_header header;
        uint64_t bytes, messages, size_bytes;
        enum verdict verdict;
        enum usage_rule rule;
    } cases[] = {
        {DEFAULT(0, 0), BYTES(100, false), 101, 1, 0, VERDICT_OVER, USAGE_RULE_MISSING},
        {DEFAULT(0, 0), BYTES(100, true), 101, 1, 0, VERDICT_OK, USAGE_RULE_STALE_LIMIT},
        {DEFAULT(0, 0), BYTES(100, true), 100, 1, 1, VERDICT_OK, USAGE_RULE_STALE_LIMIT},
        {DEFAULT(0, 0), BYTES(100, true), 100, 1, 0, VERDICT_WARN, USAGE_RULE_MISSING},
        {DEFAULT(0, 0), BYTES(100, true), 1, 1, 0, VERDICT_OK, USAGE_RULE_MISSING},
        {DEFAULT(0, 0), MESSAGES(5, false), 1, 5, 0, VERDICT_OVER, USAGE_RULE_MISSING},
        {DEFAULT(0, 0), MESSAGES(5, true), 1, 5, 0, VERDICT_OK, USAGE_RULE_STALE_LIMIT},
        {DEFAULT(0, 0), MESSAGES(5, true), 1, 4, 0, VERDICT_OK, USAGE_RULE_MISSING},

        /* too large */
        {DEFAULT(0, 0), BYTES(100, false), 1, 1, 101, VERDICT_TOOLARGE, USAGE_RULE_MISSING},
        {DEFAULT(0, 0), BYTES(100, true), 1, 1, 101, VERDICT_OK, USAGE_RULE_STALE_LIMIT},
        {DEFAULT(50, 0), BYTES(100, true), 1, 1, 101, VERDICT_OK, USAGE_RULE_STALE_LIMIT},
        {DEFAULT(100, 0), BYTES(50, true), 1, 1, 101, VERDICT_TOOLARGE, USAGE_RULE_MISSING},

        /* one of the two limits is sure */
        {DEFAULT(0, 5), BYTES(100, true), 101, 5, 0, VERDICT_OVER, USAGE_RULE_MISSING},
        {DEFAULT(0, 6), BYTES(100, true), 101, 5, 0, VERDICT_OK, USAGE_RULE_STALE_LIMIT},
        {DEFAULT(100, 0), MESSAGES(5, true), 101, 5, 0, VERDICT_OVER, USAGE_RULE_MISSING},
        {DEFAULT(101, 0), MESSAGES(5, true), 101, 5, 0, VERDICT_OK, USAGE_RULE_STALE_LIMIT},

        /* by messages over for sure, so that "too large" by an old header is no answer */
        {DEFAULT(0, 5), BYTES(100, true), 1, 5, 101, VERDICT_OVER, USAGE_RULE_MISSING},

        {LIMIT(100, 0, LIMIT_SOURCE_FILE), BYTES(50, true), 101, 1, 0, VERDICT_OVER,
         USAGE_RULE_MISSING},
        {LIMIT(0, 0, LIMIT_SOURCE_FILE), BYTES(50, true), 101, 1, 0, VERDICT_OK,
         USAGE_RULE_MISSING},
    };
    struct quota_settings settings = QUOTA_SETTINGS_DEFAULT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct usage usage = {.bytes = cases[i].bytes,
                                    .messages = cases[i].messages,
                                    .source = USAGE_SCAN,
                                    .rule = USAGE_RULE_MISSING,
                                    .header = cases[i].header};
        const struct effective_limit limit = effective_limit(&cases[i].policy, &cases[i].header);
        struct target target = {.policy = cases[i].policy};
        struct target_decision decision;

        target.policy.size_bytes = cases[i].size_bytes;
        target_decide(&target, &settings, "/joe", &usage, &decision);
        if (decision.verdict != cases[i].verdict || decision.rule != cases[i].rule)
            fail_msg("case %zu: %s by %s", i, verdict_to_string(decision.verdict),
                     usage_rule_to_string(decision.rule));
        assert_ptr_equal(decision.usage, &usage);
        assert_int_equal(decision.limit.bytes, limit.limit.bytes);
        assert_int_equal(decision.limit.messages, limit.limit.messages);
        assert_int_equal(decision.limit_from, limit.from);
        assert_int_equal(decision.size_bytes, cases[i].size_bytes);
        assert_int_equal(decision.percent, verdict_percent(cases[i].bytes, limit.limit));
        assert_string_equal(decision.mailbox, "/joe");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_that_counts),
        cmocka_unit_test(every_source_has_its_word),
        cmocka_unit_test(only_a_sure_limit_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
