/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "quota/address.h"

#define X8(x)   x x x x x x x x
#define X16(x)  X8(x) X8(x)
#define X64(x)  X16(x) X16(x) X16(x) X16(x)
#define X255(x) X64(x) X64(x) X64(x) X16(x) X16(x) X16(x) X8(x) x x x x x x x

/* A literal with its length, so that it may hold a NUL. */
#define TEXT(literal) literal, sizeof(literal) - 1

struct good {
    const char *text;
    size_t length;
    const char *local;
    const char *domain;
};

struct bad {
    const char *text;
    size_t length;
    const char *why; /* a part of the reason given */
};

static void check_good(const struct good *good, size_t count, const char *delimiters)
{
    for (size_t i = 0; i < count; i++) {
        struct address address;
        const char *why = "";
        char whole[ADDRESS_MAX + 1];

        if (address_parse(good[i].text, good[i].length, delimiters, &address, &why) != 0)
            fail_msg("%s: %s", good[i].text, why);
        (void)snprintf(whole, sizeof(whole), "%s@%s", good[i].local, good[i].domain);
        assert_string_equal(address.text, whole);
        assert_string_equal(address_domain(&address), good[i].domain);
        assert_int_equal(address.local_length, strlen(good[i].local));
        assert_int_equal(address.domain_length, strlen(good[i].domain));
    }
}

static void accepts(void **state)
{
    static const struct good good[] = {
        {TEXT("user@example.org"), "user", "example.org"},
        {TEXT("u@d"), "u", "d"},
        {TEXT("User.Name@EXAMPLE.Org"), "user.name", "example.org"},
        {TEXT("user+box@example.org"), "user+box", "example.org"},
        {TEXT("-@example.org"), "-", "example.org"},
        {TEXT("a.@example.org"), "a.", "example.org"},
        {TEXT("!#$%&'*+-=?^_`{|}~@example.org"), "!#$%&'*+-=?^_`{|}~", "example.org"},
        {TEXT("%u@example.org"), "%u", "example.org"},
        {TEXT("user@localhost"), "user", "localhost"},
        {TEXT("user@sub_domain.example.org"), "user", "sub_domain.example.org"},
        {TEXT("user@-.org"), "user", "-.org"},
        {TEXT("user@xn--bcher-kva.example"), "user", "xn--bcher-kva.example"},
        {TEXT("user@1.2.3.4"), "user", "1.2.3.4"},
        /* the dot at a domain's end */
        {TEXT("user@example.org."), "user", "example.org"},
        {TEXT("user@d."), "user", "d"},
        /* quoted local parts, and what comes unquoted */
        {TEXT("\"user\"@example.org"), "user", "example.org"},
        {TEXT("\"John Doe\"@example.org"), "john doe", "example.org"},
        {TEXT("\"a@b\"@example.org"), "a@b", "example.org"},
        {TEXT("\"@\"@example.org"), "@", "example.org"},
        {TEXT("\"a\\\"b\"@example.org"), "a\"b", "example.org"},
        {TEXT("\"a\\\\b\"@example.org"), "a\\b", "example.org"},
        {TEXT("\"\\a\\b\"@example.org"), "ab", "example.org"},
        {TEXT("\" \"@example.org"), " ", "example.org"},
        {TEXT("\"\\\"\"@example.org"), "\"", "example.org"},
        {TEXT("john doe@example.org"), "john doe", "example.org"},
        {TEXT("a\"b@example.org"), "a\"b", "example.org"},
        {TEXT("a\\b@example.org"), "a\\b", "example.org"},
        /* UTF-8: any case stays, as Exim's lookups leave it */
        {TEXT("J\xc3\x9cRGEN@B\xc3\x9c"
              "CHER.example"),
         "j\xc3\x9crgen",
         "b\xc3\x9c"
         "cher.example"},
        {TEXT("\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.\xe5\xad\x90"), "\xe7\x94\xa8\xe6\x88\xb7",
         "\xe4\xbe\x8b.\xe5\xad\x90"},
        {TEXT("\xf0\x9f\x93\xa7@example.org"), "\xf0\x9f\x93\xa7", "example.org"},
        {TEXT("\"\xc3\xbc \"@example.org"), "\xc3\xbc ", "example.org"},
        {TEXT("\xc2\xa0@example.org"), "\xc2\xa0", "example.org"},
        {TEXT("\xed\x9f\xbf@example.org"), "\xed\x9f\xbf", "example.org"},
        {TEXT("\xf4\x8f\xbf\xbf@example.org"), "\xf4\x8f\xbf\xbf", "example.org"},
        /* address literals */
        {TEXT("user@[192.0.2.1]"), "user", "[192.0.2.1]"},
        {TEXT("user@[IPv6:2001:DB8::1]"), "user", "[ipv6:2001:db8::1]"},
        /* the longest */
        {TEXT(X64("a") "@example.org"), X64("a"), "example.org"},
        {TEXT("\"" X64("\\a") "\"@example.org"), X64("a"), "example.org"},
        {TEXT("u@" X255("d")), "u", X255("d")},
        {TEXT("u@" X255("d") "."), "u", X255("d")},
        {TEXT(X64("a") "@" X255("d")), X64("a"), X255("d")},
    };

    (void)state;
    check_good(good, ARRAY_SIZE(good), "");
}

