/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of a maildirsize, so that it is not read again: whatever happens to the file,
 * the answer is what opening it would tell.
 */
#include "box.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "child.h"
#include "filter.h"
#include "quota/mailbox.h"
#include "system/cleanup.h"

#define TEXT "1000000S,50C\n500 5\n"

/* As many mailboxes may be remembered. */
#define BOUND 64

struct fixture {
    struct box box; /* beneath whose root the mailboxes are */
    enum filesystem_kind kind;
    struct mailbox_settings settings;
    struct mailbox_memory memory;
};

static enum filesystem_kind on_device_kind(dev_t device, void *userdata)
{
    (void)device;
    return ((struct fixture *)userdata)->kind;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    (void)umask(022);
    box_init(&fixture->box);
    fixture->kind = filesystem_kind(fixture->box.fd);
    fixture->settings.confine = fixture->box.confine;
    assert_int_equal(mailbox_memory_init(&fixture->memory, BOUND, on_device_kind, fixture), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    mailbox_memory_done(&fixture->memory);
    box_done(&fixture->box);
    free(fixture);
    return 0;
}

/* Skips a test elsewhere than on a disk, where alone anything is remembered. */
static void need_disk(const struct fixture *fixture)
{
    if (fixture->kind != FILESYSTEM_DISK)
        skip();
}

/* Writes the path of a file in a mailbox; of the mailbox, if it is NULL. */
static char *path_of(const struct fixture *fixture, const char *mailbox, const char *file,
                     char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s%s%s", fixture->box.root, mailbox, file ? "/" : "",
                   file ? file : "");
    return path;
}

static void put_text(const struct fixture *fixture, const char *mailbox, const char *file,
                     int flags, const char *text)
{
    _cleanup_(closep) int fd = -1;
    char path[PATH_MAX];

    fd = open(path_of(fixture, mailbox, file, path),
              O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0644);
    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void make_mailbox(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX];

    assert_return_code(mkdir(path_of(fixture, mailbox, NULL, path), 0755), errno);
    put_text(fixture, mailbox, "maildirsize", O_TRUNC, TEXT);
}

/* Opens a mailbox from memory. Returns as mailbox_open_cached() does. */
static int open_once(struct fixture *fixture, const char *mailbox, struct mailbox *ret)
{
    char path[PATH_MAX];
    dev_t device;

    *ret = (struct mailbox)MAILBOX_NULL;
    return mailbox_open_cached(&fixture->settings, &fixture->memory,
                               path_of(fixture, mailbox, NULL, path), ret, &device);
}

/* Opens a mailbox from memory, as soon as it is there: the kernel may forget at any time. */
static struct mailbox open_mailbox(struct fixture *fixture, const char *mailbox)
{
    struct mailbox cached, opened = MAILBOX_NULL;
    char path[PATH_MAX];
    int r = -EAGAIN;

    for (int attempts = 0; attempts < 1000 && r == -EAGAIN; attempts++) {
        assert_int_equal(
            mailbox_open(&fixture->settings, path_of(fixture, mailbox, NULL, path), &opened), 0);
        mailbox_close(&opened);
        r = open_once(fixture, mailbox, &cached);
    }
    assert_int_equal(r, 0);
    return cached;
}

/* Reads a mailbox's maildirsize, and says whether it is remembered then. */
static bool becomes_remembered(struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX];
    struct mailbox opened = open_mailbox(fixture, mailbox);

    mailbox_close(&opened);
    return maildirsize_memory_has(
        fixture->memory.maildirsizes,
        maildirsize_memory_id(fixture->memory.maildirsizes, path_of(fixture, mailbox, NULL, path)));
}

