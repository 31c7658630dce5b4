/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/policy.h"
#include "quota/size.h"

#define REQUEST "request=smtpd_access_policy\n"

/* A text that may hold NUL bytes, and its length. */
#define TEXT(text) text, sizeof(text) - 1

/* Looks for the end in a copy that ends where the text ends: a sanitizer sees what goes beyond. */
static ssize_t find_end(const char *text, size_t length, size_t searched)
{
    char *copy = test_malloc(length + (length == 0));
    ssize_t r;

    if (length > 0)
        memcpy(copy, text, length);
    r = policy_find_end(copy, length, searched);
    test_free(copy);
    return r;
}

static void finds_the_end_at_every_split(void **state)
{
    static const char *const requests[] = {
        "\n",
        "a\n\n",
        "a=\n\n",
        REQUEST "recipient=joe@example.org\n\n",
        "\r\n",
        "a=b\r\n\r\n",
        "a=\r\rb\n\r\r\n\n",
        "a=b\n\r\n",
    };
    static const char *const behind[] = {"", "\n", "x", "a=b\n\n", "\n\n\n", "\r\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        for (size_t j = 0; j < ARRAY_SIZE(behind); j++) {
            char text[128];
            ssize_t end = (ssize_t)strlen(requests[i]);
            ssize_t total = sprintf(text, "%s%s", requests[i], behind[j]);

            for (ssize_t n = 0; n <= total; n++)
                /* What was searched before the bytes came that tell. */
                for (ssize_t searched = 0; searched <= n && searched < end; searched++)
                    assert_int_equal(find_end(text, (size_t)n, (size_t)searched),
                                     n >= end ? end : -EAGAIN);
        }
}

static void a_request_has_64_kib(void **state)
{
    static char text[POLICY_BYTES_MAX + 10];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(find_end(text, POLICY_BYTES_MAX - 1, 0), -EAGAIN);
    assert_int_equal(find_end(text, POLICY_BYTES_MAX, 0), -EMSGSIZE);
    memcpy(text + POLICY_BYTES_MAX - 2, "\n\n", 2);
    assert_int_equal(find_end(text, POLICY_BYTES_MAX - 1, 0), -EAGAIN);
    assert_int_equal(find_end(text, POLICY_BYTES_MAX, POLICY_BYTES_MAX - 1), POLICY_BYTES_MAX);
    assert_int_equal(find_end(text, sizeof(text), 0), POLICY_BYTES_MAX);
    memcpy(text + POLICY_BYTES_MAX - 2, "x\n\n", 3);
    assert_int_equal(find_end(text, sizeof(text), 0), -EMSGSIZE);
}

static enum reason parse(const char *text, size_t length, struct request *ret, const char **ret_why)
{
    static char copy[POLICY_BYTES_MAX];

    memcpy(copy, text, length);
    *ret_why = NULL;
    return policy_parse(copy, length, ret, ret_why);
}

