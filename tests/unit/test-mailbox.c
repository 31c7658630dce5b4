/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mailboxes on a real file system: which one a path means, and when its messages must be counted.
 * What needs a machine that fails is tried in a child, with a filter of system calls or without
 * privileges.
 */
#include "box.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "child.h"
#include "descriptors.h"
#include "filter.h"
#include "quota/mailbox.h"
#include "random.h"
#include "same_mailbox.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define MINUTE (60 * USEC_PER_SEC)
#define FRESH  (15 * MINUTE)

/* When the maildirsize files of the tests were changed. */
#define MODIFIED_SEC  INT64_C(1700000000)
#define MODIFIED_USEC ((uint64_t)MODIFIED_SEC * USEC_PER_SEC + 123456)

#define NO_LIMIT                                                                                   \
    {                                                                                              \
        0, 0                                                                                       \
    }

struct fixture {
    struct box box;
    struct mailbox_settings settings;
    int descriptors; /* open before the test */
};

/* Makes a mailbox with two messages, of 700 bytes together. */
static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->descriptors = descriptors_count();
    (void)umask(022);
    box_init_maildir(&fixture->box);
    box_put(&fixture->box, "cur/a,S=300:2,S", 0);
    box_put(&fixture->box, "new/b,S=400", 0);
    fixture->settings.confine = fixture->box.confine;
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    int before = fixture->descriptors;

    box_done(&fixture->box);
    free(fixture);
    assert_int_equal(descriptors_count(), before);
    return 0;
}

/* Writes the path of a name beside or in the mailbox: "@" stands for the root, "" for the box. */
static char *path_of(const struct fixture *fixture, const char *name, char path[static PATH_MAX])
{
    if (name[0] == '@')
        (void)snprintf(path, PATH_MAX, "%s%s", fixture->box.root, name + 1);
    else if (name[0] == '/')
        (void)snprintf(path, PATH_MAX, "%s", name);
    else
        (void)snprintf(path, PATH_MAX, "%s%s%s", fixture->box.path, name[0] ? "/" : "", name);
    return path;
}

static void put_text(const struct fixture *fixture, const char *name, const char *text,
                     size_t length)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT},
                                     {.tv_sec = MODIFIED_SEC, .tv_nsec = 123456789}};
    _cleanup_(closep) int fd = -1;
    char path[PATH_MAX];

    fd = open(path_of(fixture, name, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, length), length);
    assert_return_code(futimens(fd, times), errno);
}

static void put_maildirsize(const struct fixture *fixture, const char *text)
{
    put_text(fixture, "maildirsize", text, strlen(text));
}

static void make_socket(const struct fixture *fixture, const char *name)
{
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PATH_MAX];

    assert_return_code(fd, errno);
    path_of(fixture, name, path);
    assert_true(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
}

static void make_fifo(const struct fixture *fixture, const char *name)
{
    char path[PATH_MAX];

    assert_return_code(mkfifo(path_of(fixture, name, path), 0644), errno);
}

/* Opens the mailbox at name, which must work. */
static struct mailbox open_mailbox(const struct fixture *fixture, const char *name)
{
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX];

    assert_int_equal(mailbox_open(&fixture->settings, path_of(fixture, name, path), &mailbox), 0);
    return mailbox;
}

/* The messages of the mailbox are counted for that reason, and found. */
static void assert_counts(const struct fixture *fixture, const struct mailbox *mailbox,
                          enum usage_rule rule)
{
    struct usage usage = {};

    assert_int_equal(
        mailbox_count(mailbox, fixture->box.path, &fixture->settings, rule, NULL, &usage), 0);
    assert_int_equal(usage.bytes, 700);
    assert_int_equal(usage.messages, 2);
    assert_int_equal(usage.source, USAGE_SCAN);
    assert_int_equal(usage.rule, rule);
    assert_int_equal(usage.header_limit.bytes, mailbox->maildirsize.limit.bytes);
    assert_int_equal(usage.header_limit.messages, mailbox->maildirsize.limit.messages);
    assert_int_equal(usage.count.files_counted, 2);
}

static void normalises_paths(void **state)
{
    static const struct {
        const char *path, *normal;
    } cases[] = {
        {"/", "/"},
        {"//", "/"},
        {"///", "/"},
        {"/.", "/"},
        {"/./", "/"},
        {"/././/.", "/"},
        {"/a", "/a"},
        {"//a", "/a"},
        {"/a/", "/a"},
        {"/a//", "/a"},
        {"/a/.", "/a"},
        {"/a/./", "/a"},
        {"/./a", "/a"},
        {"/a/b/c", "/a/b/c"},
        {"/a//b///c////", "/a/b/c"},
        {"/a/./b/././c/.", "/a/b/c"},
        {"/..", "/.."},
        {"/../", "/.."},
        {"/a/..", "/a/.."},
        {"/a/../", "/a/.."},
        {"/a/../b", "/a/../b"},
        {"/a/./../b", "/a/../b"},
        {"/.a/b./..c/...", "/.a/b./..c/..."},
        {"/a/.b/", "/a/.b"},
        {"/a/b.", "/a/b."},
        {"/ / . /", "/ / . "},
        {"/a b/c\t/\xc3\xa4", "/a b/c\t/\xc3\xa4"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *path = test_malloc(strlen(cases[i].path) + 1);

        memcpy(path, cases[i].path, strlen(cases[i].path) + 1);
        mailbox_normalise_path(path);
        assert_string_equal(path, cases[i].normal);
        mailbox_normalise_path(path);
        assert_string_equal(path, cases[i].normal);
        test_free(path);
    }
}

/* Random paths, against what becomes of them one component at a time. */
static void normalises_random_paths(void **state)
{
    static const char *const pieces[] = {"/", "/", "/./", ".", "..", "a", "bc", "/.", "./"};
    struct random random = random_begin("mailbox");

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        char path[64] = "/", copy[64], expected[64] = "", *rest = copy, *part;

        for (size_t n = random_below(&random, 16); n > 0; n--)
            strcat(path, pieces[random_below(&random, ARRAY_SIZE(pieces))]);
        strcpy(copy, path);
        while ((part = strsep(&rest, "/")))
            if (part[0] != '\0' && strcmp(part, ".") != 0) {
                strcat(expected, "/");
                strcat(expected, part);
            }
        mailbox_normalise_path(path);
        assert_string_equal(path, expected[0] ? expected : "/");
    }
}

