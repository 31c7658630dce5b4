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
#include "system/clock.h"

/* What the header of maildirsize.h makes of a file. */
struct expected {
    bool wrong; /* it does not parse */
    bool large;
    bool implausible;
    struct quota_limit limit;
    __int128 bytes, messages;
    size_t entries;
};

/* Reads a line of parts such as 100S, each a number and a letter, with a comma between two. */
static bool expect_header(char *line, size_t length, struct quota_limit *ret)
{
    struct quota_limit limit = {};

    for (size_t at = 0; at < length; at++) {
        size_t digits = strspn(line + at, "0123456789");
        char letter = line[at + digits];
        unsigned __int128 value;

        if (!fuzz_number(line + at, digits, &value) || (letter | 0x20) < 'a' ||
            (letter | 0x20) > 'z')
            return false;
        if (letter == 'S')
            limit.bytes = value > SIZE_BYTES_MAX ? SIZE_BYTES_MAX : (uint64_t)value;
        if (letter == 'C')
            limit.messages = value > SIZE_BYTES_MAX ? SIZE_BYTES_MAX : (uint64_t)value;
        at += digits + 1;
        if (at < length && (line[at] != ',' || at + 1 == length))
            return false;
    }
    *ret = limit;
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
            expected.wrong = !expect_header(line, line_length, &expected.limit);
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

static void require_sums(const struct expected *expected, const struct maildirsize *sums)
{
    require(sums->limit.bytes == expected->limit.bytes);
    require(sums->limit.messages == expected->limit.messages);
    if (expected->wrong || expected->large || expected->implausible)
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
        require(r == (expected->implausible ? -ERANGE : 0));
    require_sums(expected, &sums);
    free(copy);
}

/* Whether the file may be believed, by the rules for a mailbox that is over its limit. */
static void check_conclusion(const struct mailbox *mailbox, const struct mailbox_policy *policy,
                             uint64_t now_usec)
{
    enum usage_rule rule = mailbox_must_count(mailbox, policy, now_usec, true);
    struct quota_limit limit = mailbox_effective_limit(policy, &mailbox->maildirsize.limit);
    const struct verdict_policy verdict_policy = {.grace = policy->grace, .warn_percent = 90};
    struct usage usage;
    enum verdict verdict;

    require(mailbox_usage(mailbox, &usage));
    require(usage.bytes <= SIZE_BYTES_MAX && usage.messages <= SIZE_BYTES_MAX);
    require(usage.source == USAGE_MAILDIRSIZE);
    if (policy->have_limit)
        require(memcmp(&limit, &policy->limit, sizeof(limit)) == 0);
    verdict =
        verdict_decide(usage.bytes, usage.messages, limit, policy->size_bytes, &verdict_policy);
    if (verdict == VERDICT_OK || verdict == VERDICT_WARN) {
        require(rule == USAGE_RULE_TRUSTED);
        return;
    }
    require(rule == USAGE_RULE_TRUSTED || rule == USAGE_RULE_OVER);
    if (mailbox->maildirsize.entries > 1 ||
        now_usec >= mailbox->maildirsize_modified_usec + MAILBOX_MAILDIRSIZE_FRESH_USEC ||
        now_usec < mailbox->maildirsize_modified_usec)
        require(rule == USAGE_RULE_OVER);
}

static void check_mailbox(const char *text, size_t length, const struct expected *expected)
{
    static const struct mailbox_policy policies[] = {
        {},
        {.have_limit = true, .limit = {1000, 0}, .size_bytes = 1},
        {.have_limit = true, .limit = {0, 10}},
        {.have_limit = true, .limit = {SIZE_BYTES_MAX, SIZE_BYTES_MAX}, .size_bytes = 1},
        {.default_limit = {5000, 5}, .size_bytes = SIZE_BYTES_MAX, .grace = {.percent = 10}},
        {.default_limit = {1, 1}, .grace = {.bytes = SIZE_BYTES_MAX}},
    };
    char path[] = MAILROOM "/joe";
    struct mailbox mailbox = MAILBOX_NULL;
    uint64_t now_usec;

    mailroom_write("joe/maildirsize", text, length);
    require(mailbox_open(mailroom_settings(), path, &mailbox) == 0);
    require(mailbox.kind == MAILBOX_MAILDIR);
    require_sums(expected, &mailbox.maildirsize);
    now_usec = mailbox.maildirsize_modified_usec;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        if (expected->wrong || expected->large || expected->implausible) {
            struct usage usage;

            require(mailbox_must_count(&mailbox, &policies[i], now_usec, true) !=
                    USAGE_RULE_TRUSTED);
            require(!mailbox_usage(&mailbox, &usage));
            continue;
        }
        check_conclusion(&mailbox, &policies[i], now_usec);
        check_conclusion(&mailbox, &policies[i], now_usec - 1);
        check_conclusion(&mailbox, &policies[i], now_usec + MAILBOX_MAILDIRSIZE_FRESH_USEC);
    }
    mailbox_close(&mailbox);
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