static void understands(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *recipient; /* NULL: nothing is to be checked */
        uint64_t size_bytes;
    } cases[] = {
        {TEXT(REQUEST "\n"), NULL, 0},
        {TEXT(REQUEST "recipient=joe@example.org\n\n"), "joe@example.org", 0},
        {TEXT("size=12\nrecipient=joe\nprotocol_state=RCPT\n" REQUEST "\n"), "joe", 12},
        {TEXT(REQUEST "recipient=\nsize=7\n\n"), NULL, 7},
        {TEXT(REQUEST "recipient=\"a b\"@c@d\n\n"), "\"a b\"@c@d", 0},
        {TEXT(REQUEST "recipient=/a=b\n\n"), "/a=b", 0},
        {TEXT(REQUEST "recipient=a\rb\n\n"), "a\rb", 0},
        {TEXT(REQUEST "recipient=\xff\n\n"), "\xff", 0},
        {TEXT(REQUEST "sender=\r\nrecipient=a\n\n"), "a", 0},
        /* The size. */
        {TEXT(REQUEST "recipient=a\nsize=\n\n"), "a", 0},
        {TEXT(REQUEST "recipient=a\nsize=9223372036854775807\n\n"), "a", SIZE_BYTES_MAX},
        {TEXT(REQUEST "recipient=a\nsize=18446744073709551615\n\n"), "a", SIZE_BYTES_MAX},
        {TEXT(REQUEST "recipient=a\nsize=99999999999999999999999\n\n"), "a", SIZE_BYTES_MAX},
        /* The state. */
        {TEXT(REQUEST "recipient=a\nprotocol_state=\n\n"), "a", 0},
        {TEXT(REQUEST "recipient=a\nprotocol_state=DATA\n\n"), "a", 0},
        {TEXT(REQUEST "recipient=a\nprotocol_state=END-OF-MESSAGE\n\n"), "a", 0},
        {TEXT(REQUEST "recipient=a\nprotocol_state=VRFY\n\n"), NULL, 0},
        {TEXT(REQUEST "recipient=a\nprotocol_state=MAIL\n\n"), NULL, 0},
        {TEXT(REQUEST "recipient=a\nprotocol_state=rcpt\n\n"), NULL, 0},
        {TEXT(REQUEST "recipient=a\nprotocol_state=RCPTS\n\n"), NULL, 0},
        /* Of repeated attributes, the last counts; others are ignored. */
        {TEXT(REQUEST "recipient=a\nrecipient=b\nsize=1\nsize=2\n\n"), "b", 2},
        {TEXT(REQUEST "recipient=a\nrecipient=\n\n"), NULL, 0},
        {TEXT("request=x\n" REQUEST "recipient=a\n\n"), "a", 0},
        {TEXT(REQUEST "recipient=a\nsize=x\nsize=3\n\n"), "a", 3},
        {TEXT(REQUEST "Recipient=b\nrecipient2=b\n recipient=b\nrecipient=a\nx==\n\n"), "a", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct request request;
        const char *why;

        assert_int_equal(find_end(cases[i].text, cases[i].length, 0), cases[i].length);
        if (parse(cases[i].text, cases[i].length, &request, &why) != REASON_NONE)
            fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(request.type, REQUEST_POLICY);
        assert_false(request.have_limit);
        if (!cases[i].recipient)
            assert_null(request.target);
        else
            assert_string_equal(request.target, cases[i].recipient);
        assert_int_equal(request.size_bytes, cases[i].size_bytes);
    }
}

static void refuses(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        enum reason reason;
        const char *why; /* part of it */
    } cases[] = {
        {TEXT("\n"), REASON_BAD_REQUEST, "request=smtpd_access_policy is required"},
        {TEXT("recipient=joe@example.org\n\n"), REASON_BAD_REQUEST, "is required"},
        {TEXT("request=\n\n"), REASON_BAD_REQUEST, "is required"},
        {TEXT("request=junk\n\n"), REASON_BAD_REQUEST, "is required"},
        {TEXT("Request=smtpd_access_policy\n\n"), REASON_BAD_REQUEST, "is required"},
        {TEXT("request=smtpd_access_policy \n\n"), REASON_BAD_REQUEST, "is required"},
        {TEXT(REQUEST "request=junk\n\n"), REASON_BAD_REQUEST, "is required"},
        {TEXT(REQUEST "junk\n\n"), REASON_BAD_REQUEST, "name=value"},
        {TEXT(REQUEST "=junk\n\n"), REASON_BAD_REQUEST, "name=value"},
        {TEXT(REQUEST "=\n\n"), REASON_BAD_REQUEST, "name=value"},
        {TEXT(REQUEST " \n\n"), REASON_BAD_REQUEST, "name=value"},
        {TEXT("usage joe@example.org\n\n"), REASON_BAD_REQUEST, "name=value"},
        {TEXT("\r\n"), REASON_BAD_REQUEST, "CR"},
        {TEXT("request=smtpd_access_policy\r\n\r\n"), REASON_BAD_REQUEST, "CR"},
        {TEXT(REQUEST "recipient=a\0b\n\n"), REASON_BAD_REQUEST, "NUL"},
        {TEXT(REQUEST "\0=a\n\n"), REASON_BAD_REQUEST, "NUL"},
        {TEXT(REQUEST "size=x\n\n"), REASON_BAD_VALUE, "size="},
        {TEXT(REQUEST "size=-1\n\n"), REASON_BAD_VALUE, "size="},
        {TEXT(REQUEST "size= 1\n\n"), REASON_BAD_VALUE, "size="},
        {TEXT(REQUEST "size=1K\n\n"), REASON_BAD_VALUE, "size="},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct request request;
        const char *why;

        assert_int_equal(find_end(cases[i].text, cases[i].length, 0), cases[i].length);
        assert_int_equal(parse(cases[i].text, cases[i].length, &request, &why), cases[i].reason);
        assert_int_equal(request.type, REQUEST_POLICY);
        assert_non_null(strstr(why, cases[i].why));
    }
}