struct row {
    const char *text; /* of maildirsize; NULL: there is none */
    struct mailbox_policy policy;
    uint64_t age_usec; /* of maildirsize */
    enum usage_rule rule;
    uint64_t bytes, messages; /* by maildirsize, where it parses */
};

/* Shorthands for the policies of the rows. */
#define SIZE(size)                                                                                 \
    {                                                                                              \
        .size_bytes = (size)                                                                       \
    }
#define LIMIT(b, m)                                                                                \
    {                                                                                              \
        .have_limit = true, .limit = {(b), (m) }                                                   \
    }
#define DEFAULT(b, m)                                                                              \
    {                                                                                              \
        .default_limit = {(b), (m) }                                                               \
    }
#define GRACE(size, bytes, percent)                                                                \
    {                                                                                              \
        .size_bytes = (size), .grace = {(bytes), (percent) }                                       \
    }

/* Sets when the directory of that name was changed last. */
static void set_changed(const struct fixture *fixture, const char *name, uint64_t usec)
{
    const struct timespec time = {(time_t)(usec / USEC_PER_SEC),
                                  (long)(usec % USEC_PER_SEC) * 1000};
    const struct timespec times[] = {time, time};
    char path[PATH_MAX];

    path_of(fixture, name, path);
    assert_return_code(utimensat(AT_FDCWD, path, times, 0), errno);
}

