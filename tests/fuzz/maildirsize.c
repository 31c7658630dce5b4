/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file maildirsize, and what is concluded from it. The input is the file.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailroom.h"
#include "quota/mailbox.h"
#include "quota/target.h"
#include "system/clock.h"

/* What the header of maildirsize.h makes of a file. */
struct expected {
    bool wrong; /* it does not parse */
    bool large;
    bool implausible;
    struct quota_limit limit;
    bool has_bytes, has_messages; /* it says something about the limit in these */
    __int128 bytes, messages;
    size_t entries;
};

/* Reads a line of parts such as 100S, each a number and a letter, with a comma between two. */
static bool expect_header(char *line, size_t length, struct expected *ret)
{
    struct expected header = {};

    for (size_t at = 0; at < length; at++) {
        size_t digits = strspn(line + at, "0123456789");
        char letter = line[at + digits];
        unsigned __int128 value;

        if (!fuzz_number(line + at, digits, &value) || (letter | 0x20) < 'a' ||
            (letter | 0x20) > 'z')
            return false;
        if (value > SIZE_BYTES_MAX)
            value = SIZE_BYTES_MAX;
        if (letter == 'S') {
            header.limit.bytes = (uint64_t)value;
            header.has_bytes = true;
        }
        if (letter == 'C') {
            header.limit.messages = (uint64_t)value;
            header.has_messages = true;
        }
        at += digits + 1;
        if (at < length && (line[at] != ',' || at + 1 == length))
            return false;
    }
    ret->limit = header.limit;
    ret->has_bytes = header.has_bytes;
    ret->has_messages = header.has_messages;
    return true;
}

static bool expect_signed(const char *text, size_t length, __int128 *sum)
{
    bool negative = length > 0 && *text == '-';
    unsigned __int128 value;

    if (!fuzz_number(text + negative, length - negative, &value) || value > SIZE_BYTES_MAX)
        return false;
    *sum += negative ? -(__int128)value : (__int128)value;
    return true;
}

/* Reads a line of two numbers. */
static bool expect_entry(const char *line, struct expected *expected)
{
    const char *first = line + strspn(line, " \t");
    size_t first_length = strcspn(first, " \t");
    const char *second = first + first_length + strspn(first + first_length, " \t");
    size_t second_length = strcspn(second, " \t");

    expected->entries++;
    return second[second_length + strspn(second + second_length, " \t")] == '\0' &&
           expect_signed(first, first_length, &expected->bytes) &&
           expect_signed(second, second_length, &expected->messages);
}

static struct expected expect(const char *text, size_t length)
{
    struct expected expected = {.wrong = true, .large = length >= MAILDIRSIZE_BYTES_MAX};
    bool is_header = true;

    for (const char *end; (end = length > 0 ? memchr(text, '\n', length) : NULL); text = end + 1) {
        size_t line_length = (size_t)(end - text);
        char *line = fuzz_string(text, line_length);

        if (memchr(line, '\0', line_length))
            expected.wrong = true;
        else if (is_header)
            expected.wrong = !expect_header(line, line_length, &expected);
        else if (!expect_entry(line, &expected))
            expected.wrong = true;
        free(line);
        length -= line_length + 1;
        if (is_header && expected.wrong)
            return expected;
        is_header = false;
    }
    if (length > 0 && memchr(text, '\0', length))
        expected.wrong = true;
    expected.implausible = expected.bytes < 0 || expected.bytes > (__int128)SIZE_BYTES_MAX ||
                           expected.messages < 0 || expected.messages > (__int128)SIZE_BYTES_MAX;
    return expected;
}

/* Whether there are sums, and ones to rely on. */
static bool are_sums_good(const struct expected *expected)
{
    return !expected->wrong && !expected->large && !expected->implausible && expected->entries > 0;
}

static void require_sums(const struct expected *expected, const struct maildirsize *sums)
{
    require(sums->limit.bytes == expected->limit.bytes);
    require(sums->limit.messages == expected->limit.messages);
    require(sums->has_bytes == expected->has_bytes);
    require(sums->has_messages == expected->has_messages);
    if (!are_sums_good(expected))
        return;
    require(sums->bytes == (uint64_t)expected->bytes);
    require(sums->messages == (uint64_t)expected->messages);
    require(sums->entries == expected->entries);
}