/* What Postfix 3.7 sends, with everything that it may say. */
static void understands_what_postfix_sends(void **state)
{
    static const char text[] =
        REQUEST "protocol_state=END-OF-MESSAGE\nprotocol_name=ESMTP\nclient_address=192.0.2.1\n"
                "client_name=mx.example.net\nclient_port=43210\nreverse_client_name=mx\n"
                "server_address=192.0.2.2\nserver_port=25\nhelo_name=mx.example.net\n"
                "sender=ann@example.net\nrecipient=joe=a b@example.org\nrecipient_count=1\n"
                "queue_id=4RfXyz0abcz1x\ninstance=1f2e.65f0c0de.8a1b.0\nsize=4711\n"
                "etrn_domain=\nstress=\nsasl_method=\nsasl_username=\nsasl_sender=\n"
                "ccert_subject=\nccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\n"
                "encryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\n"
                "encryption_keysize=256\npolicy_context=\ncompatibility_level=3.6\n"
                "mail_version=3.7.11\n\n";
    struct request request;
    const char *why;

    (void)state;
    assert_int_equal(parse(text, sizeof(text) - 1, &request, &why), REASON_NONE);
    assert_string_equal(request.target, "joe=a b@example.org");
    assert_int_equal(request.size_bytes, 4711);
}

static void replies(void **state)
{
    static const struct {
        enum verdict verdict;
        enum usage_source source;
        const char *reply;
    } cases[] = {
        {VERDICT_OK, USAGE_SCAN, "action=DUNNO\n\n"},
        {VERDICT_WARN, USAGE_MAILDIRSIZE, "action=DUNNO\n\n"},
        {VERDICT_OVER, USAGE_SCAN, "action=452 4.2.2 Mailbox is full\n\n"},
        {VERDICT_OVER, USAGE_MBOX, "action=452 4.2.2 Mailbox is full\n\n"},
        {VERDICT_TOOLARGE, USAGE_UNKNOWN,
         "action=552 5.2.2 Message is larger than the mailbox may ever be\n\n"},
        /* It may be an alias. */
        {VERDICT_OVER, USAGE_NONE, "action=DUNNO\n\n"},
        {VERDICT_TOOLARGE, USAGE_NONE, "action=DUNNO\n\n"},
    };
    struct reply reply;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct usage usage = {.source = cases[i].source};
        const struct target_decision decision = {.verdict = cases[i].verdict, .usage = &usage};

        policy_reply_decision(&reply, &decision);
        assert_int_equal(reply.length, strlen(cases[i].reply));
        assert_memory_equal(reply.bytes, cases[i].reply, reply.length);
    }
    policy_reply_dunno(&reply);
    assert_int_equal(reply.length, 14);
    assert_memory_equal(reply.bytes, "action=DUNNO\n\n", 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_end_at_every_split),
        cmocka_unit_test(a_request_has_64_kib),
        cmocka_unit_test(understands),
        cmocka_unit_test(refuses),
        cmocka_unit_test(understands_what_postfix_sends),
        cmocka_unit_test(replies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