static void check_rule(const struct fixture *fixture, const struct row *row, size_t index)
{
    struct mailbox mailbox;
    enum usage_rule rule;
    struct usage usage = {};
    bool known;

    set_changed(fixture, "new", MODIFIED_USEC - 1);
    set_changed(fixture, "cur", MODIFIED_USEC - 1);
    mailbox = open_mailbox(fixture, "");
    rule = mailbox_must_count(&mailbox, &row->policy, MODIFIED_USEC + row->age_usec, true);
    known = mailbox_usage(&mailbox, &usage);

    if (rule != row->rule)
        fail_msg("case %zu: %s, instead of: %s", index, usage_rule_to_string(rule),
                 usage_rule_to_string(row->rule));
    assert_int_equal(mailbox.kind, MAILBOX_MAILDIR);
    assert_int_equal(known, rule == USAGE_RULE_TRUSTED || rule == USAGE_RULE_OVER);
    assert_int_equal(mailbox.maildirsize_state, known ? USAGE_RULE_TRUSTED : rule);
    if (known) {
        assert_int_equal(usage.source, USAGE_MAILDIRSIZE);
        assert_int_equal(usage.rule, USAGE_RULE_TRUSTED);
        assert_int_equal(usage.bytes, row->bytes);
        assert_int_equal(usage.messages, row->messages);
    }
    if (rule != USAGE_RULE_TRUSTED)
        assert_counts(fixture, &mailbox, rule);
    mailbox_close(&mailbox);
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
        {"1000S\n", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 0, 0},

        /* over by a byte: the age, from both sides */
        {"1000S\n1001 5\n", SIZE(0), 0, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), FRESH - USEC_PER_SEC, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), FRESH - 1, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), FRESH, USAGE_RULE_OVER, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), 1000 * FRESH, USAGE_RULE_OVER, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), -(uint64_t)1, USAGE_RULE_OVER, 1001, 5},
        {"1000S\n1001 5\n", SIZE(0), -(uint64_t)1000 * FRESH, USAGE_RULE_OVER, 1001, 5},

        /* over by a byte: one and two lines */
        {"1000S\n1000 5\n1 1\n", SIZE(0), 0, USAGE_RULE_OVER, 1001, 6},
        {"1000S\n1001 5\n0 0\n", SIZE(0), 0, USAGE_RULE_OVER, 1001, 5},
        {"1000S\n2000 5\n-999 -1\n", SIZE(0), 0, USAGE_RULE_OVER, 1001, 4},
        {"1000S\n2000 5\n-1000 -1\n", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 1000, 4},
        {"1000S\n1001 5\n1 1", SIZE(0), 0, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1000 5\n1 1", SIZE(0), 1000 * FRESH, USAGE_RULE_TRUSTED, 1000, 5},

        /* the size of the message */
        {"1000S\n900 5\n", SIZE(100), FRESH, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n900 5\n", SIZE(101), FRESH, USAGE_RULE_OVER, 900, 5},
        {"1000S\n900 5\n", SIZE(101), FRESH - 1, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n800 5\n100 1\n", SIZE(101), 0, USAGE_RULE_OVER, 900, 6},
        {"1000S\n", SIZE(1000), FRESH, USAGE_RULE_TRUSTED, 0, 0},
        {"1000S\n", SIZE(1001), FRESH, USAGE_RULE_OVER, 0, 0},
        {"1000S\n1 1\n", SIZE(SIZE_BYTES_MAX), FRESH, USAGE_RULE_OVER, 1, 1},

        /* grace is for the message, not for a mailbox that is over without it */
        {"1000S\n900 5\n", GRACE(110, 10, 0), FRESH, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n900 5\n", GRACE(111, 10, 0), FRESH, USAGE_RULE_OVER, 900, 5},
        {"1000S\n900 5\n", GRACE(200, 0, 10), FRESH, USAGE_RULE_TRUSTED, 900, 5},
        {"1000S\n900 5\n", GRACE(201, 0, 10), FRESH, USAGE_RULE_OVER, 900, 5},
        {"1000S\n1000 5\n", GRACE(0, 10, 0), FRESH, USAGE_RULE_TRUSTED, 1000, 5},
        {"1000S\n1001 5\n", GRACE(0, 10, 0), FRESH, USAGE_RULE_OVER, 1001, 5},

        /* messages */
        {"0S,10C\n900 9\n", SIZE(0), FRESH, USAGE_RULE_TRUSTED, 900, 9},
        {"0S,10C\n900 10\n", SIZE(0), FRESH, USAGE_RULE_OVER, 900, 10},
        {"10C\n900 10\n", SIZE(0), FRESH - 1, USAGE_RULE_TRUSTED, 900, 10},
        {"10C\n900 9\n0 1\n", SIZE(0), 0, USAGE_RULE_OVER, 900, 10},

        /* whose limit */
        {"1000S\n1001 5\n", LIMIT(1001, 0), FRESH, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", LIMIT(0, 0), FRESH, USAGE_RULE_TRUSTED, 1001, 5},
        {"1000S\n1001 5\n", LIMIT(0, 5), FRESH, USAGE_RULE_OVER, 1001, 5},
        {"1000S\n501 5\n", LIMIT(500, 0), FRESH, USAGE_RULE_OVER, 501, 5},
        {"1000S\n1001 5\n", DEFAULT(2000, 0), FRESH, USAGE_RULE_OVER, 1001, 5},
        {"1000S\n501 5\n", DEFAULT(500, 1), FRESH, USAGE_RULE_TRUSTED, 501, 5},
        {"10C\n501 5\n", DEFAULT(500, 1), FRESH, USAGE_RULE_TRUSTED, 501, 5},
        {"\n501 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_OVER, 501, 5},
        {"0S,0C\n501 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_OVER, 501, 5},
        {"\n500 5\n", DEFAULT(500, 0), FRESH, USAGE_RULE_TRUSTED, 500, 5},
        {"\n9223372036854775807 5\n0 0\n", SIZE(1), FRESH, USAGE_RULE_TRUSTED, SIZE_BYTES_MAX, 5},

        /* what cannot be believed, over or not */
        {NULL, SIZE(0), 0, USAGE_RULE_MISSING, 0, 0},
        {"", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S\n500 5\r\n", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S\n500 5\nhello\n", SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0},
        {"1000S\n-1 0\n", SIZE(0), 0, USAGE_RULE_IMPLAUSIBLE, 0, 0},
        {"1000S\n500 -1\n", SIZE(0), 0, USAGE_RULE_IMPLAUSIBLE, 0, 0},
        {"1000S\n9223372036854775807 1\n1 1\n", SIZE(0), 0, USAGE_RULE_IMPLAUSIBLE, 0, 0},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char path[PATH_MAX];

        if (rows[i].text)
            put_maildirsize(fixture, rows[i].text);
        else
            (void)unlink(path_of(fixture, "maildirsize", path));
        check_rule(fixture, &rows[i], i);
    }
}

/* "Over" is not believed once messages came or went, however fresh it is: whoever made room. */
static void over_is_believed_until_messages_change(void **state)
{
    const struct fixture *fixture = *state;
    const struct {
        uint64_t new_usec, cur_usec;
        bool may_wait;
        enum usage_rule rule;
    } cases[] = {
        {MODIFIED_USEC - 1, MODIFIED_USEC - 1, true, USAGE_RULE_TRUSTED},
        {MODIFIED_USEC, MODIFIED_USEC - 1, true, USAGE_RULE_OVER},
        {MODIFIED_USEC - 1, MODIFIED_USEC, true, USAGE_RULE_OVER},
        {MODIFIED_USEC + 1, MODIFIED_USEC - 1, true, USAGE_RULE_OVER},
        {MODIFIED_USEC - 1, MODIFIED_USEC + 1, true, USAGE_RULE_OVER},
        {MODIFIED_USEC - 1, MODIFIED_USEC - 1, false, USAGE_RULE_OVER},
    };

    put_maildirsize(fixture, "1000S\n1001 5\n");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mailbox mailbox;

        set_changed(fixture, "new", cases[i].new_usec);
        set_changed(fixture, "cur", cases[i].cur_usec);
        mailbox = open_mailbox(fixture, "");
        assert_int_equal(mailbox_must_count(&mailbox, &(struct mailbox_policy){}, MODIFIED_USEC,
                                            cases[i].may_wait),
                         cases[i].rule);
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
        check_rule(fixture, &(struct row){NULL, SIZE(0), 0, cases[i].rule, 7, 1}, i);
        mailbox = open_mailbox(fixture, "");
        assert_int_equal(mailbox.maildirsize.limit.bytes, 1000); /* the limit is believed */
        mailbox_close(&mailbox);
    }
    put_text(fixture, "maildirsize", "1000S\n5 1\n\0", 11);
    check_rule(fixture, &(struct row){NULL, SIZE(0), 0, USAGE_RULE_MALFORMED, 0, 0}, 0);
}

static void the_age_of_maildirsize(void **state)
{
    struct fixture *fixture = *state;
    const struct timespec before_the_epoch[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = -5}};
    struct mailbox mailbox;
    char path[PATH_MAX];

    put_maildirsize(fixture, "1000S\n1001 5\n");
    mailbox = open_mailbox(fixture, "");
    assert_int_equal(mailbox.maildirsize_modified_usec, MODIFIED_USEC);
    mailbox_close(&mailbox);

    path_of(fixture, "maildirsize", path);
    assert_return_code(utimensat(AT_FDCWD, path, before_the_epoch, 0), errno);
    mailbox = open_mailbox(fixture, "");
    assert_int_equal(mailbox.maildirsize_modified_usec, 0);
    assert_int_equal(mailbox_must_count(&mailbox, &(struct mailbox_policy){}, FRESH, true),
                     USAGE_RULE_OVER);
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
        check_rule(fixture, &(struct row){NULL, SIZE(0), 0, USAGE_RULE_UNREADABLE, 0, 0},
                   (size_t)odd);
        assert_return_code(remove(path), errno);
    }
}

static void kinds_of_targets(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name;
        int result;
        enum mailbox_kind kind;
        uint64_t bytes;
    } cases[] = {
        {"", 0, MAILBOX_MAILDIR, 0},
        {"@/to-box", 0, MAILBOX_MAILDIR, 0},
        {"@/box/cur/..", 0, MAILBOX_MAILDIR, 0},
        {"@", 0, MAILBOX_MAILDIR, 0},
        {"@/mbox", 0, MAILBOX_MBOX, 12345},
        {"@/empty", 0, MAILBOX_MBOX, 0},
        {"@/large", 0, MAILBOX_MBOX, UINT64_C(1) << 40},
        {"@/to-mbox", 0, MAILBOX_MBOX, 12345},
        {"@/nothing", 0, MAILBOX_NONE, 0},
        {"@/nothing/at/all", 0, MAILBOX_NONE, 0},
        {"@/to-nothing", -ENOLINK, MAILBOX_NONE, 0},
        {"@/mbox/x", -ENOTDIR, MAILBOX_NONE, 0},
        {"@/fifo", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/socket", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/to-fifo", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/loop", -ELOOP, MAILBOX_NONE, 0},
        {"@/out", -EXDEV, MAILBOX_NONE, 0},
        {"@/..", -EXDEV, MAILBOX_NONE, 0},
        {"/", -EXDEV, MAILBOX_NONE, 0},
        {"/dev/null", -EXDEV, MAILBOX_NONE, 0},
    };

    box_put(&fixture->box, "../mbox", 12345);
    box_put(&fixture->box, "../empty", 0);
    box_put(&fixture->box, "../large", INT64_C(1) << 40);
    make_fifo(fixture, "@/fifo");
    make_socket(fixture, "@/socket");
    box_link(&fixture->box, "box", "../to-box");
    box_link(&fixture->box, "mbox", "../to-mbox");
    box_link(&fixture->box, "nothing", "../to-nothing");
    box_link(&fixture->box, "fifo", "../to-fifo");
    box_link(&fixture->box, "loop", "../loop");
    box_link(&fixture->box, "..", "../out");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mailbox mailbox = MAILBOX_NULL;
        struct usage usage = {};
        char path[PATH_MAX], before[PATH_MAX];
        struct stat st;
        int r;

        path_of(fixture, cases[i].name, before);
        r = mailbox_open(&fixture->settings, path_of(fixture, cases[i].name, path), &mailbox);
        if (r != cases[i].result)
            fail_msg("%s: %d instead of %d", cases[i].name, r, cases[i].result);
        assert_string_equal(path, before);
        if (r < 0)
            continue;
        assert_int_equal(mailbox.kind, cases[i].kind);
        assert_int_equal(mailbox.fd >= 0, mailbox.kind == MAILBOX_MAILDIR);
        if (mailbox.kind != MAILBOX_NONE) {
            assert_return_code(stat(path, &st), errno);
            assert_int_equal(mailbox.device, st.st_dev);
        }
        if (mailbox.kind != MAILBOX_MAILDIR) {
            assert_int_equal(
                mailbox_must_count(&mailbox, &(struct mailbox_policy)LIMIT(1, 1), 0, true),
                USAGE_RULE_TRUSTED);
            assert_true(mailbox_usage(&mailbox, &usage));
            assert_int_equal(usage.source, mailbox.kind == MAILBOX_MBOX ? USAGE_MBOX : USAGE_NONE);
            assert_int_equal(usage.bytes, cases[i].bytes);
            assert_int_equal(usage.messages, 0);
        }
        mailbox_close(&mailbox);
        assert_int_equal(mailbox.fd, -1);
        mailbox_close(&mailbox);
    }
}

static void devices_are_no_mailboxes(void **state)
{
    _cleanup_(confine_freep) struct confine *whole = NULL;
    struct mailbox_settings settings = {};
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX] = "/dev/null";

    (void)state;
    assert_int_equal(confine_new(&whole), 0);
    assert_int_equal(confine_add_root(whole, "/"), 0);
    settings.confine = whole;
    assert_int_equal(mailbox_open(&settings, path, &mailbox), -EMEDIUMTYPE);

    /* the root itself is a mailbox like any other */
    strcpy(path, "/");
    assert_int_equal(mailbox_open(&settings, path, &mailbox), 0);
    assert_string_equal(path, "/");
    assert_int_equal(mailbox.kind, MAILBOX_MAILDIR);
    mailbox_close(&mailbox);
}