/* Opens a mailbox both ways, which must tell the same. */
static void assert_true_answer(struct fixture *fixture, const char *mailbox)
{
    struct mailbox cached = open_mailbox(fixture, mailbox), opened = MAILBOX_NULL;
    struct usage cached_usage = {}, opened_usage = {};
    char path[PATH_MAX];

    assert_int_equal(
        mailbox_open(&fixture->settings, path_of(fixture, mailbox, NULL, path), &opened), 0);
    assert_int_equal(cached.kind, opened.kind);
    assert_int_equal(cached.device, opened.device);
    assert_int_equal(cached.path_cut, opened.path_cut);
    assert_int_equal(cached.maildirsize_state, opened.maildirsize_state);
    assert_int_equal(cached.maildirsize_modified_usec, opened.maildirsize_modified_usec);
    assert_int_equal(cached.maildirsize.entries, opened.maildirsize.entries);
    assert_int_equal(cached.maildirsize.limit.bytes, opened.maildirsize.limit.bytes);
    assert_int_equal(cached.maildirsize.limit.messages, opened.maildirsize.limit.messages);
    assert_int_equal(mailbox_usage(&cached, &cached_usage), mailbox_usage(&opened, &opened_usage));
    assert_int_equal(cached_usage.bytes, opened_usage.bytes);
    assert_int_equal(cached_usage.messages, opened_usage.messages);
    mailbox_close(&cached);
    mailbox_close(&opened);
}

/* Opens a mailbox that is remembered, where nothing can be read. */
static enum child_result check_recalled(struct fixture *fixture, const char *name)
{
    struct mailbox mailbox;
    int r;

    CHECK(filter_install(SYS_preadv2, FILTER_ERRNO(EIO)) == 0);
    CHECK(filter_install(SYS_read, FILTER_ERRNO(EIO)) == 0);
    for (int attempts = 0; attempts < 1000; attempts++) {
        r = open_once(fixture, name, &mailbox);
        if (r == 0 && mailbox.fd < 0)
            break;
        /* for once the kernel had forgotten the name */
        mailbox_close(&mailbox);
        CHECK(maildirsize_memory_count(fixture->memory.maildirsizes) == 1);
    }
    CHECK(r == 0 && mailbox.fd < 0);
    CHECK(mailbox.maildirsize_state == USAGE_RULE_TRUSTED);
    CHECK(mailbox.maildirsize.bytes == 500 && mailbox.maildirsize.messages == 5);
    CHECK(mailbox.maildirsize.limit.bytes == 1000000 && mailbox.maildirsize.limit.messages == 50);
    CHECK(mailbox.maildirsize.entries == 1);
    CHECK(mailbox.maildirsize_modified_usec > 0);
    return CHILD_PASSED;
}

static enum child_result read_nothing(void *userdata)
{
    return check_recalled(userdata, "box");
}

/* That it can be read no more is not even noticed, until it changes. */
static void what_is_remembered_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox;

    need_disk(fixture);
    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    box_settle();
    if (!becomes_remembered(fixture, "box"))
        fail_msg("it is not remembered");
    assert_child_passes(read_nothing, fixture);
    put_text(fixture, "box", "maildirsize", O_APPEND, "1 1\n");
    mailbox = open_mailbox(fixture, "box");
    assert_int_equal(mailbox.maildirsize.bytes, 501);
    assert_int_equal(maildirsize_memory_count(fixture->memory.maildirsizes),
                     0); /* what was known is not kept */
    mailbox_close(&mailbox);
}

static enum child_result read_nothing_of_another_mount(void *userdata)
{
    struct fixture *fixture = userdata;
    struct mailbox mailbox = MAILBOX_NULL;
    char path[PATH_MAX];
    int r = -EAGAIN;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(fixture->box.path, path_of(fixture, "mounted", NULL, path), NULL, MS_BIND, NULL) < 0)
        return CHILD_SKIPPED;
    /* the root as it is in this mount namespace */
    CHECK(confine_new(CONFINE_AUTO, &fixture->settings.confine) == 0 &&
          confine_add_root(fixture->settings.confine, fixture->box.root) == 0);
    for (int attempts = 0; attempts < 1000 && r == -EAGAIN; attempts++) {
        CHECK(mailbox_open(&fixture->settings, path, &mailbox) == 0);
        mailbox_close(&mailbox);
        r = open_once(fixture, "mounted", &mailbox);
    }
    CHECK(r == 0);
    mailbox_close(&mailbox);
    return check_recalled(fixture, "mounted");
}

