/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "ctl/query.h"

static struct ctl_query query(const char *verb)
{
    struct ctl_query query;

    assert_int_equal(ctl_query_from_verb(verb, &query), 0);
    return query;
}

static void verbs(void **state)
{
    static const char *const wrong[] = {"", "chec", "checks", "Check", "check ", "/x", "help"};
    struct ctl_query ret;

    (void)state;
    assert_true(query("check").has_targets);
    assert_true(query("usage").has_targets);
    assert_true(query("explain").has_targets);
    assert_false(query("ping").has_targets);
    assert_false(query("stats").has_targets);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(ctl_query_from_verb(wrong[i], &ret), -EINVAL);
}

static void lines(void **state)
{
    char line[CTL_QUERY_BYTES_MAX];
    struct ctl_query check = query("check"), usage = query("usage"), ping = query("ping");
    struct ctl_query explain = query("explain");
    size_t length;

    (void)state;
    assert_int_equal(ctl_query_write(&ping, NULL, line, &length), 0);
    assert_string_equal(line, "ping\n");
    assert_int_equal(length, 5);
    assert_int_equal(ctl_query_write(&check, "joe@example.org", line, &length), 0);
    assert_string_equal(line, "check joe@example.org\n");
    check.have_size = true;
    check.size_bytes = UINT64_MAX;
    assert_int_equal(ctl_query_write(&check, "/var/mail/a b", line, &length), 0);
    assert_string_equal(line, "check size=18446744073709551615 /var/mail/a b\n");
    check.quota = "2G,1000C";
    assert_int_equal(ctl_query_write(&check, "joe", line, &length), 0);
    assert_string_equal(line, "check size=18446744073709551615 quota=2G,1000C joe\n");
    check.have_size = false;
    assert_int_equal(ctl_query_write(&check, "size=1", line, &length), 0);
    assert_string_equal(line, "check quota=2G,1000C size=1\n");
    assert_int_equal(ctl_query_write(&explain, "joe", line, &length), 0);
    assert_string_equal(line, "explain joe\n");
    explain.recount = true;
    explain.quota = "1G";
    assert_int_equal(ctl_query_write(&explain, "joe", line, &length), 0);
    assert_string_equal(line, "explain quota=1G recount=yes joe\n");
    assert_int_equal(ctl_query_write(&usage, "a\nb", line, &length), -EINVAL);
}

/* No part of a target is taken for the size and the quota that stand before one. */
static void targets_arrive_whole(void **state)
{
    static const char *const targets[] = {
        "joe@example.org",
        "size=1",
        "size=1@example.org",
        "size=1 b@example.org",
        "quota=1 /x",
        "quota= x@y",
        "size= quota= size=1",
        "recount=yes b@example.org",
        "size= quota= recount=yes b@example.org",
        "quota=x size=y z@example.org",

        "prvs=1a2b=joe@example.org b",
        "usage /x",
        "\"size=1 b\"@example.org",
        "/size=1 b",
        "a b=c@example.org",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        for (int kind = 0; kind < 3; kind++) {
            bool with_size = kind > 0;
            struct ctl_query asked = query(kind == 0 ? "usage" : kind == 1 ? "check" : "explain");
            char line[CTL_QUERY_BYTES_MAX];
            struct request request;
            const char *why = "";
            size_t length;

            asked.have_size = with_size;
            asked.size_bytes = 77;
            assert_int_equal(ctl_query_write(&asked, targets[i], line, &length), 0);
            assert_int_equal(request_parse(line, length - 1, &request, &why), REASON_NONE);
            assert_string_equal(request.target, targets[i]);
            assert_int_equal(request.size_bytes, with_size ? 77 : 0);
            assert_false(request.have_limit);
            assert_false(request.recount);
        }
    }
}

static void length_is_bounded(void **state)
{
    struct ctl_query usage = query("usage");
    char target[REQUEST_BYTES_MAX + 1], line[CTL_QUERY_BYTES_MAX];
    size_t length, longest = REQUEST_BYTES_MAX - strlen("usage ");

    (void)state;
    memset(target, 'x', sizeof(target));
    target[longest] = '\0';
    assert_int_equal(ctl_query_write(&usage, target, line, &length), 0);
    assert_int_equal(length, REQUEST_BYTES_MAX + 1);
    assert_int_equal(request_find_end(line, length, false), REQUEST_BYTES_MAX);
    target[longest] = 'x';
    target[longest + 1] = '\0';
    assert_int_equal(ctl_query_write(&usage, target, line, &length), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs),
        cmocka_unit_test(lines),
        cmocka_unit_test(targets_arrive_whole),
        cmocka_unit_test(length_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