static void paths_that_are_too_long(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox = MAILBOX_NULL;
    char path[2 * PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%.256s", fixture->box.root, "");
    memset(path + strlen(path), 'x', 256);
    path[strlen(fixture->box.root) + 257] = '\0';
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), -ENAMETOOLONG);
    for (size_t i = strlen(fixture->box.root); i < PATH_MAX; i += 2)
        memcpy(path + i, "/x", 3);
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), -ENAMETOOLONG);
}

/* Tells what kind of file system everything lies on; and after so many answers, that it does not
 * know. */
struct kinds {
    enum filesystem_kind kind;
    int answers;
};

static enum filesystem_kind on_device_kind(dev_t device, void *userdata)
{
    struct kinds *kinds = userdata;

    assert_int_not_equal(device, 0);
    return kinds->answers-- > 0 ? kinds->kind : FILESYSTEM_UNKNOWN;
}

#define ALWAYS INT_MAX

/* Opens it with a memory that remembers nothing. */
static int open_cached_with(const struct mailbox_settings *settings, char *path, struct kinds kinds,
                            struct mailbox *ret, dev_t *ret_device)
{
    struct mailbox_memory memory;
    int r;

    assert_int_equal(mailbox_memory_init(&memory, 0, on_device_kind, &kinds), 0);
    r = mailbox_open_cached(settings, &memory, path, ret, ret_device);
    mailbox_memory_done(&memory);
    return r;
}

static int open_cached(const struct fixture *fixture, char *path, struct kinds kinds,
                       struct mailbox *ret, dev_t *ret_device)
{
    return open_cached_with(&fixture->settings, path, kinds, ret, ret_device);
}

/* Whether this machine can open what is in memory at all. */
static bool has_cached(const struct fixture *fixture)
{
    _cleanup_(closep) int fd =
        confine_open_cached(fixture->box.confine, fixture->box.path, O_PATH, NULL);

    return fd != -EOPNOTSUPP;
}

