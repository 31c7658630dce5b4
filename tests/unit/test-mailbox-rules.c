/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the sums of a maildirsize answer, and when the messages must be counted.
 */
#include "probe.h"
#include "protocol/words.h"

#include "same_mailbox.h"

#define FRESH (15 * MINUTE)

/* Longer than a tick of the clock that changes are stamped with. */
static const struct timespec tick = {.tv_nsec = 20000000};

static void wait_a_tick(void)
{
    assert_return_code(nanosleep(&tick, NULL), errno);
}

struct row {
    const char *text; /* of maildirsize; NULL: there is none */
    struct mailbox_policy policy;
    uint64_t age_usec; /* of maildirsize */
    enum usage_rule rule;
    uint64_t bytes, messages; /* by maildirsize, where that answers */
};

/* Shorthands for the policies of the rows. */
#define SIZE(size)                                                                                 \
    {                                                                                              \
        .verdict_alone = true, .size_bytes = (size)                                                \
    }
#define LIMIT(b, m)                                                                                \
    {                                                                                              \
        .have_limit = true, .limit = {(b), (m)}, .verdict_alone = true                             \
    }
#define LIMIT_SIZE(b, size)                                                                        \
    {                                                                                              \
        .have_limit = true, .limit = {(b), 0}, .verdict_alone = true, .size_bytes = (size)         \
    }
#define DEFAULT(b, m)                                                                              \
    {                                                                                              \
        .default_limit = {(b), (m)}, .verdict_alone = true                                         \
    }
#define DEFAULT_SIZE(b, size)                                                                      \
    {                                                                                              \
        .default_limit = {(b), 0}, .verdict_alone = true, .size_bytes = (size)                     \
    }
#define GRACE(size, bytes, percent)                                                                \
    {                                                                                              \
        .verdict_alone = true, .size_bytes = (size), .grace = {(bytes), (percent) }                \
    }

static bool is_answer(enum usage_rule rule)
{
    return rule == USAGE_RULE_TRUSTED || rule == USAGE_RULE_STALE_LIMIT ||
           rule == USAGE_RULE_TOOLARGE;
}

/* What the first line of maildirsize says goes with the usage. */
static void assert_header(const struct usage *usage, const struct mailbox *mailbox)
{
    assert_int_equal(usage->header.limit.bytes, mailbox->maildirsize.limit.bytes);
    assert_int_equal(usage->header.limit.messages, mailbox->maildirsize.limit.messages);
    assert_int_equal(usage->header.has_bytes, mailbox->maildirsize.has_bytes);
    assert_int_equal(usage->header.has_messages, mailbox->maildirsize.has_messages);
}

/* The messages of the mailbox are counted, and found. */
static void assert_counts(const struct fixture *fixture, struct mailbox *mailbox,
                          const struct mailbox_policy *policy, uint64_t now_usec)
{
    struct usage usage = {};

    assert_int_equal(mailbox_count(mailbox, fixture->box.path, &fixture->settings, policy, now_usec,
                                   NULL, &usage),
                     0);
    assert_int_equal(usage.bytes, 700);
    assert_int_equal(usage.messages, 2);
    assert_int_equal(usage.source, USAGE_SCAN);
    assert_int_equal(usage.rule, mailbox->rule);
    assert_int_equal(usage.count.files_counted, 2);
    assert_header(&usage, mailbox);
}

/* The sums answer, or are not known and need not be. */
static void assert_answered(const struct mailbox *mailbox, const struct row *row)
{
    const struct usage *usage = &mailbox->usage;
    bool known = mailbox->maildirsize_state == USAGE_RULE_TRUSTED;

    assert_int_equal(usage->rule, row->rule);
    assert_int_equal(usage->source, known ? USAGE_MAILDIRSIZE : USAGE_UNKNOWN);
    assert_int_equal(usage->bytes, known ? row->bytes : 0);
    assert_int_equal(usage->messages, known ? row->messages : 0);
    assert_header(usage, mailbox);
}

