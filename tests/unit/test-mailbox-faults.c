/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mailboxes on a machine that fails, and without privileges: each in a child.
 */
#include "probe.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "child.h"
#include "filter.h"

/* Counts a mailbox that needs it. Returns as mailbox_count() does. */
static int count(const struct fixture *fixture, const char *name, struct mailbox *mailbox,
                 struct usage *ret)
{
    char path[PATH_MAX];

    return mailbox_count(mailbox, path_of(fixture, name, path), &fixture->settings, &no_policy,
                         fixture->written_usec, NULL, ret);
}

/* What an ordinary user meets. */
static enum child_result without_privileges(void *userdata)
{
    const struct fixture *fixture = userdata;
    struct mailbox mailbox;
    struct usage usage;

    if (geteuid() != 0)
        return CHILD_SKIPPED;
    CHECK(child_become_nobody());

    /* a maildirsize that may not be read: the messages are counted */
    CHECK(probe(fixture, "", &mailbox) == MAILBOX_NEEDS_COUNT);
    CHECK(mailbox.rule == USAGE_RULE_UNREADABLE);
    CHECK(count(fixture, "", &mailbox, &usage) == 0);
    CHECK(usage.bytes == 700 && usage.rule == USAGE_RULE_UNREADABLE);
    mailbox_close(&mailbox);

    /* a mailbox that may not be searched: nothing can be known */
    CHECK(probe(fixture, "@/.closed", &mailbox) == MAILBOX_NEEDS_COUNT);
    CHECK(mailbox.rule == USAGE_RULE_UNREADABLE);
    CHECK(count(fixture, "@/.closed", &mailbox, &usage) == -EACCES);
    mailbox_close(&mailbox);

    /* below it, not even whether there is a mailbox */
    CHECK(probe(fixture, "@/.closed/box", &mailbox) == -EACCES);
    mailbox_close(&mailbox);

    /* a directory that may be searched but not listed: what is in it cannot be said */
    CHECK(probe(fixture, "@/unlisted", &mailbox) == -EACCES);
    mailbox_close(&mailbox);

    /* the size of an mbox is not in the mbox */
    CHECK(probe(fixture, "@/mbox", &mailbox) == MAILBOX_ANSWERED);
    CHECK(mailbox.usage.source == USAGE_MBOX && mailbox.usage.bytes == 12345);
    return CHILD_PASSED;
}

static void permissions(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "1000S\n1 1\n");
    box_chmod(&fixture->box, "maildirsize", 0600);
    box_put(&fixture->box, "../mbox", 12345);
    box_chmod(&fixture->box, "../mbox", 0600);
    box_mkdir(&fixture->box, "../.closed");
    box_put(&fixture->box, "../.closed/maildirfolder", 0);
    box_mkdir(&fixture->box, "../.closed/box");
    box_chmod(&fixture->box, "../.closed", 0700);
    box_mkdir(&fixture->box, "../unlisted");
    box_put(&fixture->box, "../unlisted/x", 0);
    box_chmod(&fixture->box, "../unlisted", 0711);
    assert_child_passes(without_privileges, fixture);
}

/* Being short of descriptors is an error, not a reason to count. */
static enum child_result short_of_descriptors(void *userdata)
{
    const struct fixture *fixture = userdata;
    int lowest = dup(STDIN_FILENO), before;
    struct mailbox mailbox;

    CHECK(lowest >= 0 && close(lowest) == 0);
    CHECK(probe(fixture, "", &mailbox) == MAILBOX_ANSWERED);
    mailbox_close(&mailbox);
    before = descriptors_count();
    for (int spare = 0; spare < 2; spare++) {
        const struct rlimit few = {(rlim_t)(lowest + spare), 1024};
        const struct rlimit many = {1024, 1024};

        CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
        CHECK(probe(fixture, "", &mailbox) == -EMFILE); /* maildirsize, where one is spare */
        mailbox_close(&mailbox);
        CHECK(probe(fixture, ".Sub", &mailbox) == -EMFILE); /* maildirfolder */
        mailbox_close(&mailbox);
        CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
        CHECK(descriptors_count() == before);
    }
    CHECK(probe(fixture, "", &mailbox) == MAILBOX_ANSWERED);
    return CHILD_PASSED;
}

static void descriptors_run_out(void **state)
{
    struct fixture *fixture = *state;

    put_folder(fixture);
    assert_child_passes(short_of_descriptors, fixture);
}

/* A system call that fails, and what a probe makes of it. */
struct failure {
    const struct fixture *fixture;
    const char *name;
    unsigned int number;
    int error;
    int result;
    enum usage_rule state; /* of maildirsize, where the result is not an error */
};