static void put_folder(const struct fixture *fixture)
{
    put_maildirsize(fixture, "1000S\n500 5\n");
    box_folder(&fixture->box, ".Sub");
    put_text(fixture, ".Sub/maildirsize", "9S\n9 9\n", 7);
    box_put(&fixture->box, ".Sub/maildirfolder", 0);
}

static void the_mailbox_of_a_folder_is_its_parent(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX];

    put_folder(fixture);
    path_of(fixture, ".Sub", path);
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), 0);
    assert_string_equal(path, fixture->box.path);
    assert_int_equal(mailbox.maildirsize.limit.bytes, 1000);
    assert_int_equal(mailbox.maildirsize.bytes, 500);
    mailbox_close(&mailbox);

    /* a directory or a link of that name says so too */
    for (int odd = 0; odd < 2; odd++) {
        box_remove(&fixture->box, ".Sub/maildirfolder");
        if (odd)
            box_link(&fixture->box, "nothing", ".Sub/maildirfolder");
        else
            box_mkdir(&fixture->box, ".Sub/maildirfolder");
        path_of(fixture, ".Sub", path);
        assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), 0);
        assert_string_equal(path, fixture->box.path);
        mailbox_close(&mailbox);
    }

    /* without it, a folder that was asked for is a mailbox */
    box_remove(&fixture->box, ".Sub/maildirfolder");
    path_of(fixture, ".Sub", path);
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), 0);
    assert_string_equal(path + strlen(path) - 5, "/.Sub");
    assert_int_equal(mailbox.maildirsize.bytes, 9);
    mailbox_close(&mailbox);

    /* the parent is taken as it is, whatever it says of itself */
    box_put(&fixture->box, ".Sub/maildirfolder", 0);
    box_put(&fixture->box, "maildirfolder", 0);
    path_of(fixture, ".Sub", path);
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), 0);
    assert_string_equal(path, fixture->box.path);
    mailbox_restore_path(&mailbox, path);
    assert_string_equal(path + strlen(path) - 5, "/.Sub");
    mailbox_close(&mailbox);

    /* a path that ends with `..` does not tell its parent */
    path_of(fixture, "cur/..", path);
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), 0);
    assert_string_equal(path + strlen(path) - 7, "/cur/..");
    assert_int_equal(mailbox.maildirsize.bytes, 500);
    mailbox_close(&mailbox);
}

static void the_parent_of_a_root_is_outside(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX];
    dev_t device;

    put_text(fixture, "@/maildirfolder", "", 0);
    path_of(fixture, "@", path);
    assert_int_equal(mailbox_open(&fixture->settings, path, &mailbox), -EXDEV);
    assert_string_equal(path, fixture->box.root);
    assert_int_equal(mailbox.fd, -1);
    if (!has_cached(fixture))
        skip();
    assert_int_equal(
        open_cached(fixture, path, (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox, &device),
        -EXDEV);
    assert_string_equal(path, fixture->box.root);
}

/* Asks for name both ways. Returns whether it was in memory. */
static bool check_cached(const struct fixture *fixture, const char *name, enum filesystem_kind kind)
{
    struct mailbox mailbox = MAILBOX_NULL, cached = MAILBOX_NULL;
    char path[PATH_MAX], cached_path[PATH_MAX], before[PATH_MAX];
    dev_t device = 0;
    int r, cached_r;

    path_of(fixture, name, before);
    r = mailbox_open(&fixture->settings, path_of(fixture, name, path), &mailbox);
    cached_r = open_cached(fixture, path_of(fixture, name, cached_path),
                           (struct kinds){kind, ALWAYS}, &cached, &device);
    if (cached_r == -EAGAIN) {
        assert_string_equal(cached_path, before);
        assert_int_equal(cached.fd, -1);
    } else {
        assert_int_equal(cached_r, r);
        assert_string_equal(cached_path, path);
        if (r == 0)
            assert_same_mailbox(&cached, &mailbox);
    }
    mailbox_close(&mailbox);
    mailbox_close(&cached);
    return cached_r != -EAGAIN;
}

static void what_is_in_memory_answers_the_same(void **state)
{
    static const struct {
        const char *name;
        bool on_disk; /* elsewhere, absent names are not kept in memory */
    } cases[] = {
        {".Sub", false},   {"@/mbox", false},   {"@/fifo", false},     {"@/socket", false},
        {"/", false},      {"", true},          {"@", true},           {".Sub/cur/..", true},
        {"@/bare", true},  {"@/odd", true},     {"@/linked", true},    {"@/dir", true},
        {"@/large", true}, {"@/nothing", true}, {"@/nothing/x", true},
    };
    /* what is behind a symbolic link, or not behind a file */
    static const char *const never[] = {"@/out", "@/to-mbox", "@/to-sub", "@/to-nothing",
                                        "@/mbox/x"};
    struct fixture *fixture = *state;
    bool is_disk = filesystem_kind(fixture->box.fd) == FILESYSTEM_DISK;

    if (!has_cached(fixture))
        skip();
    put_folder(fixture);
    box_put(&fixture->box, "../mbox", 12345);
    box_link(&fixture->box, "mbox", "../to-mbox");
    box_link(&fixture->box, "box/.Sub", "../to-sub");
    box_link(&fixture->box, "nothing", "../to-nothing");
    box_link(&fixture->box, "..", "../out");
    box_mkdir(&fixture->box, "../linked");
    box_link(&fixture->box, "../box/maildirsize", "../linked/maildirsize");
    box_mkdir(&fixture->box, "../dir");
    box_mkdir(&fixture->box, "../dir/maildirsize");
    box_mkdir(&fixture->box, "../large");
    box_put(&fixture->box, "../large/maildirsize", MAILDIRSIZE_BYTES_MAX);
    box_mkdir(&fixture->box, "../bare");
    box_mkdir(&fixture->box, "../odd");
    make_fifo(fixture, "@/odd/maildirsize");
    make_fifo(fixture, "@/fifo");
    make_socket(fixture, "@/socket");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (int way = 0; way < 2; way++) {
            enum filesystem_kind kind = way ? FILESYSTEM_MEMORY : FILESYSTEM_DISK;
            /* What is no disk may not be able to read without waiting. */
            bool certain = is_disk || (!cases[i].on_disk && kind == FILESYSTEM_MEMORY);
            int attempts = 0;

            /* Names may be forgotten at any time, but not all the time. */
            while (!check_cached(fixture, cases[i].name, kind) && certain)
                if (++attempts == 1000)
                    fail_msg("%s is never in memory", cases[i].name);
        }
    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        assert_false(check_cached(fixture, never[i], FILESYSTEM_DISK));
}