/* Mailboxes often lie on a file system of their own beneath the root. */
static void another_mount_is_remembered_too(void **state)
{
    struct fixture *fixture = *state;

    need_disk(fixture);
    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    box_mkdir(&fixture->box, "../mounted");
    box_settle();
    assert_child_passes(read_nothing_of_another_mount, fixture);
}

/* What may happen to a maildirsize, or to its mailbox, that is remembered. */

static void append(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirsize", O_APPEND, "10 1\n");
}

static void overwrite(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirsize", 0, "1000000S,50C\n600 6\n");
}

static void truncate_and_write(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirsize", O_TRUNC, "1000000S,50C\n700 7\n");
}

/* Gives a file the times of change of another. */
static void copy_times(const char *from, const char *to)
{
    struct stat st;

    assert_return_code(lstat(from, &st), errno);
    assert_return_code(
        utimensat(AT_FDCWD, to, (const struct timespec[]){st.st_atim, st.st_mtim}, 0), errno);
}

static void rename_over(const struct fixture *fixture, const char *mailbox)
{
    char from[PATH_MAX], to[PATH_MAX];

    put_text(fixture, mailbox, "tmp", O_TRUNC, "1000000S,50C\n800 8\n");
    copy_times(path_of(fixture, mailbox, "maildirsize", to),
               path_of(fixture, mailbox, "tmp", from));
    assert_return_code(rename(from, to), errno);
}

static void overwrite_with_the_old_times(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX], before[PATH_MAX];

    put_text(fixture, mailbox, "before", O_TRUNC, "");
    copy_times(path_of(fixture, mailbox, "maildirsize", path),
               path_of(fixture, mailbox, "before", before));
    overwrite(fixture, mailbox);
    copy_times(before, path);
}

static void empty(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirsize", O_TRUNC, "");
}

static void spoil(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirsize", 0, "bad");
}

static void set_times(const struct fixture *fixture, const char *mailbox)
{
    static const struct timespec times[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    char path[PATH_MAX];

    assert_return_code(
        utimensat(AT_FDCWD, path_of(fixture, mailbox, "maildirsize", path), times, 0), errno);
}

static void remove_it(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX];

    assert_return_code(unlink(path_of(fixture, mailbox, "maildirsize", path)), errno);
}

static void link_it_out(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX];

    remove_it(fixture, mailbox);
    assert_return_code(symlink("/proc/version", path_of(fixture, mailbox, "maildirsize", path)),
                       errno);
}

/* The very file that was read, unchanged but behind a symbolic link: it is none of a Maildir. */
static void link_to_itself(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX], aside[PATH_MAX];

    (void)snprintf(aside, sizeof(aside), "%s/before", fixture->box.root);
    assert_return_code(rename(path_of(fixture, mailbox, NULL, path), aside), errno);
    assert_return_code(mkdir(path, 0755), errno);
    assert_return_code(
        symlink("../before/maildirsize", path_of(fixture, mailbox, "maildirsize", path)), errno);
}

static void make_directory_of_it(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX];

    remove_it(fixture, mailbox);
    assert_return_code(mkdir(path_of(fixture, mailbox, "maildirsize", path), 0755), errno);
}

static void make_it_a_folder(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirfolder", 0, "");
}

static void exchange_the_mailbox(const struct fixture *fixture, const char *mailbox)
{
    char path[PATH_MAX], aside[PATH_MAX];

    (void)snprintf(aside, sizeof(aside), "%s/aside", fixture->box.root);
    assert_return_code(rename(path_of(fixture, mailbox, NULL, path), aside), errno);
    assert_return_code(mkdir(path, 0755), errno);
    put_text(fixture, mailbox, "maildirsize", O_TRUNC, "1000000S,50C\n900 9\n");
}

static void nothing(const struct fixture *fixture, const char *mailbox)
{
    (void)fixture;
    (void)mailbox;
}