static void refuses(void **state)
{
    static const struct bad bad[] = {
        /* parts that are missing, or too many */
        {TEXT(""), "no @"},
        {TEXT("@"), "local part is empty"},
        {TEXT("@@"), "local part is empty"},
        {TEXT("a@"), "domain is empty"},
        {TEXT("@b"), "local part is empty"},
        {TEXT("user"), "no @"},
        {TEXT("a@b@c"), "more than one @"},
        {TEXT("a@@c"), "more than one @"},
        {TEXT("a@b@"), "more than one @"},
        {TEXT("\"\"@example.org"), "local part is empty"},
        {TEXT("\"a\"@b@c"), "more than one @"},
        {TEXT("\"a\"@\"b\"@c"), "more than one @"},
        {TEXT("\"a@b.c"), "does not end"},
        {TEXT("\""), "does not end"},
        {TEXT("\"a\\\"@example.org"), "does not end"},
        {TEXT("\"a\\"), "does not end"},
        {TEXT("\"a\\\xc3\xbc\"@example.org"), "does not end"},
        {TEXT("\"a\\\n\"@example.org"), "does not end"},
        {TEXT("\"a\"b@example.org"), "no @ behind"},
        {TEXT("\"a\""), "no @ behind"},
        {TEXT("\"a\".b@example.org"), "no @ behind"},
        {TEXT("\"a\" @example.org"), "no @ behind"},
        /* ways out of the mailboxes' directory */
        {TEXT("../../etc/passwd@x"), "slash"},
        {TEXT("/etc/passwd@x"), "slash"},
        {TEXT("a/b@c"), "slash"},
        {TEXT("a/@c"), "slash"},
        {TEXT("/@c"), "slash"},
        {TEXT("a@b/c"), "slash"},
        {TEXT("a@/"), "slash"},
        {TEXT("a@../x"), "slash"},
        {TEXT("a@[../x]"), "slash"},
        {TEXT("\"../x\"@d"), "slash"},
        {TEXT("\"a/b\"@d"), "slash"},
        {TEXT("\"a\\/b\"@d"), "slash"},
        {TEXT("\"\\.\\.\\/x\"@d"), "slash"},
        {TEXT(".@d"), "begins with a dot"},
        {TEXT("..@d"), "begins with a dot"},
        {TEXT(".user@d"), "begins with a dot"},
        {TEXT("\".user\"@d"), "begins with a dot"},
        {TEXT("\"\\.\"@d"), "begins with a dot"},
        {TEXT("..+box@d"), "begins with a dot"},
        {TEXT("a..b@d"), "two dots"},
        {TEXT("a..@d"), "two dots"},
        {TEXT("\"a.\\.b\"@d"), "two dots"},
        {TEXT("u@."), "begins with a dot"},
        {TEXT("u@.."), "begins with a dot"},
        {TEXT("u@.d"), "begins with a dot"},
        {TEXT("u@d.."), "ends with a dot"},
        {TEXT("u@d..."), "two dots"},
        {TEXT("u@a..d"), "two dots"},
        {TEXT("u@[..]"), "two dots"},
        /* control characters */
        {TEXT("\0@d"), "control character"},
        {TEXT("u\0@d"), "control character"},
        {TEXT("u@d\0"), "control character"},
        {TEXT("u@\0d"), "control character"},
        {TEXT("\"u\0\"@d"), "control character"},
        {TEXT("u\n@d"), "control character"},
        {TEXT("u@d\n"), "control character"},
        {TEXT("u@d\r"), "control character"},
        {TEXT("u\t@d"), "control character"},
        {TEXT("\"u\t\"@d"), "control character"},
        {TEXT("\x1b[2J@d"), "control character"},
        {TEXT("u@\x7f"), "control character"},
        /* what is not UTF-8 */
        {TEXT("\xfc@d"), "UTF-8"},
        {TEXT("u@\xe4"), "UTF-8"},
        {TEXT("\x80@d"), "UTF-8"},
        {TEXT("\xc3@d"), "UTF-8"},
        {TEXT("\xe2\x82@d"), "UTF-8"},
        {TEXT("u@\xf0\x9f\x93"), "UTF-8"},
        {TEXT("\xc3\xc3\xbc@d"), "UTF-8"},
        {TEXT("\xc0\xae\xc0\xae@d"), "UTF-8"},     /* ".." in a longer form */
        {TEXT("\xc0\xaf@d"), "UTF-8"},             /* "/" in a longer form */
        {TEXT("\xe0\x80\xaf@d"), "UTF-8"},         /* the same, longer still */
        {TEXT("\xf0\x80\x80\xaf@d"), "UTF-8"},     /* and longer */
        {TEXT("\xe0\x9f\xbf@d"), "UTF-8"},         /* U+07FF in a longer form */
        {TEXT("\xf0\x8f\xbf\xbf@d"), "UTF-8"},     /* U+FFFF in a longer form */
        {TEXT("\xed\xa0\x80@d"), "UTF-8"},         /* a surrogate */
        {TEXT("\xed\xbf\xbf@d"), "UTF-8"},         /* the last one */
        {TEXT("\xf4\x90\x80\x80@d"), "UTF-8"},     /* past U+10FFFF */
        {TEXT("\xf8\x88\x80\x80\x80@d"), "UTF-8"}, /* five bytes */
        {TEXT("\xff@d"), "UTF-8"},
        {TEXT("\xc2\x9b@d"), "UTF-8"}, /* a terminal's control sequence introducer */
        {TEXT("\xc2\x80@d"), "UTF-8"},
        /* domains that are none */
        {TEXT("u@a b"), "neither a name"},
        {TEXT("u@d "), "neither a name"},
        {TEXT("u@ d"), "neither a name"},
        {TEXT("<u@d>"), "neither a name"},
        {TEXT("u@\"d\""), "neither a name"},
        {TEXT("u@d:25"), "neither a name"},
        {TEXT("u@a,b"), "neither a name"},
        {TEXT("u@a\\b"), "neither a name"},
        {TEXT("u@*"), "neither a name"},
        {TEXT("u@[]"), "neither a name"},
        {TEXT("u@["), "neither a name"},
        {TEXT("u@[1.2.3.4"), "neither a name"},
        {TEXT("u@1.2.3.4]"), "neither a name"},
        {TEXT("u@[[1.2.3.4]]"), "neither a name"},
        {TEXT("u@[1.2.3.4] "), "neither a name"},
        {TEXT("u@[1.2.3.4]:25"), "neither a name"},
        /* too long */
        {TEXT(X64("a") "a@example.org"), "longer than 64"},
        {TEXT("\"" X64("a") "a\"@example.org"), "longer than 64"},
        {TEXT("u@" X255("d") "d"), "longer than 255"},
        {TEXT("u@" X255("d") "d."), "longer than 255"},
        {TEXT(X255("a") X255("a") "@" X255("d") X255("d")), "longer than 64"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct address address;
        const char *why = "accepted";

        assert_int_equal(address_parse(bad[i].text, bad[i].length, "+", &address, &why), -EINVAL);
        if (!strstr(why, bad[i].why))
            fail_msg("bad address %zu, %s: \"%s\" instead of \"%s\"", i, bad[i].text, why,
                     bad[i].why);
    }
}

static void strips_extensions(void **state)
{
    static const struct good plus[] = {
        {TEXT("user+box@d"), "user", "d"},       {TEXT("user+@d"), "user", "d"},
        {TEXT("user+a+b@d"), "user", "d"},       {TEXT("user@d"), "user", "d"},
        {TEXT("user-box@d"), "user-box", "d"},   {TEXT("+user@d"), "+user", "d"},
        {TEXT("+user+box@d"), "+user+box", "d"}, {TEXT("+@d"), "+", "d"},
        {TEXT("user@d+e"), "user", "d+e"},       {TEXT("\"john doe+box\"@d"), "john doe", "d"},
        {TEXT("\"a\\+b\"@d"), "a", "d"},         {TEXT("a.+b@d"), "a.", "d"},
    };
    static const struct good two[] = {
        {TEXT("user+a-b@d"), "user", "d"},
        {TEXT("user-a+b@d"), "user", "d"},
        {TEXT("user_a@d"), "user_a", "d"},
    };
    static const struct good none[] = {
        {TEXT("user+box@d"), "user+box", "d"},
    };

    (void)state;
    check_good(plus, ARRAY_SIZE(plus), "+");
    check_good(two, ARRAY_SIZE(two), "+-");
    check_good(none, ARRAY_SIZE(none), "");
}

static void checks_templates(void **state)
{
    static const struct {
        const char *template;
        const char *why; /* NULL: good */
    } cases[] = {
        {"/var/mail/%d/%n", NULL},
        {"/var/mail/%u", NULL},
        {"/", NULL},
        {"/%%", NULL},
        {"/%%n/%n%%", NULL},
        {"/a..b/..c/d../.../%n", NULL},
        {"", "absolute"},
        {"var/mail/%n", "absolute"},
        {"%n", "absolute"},
        {"/var/mail/%", "%"},
        {"/var/mail/%%%", "%"},
        {"/var/mail/%h", "%"},
        {"/var/mail/%N", "%"},
        {"/var/mail/% n", "%"},
        {"/var/mail/%1n", "%"},
        {"/var/../%n", ".."},
        {"/..", ".."},
        {"/../", ".."},
        {"/%n/..", ".."},
        {"/.../../%n", ".."},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *why = NULL;

        assert_int_equal(address_template_check(cases[i].template, &why),
                         cases[i].why ? -EINVAL : 0);
        if (cases[i].why)
            assert_non_null(strstr(why, cases[i].why));
    }
}

static struct address parse(const char *text)
{
    struct address address;
    const char *why;

    assert_int_equal(address_parse(text, strlen(text), "+", &address, &why), 0);
    return address;
}

static void expands_templates(void **state)
{
    static const struct {
        const char *template, *address, *path;
    } cases[] = {
        {"/var/mail/%d/%n", "User+Box@Example.org", "/var/mail/example.org/user"},
        {"/var/mail/%u", "User+Box@Example.org", "/var/mail/user@example.org"},
        {"/%n%n/%d-%u/%%n/100%%", "a@b", "/aa/b-a@b/%n/100%"},
        {"/var/mail/%d/%n/", "%d@b", "/var/mail/b/%d/"},
        {"/.%n/%n./x", "a@b", "/.a/a./x"},
        {"/var/mail/%n", "\"a@b c\"@d", "/var/mail/a@b c"},
        {"/var/mail/%d", "u@[IPv6:::1]", "/var/mail/[ipv6:::1]"},
        {"/plain", "a@b", "/plain"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct address address = parse(cases[i].address);
        size_t length = strlen(cases[i].path);
        char buffer[PATH_MAX];

        assert_int_equal(
            address_template_expand(cases[i].template, &address, buffer, sizeof(buffer)), 0);
        assert_string_equal(buffer, cases[i].path);

        /* it fits exactly, and does not fit in any less */
        assert_int_equal(address_template_expand(cases[i].template, &address, buffer, length + 1),
                         0);
        for (size_t size = 0; size <= length; size++)
            assert_int_equal(address_template_expand(cases[i].template, &address, buffer, size),
                             -ENAMETOOLONG);
    }
}

/* Returns whether the path has that many components, none of which is empty, `.` or `..`. */
static bool is_path_of(const char *path, size_t components)
{
    char copy[PATH_MAX];
    char *rest = copy + 1, *component;
    size_t count = 0;

    assert_true(strlen(path) < sizeof(copy));
    strcpy(copy, path);
    for (; (component = strsep(&rest, "/")); count++)
        if (component[0] == '\0' || strcmp(component, ".") == 0 || strcmp(component, "..") == 0)
            return false;
    return path[0] == '/' && count == components;
}

static void check_expansions(const char *text, size_t length, const char *delimiters,
                             size_t *accepted)
{
    static const struct {
        const char *template;
        size_t components;
    } cases[] = {{"/v/%d/%n", 3}, {"/%n/%d", 2}, {"/%u", 1}, {"/.%n/%n.", 2}, {"/.%d/%d.", 2}};
    struct address address;
    const char *why;

    if (address_parse(text, length, delimiters, &address, &why) < 0)
        return;
    (*accepted)++;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char path[PATH_MAX];

        assert_int_equal(address_template_expand(cases[i].template, &address, path, sizeof(path)),
                         0);
        if (!is_path_of(path, cases[i].components))
            fail_msg("%.*s in %s becomes %s", (int)length, text, cases[i].template, path);
    }
}

/* Every text of at most seven characters of those that may do harm. */
static void no_address_leads_elsewhere(void **state)
{
    static const char alphabet[] = {'a', '.', '/', '@', '"', '\\', '+', '\0'};
    size_t accepted = 0;

    (void)state;
    for (size_t length = 0; length <= 7; length++) {
        for (size_t number = 0; number < (size_t)1 << (3 * length); number++) {
            char text[7];

            for (size_t i = 0; i < length; i++)
                text[i] = alphabet[number >> (3 * i) & 7];
            check_expansions(text, length, number % 2 ? "+" : ".+", &accepted);
        }
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),           cmocka_unit_test(refuses),
        cmocka_unit_test(strips_extensions), cmocka_unit_test(checks_templates),
        cmocka_unit_test(expands_templates), cmocka_unit_test(no_address_leads_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