static void what_would_wait_says_for_which_device(void **state)
{
    static const char *const names[] = {"", ".Sub", "@/mbox"};
    struct fixture *fixture = *state;
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX], before[PATH_MAX];
    dev_t device;
    struct stat st;

    if (!has_cached(fixture))
        skip();
    put_folder(fixture);
    box_put(&fixture->box, "../mbox", 1);
    assert_return_code(fstat(fixture->box.fd, &st), errno);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        /* a device that nobody knows yet */
        path_of(fixture, names[i], before);
        path_of(fixture, names[i], path);
        device = 0;
        assert_int_equal(open_cached(fixture, path, (struct kinds){}, &mailbox, &device), -EAGAIN);
        assert_int_equal(device, st.st_dev);
        assert_string_equal(path, before);
        assert_int_equal(mailbox.fd, -1);
    }

    /* a name that nobody has asked for yet */
    path_of(fixture, "@/never-asked-for", path);
    device = 0;
    assert_int_equal(
        open_cached(fixture, path, (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox, &device),
        -EAGAIN);
    assert_int_equal(device, st.st_dev);
}

/* Takes a file out of the kernel's memory. Returns whether it is out. */
static bool evict(const char *path)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char resident = 1;
    void *page;

    assert_return_code(fd, errno);
    if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        return false;
    page = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    assert_return_code(mincore(page, 1, &resident), errno);
    assert_return_code(munmap(page, 1), errno);
    return !(resident & 1);
}

static void a_file_on_disk_is_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_MAX], maildirsize[PATH_MAX];
    int r = 0;

    if (!has_cached(fixture) || filesystem_kind(fixture->box.fd) != FILESYSTEM_DISK)
        skip();
    put_folder(fixture);
    path_of(fixture, "maildirsize", maildirsize);
    /* A fast disk may have it back before it is asked for, but not each time. */
    for (int attempts = 0; r != -EAGAIN; attempts++) {
        struct mailbox mailbox = open_mailbox(fixture, ".Sub");
        dev_t device = 0;

        mailbox_close(&mailbox);
        assert_true(attempts < 1000);
        if (!evict(maildirsize))
            skip();
        path_of(fixture, ".Sub", path);
        r = open_cached(fixture, path, (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox, &device);
        assert_true(r == 0 || r == -EAGAIN);
        mailbox_close(&mailbox);
    }
}

/* The folder is known, its parent would have to be waited for. */
static void the_path_is_restored_where_the_parent_would_wait(void **state)
{
    struct fixture *fixture = *state;
    int answers = 0, r = -EAGAIN;
    struct stat st;

    if (!has_cached(fixture))
        skip();
    put_folder(fixture);
    assert_return_code(fstat(fixture->box.fd, &st), errno);
    for (; r == -EAGAIN; answers++) {
        struct mailbox mailbox = open_mailbox(fixture, ".Sub");
        char path[PATH_MAX], before[PATH_MAX];
        dev_t device = 0;

        mailbox_close(&mailbox);
        path_of(fixture, ".Sub", before);
        path_of(fixture, ".Sub", path);
        r = open_cached(fixture, path, (struct kinds){FILESYSTEM_MEMORY, answers}, &mailbox,
                        &device);
        if (r == -EAGAIN) {
            assert_string_equal(path, before);
            assert_int_equal(device, st.st_dev);
            assert_int_equal(mailbox.fd, -1);
        } else {
            assert_string_equal(path, fixture->box.path);
        }
        mailbox_close(&mailbox);
    }
    assert_int_equal(r, 0);
    assert_true(answers > 2); /* the kind of the folder's, then of the parent's, device was asked */
}

static void effective_limits(void **state)
{
    static const struct {
        struct mailbox_policy policy;
        struct quota_limit header, effective;
    } cases[] = {
        {{.have_limit = false}, NO_LIMIT, NO_LIMIT},
        {{.have_limit = false}, {5, 6}, {5, 6}},
        {{.have_limit = false}, {0, 6}, {0, 6}},
        {DEFAULT(1, 2), NO_LIMIT, {1, 2}},
        {DEFAULT(1, 2), {5, 6}, {5, 6}},
        {DEFAULT(1, 2), {5, 0}, {5, 0}},
        {DEFAULT(1, 2), {0, 6}, {0, 6}},
        {LIMIT(3, 4), {5, 6}, {3, 4}},
        {LIMIT(3, 0), {5, 6}, {3, 0}},
        {LIMIT(0, 0), {5, 6}, NO_LIMIT},
        {{.have_limit = true, .default_limit = {1, 2}}, {5, 6}, NO_LIMIT},
        {{.have_limit = false, .limit = {3, 4}}, {5, 6}, {5, 6}},
        {{.have_limit = false, .limit = {3, 4}, .default_limit = {1, 2}}, NO_LIMIT, {1, 2}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quota_limit limit = mailbox_effective_limit(&cases[i].policy, &cases[i].header);

        assert_int_equal(limit.bytes, cases[i].effective.bytes);
        assert_int_equal(limit.messages, cases[i].effective.messages);
    }
    assert_int_equal(mailbox_effective_limit(&(struct mailbox_policy)DEFAULT(1, 2), NULL).bytes, 1);
    assert_int_equal(mailbox_effective_limit(&(struct mailbox_policy)LIMIT(3, 4), NULL).bytes, 3);
}

static void a_count_that_is_remembered_says_so(void **state)
{
    struct fixture *fixture = *state;
    _cleanup_(maildir_memory_freep) struct maildir_memory *memory = NULL;
    static const enum usage_source sources[] = {USAGE_SCAN, USAGE_CACHE, USAGE_SCAN};
    struct mailbox mailbox;

    box_settle();
    mailbox = open_mailbox(fixture, "");
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        struct usage usage = {};

        assert_int_equal(mailbox_count(&mailbox, fixture->box.path, &fixture->settings,
                                       USAGE_RULE_MISSING, &memory, &usage),
                         0);
        assert_int_equal(usage.source, sources[i]);
        assert_int_equal(usage.rule, USAGE_RULE_MISSING);
        assert_int_equal(usage.messages, i < 2 ? 2 : 3);
        if (i == 1)
            box_put(&fixture->box, "new/c,S=1", 0);
    }
    mailbox_close(&mailbox);
}

