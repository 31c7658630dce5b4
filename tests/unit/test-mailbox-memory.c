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
#include "same_mailbox.h"
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

/* Writes the path of a mailbox, as a client asks for it. */
static char *path_of(const struct fixture *fixture, const char *mailbox, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s", fixture->box.root, mailbox);
    return path;
}

/* Writes the name of a file in a mailbox, relative to the box; "" is the mailbox itself. */
static const char *name_of(const char *mailbox, const char *file, char name[static PATH_MAX])
{
    (void)snprintf(name, PATH_MAX, "../%s/%s", mailbox, file);
    return name;
}

static void put_text(const struct fixture *fixture, const char *mailbox, const char *file,
                     int flags, const char *text)
{
    _cleanup_(closep) int fd = -1;
    char name[PATH_MAX], path[PATH_MAX];

    fd = open(box_path(&fixture->box, name_of(mailbox, file, name), path),
              O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0644);
    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void make_mailbox(const struct fixture *fixture, const char *mailbox)
{
    char name[PATH_MAX];

    box_mkdir(&fixture->box, name_of(mailbox, "", name));
    put_text(fixture, mailbox, "maildirsize", O_TRUNC, TEXT);
}

/* Opens a mailbox from memory. Returns as mailbox_open_cached() does. */
static int open_once(struct fixture *fixture, const char *mailbox, struct mailbox *ret)
{
    char path[PATH_MAX];
    dev_t device;

    *ret = (struct mailbox)MAILBOX_NULL;
    return mailbox_open_cached(&fixture->settings, &fixture->memory,
                               path_of(fixture, mailbox, path), ret, &device);
}

/* Opens a mailbox from memory, as soon as it is there: the kernel may forget at any time. */
static int open_patiently(struct fixture *fixture, const char *mailbox, struct mailbox *ret)
{
    char path[PATH_MAX];
    int r = -EAGAIN;

    for (int attempts = 0; attempts < 1000 && r == -EAGAIN; attempts++) {
        struct mailbox opened;

        r = mailbox_open(&fixture->settings, path_of(fixture, mailbox, path), &opened);
        if (r < 0)
            return r;
        mailbox_close(&opened);
        r = open_once(fixture, mailbox, ret);
    }
    return r;
}

static struct mailbox open_mailbox(struct fixture *fixture, const char *mailbox)
{
    struct mailbox cached;

    assert_int_equal(open_patiently(fixture, mailbox, &cached), 0);
    return cached;
}

/* Reads a mailbox's maildirsize, and says whether it is remembered then. */
static bool becomes_remembered(struct fixture *fixture, const char *mailbox)
{
    const struct maildirsize_memory *memory = fixture->memory.maildirsizes;
    struct mailbox opened = open_mailbox(fixture, mailbox);
    char path[PATH_MAX];

    mailbox_close(&opened);
    return maildirsize_memory_has(memory,
                                  maildirsize_memory_id(memory, path_of(fixture, mailbox, path)));
}

/* Opens a mailbox both ways, which must tell the same. */
static void assert_true_answer(struct fixture *fixture, const char *mailbox)
{
    struct mailbox cached = open_mailbox(fixture, mailbox), opened = MAILBOX_NULL;
    char path[PATH_MAX];

    assert_int_equal(mailbox_open(&fixture->settings, path_of(fixture, mailbox, path), &opened), 0);
    assert_same_mailbox(&cached, &opened);
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
    struct mailbox mailbox;
    char path[PATH_MAX];

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(fixture->box.path, path_of(fixture, "mounted", path), NULL, MS_BIND, NULL) < 0)
        return CHILD_SKIPPED;
    /* the root as it is in this mount namespace */
    CHECK(confine_new(&fixture->settings.confine) == 0 &&
          confine_add_root(fixture->settings.confine, fixture->box.root) == 0);
    CHECK(open_patiently(fixture, "mounted", &mailbox) == 0);
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

/* Gives a file in a mailbox the times of another. */
static void copy_times(const struct fixture *fixture, const char *mailbox, const char *from,
                       const char *to)
{
    char name[PATH_MAX], path[PATH_MAX];
    struct stat st;

    assert_return_code(lstat(box_path(&fixture->box, name_of(mailbox, from, name), path), &st),
                       errno);
    box_path(&fixture->box, name_of(mailbox, to, name), path);
    assert_return_code(
        utimensat(AT_FDCWD, path, (const struct timespec[]){st.st_atim, st.st_mtim}, 0), errno);
}

static void rename_over(const struct fixture *fixture, const char *mailbox)
{
    char from[PATH_MAX], to[PATH_MAX];

    put_text(fixture, mailbox, "tmp", O_TRUNC, "1000000S,50C\n800 8\n");
    copy_times(fixture, mailbox, "maildirsize", "tmp");
    box_move(&fixture->box, name_of(mailbox, "tmp", from), name_of(mailbox, "maildirsize", to));
}

static void overwrite_with_the_old_times(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "before", O_TRUNC, "");
    copy_times(fixture, mailbox, "maildirsize", "before");
    overwrite(fixture, mailbox);
    copy_times(fixture, mailbox, "before", "maildirsize");
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
    char name[PATH_MAX];

    box_touch(&fixture->box, name_of(mailbox, "maildirsize", name), -1000);
}

static void remove_it(const struct fixture *fixture, const char *mailbox)
{
    char name[PATH_MAX];

    box_remove(&fixture->box, name_of(mailbox, "maildirsize", name));
}

static void link_it_out(const struct fixture *fixture, const char *mailbox)
{
    char name[PATH_MAX];

    remove_it(fixture, mailbox);
    box_link(&fixture->box, "/proc/version", name_of(mailbox, "maildirsize", name));
}

/* Moves the mailbox away, and leaves an empty one in its place. */
static void replace(const struct fixture *fixture, const char *mailbox, const char *aside)
{
    char from[PATH_MAX], to[PATH_MAX];

    box_move(&fixture->box, name_of(mailbox, "", from), name_of(aside, "", to));
    box_mkdir(&fixture->box, from);
}

/* The very file that was read, unchanged but behind a symbolic link: it is none of a Maildir. */
static void link_to_itself(const struct fixture *fixture, const char *mailbox)
{
    char name[PATH_MAX];

    replace(fixture, mailbox, "before");
    box_link(&fixture->box, "../before/maildirsize", name_of(mailbox, "maildirsize", name));
}

static void make_directory_of_it(const struct fixture *fixture, const char *mailbox)
{
    char name[PATH_MAX];

    remove_it(fixture, mailbox);
    box_mkdir(&fixture->box, name_of(mailbox, "maildirsize", name));
}

static void make_it_a_folder(const struct fixture *fixture, const char *mailbox)
{
    put_text(fixture, mailbox, "maildirfolder", 0, "");
}

static void exchange_the_mailbox(const struct fixture *fixture, const char *mailbox)
{
    replace(fixture, mailbox, "aside");
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
        {"missing", TEXT, false},
        {"large", TEXT, false},
        {"directory", TEXT, false},
    };
    struct fixture *fixture = *state;
    char name[PATH_MAX];

    need_disk(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        make_mailbox(fixture, cases[i].mailbox);
        put_text(fixture, cases[i].mailbox, "maildirsize", O_TRUNC, cases[i].text);
    }
    remove_it(fixture, "missing");
    box_put(&fixture->box, name_of("large", "maildirsize", name), MAILDIRSIZE_BYTES_MAX);
    make_directory_of_it(fixture, "directory");
    box_settle();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(becomes_remembered(fixture, cases[i].mailbox), cases[i].good);
        assert_true_answer(fixture, cases[i].mailbox);
    }
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