static void every_change_is_seen(void **state)
{
    static const struct {
        const char *mailbox;
        void (*change)(const struct fixture *fixture, const char *mailbox);
    } cases[] = {
        {"append", append},
        {"overwrite", overwrite},
        {"truncate", truncate_and_write},
        {"rename", rename_over},
        {"old-times", overwrite_with_the_old_times},
        {"empty", empty},
        {"spoil", spoil},
        {"times", set_times},
        {"remove", remove_it},
        {"link-out", link_it_out},
        {"link-itself", link_to_itself},
        {"directory", make_directory_of_it},
        {"folder", make_it_a_folder},
        {"exchange", exchange_the_mailbox},
        {"nothing", nothing},
    };
    struct fixture *fixture = *state;

    need_disk(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        make_mailbox(fixture, cases[i].mailbox);
    box_settle();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (!becomes_remembered(fixture, cases[i].mailbox))
            fail_msg("%s is not remembered", cases[i].mailbox);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true_answer(fixture, cases[i].mailbox);
        cases[i].change(fixture, cases[i].mailbox);
        assert_true_answer(fixture, cases[i].mailbox);
        assert_true_answer(fixture, cases[i].mailbox);
    }
}

/* What cannot be trusted is looked at each time, however old it is. */
static void only_good_sums_are_remembered(void **state)
{
    static const struct {
        const char *mailbox, *text;
        bool good;
    } cases[] = {
        {"good", TEXT, true},
        {"limit", "1000S\n", true},
        {"malformed", "x\n1 1\n", false},
        {"empty", "", false},
        {"negative", "1000S\n-1 -1\n", false},
        {"missing", NULL, false},
    };
    struct fixture *fixture = *state;
    char path[PATH_MAX];

    need_disk(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_return_code(mkdir(path_of(fixture, cases[i].mailbox, NULL, path), 0755), errno);
        if (cases[i].text)
            put_text(fixture, cases[i].mailbox, "maildirsize", O_TRUNC, cases[i].text);
    }
    make_mailbox(fixture, "large");
    assert_return_code(
        truncate(path_of(fixture, "large", "maildirsize", path), MAILDIRSIZE_BYTES_MAX), errno);
    make_mailbox(fixture, "directory");
    make_directory_of_it(fixture, "directory");
    box_settle();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(becomes_remembered(fixture, cases[i].mailbox), cases[i].good);
        assert_true_answer(fixture, cases[i].mailbox);
    }
    assert_false(becomes_remembered(fixture, "large"));
    assert_true_answer(fixture, "large");
    assert_false(becomes_remembered(fixture, "directory"));
    assert_true_answer(fixture, "directory");
}

/* On a file system that nobody knows (any more) the loop does nothing. */
static void what_lies_on_an_unknown_device_waits(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox;

    need_disk(fixture);
    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    box_settle();
    assert_true(becomes_remembered(fixture, "box"));
    fixture->kind = FILESYSTEM_UNKNOWN;
    assert_int_equal(open_once(fixture, "box", &mailbox), -EAGAIN);
}

/* There, it would have to be looked each time for a maildirfolder that is not there. */
static void nothing_in_memory_is_remembered(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    box_settle();
    fixture->kind = FILESYSTEM_MEMORY;
    assert_false(becomes_remembered(fixture, "box"));
}

/* A second change within a tick of the clock could leave the stamp as it is. */
static void what_has_just_changed_is_not_remembered(void **state)
{
    struct fixture *fixture = *state;
    char text[64];

    need_disk(fixture);
    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    for (int i = 0; i < 500; i++) {
        assert_false(becomes_remembered(fixture, "box"));
        (void)snprintf(text, sizeof(text), "1000000S,50C\n%d 5\n", 500 + i);
        put_text(fixture, "box", "maildirsize", 0, text);
        assert_true_answer(fixture, "box");
    }
}

static void what_is_from_the_future_is_not_remembered(void **state)
{
    struct fixture *fixture = *state;

    need_disk(fixture);
    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    box_touch(&fixture->box, "maildirsize", 3600);
    box_settle();
    assert_false(becomes_remembered(fixture, "box"));
    assert_true_answer(fixture, "box");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_remembered_is_not_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_mount_is_remembered_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_change_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_good_sums_are_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_lies_on_an_unknown_device_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_in_memory_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_has_just_changed_is_not_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_from_the_future_is_not_remembered, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