static enum child_result with_failure(void *userdata)
{
    const struct failure *failure = userdata;
    struct mailbox mailbox;

    (void)probe(failure->fixture, failure->name, &mailbox);
    mailbox_close(&mailbox);
    CHECK(filter_install(failure->number, FILTER_ERRNO((unsigned int)failure->error)) == 0);
    CHECK(probe(failure->fixture, failure->name, &mailbox) == failure->result);
    CHECK(failure->result < 0 || mailbox.maildirsize_state == failure->state);
    mailbox_close(&mailbox);
    return CHILD_PASSED;
}

static void system_calls_fail(void **state)
{
    struct fixture *fixture = *state;
    struct failure failures[] = {
        {fixture, "", SYS_read, EIO, MAILBOX_NEEDS_COUNT, USAGE_RULE_UNREADABLE},
        {fixture, "", SYS_read, EISDIR, MAILBOX_NEEDS_COUNT, USAGE_RULE_UNREADABLE},
        {fixture, "", SYS_read, ENOMEM, -ENOMEM, 0},
        {fixture, "", SYS_read, ESTALE, -ESTALE, 0},
        {fixture, "", SYS_statx, EIO, -EIO, 0},
        {fixture, "", SYS_statx, ESTALE, -ESTALE, 0},
        {fixture, "", SYS_openat, EIO, MAILBOX_NEEDS_COUNT, USAGE_RULE_UNREADABLE},
        {fixture, "", SYS_openat, ENFILE, -ENFILE, 0},
        {fixture, "", SYS_openat, EACCES, MAILBOX_NEEDS_COUNT, USAGE_RULE_UNREADABLE},
        /* maildirfolder */
        {fixture, ".Sub", SYS_openat, EIO, -EIO, 0},
        {fixture, ".Sub", SYS_openat, ENFILE, -ENFILE, 0},
        {fixture, ".Sub", SYS_openat, EACCES, MAILBOX_NEEDS_COUNT, USAGE_RULE_UNREADABLE},
        /* a directory that may be empty or not */
        {fixture, "@/bare", SYS_getdents64, EIO, -EIO, 0},
    };

    put_folder(fixture);
    box_mkdir(&fixture->box, "../bare");
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        if (child_run(with_failure, &failures[i]) != CHILD_PASSED)
            fail_msg("failure %zu", i);
}

/* Whoever owns a mailbox can keep everybody from opening its maildirsize, but not from counting. */
static enum child_result with_a_lease(void *userdata)
{
    const struct fixture *fixture = userdata;
    char path[PATH_MAX];
    struct mailbox mailbox;
    struct usage usage;
    int fd = open(path_of(fixture, "maildirsize", path), O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK(signal(SIGIO, SIG_IGN) != SIG_ERR);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return CHILD_SKIPPED;
    CHECK(probe(fixture, "", &mailbox) == MAILBOX_NEEDS_COUNT);
    CHECK(mailbox.rule == USAGE_RULE_UNREADABLE);
    CHECK(count(fixture, "", &mailbox, &usage) == 0);
    CHECK(usage.bytes == 700 && usage.rule == USAGE_RULE_UNREADABLE);
    mailbox_close(&mailbox);
    CHECK(probe_cached(fixture, "", (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox) ==
          MAILBOX_WOULD_BLOCK);
    mailbox_close(&mailbox);
    return CHILD_PASSED;
}

static void a_lease_on_maildirsize(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "1000S\n1 1\n");
    assert_child_passes(with_a_lease, fixture);
}

/* A server that has forgotten a file, so many times. */
static enum child_result with_a_stale_handle(const struct fixture *fixture, unsigned int times,
                                             int result)
{
    struct mailbox mailbox;
    struct filter_judge judge;

    CHECK(filter_install_times(SYS_statx, ESTALE, times, &judge) == 0);
    CHECK(probe(fixture, "", &mailbox) == result);
    CHECK(result < 0 || mailbox.maildirsize_state == USAGE_RULE_TRUSTED);
    mailbox_close(&mailbox);
    return CHILD_PASSED;
}

static enum child_result stale_twice(void *userdata)
{
    return with_a_stale_handle(userdata, 2, MAILBOX_ANSWERED);
}

static enum child_result stale_three_times(void *userdata)
{
    return with_a_stale_handle(userdata, 3, -ESTALE);
}

static void a_stale_handle_is_tried_again(void **state)
{
    struct fixture *fixture = *state;

    put_maildirsize(fixture, "1000S\n1 1\n");
    assert_child_passes(stale_twice, fixture);
    assert_child_passes(stale_three_times, fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(permissions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptors_run_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(system_calls_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lease_on_maildirsize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_handle_is_tried_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
