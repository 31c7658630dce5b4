/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each test gives up the privileges of a child, for what is given up does not come back.
 */
#include "unit.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "filter.h"
#include "system/privileges.h"

#define USER       "nobody" /* there is one on every Linux system */
#define GROUPS_MAX 64

/* A user, kept from what the C library overwrites when it is asked for another one. */
struct user {
    char name[64];
    uid_t uid;
    gid_t gid;
};

/* Reads the number that a line of /proc/self/status has, in the base. */
static uint64_t status_number(const char *name, int base)
{
    FILE *status = fopen("/proc/self/status", "re");
    uint64_t number = UINT64_MAX;
    char line[256];

    MUST(status);
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            number = strtoull(line + strlen(name) + 1, NULL, base);
    (void)fclose(status);
    MUST(number != UINT64_MAX);
    return number;
}

static enum child_result check_no_capability(void)
{
    CHECK(status_number("CapInh", 16) == 0);
    CHECK(status_number("CapPrm", 16) == 0);
    CHECK(status_number("CapEff", 16) == 0);
    CHECK(status_number("CapAmb", 16) == 0);
    CHECK(status_number("NoNewPrivs", 10) == 1);
    return CHILD_PASSED;
}

static int compare_groups(const void *a, const void *b)
{
    gid_t left = *(const gid_t *)a, right = *(const gid_t *)b;

    return (left > right) - (left < right);
}

/* The process is the user in everything, and cannot be root again. */
static enum child_result check_dropped(const struct user *user)
{
    gid_t expected[GROUPS_MAX], groups[GROUPS_MAX];
    int expected_count = GROUPS_MAX, count;
    uid_t uid[3];
    gid_t gid[3];

    CHECK(getresuid(&uid[0], &uid[1], &uid[2]) == 0);
    CHECK(getresgid(&gid[0], &gid[1], &gid[2]) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(uid[i] == user->uid);
        CHECK(gid[i] == user->gid);
    }
    CHECK(getgrouplist(user->name, user->gid, expected, &expected_count) >= 0);
    count = getgroups(GROUPS_MAX, groups);
    CHECK(count == expected_count);
    qsort(expected, (size_t)count, sizeof(gid_t), compare_groups);
    qsort(groups, (size_t)count, sizeof(gid_t), compare_groups);
    CHECK(memcmp(expected, groups, (size_t)count * sizeof(gid_t)) == 0);
    CHECK(check_no_capability() == CHILD_PASSED);

    CHECK(setuid(0) < 0 && errno == EPERM);
    CHECK(seteuid(0) < 0 && errno == EPERM);
    CHECK(setresuid(0, 0, 0) < 0 && errno == EPERM);
    CHECK(setgid(0) < 0 && errno == EPERM);
    CHECK(setegid(0) < 0 && errno == EPERM);
    CHECK(setgroups(0, NULL) < 0 && errno == EPERM);
    return CHILD_PASSED;
}

static enum child_result by_name_child(void *userdata)
{
    const struct user *user = userdata;
    gid_t root_groups[] = {0, 1, 2};

    CHECK(setgroups(3, root_groups) == 0);
    CHECK(privileges_drop(user->name) == 0);
    return check_dropped(user);
}

static enum child_result by_number_child(void *userdata)
{
    const struct user *user = userdata;
    char number[32];

    (void)snprintf(number, sizeof(number), "%" PRIuMAX, (uintmax_t)user->uid);
    CHECK(privileges_drop(number) == 0);
    return check_dropped(user);
}

/* Secure bits that keep root's capabilities across the change of the user. */
static enum child_result secure_bits_child(void *userdata)
{
    CHECK(prctl(PR_SET_SECUREBITS, (unsigned long)(SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP)) ==
          0);
    return by_name_child(userdata);
}

/* A set-user-ID root program of a user: the effective and the saved id alone are root's. */
static enum child_result saved_id_child(void *userdata)
{
    const struct user *user = userdata;

    CHECK(setresuid(user->uid, 0, 0) == 0);
    CHECK(privileges_drop(user->name) == 0);
    return check_dropped(user);
}

/* The user already, with a capability that a service manager has handed it. */
static enum child_result ambient_child(void *userdata)
{
    const struct user *user = userdata;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const uint32_t capability = 1u << CAP_DAC_READ_SEARCH;
    const struct __user_cap_data_struct data[2] = {{capability, capability, capability}, {0}};

    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    CHECK(initgroups(user->name, user->gid) == 0);
    CHECK(setresgid(user->gid, user->gid, user->gid) == 0);
    CHECK(setresuid(user->uid, user->uid, user->uid) == 0);
    CHECK(syscall(SYS_capset, &header, data) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) == 0);
    CHECK(status_number("CapAmb", 16) == capability);
    CHECK(privileges_drop(user->name) == 0);
    return check_dropped(user);
}

/* A plain user is that user already, and can become no other. */
static enum child_result plain_user_child(void *userdata)
{
    const struct user *user = userdata;

