/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probing a mailbox without waiting: from what is in memory comes the same answer, or none.
 */
#include "probe.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "child.h"
#include "filter.h"
#include "same_mailbox.h"

/* Probes name both ways. Returns whether it was in memory. */
static bool check_cached(const struct fixture *fixture, const char *name, enum filesystem_kind kind)
{
    struct mailbox mailbox, cached;
    int r, cached_r;

    r = probe(fixture, name, &mailbox);
    cached_r = probe_cached(fixture, name, (struct kinds){kind, ALWAYS}, &cached);
    if (cached_r != MAILBOX_WOULD_BLOCK) {
        assert_int_equal(cached_r, r);
        if (r >= 0)
            assert_same_mailbox(&cached, &mailbox);
    }
    mailbox_close(&mailbox);
    mailbox_close(&cached);
    return cached_r != MAILBOX_WOULD_BLOCK;
}

static void what_is_in_memory_answers_the_same(void **state)
{
    static const struct {
        const char *name;
        bool on_disk; /* elsewhere, names that are absent are not kept in memory */
    } cases[] = {
        {"", false},       {"@/inbox", false}, /* with a maildirfolder, which is not looked for */
        {"@/mbox", false}, {"@/fifo", false},     {"@/socket", false}, {"/", false},
        {".Dot", true},    {".Sub/cur/..", true}, {"@/odd", true},     {"@/linked", true},
        {"@/dir", true},   {"@/large", true},     {"@/nothing", true}, {"@/nothing/x", true},
    };
    /* folders, what is behind a symbolic link or not behind a file, what has no maildirsize */
    static const char *const never[] = {".Sub", "@/out",  "@/to-mbox", "@/to-box", "@/to-nothing",
                                        "@",    "@/bare", "@/new",     "@/mbox/x"};
    struct fixture *fixture = *state;
    bool is_disk = filesystem_kind(fixture->box.fd) == FILESYSTEM_DISK;

    if (!has_cached(fixture))
        skip_because("the kernel does not tell what is in memory");
    put_folder(fixture);
    box_folder(&fixture->box, ".Dot");
    put_text(fixture, ".Dot/maildirsize", "8S\n8 8\n", 7);
    box_put(&fixture->box, "../mbox", 12345);
    box_link(&fixture->box, "mbox", "../to-mbox");
    box_link(&fixture->box, "box", "../to-box");
    box_link(&fixture->box, "nothing", "../to-nothing");
    box_link(&fixture->box, "..", "../out");
    box_mkdir(&fixture->box, "../inbox");
    box_put(&fixture->box, "../inbox/maildirfolder", 0);
    put_text(fixture, "@/inbox/maildirsize", "7S\n7 7\n", 7);
    box_mkdir(&fixture->box, "../linked");
    box_link(&fixture->box, "../box/maildirsize", "../linked/maildirsize");
    box_mkdir(&fixture->box, "../dir");
    box_mkdir(&fixture->box, "../dir/maildirsize");
    box_mkdir(&fixture->box, "../large");
    box_put(&fixture->box, "../large/maildirsize", MAILDIRSIZE_BYTES_MAX);
    box_mkdir(&fixture->box, "../bare");
    box_mkdir(&fixture->box, "../new");
    box_mkdir(&fixture->box, "../new/new");
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
        for (int way = 0; way < 2; way++)
            assert_false(
                check_cached(fixture, never[i], way ? FILESYSTEM_MEMORY : FILESYSTEM_DISK));
}

/* Without maildirsize only a thread can tell, and with such options there is none. */
static void the_options_that_always_take_a_thread(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox;

    if (!has_cached(fixture))
        skip_because("the kernel does not tell what is in memory");
    put_maildirsize(fixture, "1000S\n500 5\n");
    for (int option = 0; option < 2; option++) {
        fixture->settings.ignore_maildirsize = option == 0;
        fixture->settings.count_everything = option == 1;
        assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_NEEDS_COUNT);
        mailbox_close(&mailbox);
        assert_int_equal(
            probe_cached(fixture, "", (struct kinds){FILESYSTEM_MEMORY, ALWAYS}, &mailbox),
            MAILBOX_WOULD_BLOCK);
        mailbox_close(&mailbox);
    }
}