/* For another query there is only what the probe found: "over" is never believed then. */
static void check_decision(const struct fixture *fixture, const struct mailbox *mailbox,
                           const struct row *row, uint64_t now_usec)
{
    struct mailbox copy = *mailbox;
    struct usage usage = {};

    copy.fd = -1;
    if (mailbox_decide(&copy, &fixture->settings, &row->policy, now_usec, &usage) ==
        MAILBOX_ANSWERED) {
        assert_true(is_answer(row->rule));
        assert_same_usage(&usage, &mailbox->usage);
    } else {
        assert_int_equal(usage.rule, is_answer(row->rule) ? USAGE_RULE_OVER : row->rule);
    }
}

static void check_row(const struct fixture *fixture, const struct row *row, size_t index)
{
    uint64_t now_usec = fixture->written_usec + row->age_usec;
    struct mailbox mailbox;
    enum usage_rule rule;
    int r;

    set_modified(fixture, "new", fixture->written_usec - 1);
    set_modified(fixture, "cur", fixture->written_usec - 1);
    r = probe_at(fixture, "", &row->policy, now_usec, &mailbox);
    rule = r == MAILBOX_ANSWERED ? mailbox.usage.rule : mailbox.rule;
    if (rule != row->rule || r != (is_answer(rule) ? MAILBOX_ANSWERED : MAILBOX_NEEDS_COUNT))
        fail_msg("case %zu: %d by %s, instead of %s", index, r, usage_rule_to_string(rule),
                 usage_rule_to_string(row->rule));
    assert_int_equal(mailbox.kind, MAILBOX_MAILDIR);
    if (r == MAILBOX_ANSWERED)
        assert_answered(&mailbox, row);
    else
        assert_counts(fixture, &mailbox, &row->policy, now_usec);
    check_decision(fixture, &mailbox, row, now_usec);
    mailbox_close(&mailbox);
}

static void check_rows(const struct fixture *fixture, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];

        if (rows[i].text)
            put_maildirsize(fixture, rows[i].text);
        else
            (void)unlink(path_of(fixture, "maildirsize", path));
        check_row(fixture, &rows[i], i);
    }
}

