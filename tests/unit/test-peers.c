/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel vouches for who a process is, so a child becomes somebody, as root can, and makes a
 * pair of sockets: each end has that somebody for its peer.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "server/peers.h"
#include "system/cleanup.h"

/* Ids that nobody has, and that need no name. */
#define USER          54321
#define GROUP         54322
#define ANOTHER       54323
#define SUPPLEMENTARY 54324

/* More than fits where the kernel is not asked for how many there are. */
#define GROUPS_MANY 300

/* One list of who may ask, and whether USER may then. */
struct fixture_case {
    const char *user;
    const char *group;
    bool admitted;
};

static void allow(struct peers *peers, const char *user, const char *group)
{
    if (user)
        MUST(peers_allow_user(peers, user) == 0);
    if (group)
        MUST(peers_allow_group(peers, group) == 0);
}

/* Returns one end of a pair of sockets whose peer is this process. */
static int own_end(void)
{
    int fds[2];

    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    closep(&fds[1]);
    return fds[0];
}

static bool become_user(void)
{
    gid_t groups[GROUPS_MANY];

    for (size_t i = 0; i < GROUPS_MANY - 1; i++)
        groups[i] = (gid_t)(100000 + i);
    groups[GROUPS_MANY - 1] = SUPPLEMENTARY;
    return setgroups(GROUPS_MANY, groups) == 0 && setresgid(ANOTHER, GROUP, ANOTHER) == 0 &&
           setresuid(USER, USER, USER) == 0;
}

static enum child_result as_user(void *userdata)
{
    static const struct fixture_case cases[] = {
        {NULL, NULL, true}, /* everybody may */
        {"54321", NULL, true},
        {"54399", NULL, false},
        {NULL, "54322", true},
        {NULL, "54323", false}, /* the real group alone is not what it asks with */
        {NULL, "54324", true},
        {NULL, "54399", false},
        {"54399", "54399", false},
        {"54399", "54324", true},
        {"54321", "54399", true},
        {"54322", "54321", false}, /* users and groups are different things */
        {"root", "root", false},
    };

    (void)userdata;
    if (!become_user())
        return CHILD_SKIPPED;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(closep) int fd = own_end();
        struct peers peers = {};

        allow(&peers, cases[i].user, cases[i].group);
        if (peers_admit(&peers, fd) != cases[i].admitted) {
            (void)fprintf(stderr, "case %zu\n", i);
            return CHILD_FAILED;
        }
        peers_deinit(&peers);
    }
    return CHILD_PASSED;
}

static enum child_result without_groups(void *userdata)
{
    _cleanup_(closep) int fd = -1;
    struct peers peers = {};

    (void)userdata;
    if (setgroups(0, NULL) < 0 || setresgid(GROUP, GROUP, GROUP) < 0)
        return CHILD_SKIPPED;
    fd = own_end();
    allow(&peers, NULL, "54399");
    CHECK(!peers_admit(&peers, fd));
    allow(&peers, NULL, "54322");
    CHECK(peers_admit(&peers, fd));
    peers_deinit(&peers);
    return CHILD_PASSED;
}

/* What counts is who connected, not who the process became afterwards. */
static enum child_result changed_afterwards(void *userdata)
{
    _cleanup_(closep) int fd = own_end();
    struct peers peers = {};

    (void)userdata;
    if (!become_user())
        return CHILD_SKIPPED;
    allow(&peers, "54321", "54324");
    CHECK(!peers_admit(&peers, fd));
    peers_deinit(&peers);
    return CHILD_PASSED;
}

static void user_and_groups(void **state)
{
    (void)state;
    assert_child_passes(as_user, NULL);
}

static void no_supplementary_group(void **state)
{
    (void)state;
    assert_child_passes(without_groups, NULL);
}

static void identity_of_the_time_of_connecting(void **state)
{
    (void)state;
    assert_child_passes(changed_afterwards, NULL);
}

static void names_and_numbers(void **state)
{
    struct peers peers = {};

    (void)state;
    assert_int_equal(peers_allow_user(&peers, "root"), 0);
    assert_int_equal(peers_allow_user(&peers, "54321"), 0);
    assert_int_equal(peers_allow_user(&peers, "4294967294"), 0);
    assert_int_equal(peers.users_count, 3);
    assert_int_equal(peers.users[0], 0);
    assert_int_equal(peers.users[1], 54321);
    assert_int_equal(peers.users[2], 4294967294);
    assert_int_equal(peers_allow_group(&peers, "root"), 0);
    assert_int_equal(peers_allow_group(&peers, "0"), 0);
    assert_int_equal(peers.groups_count, 2);
    peers_deinit(&peers);
    assert_int_equal(peers.users_count, 0);
    assert_int_equal(peers.groups_count, 0);
    assert_null(peers.users);
    assert_null(peers.groups);
}

static void neither_name_nor_number(void **state)
{
    static const char *const none[] = {"",   "no-such-name", "-1",         "1x",
                                       " 1", "1K",           "4294967295", "18446744073709551616"};
    struct peers peers = {};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        assert_int_equal(peers_allow_user(&peers, none[i]), -ESRCH);
        assert_int_equal(peers_allow_group(&peers, none[i]), -ESRCH);
    }
    assert_int_equal(peers.users_count, 0);
    assert_int_equal(peers.groups_count, 0);
    peers_deinit(&peers);
}

/* Over TCP nobody vouches for anybody. */
static void unknown_identity(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    _cleanup_(closep) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _cleanup_(closep) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _cleanup_(closep) int fd = -1;
    struct peers peers = {};

    (void)state;
    assert_return_code(bind(listener, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(listener, 1), errno);
    assert_return_code(getsockname(listener, (struct sockaddr *)&address, &length), errno);
    assert_return_code(connect(client, (struct sockaddr *)&address, sizeof(address)), errno);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_return_code(fd, errno);
    assert_true(peers_admit(&peers, fd));
    allow(&peers, "root", "root");
    assert_false(peers_admit(&peers, fd));
    peers_deinit(&peers);
}

static void no_socket(void **state)
{
    struct peers peers = {};
    int fds[2];

    (void)state;
    assert_return_code(pipe(fds), errno);
    allow(&peers, "root", "root");
    assert_false(peers_admit(&peers, fds[0]));
    closep(&fds[0]);
    closep(&fds[1]);
    peers_deinit(&peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_and_groups),
        cmocka_unit_test(no_supplementary_group),
        cmocka_unit_test(identity_of_the_time_of_connecting),
        cmocka_unit_test(names_and_numbers),
        cmocka_unit_test(neither_name_nor_number),
        cmocka_unit_test(unknown_identity),
        cmocka_unit_test(no_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