static void check_parser(const char *text, size_t length, const struct expected *expected)
{
    char *copy = fuzz_copy(text, length, 0);
    struct maildirsize sums;
    int r = maildirsize_parse(copy, length, &sums);

    if (expected->wrong || expected->large)
        require((r == -EBADMSG && expected->wrong) || (r == -EFBIG && expected->large));
    else
        require(r == (expected->entries == 0 ? -ENODATA : expected->implausible ? -ERANGE : 0));
    require_sums(expected, &sums);
    free(copy);
}

/* Returns a limit of bytes or of messages, by the header of effective_limit.h. */
static uint64_t expect_limit(bool has_header, uint64_t header, bool header_is_old,
                             uint64_t by_default, uint64_t *ret_sure)
{
    if (has_header && header == 0)
        return *ret_sure = 0;
    if (has_header && (by_default == 0 || header > by_default)) {
        *ret_sure = header_is_old ? 0 : header;
        return header;
    }
    return *ret_sure = by_default;
}

/* Returns the limit that counts, and the part of it that is sure. */
static struct quota_limit expect_limits(const struct mailbox_policy *policy,
                                        const struct expected *expected, bool header_is_old,
                                        struct quota_limit *ret_sure)
{
    struct quota_limit limit;

    if (policy->have_limit)
        return *ret_sure = policy->limit;
    limit.bytes = expect_limit(expected->has_bytes, expected->limit.bytes, header_is_old,
                               policy->default_limit.bytes, &ret_sure->bytes);
    limit.messages = expect_limit(expected->has_messages, expected->limit.messages, header_is_old,
                                  policy->default_limit.messages, &ret_sure->messages);
    return limit;
}

static bool refuses(enum verdict verdict)
{
    return verdict == VERDICT_OVER || verdict == VERDICT_TOOLARGE;
}

/* Whether sums that say "over" may be believed, as far as the file tells. */
static bool may_be_sure(const struct mailbox *mailbox, uint64_t now_usec)
{
    return mailbox->maildirsize.entries == 1 && now_usec >= mailbox->maildirsize_mtime_usec &&
           now_usec - mailbox->maildirsize_mtime_usec < MAILBOX_MAILDIRSIZE_FRESH_USEC;
}

static void require_rule_of_bad_sums(const struct expected *expected, enum usage_rule rule)
{
    if (expected->wrong || expected->large)
        require((rule == USAGE_RULE_MALFORMED && expected->wrong) ||
                (rule == USAGE_RULE_LARGE && expected->large));
    else if (expected->entries == 0)
        require(rule == USAGE_RULE_EMPTY);
    else
        require(rule == USAGE_RULE_IMPLAUSIBLE);
}

/* Checks that nobody is refused, unless it is sure. */
static void check_verdict(const struct mailbox_policy *policy,
                          const struct verdict_policy *verdict_policy, struct quota_limit limit,
                          const struct usage *usage, bool is_sure)
{
    const struct quota_settings settings = {.verdict = *verdict_policy};
    const struct target target = {.policy = *policy};
    struct target_decision decision;

    target_decide(&target, &settings, MAILROOM "/joe", usage, &decision);
    require(memcmp(&decision.limit, &limit, sizeof(limit)) == 0);
    require(!refuses(decision.verdict) || is_sure);
}

/*
 * Checks what was concluded of the mailbox for one policy at one time: ANSWERED and the usage, or
 * NEEDS_COUNT by a rule. Whether nothing has changed since maildirsize was written is not known.
 */
static void check_conclusion(const struct expected *expected, const struct mailbox_policy *policy,
                             const struct mailbox *mailbox, uint64_t now_usec, int result,
                             const struct usage *usage)
{
    const struct verdict_policy verdict_policy = {.grace = policy->grace, .warn_percent = 90};
    uint64_t bytes = (uint64_t)expected->bytes, messages = (uint64_t)expected->messages;
    uint64_t written_usec = mailbox->maildirsize_mtime_usec <= now_usec
                                ? mailbox->maildirsize_mtime_usec
                                : mailbox->maildirsize_ctime_usec;
    bool is_old = now_usec > written_usec && now_usec - written_usec > HEADER_LIMIT_BELIEVED_USEC &&
                  (now_usec - written_usec) % HEADER_LIMIT_BELIEVED_USEC < HEADER_LIMIT_TRIED_USEC;
    struct quota_limit sure, limit = expect_limits(policy, expected, is_old, &sure);
    bool answered = result == MAILBOX_ANSWERED;

    if (policy->verdict_alone &&
        verdict_decide(0, 0, sure, policy->size_bytes, &verdict_policy) == VERDICT_TOOLARGE) {
        require(answered && usage->rule == USAGE_RULE_TOOLARGE);
        require(usage->source == (are_sums_good(expected) ? USAGE_MAILDIRSIZE : USAGE_UNKNOWN));
    } else if (!are_sums_good(expected)) {
        require(!answered);
        require_rule_of_bad_sums(expected, usage->rule);
    } else if (!refuses(
                   verdict_decide(bytes, messages, limit, policy->size_bytes, &verdict_policy))) {
        require(answered && usage->rule == USAGE_RULE_TRUSTED);
    } else if (policy->verdict_alone &&
               !refuses(
                   verdict_decide(bytes, messages, sure, policy->size_bytes, &verdict_policy))) {
        require(answered && usage->rule == USAGE_RULE_STALE_LIMIT);
    } else if (answered) {
        require(usage->rule == USAGE_RULE_TRUSTED && may_be_sure(mailbox, now_usec));
    } else {
        require(usage->rule == USAGE_RULE_OVER);
    }
    if (answered)
        check_verdict(policy, &verdict_policy, limit, usage,
                      usage->rule == USAGE_RULE_TOOLARGE || may_be_sure(mailbox, now_usec));
}