/* What an ordinary user meets. */
static enum child_result without_privileges(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct mailbox mailbox = MAILBOX_NULL;
    struct usage usage;
    char path[PATH_MAX];

    if (geteuid() != 0)
        return CHILD_SKIPPED;
    CHECK(child_become_nobody());

    /* a maildirsize that may not be read: the messages are counted */
    path_of(fixture, "", path);
    CHECK(mailbox_open(&fixture->settings, path, &mailbox) == 0);
    CHECK(mailbox.maildirsize_state == USAGE_RULE_UNREADABLE);
    CHECK(mailbox_must_count(&mailbox, &(struct mailbox_policy){}, 0, true) ==
          USAGE_RULE_UNREADABLE);
    CHECK(!mailbox_usage(&mailbox, &usage));
    CHECK(mailbox_count(&mailbox, path, &fixture->settings, USAGE_RULE_UNREADABLE, NULL, &usage) ==
          0);
    CHECK(usage.bytes == 700);
    mailbox_close(&mailbox);

    /* a mailbox that may not be searched: nothing can be known */
    path_of(fixture, "@/closed", path);
    CHECK(mailbox_open(&fixture->settings, path, &mailbox) == 0);
    CHECK(strcmp(path, path_of(fixture, "@/closed", (char[PATH_MAX]){})) == 0);
    CHECK(mailbox.kind == MAILBOX_MAILDIR);
    CHECK(mailbox.maildirsize_state == USAGE_RULE_UNREADABLE);
    CHECK(mailbox_count(&mailbox, path, &fixture->settings, USAGE_RULE_UNREADABLE, NULL, &usage) ==
          -EACCES);
    mailbox_close(&mailbox);

    /* beneath it, not even whether there is a mailbox */
    path_of(fixture, "@/closed/box", path);
    CHECK(mailbox_open(&fixture->settings, path, &mailbox) == -EACCES);
    CHECK(mailbox.fd == -1);

    /* the size of an mbox is not in the mbox */
    path_of(fixture, "@/mbox", path);
    CHECK(mailbox_open(&fixture->settings, path, &mailbox) == 0);
    CHECK(mailbox.kind == MAILBOX_MBOX && mailbox.mbox_bytes == 12345);
    return CHILD_PASSED;
}

static void permissions(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "1000S\n1 1\n");
    box_chmod(&fixture->box, "maildirsize", 0600);
    box_put(&fixture->box, "../mbox", 12345);
    box_chmod(&fixture->box, "../mbox", 0600);
    box_mkdir(&fixture->box, "../closed");
    box_put(&fixture->box, "../closed/maildirfolder", 0);
    box_mkdir(&fixture->box, "../closed/box");
    box_chmod(&fixture->box, "../closed", 0700);
    assert_child_passes(without_privileges, fixture);
}

/* Opens the mailbox at name. Returns the result, and whether the path is as it was. */
static int try_open(const struct fixture *fixture, const char *name, struct mailbox *ret,
                    bool *ret_same)
{
    char path[PATH_MAX], before[PATH_MAX];
    int r;

    path_of(fixture, name, before);
    r = mailbox_open(&fixture->settings, path_of(fixture, name, path), ret);
    *ret_same = strcmp(path, before) == 0;
    return r;
}

/* Being short of descriptors is an error, not a reason to count. */
static enum child_result short_of_descriptors(void *userdata)
{
    const struct fixture *fixture = userdata;
    int lowest = dup(STDIN_FILENO), before;
    struct mailbox mailbox = MAILBOX_NULL;
    bool same;

    CHECK(lowest >= 0 && close(lowest) == 0);
    CHECK(try_open(fixture, "", &mailbox, &same) == 0); /* also makes openat2 known */
    mailbox_close(&mailbox);
    before = descriptors_count();
    for (int spare = 0; spare < 2; spare++) {
        const struct rlimit few = {(rlim_t)(lowest + spare), 1024};
        const struct rlimit many = {1024, 1024};

        CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
        CHECK(try_open(fixture, "", &mailbox, &same) == -EMFILE); /* maildirfolder */
        CHECK(same && mailbox.fd == -1);
        CHECK(try_open(fixture, "cur/..", &mailbox, &same) == -EMFILE); /* maildirsize */
        CHECK(same && mailbox.fd == -1);
        CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
        CHECK(descriptors_count() == before);
    }
    CHECK(try_open(fixture, "", &mailbox, &same) == 0);
    return CHILD_PASSED;
}

static void descriptors_run_out(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "1000S\n1 1\n");
    assert_child_passes(short_of_descriptors, fixture);
}

/* A system call that fails, and what mailbox_open() makes of it. */
struct failure {
    const struct fixture *fixture;
    unsigned int number;
    int error;
    int result;
    enum usage_rule state; /* of maildirsize, where the result is 0 */
};

static enum child_result with_failure(void *userdata)
{
    const struct failure *failure = userdata;
    struct mailbox mailbox = MAILBOX_NULL;
    bool same;