static void trusts_maildirsize_or_counts(void **state)
{
    static const struct row rows[] = {
        /* what is not over is believed, however old and long it is */
        {"1000S\n500 5\n", SIZE(0), 0, USAGE_RULE_TRUSTED, 500, 5},
        {"1000S\n500 5\n", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 500, 5},
        {"1000S\n500 5\n200 1\n", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 700, 6},
        {"1000S\n1000 5\n", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 1000, 5},
        {"1000S\n999 5\n1 0\n", SIZE(0), 0, USAGE_RULE_TRUSTED, 1000, 5},

        /* over by a byte: the age, from both sides */
        {"1000S\n1001 5\n", SIZE(0), 0, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), FRESH - USEC_PER_SEC, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), FRESH - 1, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n", LIMIT(1000, 0), 1000 * FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n", SIZE(0), -(uint64_t)1, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n", SIZE(0), -(uint64_t)1000 * FRESH, USAGE_RULE_OVER, 0, 0},

        /* over by a byte: one and two lines */
        {"1000S\n1000 5\n1 1\n", SIZE(0), 0, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n0 0\n", SIZE(0), 0, USAGE_RULE_OVER, 0, 0},
        {"1000S\n2000 5\n-999 -1\n", SIZE(0), 0, USAGE_RULE_OVER, 0, 0},
        {"1000S\n2000 5\n-1000 -1\n", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 1000, 4},
        {"1000S\n1001 5\n1 1", SIZE(0), 0, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1000 5\n1 1", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 1000, 5},

        /* the size of the message */
        {"1000S\n900 5\n", SIZE(100), FRESH, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n900 5\n", SIZE(101), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n900 5\n", SIZE(101), FRESH - 1, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n800 5\n100 1\n", SIZE(101), 0, USAGE_RULE_OVER, 0, 0},
        {"1000S\n0 0\n", SIZE(1000), FRESH, USAGE_RULE_TRUSTED, 0, 0},

        /* grace is for the message, not for a mailbox that is over without it */
        {"1000S\n900 5\n", GRACE(110, 10, 0), FRESH, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n900 5\n", GRACE(111, 10, 0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n900 5\n", GRACE(200, 0, 10), FRESH, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n900 5\n", GRACE(201, 0, 10), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1000 5\n", GRACE(0, 10, 0), FRESH, USAGE_RULE_TRUSTED, 1000, 5},
        {"1000S\n1001 5\n", GRACE(0, 10, 0), FRESH, USAGE_RULE_OVER, 0, 0},

        /* messages */
        {"0S,10C\n900 9\n", SIZE(0), FRESH, USAGE_RULE_TRUSTED, 900, 9},
        {"0S,10C\n900 10\n", SIZE(0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"10C\n900 10\n", SIZE(0), FRESH - 1, USAGE_RULE_TRUSTED, 900, 10},
        {"10C\n900 9\n0 1\n", SIZE(0), 0, USAGE_RULE_OVER, 0, 0},

        /* whose limit: the larger of the first line and the default, each for itself */
        {"1000S\n1001 5\n", LIMIT(1001, 0), FRESH, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", LIMIT(0, 0), FRESH, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", LIMIT(0, 5), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n501 5\n", LIMIT(500, 0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n2000 5\n", DEFAULT(2000, 0), FRESH, USAGE_RULE_TRUSTED, 2000, 5},
        {"1000S\n2001 5\n", DEFAULT(2000, 0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1000 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_TRUSTED, 1000, 5},
        {"1000S\n1001 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n501 5\n", DEFAULT(500, 5), FRESH, USAGE_RULE_OVER, 0, 0},
        {"10C\n500 9\n", DEFAULT(500, 5), FRESH, USAGE_RULE_TRUSTED, 500, 9},
        {"10C\n501 9\n", DEFAULT(500, 5), FRESH, USAGE_RULE_OVER, 0, 0},
        {"\n501 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"\n500 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_TRUSTED, 500, 5},
        {"\n9223372036854775807 5\n0 0\n", SIZE(1), FRESH, USAGE_RULE_TRUSTED, SIZE_BYTES_MAX, 5},

        /* a first line that says 0 says that there is none, of bytes or of messages */
        {"0S,0C\n501 5\n", DEFAULT(500, 5), FRESH, USAGE_RULE_TRUSTED, 501, 5},
        {"0S\n501 4\n", DEFAULT(500, 5), FRESH, USAGE_RULE_TRUSTED, 501, 4},
        {"0S\n501 5\n", DEFAULT(500, 5), FRESH, USAGE_RULE_OVER, 0, 0},
        {"0C\n500 5\n", DEFAULT(500, 5), FRESH, USAGE_RULE_TRUSTED, 500, 5},
        {"0C\n501 5\n", DEFAULT(500, 5), FRESH, USAGE_RULE_OVER, 0, 0},
        {"0S,0C\n501 5\n", LIMIT(500, 0), FRESH, USAGE_RULE_OVER, 0, 0},

        /* what cannot be believed, over or not */
        {NULL, SIZE(0), 0, USAGE_RULE_MISSING, 0, 0},
        {"", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S\n500 5\r\n", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S\n500 5\nhello\n", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S\n-1 0\n", SIZE(0), 0, USAGE_RULE_IMPLAUSIBLE, 0, 0},
        {"1000S\n500 -1\n", SIZE(0), 0, USAGE_RULE_IMPLAUSIBLE, 0, 0},
        {"1000S\n9223372036854775807 1\n1 1\n", SIZE(0), 0, USAGE_RULE_IMPLAUSIBLE, 0, 0},

        /* a first line and no other says nothing of what there is */
        {"1000S\n", SIZE(0), 0, USAGE_RULE_EMPTY, 0, 0},
        {"1000S\n", SIZE(1000), 1000 * FRESH, USAGE_RULE_EMPTY, 0, 0},
        {"1000S\n500 5", SIZE(0), 0, USAGE_RULE_EMPTY, 0, 0},
        {"\n", SIZE(0), 0, USAGE_RULE_EMPTY, 0, 0},
        {"0S,0C\n", SIZE(0), 0, USAGE_RULE_EMPTY, 0, 0},
    };

    check_rows(*state, rows, ARRAY_SIZE(rows));
}

/* What an old first line alone limits is not limited; what else does, still is. */
static void a_limit_of_an_old_maildirsize(void **state)
{
    static const struct row rows[] = {
        {"1000S\n1001 5\n", SIZE(0), DAY, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n", SIZE(0), DAY + 1, USAGE_RULE_STALE_LIMIT, 1001, 5},
        {"1000S\n900 5\n", SIZE(101), DAY + 1, USAGE_RULE_STALE_LIMIT, 900, 5},
        {"5C\n1001 5\n", SIZE(0), DAY + 1, USAGE_RULE_STALE_LIMIT, 1001, 5},
        {"1000S\n1000 5\n1 0\n", SIZE(0), DAY + 1, USAGE_RULE_STALE_LIMIT, 1001, 5},
        {"1000S\n1000 5\n", SIZE(0), DAY + 1, USAGE_RULE_TRUSTED, 1000, 5},

        /* a message that is too large for it is not too large, but no longer for a day */
        {"1000S\n1 1\n", SIZE(1001), DAY, USAGE_RULE_TOOLARGE, 1, 1},
        {"1000S\n1 1\n", SIZE(1001), DAY + 1, USAGE_RULE_STALE_LIMIT, 1, 1},
        {"1000S\n", SIZE(1001), DAY, USAGE_RULE_TOOLARGE, 0, 0},
        {"1000S\n", SIZE(1001), DAY + 1, USAGE_RULE_EMPTY, 0, 0},

        /* a larger one wins over the default, and is no surer for that */
        {"1000S\n1001 5\n", DEFAULT(500, 0), DAY + 1, USAGE_RULE_STALE_LIMIT, 1001, 5},
        {"1000S\n1001 5\n", DEFAULT(1000, 0), DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"400S\n501 5\n", DEFAULT(500, 0), DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"400S\n1 1\n", DEFAULT_SIZE(500, 501), DAY + 1, USAGE_RULE_TOOLARGE, 1, 1},
        {"0S\n501 5\n", DEFAULT(500, 0), DAY + 1, USAGE_RULE_TRUSTED, 501, 5},

        /* bytes and messages, each for itself */
        {"1000S\n1001 5\n", DEFAULT(0, 5), DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n", DEFAULT(0, 6), DAY + 1, USAGE_RULE_STALE_LIMIT, 1001, 5},
        {"5C\n1001 5\n", DEFAULT(1000, 0), DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"5C\n1001 5\n", DEFAULT(1001, 0), DAY + 1, USAGE_RULE_STALE_LIMIT, 1001, 5},

        /* a limit of the request's or of the limits file is always sure */
        {"1000S\n1001 5\n", LIMIT(1000, 0), DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1001 5\n", LIMIT(0, 5), DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"1S\n1 1\n", LIMIT_SIZE(1000, 1001), DAY + 1, USAGE_RULE_TOOLARGE, 1, 1},
    };

    check_rows(*state, rows, ARRAY_SIZE(rows));
}

/* Where the usage itself is wanted it is counted, though the verdict is known without that. */
static void a_usage_that_is_wanted_exactly(void **state)
{
    static const struct row rows[] = {
        {"1000S\n1001 5\n", {.size_bytes = 0}, DAY + 1, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1 1\n", {.size_bytes = 1001}, DAY, USAGE_RULE_OVER, 0, 0},
        {NULL,
         {.have_limit = true, .limit = {10, 0}, .size_bytes = 11},
         FRESH,
         USAGE_RULE_MISSING,
         0,
         0},
        {"1000S\n900 5\n", {.size_bytes = 1}, DAY + 1, USAGE_RULE_TRUSTED, 900, 5},
    };

    check_rows(*state, rows, ARRAY_SIZE(rows));
}

/* It can never fit, whatever the mailbox holds, so that nothing is counted for it. */
static void a_message_that_is_too_large(void **state)
{
    static const struct row rows[] = {
        {"1000S\n1 1\n", SIZE(1000), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1 1\n", SIZE(1001), FRESH, USAGE_RULE_TOOLARGE, 1, 1},
        {"1000S\n1 1\n1 1\n", SIZE(SIZE_BYTES_MAX), FRESH, USAGE_RULE_TOOLARGE, 2, 2},
        {"1000S\n2000 1\n", SIZE(1001), FRESH, USAGE_RULE_TOOLARGE, 2000, 1},
        {"1000S\n1 1\n", GRACE(1010, 10, 0), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1 1\n", GRACE(1011, 10, 0), FRESH, USAGE_RULE_TOOLARGE, 1, 1},
        {"1000S\n1 1\n", DEFAULT_SIZE(2000, 2000), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1 1\n", DEFAULT_SIZE(2000, 2001), FRESH, USAGE_RULE_TOOLARGE, 1, 1},

        /* where there are no sums either */
        {NULL, LIMIT_SIZE(1000, 1001), 0, USAGE_RULE_TOOLARGE, 0, 0},
        {NULL, DEFAULT_SIZE(1000, 1001), 0, USAGE_RULE_TOOLARGE, 0, 0},
        {NULL, LIMIT_SIZE(1000, 1000), 0, USAGE_RULE_MISSING, 0, 0},
        {NULL, SIZE(SIZE_BYTES_MAX), 0, USAGE_RULE_MISSING, 0, 0},
        {"x\n", LIMIT_SIZE(1000, 1001), 0, USAGE_RULE_TOOLARGE, 0, 0},
        {"1000S\n", SIZE(1001), FRESH, USAGE_RULE_TOOLARGE, 0, 0},
        {"1000S\nx\n", SIZE(1001), FRESH, USAGE_RULE_TOOLARGE, 0, 0},
        {"1000S\n-1 1\n", SIZE(1001), FRESH, USAGE_RULE_TOOLARGE, 0, 0},
        {"1000S\nx\n", SIZE(1000), FRESH, USAGE_RULE_MALFORMED, 0, 0},
    };

    check_rows(*state, rows, ARRAY_SIZE(rows));
}

/* Nobody keeps it: neither its sums nor its limit count, however good they are. */
static void a_maildirsize_that_is_ignored(void **state)
{
    static const struct {
        const char *text;
        struct mailbox_policy policy;
        enum usage_rule rules[2]; /* with --maildirsize=ignore, with --count=everything */
    } cases[] = {
        {"1000S\n1 1\n", SIZE(0), {USAGE_RULE_IGNORED, USAGE_RULE_EVERYTHING}},
        {"1000S\n1001 1\n", SIZE(0), {USAGE_RULE_IGNORED, USAGE_RULE_EVERYTHING}},
        {"1S\n1 1\n", SIZE(1000), {USAGE_RULE_IGNORED, USAGE_RULE_EVERYTHING}},
        {"x\n", SIZE(0), {USAGE_RULE_IGNORED, USAGE_RULE_EVERYTHING}},
        {"", LIMIT_SIZE(1000, 1001), {USAGE_RULE_TOOLARGE, USAGE_RULE_TOOLARGE}},
        {"0S\n1 1\n", DEFAULT_SIZE(1000, 1001), {USAGE_RULE_TOOLARGE, USAGE_RULE_TOOLARGE}},
        {"2000S\n1 1\n", DEFAULT_SIZE(1000, 1001), {USAGE_RULE_TOOLARGE, USAGE_RULE_TOOLARGE}},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (int option = 0; option < 2; option++) {
            enum usage_rule rule = cases[i].rules[option];
            struct mailbox mailbox;
            int r;

            fixture->settings.ignore_maildirsize = option == 0;
            fixture->settings.count_everything = option == 1;
            put_maildirsize(fixture, cases[i].text);
            r = probe_at(fixture, "", &cases[i].policy, fixture->written_usec, &mailbox);
            assert_int_equal(r, is_answer(rule) ? MAILBOX_ANSWERED : MAILBOX_NEEDS_COUNT);
            assert_int_equal(mailbox.rule, rule);
            assert_int_equal(mailbox.maildirsize.limit.bytes, 0);
            assert_false(mailbox.maildirsize.has_bytes);
            if (r == MAILBOX_ANSWERED)
                assert_int_equal(mailbox.usage.source, USAGE_UNKNOWN);
            else if (option == 0)
                assert_counts(fixture, &mailbox, &cases[i].policy, fixture->written_usec);
            mailbox_close(&mailbox);
        }
}

/* "Over" is not believed once messages came or went, however fresh it is: whoever made room. */
static void over_is_believed_until_messages_change(void **state)
{
    const struct fixture *fixture = *state;
    uint64_t written_usec = fixture->written_usec;
    const struct {
        uint64_t new_usec, cur_usec;
        int result;
    } cases[] = {
        {written_usec - 1, written_usec - 1, MAILBOX_ANSWERED},
        {written_usec, written_usec - 1, MAILBOX_NEEDS_COUNT},
        {written_usec - 1, written_usec, MAILBOX_NEEDS_COUNT},
        {written_usec + 1, written_usec - 1, MAILBOX_NEEDS_COUNT},
        {written_usec - 1, written_usec + 1, MAILBOX_NEEDS_COUNT},
    };
    struct mailbox mailbox;
    int r;

    put_maildirsize(fixture, "1000S\n1001 5\n");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        set_modified(fixture, "new", cases[i].new_usec);
        set_modified(fixture, "cur", cases[i].cur_usec);
        assert_int_equal(probe(fixture, "", &mailbox), cases[i].result);
        mailbox_close(&mailbox);
    }

    /* To know it, a disk must be asked, so that without waiting it is not believed. */
    set_modified(fixture, "new", written_usec - 1);
    set_modified(fixture, "cur", written_usec - 1);
    assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_ANSWERED);
    mailbox_close(&mailbox);
    if (!has_cached(fixture))
        skip_because("the kernel does not tell what is in memory");
    for (int attempts = 0;; attempts++) {
        r = probe_cached(fixture, "", (struct kinds){FILESYSTEM_MEMORY, ALWAYS}, &mailbox);
        mailbox_close(&mailbox);
        if (r != MAILBOX_WOULD_BLOCK)
            break;
        assert_true(attempts < 1000);
    }
    assert_int_equal(r, MAILBOX_NEEDS_COUNT);
}

/* Nothing is known of a mailbox without `new` or `cur`: messages may have gone with it. */
static void over_is_not_believed_of_a_mailbox_without_messages(void **state)
{
    const struct fixture *fixture = *state;
    struct mailbox mailbox;
    struct usage usage = {};

    put_maildirsize(fixture, "1000S\n1001 5\n");
    set_modified(fixture, "new", fixture->written_usec - HOUR);
    box_remove(&fixture->box, "cur");
    assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_NEEDS_COUNT);
    mailbox_close(&mailbox);
    box_remove(&fixture->box, "new");
    assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_NEEDS_COUNT);
    assert_int_equal(mailbox.rule, USAGE_RULE_OVER);
    assert_int_equal(mailbox_count(&mailbox, fixture->box.path, &fixture->settings, &no_policy,
                                   fixture->written_usec, NULL, &usage),
                     0);
    assert_int_equal(usage.bytes, 0);
    mailbox_close(&mailbox);
}

/* The times of a link say nothing of the directory that it leads to. */
static void over_is_not_believed_of_messages_behind_a_link(void **state)
{
    const struct fixture *fixture = *state;
    struct mailbox mailbox;

    put_maildirsize(fixture, "1000S\n1001 5\n");
    assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_ANSWERED);
    mailbox_close(&mailbox);
    box_move(&fixture->box, "cur", "../cur");
    box_link(&fixture->box, "../cur", "cur");
    assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_NEEDS_COUNT);
    assert_int_equal(mailbox.rule, USAGE_RULE_OVER);
    assert_counts(fixture, &mailbox, &no_policy, fixture->written_usec);
    mailbox_close(&mailbox);
}

/* A program that sets times back, such as rsync(1), changes ctime all the same. */
static void a_change_with_its_time_set_back(void **state)
{
    static const char *const leaves[] = {"new", "cur"};
    const struct fixture *fixture = *state;

    put_maildirsize(fixture, "1000S\n1001 5\n");
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        uint64_t written_usec;
        struct mailbox mailbox;

        set_modified(fixture, "new", clock_usec(CLOCK_REALTIME) - HOUR);
        set_modified(fixture, "cur", clock_usec(CLOCK_REALTIME) - HOUR);
        wait_a_tick();
        written_usec = clock_usec(CLOCK_REALTIME);
        set_modified(fixture, "maildirsize", written_usec);
        assert_int_equal(probe_at(fixture, "", &no_policy, written_usec, &mailbox),
                         MAILBOX_ANSWERED);
        assert_int_equal(mailbox.usage.bytes, 1001);
        mailbox_close(&mailbox);

        wait_a_tick();
        set_modified(fixture, leaves[i], written_usec - HOUR);
        assert_int_equal(probe_at(fixture, "", &no_policy, written_usec, &mailbox),
                         MAILBOX_NEEDS_COUNT);
        assert_int_equal(mailbox.rule, USAGE_RULE_OVER);
        mailbox_close(&mailbox);
    }
}

static void a_file_of_5120_bytes_is_not_believed(void **state)
{
    static const struct {
        size_t length;
        enum usage_rule rule;
    } cases[] = {
        {5119, USAGE_RULE_TRUSTED},
        {5120, USAGE_RULE_LARGE},
        {5121, USAGE_RULE_LARGE},
        {100000, USAGE_RULE_LARGE},
    };
    struct fixture *fixture = *state;
    static char text[100000];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = cases[i].length;
        struct mailbox mailbox;

        memcpy(text, "1000S\n", 6);
        memset(text + 6, ' ', length - 6);
        memcpy(text + length - 4, "7 1\n", 4);
        put_text(fixture, "maildirsize", text, length);
        check_row(fixture, &(struct row){NULL, SIZE(0), 0, cases[i].rule, 7, 1}, i);
        (void)probe(fixture, "", &mailbox);
        assert_int_equal(mailbox.maildirsize.limit.bytes, 1000); /* the limit is believed */
        mailbox_close(&mailbox);
        check_row(fixture, &(struct row){NULL, SIZE(1001), 0, USAGE_RULE_TOOLARGE, 7, 1}, i);
    }
    put_text(fixture, "maildirsize", "1000S\n5 1\n\0", 11);
    check_row(fixture, &(struct row){NULL, SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0}, 0);
}

static bool is_old(const struct fixture *fixture, uint64_t now_usec)
{
    struct mailbox mailbox;
    bool old;

    (void)probe_at(fixture, "", &no_policy, now_usec, &mailbox);
    old = mailbox.usage.header.is_old;
    mailbox_close(&mailbox);
    return old;
}

static void the_times_of_maildirsize(void **state)
{
    struct fixture *fixture = *state;
    const struct timespec before_the_epoch[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = -5}};
    uint64_t before_usec = clock_usec(CLOCK_REALTIME_COARSE), changed_usec, future_usec;
    struct mailbox mailbox;
    char path[PATH_MAX];

    put_maildirsize(fixture, "1000S\n1001 5\n");
    (void)probe(fixture, "", &mailbox);
    changed_usec = mailbox.maildirsize_ctime_usec;
    assert_int_equal(mailbox.maildirsize_mtime_usec, fixture->written_usec);
    assert_in_range(changed_usec, before_usec, clock_usec(CLOCK_REALTIME));
    mailbox_close(&mailbox);

    /* it was written when its mtime says so, unless that is in the future */
    assert_false(is_old(fixture, fixture->written_usec));
    assert_false(is_old(fixture, fixture->written_usec + DAY));
    assert_true(is_old(fixture, fixture->written_usec + DAY + 1));
    assert_true(is_old(fixture, fixture->written_usec + DAY + HEADER_LIMIT_TRIED_USEC - 1));
    assert_false(is_old(fixture, fixture->written_usec + DAY + HEADER_LIMIT_TRIED_USEC));
    assert_true(is_old(fixture, fixture->written_usec + 2 * DAY + HEADER_LIMIT_TRIED_USEC - 1));
    assert_false(is_old(fixture, fixture->written_usec + 2 * DAY + HEADER_LIMIT_TRIED_USEC));
    assert_false(is_old(fixture, fixture->written_usec + 7 * DAY - 1));
    assert_true(is_old(fixture, fixture->written_usec + 7 * DAY));
    assert_false(is_old(fixture, fixture->written_usec + 7 * DAY + HEADER_LIMIT_TRIED_USEC));
    future_usec = changed_usec + 1000 * DAY;
    set_modified(fixture, "maildirsize", future_usec);
    (void)probe(fixture, "", &mailbox);
    changed_usec = mailbox.maildirsize_ctime_usec;
    mailbox_close(&mailbox);
    assert_false(is_old(fixture, changed_usec - DAY));
    assert_false(is_old(fixture, changed_usec + DAY));
    assert_true(is_old(fixture, changed_usec + DAY + 1));
    assert_true(is_old(fixture, changed_usec + 999 * DAY));
    assert_false(is_old(fixture, future_usec));

    path_of(fixture, "maildirsize", path);
    assert_return_code(utimensat(AT_FDCWD, path, before_the_epoch, 0), errno);
    assert_int_equal(probe_at(fixture, "", &no_policy, FRESH, &mailbox), MAILBOX_NEEDS_COUNT);
    assert_int_equal(mailbox.maildirsize_mtime_usec, 0);
    assert_int_equal(mailbox.rule, USAGE_RULE_OVER);
    mailbox_close(&mailbox);
}

/* Whatever stands in the place of maildirsize: it is not followed, not waited for, and no error. */
static void odd_maildirsize(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    path_of(fixture, "maildirsize", path);
    for (int odd = 0; odd < 6; odd++) {
        switch (odd) {
        case 0:
            make_fifo(fixture, "maildirsize");
            break;
        case 1:
            box_mkdir(&fixture->box, "maildirsize");
            break;
        case 2:
            box_link(&fixture->box, "../elsewhere", "maildirsize");
            put_text(fixture, "@/elsewhere", "1000S\n1 1\n", 10);
            break;
        case 3:
            box_link(&fixture->box, "nothing", "maildirsize");
            break;
        case 4:
            box_link(&fixture->box, "maildirsize", "maildirsize");
            break;
        case 5:
            make_socket(fixture, "maildirsize");
            break;
        }
        check_row(fixture, &(struct row){NULL, SIZE(0), 0, USAGE_RULE_UNREADABLE, 0, 0},
                  (size_t)odd);
        check_row(fixture,
                  &(struct row){NULL, LIMIT_SIZE(1000, 1001), 0, USAGE_RULE_TOOLARGE, 0, 0},
                  (size_t)odd);
        assert_return_code(remove(path), errno);
    }
}

static void a_count_that_is_remembered_says_so(void **state)
{
    struct fixture *fixture = *state;
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    static const enum usage_source sources[] = {USAGE_SCAN, USAGE_CACHE, USAGE_SCAN};
    struct mailbox mailbox;

    box_settle();
    assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_NEEDS_COUNT);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        struct usage usage = {};

        assert_int_equal(mailbox_count(&mailbox, fixture->box.path, &fixture->settings, &no_policy,
                                       fixture->written_usec, &memory, &usage),
                         0);
        assert_int_equal(usage.source, sources[i]);
        assert_int_equal(usage.rule, USAGE_RULE_MISSING);
        assert_int_equal(usage.messages, i < 2 ? 2 : 3);
        if (i == 1)
            box_put(&fixture->box, "new/c,S=1", 0);
    }
    mailbox_close(&mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(trusts_maildirsize_or_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_limit_of_an_old_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_usage_that_is_wanted_exactly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_that_is_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_maildirsize_that_is_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_is_believed_until_messages_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_is_not_believed_of_a_mailbox_without_messages, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(over_is_not_believed_of_messages_behind_a_link, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_change_with_its_time_set_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_5120_bytes_is_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_times_of_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_count_that_is_remembered_says_so, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