/* Checks what is concluded without another look at the mailbox. */
static void check_decision(const struct expected *expected, const struct mailbox_policy *policy,
                           const struct mailbox *mailbox, uint64_t now_usec)
{
    struct usage usage;
    int r = mailbox_decide(mailbox, mailroom_settings(), policy, now_usec, &usage);

    require(r == MAILBOX_ANSWERED || r == MAILBOX_NEEDS_COUNT);
    require(r != MAILBOX_ANSWERED || usage.rule != USAGE_RULE_OVER);
    check_conclusion(expected, policy, mailbox, now_usec, r, &usage);
}

static void check_mailbox(const char *text, size_t length, const struct expected *expected)
{
    static const struct mailbox_policy policies[] = {
        {.have_limit = false},
        {.verdict_alone = true},
        {.have_limit = true, .limit = {1000, 0}, .size_bytes = 1, .verdict_alone = true},
        {.have_limit = true, .limit = {0, 10}, .verdict_alone = true},
        {.have_limit = true, .limit = {SIZE_BYTES_MAX, SIZE_BYTES_MAX}, .size_bytes = 1},
        {.default_limit = {1000, 0}, .size_bytes = 1001, .verdict_alone = true},
        {.default_limit = {1000, 0}, .size_bytes = 1001},
        {.default_limit = {0, 10}, .size_bytes = 100, .verdict_alone = true},
        {.default_limit = {5000, 5},
         .size_bytes = SIZE_BYTES_MAX,
         .grace = {.percent = 10},
         .verdict_alone = true},
        {.default_limit = {1, 1}, .grace = {.bytes = SIZE_BYTES_MAX}},
    };
    const char path[] = MAILROOM "/joe";
    uint64_t now_usec;

    mailroom_write("joe/maildirsize", text, length);
    now_usec = clock_usec(CLOCK_REALTIME);
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct mailbox mailbox;
        int r = mailbox_probe(mailroom_settings(), &policies[i], NULL, path, now_usec, &mailbox);
        uint64_t written_usec = mailbox.maildirsize_mtime_usec;

        require(r == MAILBOX_ANSWERED || r == MAILBOX_NEEDS_COUNT);
        require(mailbox.kind == MAILBOX_MAILDIR);
        require_sums(expected, &mailbox.maildirsize);
        require(mailbox.rule == mailbox.usage.rule || r == MAILBOX_ANSWERED);
        check_conclusion(expected, &policies[i], &mailbox, now_usec, r, &mailbox.usage);
        check_decision(expected, &policies[i], &mailbox, written_usec);
        check_decision(expected, &policies[i], &mailbox, written_usec - 1);
        check_decision(expected, &policies[i], &mailbox,
                       written_usec + MAILBOX_MAILDIRSIZE_FRESH_USEC);
        check_decision(expected, &policies[i], &mailbox,
                       written_usec + HEADER_LIMIT_BELIEVED_USEC + 1);
        mailbox_close(&mailbox);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    mailroom_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct expected expected = expect(text, size);

    check_parser(text, size, &expected);
    /* Of a mailbox's file no more is read than may be trusted, and its first line may be longer. */
    if (size > MAILDIRSIZE_BYTES_MAX)
        expected = expect(text, MAILDIRSIZE_BYTES_MAX);
    check_mailbox(text, size, &expected);
    return 0;
}