static void what_would_wait_says_for_which_device(void **state)
{
    static const char *const names[] = {"", ".Sub", "@/mbox", "@/bare"};
    struct fixture *fixture = *state;
    struct mailbox mailbox;
    struct stat st;

    if (!has_cached(fixture))
        skip_because("the kernel does not tell what is in memory");
    put_folder(fixture);
    box_put(&fixture->box, "../mbox", 1);
    box_mkdir(&fixture->box, "../bare");
    assert_return_code(fstat(fixture->box.fd, &st), errno);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        /* a device that nobody knows yet */
        assert_int_equal(probe_cached(fixture, names[i], (struct kinds){}, &mailbox),
                         MAILBOX_WOULD_BLOCK);
        assert_int_equal(mailbox.device, st.st_dev);
        mailbox_close(&mailbox);
    }

    /* a folder, whose parent is a thread's affair */
    assert_int_equal(
        probe_cached(fixture, ".Sub", (struct kinds){FILESYSTEM_MEMORY, ALWAYS}, &mailbox),
        MAILBOX_WOULD_BLOCK);
    assert_int_equal(mailbox.device, st.st_dev);
    mailbox_close(&mailbox);

    /* a name that nobody has asked for yet */
    assert_int_equal(probe_cached(fixture, "@/never-asked-for",
                                  (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox),
                     MAILBOX_WOULD_BLOCK);
    assert_int_equal(mailbox.device, st.st_dev);
    mailbox_close(&mailbox);
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
    char maildirsize[PATH_MAX];
    int r = MAILBOX_ANSWERED;

    if (!has_cached(fixture) || filesystem_kind(fixture->box.fd) != FILESYSTEM_DISK)
        skip_because("it needs a local disk, and a kernel that tells what is in memory");
    put_maildirsize(fixture, "1000S\n500 5\n");
    path_of(fixture, "maildirsize", maildirsize);
    /* A fast disk may have it back before it is asked for, but not each time. */
    for (int attempts = 0; r != MAILBOX_WOULD_BLOCK; attempts++) {
        struct mailbox mailbox;

        assert_int_equal(probe(fixture, "", &mailbox), MAILBOX_ANSWERED);
        mailbox_close(&mailbox);
        assert_true(attempts < 1000);
        if (!evict(maildirsize))
            skip_because("nothing can be evicted from memory");
        r = probe_cached(fixture, "", (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox);
        assert_true(r == MAILBOX_ANSWERED || r == MAILBOX_WOULD_BLOCK);
        mailbox_close(&mailbox);
    }
}

/* A system call that fails, and what a probe that must not wait makes of it. */
struct failure {
    const struct fixture *fixture;
    unsigned int number;
    int error;
    int result;
    enum usage_rule state; /* of maildirsize, where the result is not an error */
};

static enum child_result with_failure(void *userdata)
{
    const struct failure *failure = userdata;
    const struct fixture *fixture = failure->fixture;
    struct mailbox mailbox;
    struct stat st;

    CHECK(fstat(fixture->box.fd, &st) == 0);
    CHECK(probe(fixture, "", &mailbox) == MAILBOX_ANSWERED);
    mailbox_close(&mailbox);
    CHECK(filter_install(failure->number, FILTER_ERRNO((unsigned int)failure->error)) == 0);
    CHECK(probe_cached(fixture, "", (struct kinds){FILESYSTEM_DISK, ALWAYS}, &mailbox) ==
          failure->result);
    if (failure->result == MAILBOX_WOULD_BLOCK)
        CHECK(mailbox.device == st.st_dev || failure->number != SYS_preadv2);
    else if (failure->result >= 0)
        CHECK(mailbox.maildirsize_state == failure->state);
    mailbox_close(&mailbox);
    return CHILD_PASSED;
}

static void system_calls_fail_in_memory(void **state)
{
    struct fixture *fixture = *state;
    struct failure failures[] = {
        {fixture, SYS_preadv2, EAGAIN, MAILBOX_WOULD_BLOCK, 0},
        {fixture, SYS_preadv2, EOPNOTSUPP, MAILBOX_WOULD_BLOCK, 0},
        {fixture, SYS_preadv2, ESTALE, MAILBOX_WOULD_BLOCK, 0},
        {fixture, SYS_preadv2, ENOMEM, -ENOMEM, 0},
        {fixture, SYS_preadv2, EIO, MAILBOX_NEEDS_COUNT, USAGE_RULE_UNREADABLE},
        {fixture, SYS_statx, ESTALE, MAILBOX_WOULD_BLOCK, 0},
        {fixture, SYS_statx, EIO, -EIO, 0},
        {fixture, SYS_openat2, EMFILE, -EMFILE, 0},
        {fixture, SYS_openat2, EINVAL, MAILBOX_WOULD_BLOCK, 0}, /* no RESOLVE_CACHED */
        /* a plain read might wait */
        {fixture, SYS_read, EIO, MAILBOX_ANSWERED, USAGE_RULE_TRUSTED},
    };

    if (!has_cached(fixture) || filesystem_kind(fixture->box.fd) != FILESYSTEM_DISK)
        skip_because("it needs a local disk, and a kernel that tells what is in memory");
    put_maildirsize(fixture, "1000S\n500 5\n");
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        if (child_run(with_failure, &failures[i]) != CHILD_PASSED)
            fail_msg("failure %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_in_memory_answers_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_options_that_always_take_a_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_would_wait_says_for_which_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_on_disk_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(system_calls_fail_in_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
