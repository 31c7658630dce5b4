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
#include "system/clock.h"

#define TEXT "1000000S,50C\n500 5\n"

struct fixture {
    struct box box; /* below whose root the mailboxes are */
    enum filesystem_kind kind;
    struct mailbox_settings settings;
    struct mailbox_nowait memory;
};

static enum filesystem_kind on_device_kind(dev_t device, void *userdata)
{
    (void)device;
    return ((struct fixture *)userdata)->kind;
}

/* Nothing is remembered at the beginning of a test. */
static int set_up(void **state)
{
    struct fixture *fixture = *state;

    fixture->kind = filesystem_kind(fixture->box.fd);
    assert_int_equal(cache_new((size_t)1024 * 1024, &fixture->memory.cache), 0);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    cache_free(fixture->memory.cache);
    return 0;
}

/*
 * Skips a test elsewhere than on a disk, where alone anything is remembered, and that no longer
 * than till midnight.
 */
static void need_disk(const struct fixture *fixture)
{
    if (fixture->kind != FILESYSTEM_DISK)
        skip_because("it needs a local disk");
    while (time(NULL) % 86400 > 86400 - 60)
        (void)sleep(1);
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

/* Probes a mailbox, with a memory from that alone. Returns as mailbox_probe() does. */
static int probe_at(const struct fixture *fixture, struct mailbox_nowait *memory,
                    const char *mailbox, uint64_t now_usec, struct mailbox *ret)
{
    static const struct mailbox_policy policy;
    char path[PATH_MAX];

    return mailbox_probe(&fixture->settings, &policy, memory, path_of(fixture, mailbox, path),
                         now_usec, ret);
}

static int probe(const struct fixture *fixture, struct mailbox_nowait *memory, const char *mailbox,
                 struct mailbox *ret)
{
    return probe_at(fixture, memory, mailbox, clock_usec(CLOCK_REALTIME), ret);
}

static int probe_cached(struct fixture *fixture, const char *mailbox, struct mailbox *ret)
{
    return probe(fixture, &fixture->memory, mailbox, ret);
}

/*
 * Probes a mailbox from memory, as soon as it is there: the kernel may forget at any time. Returns
 * MAILBOX_WOULD_BLOCK where it never is.
 */
static int probe_patiently_at(struct fixture *fixture, const char *mailbox, uint64_t now_usec,
                              struct mailbox *ret)
{
    int r = MAILBOX_WOULD_BLOCK;

    for (int attempts = 0; attempts < 1000 && r == MAILBOX_WOULD_BLOCK; attempts++) {
        struct mailbox probed;

        r = probe_at(fixture, NULL, mailbox, now_usec, &probed);
        mailbox_close(&probed);
        if (r < 0)
            return r;
        r = probe_at(fixture, &fixture->memory, mailbox, now_usec, ret);
        if (r == MAILBOX_WOULD_BLOCK)
            mailbox_close(ret);
    }
    return r;
}

static int probe_patiently(struct fixture *fixture, const char *mailbox, struct mailbox *ret)
{
    return probe_patiently_at(fixture, mailbox, clock_usec(CLOCK_REALTIME), ret);
}

/* Reads a mailbox's maildirsize, and says whether it is remembered then. */
static bool becomes_remembered(struct fixture *fixture, const char *mailbox)
{
    struct mailbox probed;
    char path[PATH_MAX];

    assert_return_code(probe_patiently(fixture, mailbox, &probed), 0);
    mailbox_close(&probed);
    return cache_find(fixture->memory.cache, CACHE_MAILDIRSIZE, path_of(fixture, mailbox, path));
}

/*
 * Probes a mailbox both ways, which must tell the same; or, for one that is not known without
 * waiting, that it is not.
 */
static void assert_true_answer(struct fixture *fixture, const char *mailbox, bool is_known)
{
    struct mailbox cached, probed;
    int r = probe(fixture, NULL, mailbox, &probed);

    assert_return_code(r, 0);
    if (is_known) {
        assert_int_equal(probe_patiently(fixture, mailbox, &cached), r);
        assert_same_mailbox(&cached, &probed);
    } else {
        assert_int_equal(probe_cached(fixture, mailbox, &cached), MAILBOX_WOULD_BLOCK);
    }
    mailbox_close(&cached);
    mailbox_close(&probed);
}

/* Opens a mailbox that is remembered, where nothing can be read. */
static enum child_result check_recalled(struct fixture *fixture, const char *name)
{
    struct mailbox mailbox;
    int r;

    CHECK(filter_install(SYS_preadv2, FILTER_ERRNO(EIO)) == 0);
    CHECK(filter_install(SYS_read, FILTER_ERRNO(EIO)) == 0);
    for (int attempts = 0; attempts < 1000; attempts++) {
        r = probe_cached(fixture, name, &mailbox);
        if (r == MAILBOX_ANSWERED && mailbox.fd < 0)
            break;
        /* for once the kernel had forgotten the name */
        mailbox_close(&mailbox);
        CHECK(cache_count(fixture->memory.cache, CACHE_MAILDIRSIZE) == 1);
    }
    CHECK(r == MAILBOX_ANSWERED && mailbox.fd < 0);
    CHECK(mailbox.maildirsize_state == USAGE_RULE_TRUSTED);
    CHECK(mailbox.usage.bytes == 500 && mailbox.usage.messages == 5);
    CHECK(mailbox.usage.header.limit.bytes == 1000000 && mailbox.usage.header.has_bytes);
    CHECK(mailbox.usage.header.limit.messages == 50 && mailbox.usage.header.has_messages);
    CHECK(mailbox.maildirsize.entries == 1);
    CHECK(mailbox.maildirsize_mtime_usec > 0 && mailbox.maildirsize_ctime_usec > 0);
    return CHILD_PASSED;
}

static enum child_result read_nothing(void *userdata)
{
    return check_recalled(userdata, "read");
}

/* That it can be read no more is not even noticed, until it changes. */
static void what_is_remembered_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox;

    need_disk(fixture);
    if (!becomes_remembered(fixture, "read"))
        fail_msg("it is not remembered");
    assert_child_passes(read_nothing, fixture);
    put_text(fixture, "read", "maildirsize", O_APPEND, "1 1\n");
    assert_int_equal(probe_patiently(fixture, "read", &mailbox), MAILBOX_ANSWERED);
    assert_int_equal(mailbox.usage.bytes, 501);
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
    CHECK(probe_patiently(fixture, "mounted", &mailbox) == MAILBOX_ANSWERED);
    mailbox_close(&mailbox);
    return check_recalled(fixture, "mounted");
}