    CHECK(try_open(failure->fixture, "", &mailbox, &same) == 0);
    mailbox_close(&mailbox);
    CHECK(filter_install(failure->number, FILTER_ERRNO((unsigned int)failure->error)) == 0);
    CHECK(try_open(failure->fixture, "", &mailbox, &same) == failure->result);
    CHECK(same);
    CHECK((mailbox.fd >= 0) == (failure->result == 0));
    CHECK(failure->result < 0 || mailbox.maildirsize_state == failure->state);
    mailbox_close(&mailbox);
    return CHILD_PASSED;
}

static void system_calls_fail(void **state)
{
    struct fixture *fixture = *state;
    struct failure failures[] = {
        {fixture, SYS_read, EIO, 0, USAGE_RULE_UNREADABLE},
        {fixture, SYS_read, EISDIR, 0, USAGE_RULE_UNREADABLE},
        {fixture, SYS_read, ENOMEM, -ENOMEM, 0},
        {fixture, SYS_read, ESTALE, -ESTALE, 0},
        {fixture, SYS_statx, EIO, -EIO, 0},
        {fixture, SYS_statx, ESTALE, -ESTALE, 0},
        {fixture, SYS_openat, EIO, -EIO, 0}, /* maildirfolder */
        {fixture, SYS_openat, ENFILE, -ENFILE, 0},
        {fixture, SYS_openat, EACCES, 0, USAGE_RULE_UNREADABLE},
        {fixture, SYS_openat, ENOENT, 0, USAGE_RULE_MISSING},
    };

    put_maildirsize(fixture, "1000S\n1 1\n");
    if (!has_cached(fixture))
        skip(); /* the walk uses some of these too */
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        if (child_run(with_failure, &failures[i]) != CHILD_PASSED)
            fail_msg("failure %zu", i);
}

/* A server that has forgotten a file, so many times. */
static enum child_result with_a_stale_handle(const struct fixture *fixture, unsigned int times,
                                             int result)
{
    struct mailbox mailbox = MAILBOX_NULL;
    struct filter_judge judge;
    bool same;

    CHECK(filter_install_times(SYS_statx, ESTALE, times, &judge) == 0);
    CHECK(try_open(fixture, "", &mailbox, &same) == result);
    CHECK(same);
    CHECK((mailbox.fd >= 0) == (result == 0));
    CHECK(result < 0 || mailbox.maildirsize_state == USAGE_RULE_TRUSTED);
    return CHILD_PASSED;
}

static enum child_result stale_twice(void *userdata)
{
    return with_a_stale_handle(userdata, 2, 0);
}

static enum child_result stale_three_times(void *userdata)
{
    return with_a_stale_handle(userdata, 3, -ESTALE);
}

static void a_stale_handle_is_tried_again(void **state)
{
    struct fixture *fixture = *state;

    if (!has_cached(fixture))
        skip(); /* the walk looks too */
    put_maildirsize(fixture, "1000S\n1 1\n");
    assert_child_passes(stale_twice, fixture);
    assert_child_passes(stale_three_times, fixture);
}

static enum child_result with_failure_cached(void *userdata)
{
    const struct failure *failure = userdata;
    const struct fixture *fixture = failure->fixture;
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX];
    dev_t device = 0;
    struct stat st;

    CHECK(fstat(fixture->box.fd, &st) == 0);
    path_of(fixture, ".Sub", path);
    CHECK(mailbox_open(&fixture->settings, path, &mailbox) == 0);
    mailbox_close(&mailbox);
    CHECK(filter_install(failure->number, FILTER_ERRNO((unsigned int)failure->error)) == 0);
    path_of(fixture, ".Sub", path);
    CHECK(open_cached(fixture, path, (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox, &device) ==
          failure->result);
    if (failure->result < 0) {
        CHECK(strcmp(path, path_of(fixture, ".Sub", (char[PATH_MAX]){})) == 0);
        CHECK(device == st.st_dev || failure->result != -EAGAIN || failure->number != SYS_preadv2);
        CHECK(mailbox.fd == -1);
    } else {
        CHECK(strcmp(path, fixture->box.path) == 0);
        CHECK(mailbox.maildirsize_state == failure->state);
    }
    mailbox_close(&mailbox);
    return CHILD_PASSED;
}

static void system_calls_fail_in_memory(void **state)
{
    struct fixture *fixture = *state;
    struct failure failures[] = {
        {fixture, SYS_preadv2, EAGAIN, -EAGAIN, 0},
        {fixture, SYS_preadv2, EOPNOTSUPP, -EAGAIN, 0},
        {fixture, SYS_preadv2, ESTALE, -EAGAIN, 0},
        {fixture, SYS_preadv2, ENOMEM, -ENOMEM, 0},
        {fixture, SYS_preadv2, EIO, 0, USAGE_RULE_UNREADABLE},
        {fixture, SYS_statx, ESTALE, -EAGAIN, 0},
        {fixture, SYS_statx, EIO, -EIO, 0},
        {fixture, SYS_openat2, EMFILE, -EMFILE, 0},
        {fixture, SYS_openat2, EINVAL, -EAGAIN, 0},      /* no RESOLVE_CACHED */
        {fixture, SYS_read, EIO, 0, USAGE_RULE_TRUSTED}, /* a plain read might wait */
    };

    if (!has_cached(fixture) || filesystem_kind(fixture->box.fd) != FILESYSTEM_DISK)
        skip();
    put_folder(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        if (child_run(with_failure_cached, &failures[i]) != CHILD_PASSED)
            fail_msg("failure %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalises_paths),
        cmocka_unit_test(normalises_random_paths),
        cmocka_unit_test(effective_limits),
        cmocka_unit_test_setup_teardown(trusts_maildirsize_or_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_is_believed_until_messages_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_5120_bytes_is_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_age_of_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kinds_of_targets, set_up, tear_down),
        cmocka_unit_test(devices_are_no_mailboxes),
        cmocka_unit_test_setup_teardown(paths_that_are_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_mailbox_of_a_folder_is_its_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_parent_of_a_root_is_outside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_memory_answers_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_would_wait_says_for_which_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_on_disk_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_path_is_restored_where_the_parent_would_wait, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_count_that_is_remembered_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(permissions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptors_run_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(system_calls_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_handle_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(system_calls_fail_in_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