    if (geteuid() == 0) {
        CHECK(setresgid(user->gid, user->gid, user->gid) == 0);
        CHECK(setresuid(user->uid, user->uid, user->uid) == 0);
    }
    CHECK(privileges_drop("daemon") == -EPERM);
    CHECK(privileges_drop(user->name) == 0);
    CHECK(privileges_drop(user->name) == 0);
    return check_no_capability();
}

static struct user find_user(const struct passwd *entry)
{
    struct user user = {.uid = entry->pw_uid, .gid = entry->pw_gid};

    MUST(strlen(entry->pw_name) < sizeof(user.name));
    memcpy(user.name, entry->pw_name, strlen(entry->pw_name) + 1);
    return user;
}

/* Runs the function in a child of root, who alone has something to give up. */
static void run_as_root(child_fn function)
{
    const struct passwd *entry = getpwnam(USER);
    struct user user;

    if (geteuid() != 0)
        skip_because("it needs root");
    assert_non_null(entry);
    user = find_user(entry);
    assert_child_passes(function, &user);
}

static void by_name(void **state)
{
    (void)state;
    run_as_root(by_name_child);
}

static void by_number(void **state)
{
    (void)state;
    run_as_root(by_number_child);
}

static void secure_bits(void **state)
{
    (void)state;
    run_as_root(secure_bits_child);
}

static void saved_id(void **state)
{
    (void)state;
    run_as_root(saved_id_child);
}

static void ambient(void **state)
{
    (void)state;
    run_as_root(ambient_child);
}

static void plain_user(void **state)
{
    const struct passwd *entry = geteuid() == 0 ? getpwnam(USER) : getpwuid(geteuid());
    struct user user;

    (void)state;
    if (!entry)
        skip_because("there is no such user");
    user = find_user(entry);
    assert_child_passes(plain_user_child, &user);
}

/* Nothing is changed when the user is none that can be become. */
static void users_that_are_refused(void **state)
{
    static const struct {
        const char *user;
        int result;
    } cases[] = {
        {"", -ESRCH},
        {"no-such-user-here", -ESRCH},
        {"4294967294", -ESRCH}, /* free */
        {"4294967295", -ESRCH}, /* (uid_t)-1 */
        {"4294967296", -ESRCH}, /* root's, if it were cut off */
        {"99999999999999999999999999", -ESRCH},
        {"-1", -ESRCH},
        {"+0", -ESRCH},
        {" 0", -ESRCH},
        {"0x0", -ESRCH},
        {"0 ", -ESRCH},
        {"0", -EINVAL},
        {"00", -EINVAL},
        {"root", -EINVAL},
    };
    uint64_t no_new_privs = status_number("NoNewPrivs", 10);
    uid_t uid = geteuid();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(privileges_drop(cases[i].user), cases[i].result);
        assert_int_equal(geteuid(), uid);
        assert_int_equal(status_number("NoNewPrivs", 10), no_new_privs);
    }
}

struct failing_call {
    unsigned int number;
    int error;  /* 0: the call says that it has done what it has not */
    int result; /* of privileges_drop() */
};

static enum child_result failing_call_child(void *userdata)
{
    const struct failing_call *call = userdata;

    /* Secure bits are a thread's own, and a sanitizer may have made a second one. */
    if (call->number == SYS_capset && status_number("Threads", 10) > 1)
        return CHILD_SKIPPED;
    /* Without this the change of the user alone would take the capabilities. */
    CHECK(prctl(PR_SET_SECUREBITS, (unsigned long)SECBIT_NO_SETUID_FIXUP) == 0);
    CHECK(filter_install(call->number, FILTER_ERRNO((unsigned int)call->error)) == 0);
    CHECK(privileges_drop(USER) == call->result);
    return CHILD_PASSED;
}

static void failing_calls(void **state)
{
    struct failing_call calls[] = {
        {CALL_GETRESUID, EIO, -EIO}, {CALL_GETRESGID, EIO, -EIO}, {CALL_SETGROUPS, EIO, -EIO},
        {CALL_SETRESGID, EIO, -EIO}, {CALL_SETRESUID, EIO, -EIO}, {SYS_capset, EIO, -EIO},
        {SYS_prctl, EIO, -EIO},      {CALL_SETRESGID, 0, -EPERM}, {CALL_SETRESUID, 0, -EPERM},
        {SYS_capset, 0, -EPERM},
    };

    (void)state;
    if (geteuid() != 0)
        skip_because("it needs root");
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        assert_int_not_equal(child_run(failing_call_child, &calls[i]), CHILD_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name),
        cmocka_unit_test(by_number),
        cmocka_unit_test(secure_bits),
        cmocka_unit_test(saved_id),
        cmocka_unit_test(ambient),
        cmocka_unit_test(plain_user),
        cmocka_unit_test(users_that_are_refused),
        cmocka_unit_test(failing_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