/* Mailboxes often lie on a file system of their own below the root. */
static void another_mount_is_remembered_too(void **state)
{
    struct fixture *fixture = *state;

    need_disk(fixture);
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

static void say_that_it_is_a_folder(const struct fixture *fixture, const char *mailbox)
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

static const struct {
    const char *mailbox;
    void (*change)(const struct fixture *fixture, const char *mailbox);
    bool is_known; /* without waiting, what it is then */
} changes[] = {
    {"append", append, true},
    {"overwrite", overwrite, true},
    {"truncate", truncate_and_write, true},
    {"rename", rename_over, true},
    {"old-times", overwrite_with_the_old_times, true},
    {"empty", empty, true},
    {"spoil", spoil, true},
    {"times", set_times, true},
    {"remove", remove_it, false},
    {"link-out", link_it_out, true},
    {"link-itself", link_to_itself, true},
    {"directory", make_directory_of_it, true},
    {"inbox", say_that_it_is_a_folder, true},
    {".folder", say_that_it_is_a_folder, false},
    {".dotted", nothing, true},
    {"exchange", exchange_the_mailbox, true},
    {"nothing", nothing, true},
};

static void every_change_is_seen(void **state)
{
    struct fixture *fixture = *state;

    need_disk(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        if (!becomes_remembered(fixture, changes[i].mailbox))
            fail_msg("%s is not remembered", changes[i].mailbox);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        assert_true_answer(fixture, changes[i].mailbox, true);
        changes[i].change(fixture, changes[i].mailbox);
        assert_true_answer(fixture, changes[i].mailbox, changes[i].is_known);
        assert_true_answer(fixture, changes[i].mailbox, changes[i].is_known);
    }
}

/* What cannot be trusted is looked at each time, however old it is. */
static const struct {
    const char *mailbox, *text;
    bool good, is_known;
} sums[] = {
    {"sums-good", TEXT, true, true},
    {"sums-limit", "1000S\n", false, true},
    {"sums-malformed", "x\n1 1\n", false, true},
    {"sums-empty", "", false, true},
    {"sums-negative", "1000S\n-1 -1\n", false, true},
    {"sums-missing", TEXT, false, false},
    {"sums-large", TEXT, false, true},
    {"sums-directory", TEXT, false, true},
};

static void only_good_sums_are_remembered(void **state)
{
    struct fixture *fixture = *state;

    need_disk(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
        assert_int_equal(becomes_remembered(fixture, sums[i].mailbox), sums[i].good);
        assert_true_answer(fixture, sums[i].mailbox, sums[i].is_known);
    }
}

/* On a file system that nobody knows (any more) the loop does nothing. */
static void what_lies_on_an_unknown_device_waits(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox;

    need_disk(fixture);
    assert_true(becomes_remembered(fixture, "box"));
    fixture->kind = FILESYSTEM_UNKNOWN;
    assert_int_equal(probe_cached(fixture, "box", &mailbox), MAILBOX_WOULD_BLOCK);
    mailbox_close(&mailbox);
}

static void nothing_in_memory_is_remembered(void **state)
{
    struct fixture *fixture = *state;

    fixture->kind = FILESYSTEM_MEMORY;
    assert_false(becomes_remembered(fixture, "box"));
}

/* A second change within a tick of the clock could leave the stamp as it is. */
static void what_has_just_changed_is_not_remembered(void **state)
{
    struct fixture *fixture = *state;
    char text[64];

    need_disk(fixture);
    make_mailbox(fixture, "busy");
    for (int i = 0; i < 500; i++) {
        assert_false(becomes_remembered(fixture, "busy"));
        (void)snprintf(text, sizeof(text), "1000000S,50C\n%d 5\n", 500 + i);
        put_text(fixture, "busy", "maildirsize", 0, text);
        assert_true_answer(fixture, "busy", true);
    }
}

static void what_is_from_the_future_is_not_remembered(void **state)
{
    struct fixture *fixture = *state;

    need_disk(fixture);
    assert_false(becomes_remembered(fixture, "future"));
    assert_true_answer(fixture, "future", true);
}

/* One that nobody keeps never changes, so that it must not be remembered for ever. */
static void a_maildirsize_that_nobody_keeps_is_found_out(void **state)
{
    struct fixture *fixture = *state;
    uint64_t now_usec = clock_usec(CLOCK_REALTIME);
    struct mailbox mailbox;

    need_disk(fixture);
    assert_true(becomes_remembered(fixture, "unkept"));
    assert_int_equal(probe_patiently(fixture, "unkept", &mailbox), MAILBOX_ANSWERED);
    assert_false(mailbox.is_suspect);
    mailbox_close(&mailbox);
    now_usec += UINT64_C(24) * 3600 * USEC_PER_SEC;
    assert_int_equal(probe_patiently_at(fixture, "unkept", now_usec, &mailbox), MAILBOX_ANSWERED);
    assert_true(mailbox.is_suspect);
    mailbox_close(&mailbox);
}

static void make_sums(const struct fixture *fixture)
{
    char name[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
        make_mailbox(fixture, sums[i].mailbox);
        put_text(fixture, sums[i].mailbox, "maildirsize", O_TRUNC, sums[i].text);
    }
    remove_it(fixture, "sums-missing");
    box_put(&fixture->box, name_of("sums-large", "maildirsize", name), MAILDIRSIZE_BYTES_MAX);
    make_directory_of_it(fixture, "sums-directory");
}

static void make_unkept(const struct fixture *fixture)
{
    char name[PATH_MAX];

    make_mailbox(fixture, "unkept");
    box_mkdir(&fixture->box, name_of("unkept", "cur", name));
    box_touch(&fixture->box, name, 23 * 3600);
    box_mkdir(&fixture->box, name_of("unkept", "new", name));
    box_touch(&fixture->box, name_of("unkept", "maildirsize", name), -23 * 3600);
}

/* Makes the mailboxes of all tests, each of which changes only its own, and waits once. */
static int make_all(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    char name[PATH_MAX];

    assert_non_null(fixture);
    (void)umask(022);
    box_init(&fixture->box);
    fixture->settings.confine = fixture->box.confine;
    fixture->memory.device_kind = on_device_kind;
    fixture->memory.userdata = fixture;
    put_text(fixture, "box", "maildirsize", O_TRUNC, TEXT);
    box_mkdir(&fixture->box, "../mounted");
    make_mailbox(fixture, "read");
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        make_mailbox(fixture, changes[i].mailbox);
    make_sums(fixture);
    make_mailbox(fixture, "future");
    box_touch(&fixture->box, name_of("future", "maildirsize", name), 3600);
    make_unkept(fixture);
    box_settle();
    *state = fixture;
    return 0;
}

static int remove_all(void **state)
{
    struct fixture *fixture = *state;

    box_done(&fixture->box);
    free(fixture);
    return 0;
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
        cmocka_unit_test_setup_teardown(a_maildirsize_that_nobody_keeps_is_found_out, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, make_all, remove_all);
}
