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
        {TEXT(X255("a") "@example.org"), X255("a"), "example.org"},
        {TEXT("\"" X255("\\a") "\"@example.org"), X255("a"), "example.org"},
        {TEXT("u@" X255("d")), "u", X255("d")},
        {TEXT("u@" X255("d") "."), "u", X255("d")},
        {TEXT(X255("a") "@" X255("d")), X255("a"), X255("d")},
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
        {TEXT("\"a@b.c"), "no closing quote"},
        {TEXT("\""), "no closing quote"},
        {TEXT("\"a\\\"@example.org"), "no closing quote"},
        {TEXT("\"a\\"), "no closing quote"},
        {TEXT("\"a\\\xc3\xbc\"@example.org"), "no closing quote"},
        {TEXT("\"a\\\n\"@example.org"), "no closing quote"},
        {TEXT("\"a\"b@example.org"), "no @ after"},
        {TEXT("\"a\""), "no @ after"},
        {TEXT("\"a\".b@example.org"), "no @ after"},
        {TEXT("\"a\" @example.org"), "no @ after"},
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
        {TEXT(X255("a") "a@example.org"), "local part is longer than 255"},
        {TEXT("\"" X255("a") "a\"@example.org"), "local part is longer than 255"},
        {TEXT(X255("a") "a+b@example.org"), "local part is longer than 255"},
        {TEXT("+" X255("a") "@example.org"), "local part is longer than 255"},
        {TEXT("u@" X255("d") "d"), "longer than 255"},
        {TEXT("u@" X255("d") "d."), "longer than 255"},
        {TEXT(X255("a") X255("a") "@" X255("d") X255("d")), "local part is longer than 255"},
        /* an extension, however long, that is no part of a path */
        {TEXT("u+a/b@d"), "slash"},
        {TEXT("u+..@d"), "two dots"},
        {TEXT("u+" X255("a") "/@d"), "slash"},
        {TEXT("u+" X255("a") "..@d"), "two dots"},
        {TEXT("u+" X255("a") "\n@d"), "control character"},
        {TEXT("u+" X255("a") "\xc3@d"), "UTF-8"},
        {TEXT("\"u+" X255("a") "\\/\"@d"), "slash"},
        {TEXT("\"u+" X255("a") ".\\.\"@d"), "two dots"},
        {TEXT("\"u+" X255("a") "@d"), "no closing quote"},
        {TEXT("u+" X255("a")), "no @"},
        {TEXT("u+" X255("a") "@d@e"), "more than one @"},
        {TEXT("u+" X255("a") "@" X255("d") "d"), "domain is longer than 255"},
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

/* Postfix's internal form: the local part is what comes before the last @, as it is. */
static void reads_the_internal_form(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *whole; /* NULL: refused */
        const char *rest;  /* the base, or why it was refused */
    } cases[] = {
        {TEXT("Joe@Example.ORG"), "joe@example.org", "joe@example.org"},
        {TEXT("joe+box@d."), "joe+box@d", "joe@d"},
        {TEXT("john doe@d"), "john doe@d", "john doe@d"},
        {TEXT("a@b@d"), "a@b@d", "a@b@d"},
        {TEXT("a+b@c@d"), "a+b@c@d", "a@d"},
        {TEXT("\"joe\"@d"), "\"joe\"@d", "\"joe\"@d"},
        {TEXT("\"@d"), "\"@d", "\"@d"},
        {TEXT("a\\b@d"), "a\\b@d", "a\\b@d"},
        {TEXT("\xc3\xb6@\xc3\xa4.example"), "\xc3\xb6@\xc3\xa4.example",
         "\xc3\xb6@\xc3\xa4.example"},
        {TEXT("joe@[192.0.2.1]"), "joe@[192.0.2.1]", "joe@[192.0.2.1]"},
        {TEXT("u+" X255("a") "@d"), "u@d", "u@d"},
        {TEXT(""), NULL, "no @"},
        {TEXT("joe"), NULL, "no @"},
        {TEXT("@d"), NULL, "local part is empty"},
        {TEXT("joe@"), NULL, "domain is empty"},
        {TEXT("joe@d@"), NULL, "domain is empty"},
        {TEXT("/joe@d"), NULL, "slash"},
        {TEXT("joe@d/e"), NULL, "slash"},
        {TEXT("..@d"), NULL, "begins with a dot"},
        {TEXT("a..b@d"), NULL, "two dots"},
        {TEXT("a\rb@d"), NULL, "control character"},
        {TEXT("a\0b@d"), NULL, "control character"},
        {TEXT("\xff@d"), NULL, "UTF-8"},
        {TEXT("a@b \"c\"@d e"), NULL, "neither a name"},
        {TEXT(X255("u") "u@d"), NULL, "local part is longer than 255"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct address address;
        const char *why = "accepted";
        int r = address_parse_internal(cases[i].text, cases[i].length, "+", &address, &why);

        if (!cases[i].whole) {
            assert_int_equal(r, -EINVAL);
            if (!strstr(why, cases[i].rest))
                fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].text, why, cases[i].rest);
            continue;
        }
        if (r != 0)
            fail_msg("%s: %s", cases[i].text, why);
        assert_string_equal(address.text, cases[i].whole);
        (void)address_drop_extension(&address);
        assert_string_equal(address.text, cases[i].rest);
    }
}

static void drops_extensions(void **state)
{
    static const struct {
        const char *text, *delimiters, *whole, *base; /* NULL: there is no extension */
    } cases[] = {
        {"user+box@d", "+", "user+box@d", "user@d"},
        {"user+@d", "+", "user+@d", "user@d"},
        {"User+Box@D", "+", "user+box@d", "user@d"},
        {"user+a+b@d", "+", "user+a+b@d", "user@d"},
        {"user@d", "+", "user@d", NULL},
        {"user-box@d", "+", "user-box@d", NULL},
        {"user+box@d", "", "user+box@d", NULL},
        {"+user@d", "+", "+user@d", NULL},
        {"+user+box@d", "+", "+user+box@d", NULL},
        {"+@d", "+", "+@d", NULL},
        {"user@d+e", "+", "user@d+e", NULL},
        {"a.+b@d", "+", "a.+b@d", "a.@d"},
        {"\"john doe+box\"@d", "+", "john doe+box@d", "john doe@d"},
        {"\"a\\+b\"@d", "+", "a+b@d", "a@d"},
        {"\"a+b@c\"@d", "+", "a+b@c@d", "a@d"},
        {"user+a-b@d", "+-", "user+a-b@d", "user@d"},
        {"user-a+b@d", "+-", "user-a+b@d", "user@d"},
        {"user_a@d", "+-", "user_a@d", NULL},
        {"u+" X64("a") "@d", "+", "u+" X64("a") "@d", "u@d"},
        /* a name of 255 bytes may be one of a mailbox, and one of 256 may not */
        {"u+" X64("a") X64("a") X64("a") X16("a") X16("a") X16("a") X8("a") "aaaaa@d", "+",
         "u+" X64("a") X64("a") X64("a") X16("a") X16("a") X16("a") X8("a") "aaaaa@d", "u@d"},
        {"u+" X64("a") X64("a") X64("a") X16("a") X16("a") X16("a") X8("a") "aaaaaa@d", "+", "u@d",
         NULL},
        {"u+" X255("a") X255("a") "@d", "+", "u@d", NULL},
        {"\"u+" X255("\\a") X255("\\a") "\"@d", "+", "u@d", NULL},
        {X255("u") "+" X255("a") "@d", "+", X255("u") "@d", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct address address;
        const char *why = "", *base = cases[i].base ? cases[i].base : cases[i].whole;

        if (address_parse(cases[i].text, strlen(cases[i].text), cases[i].delimiters, &address,
                          &why) != 0)
            fail_msg("%s: %s", cases[i].text, why);
        assert_string_equal(address.text, cases[i].whole);
        assert_int_equal(address_drop_extension(&address), cases[i].base != NULL);
        assert_string_equal(address.text, base);
        assert_string_equal(address_domain(&address), strrchr(base, '@') + 1);
        assert_int_equal(address.local_length + 1 + address.domain_length, strlen(base));
        assert_false(address_drop_extension(&address));
    }
}

/* The longest quoted local part that is read, and one byte more. */
static void reads_as_much_as_a_request_has(void **state)
{
    char text[2 * 8193 + 8];

    (void)state;
    for (size_t length = 8192; length <= 8193; length++) {
        struct address address;
        const char *why = "";
        size_t used = 0;

        text[used++] = '"';
        memcpy(text + used, "u+", 2);
        memset(text + used + 2, 'a', length - 2);
        used += length;
        memcpy(text + used, "\"@d", 3);
        used += 3;
        assert_int_equal(address_parse(text, used, "+", &address, &why),
                         length == 8192 ? 0 : -EINVAL);
        if (length == 8192)
            assert_string_equal(address.text, "u@d");
        else
            assert_string_equal(why, "the local part is longer than 255 bytes");
    }
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
    (void)address_drop_extension(&address);
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
    do {
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            char path[PATH_MAX];

            assert_int_equal(
                address_template_expand(cases[i].template, &address, path, sizeof(path)), 0);
            if (!is_path_of(path, cases[i].components))
                fail_msg("%.*s in %s becomes %s", (int)length, text, cases[i].template, path);
        }
    } while (address_drop_extension(&address));
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

static void paths_have_addresses(void **state)
{
    static const struct {
        const char *template, *path, *address; /* NULL: none */
    } cases[] = {
        {"/var/mail/%d/%n", "/var/mail/example.org/joe", "joe@example.org"},
        {"/var/mail/%d/%n/Maildir", "/var/mail/example.org/joe/Maildir", "joe@example.org"},
        {"/var/mail/%u", "/var/mail/joe@example.org", "joe@example.org"},
        {"//var/./mail//%d/%n/./Maildir/", "/var/mail/example.org/joe/Maildir", "joe@example.org"},
        {"/%d/.%n", "/d/.joe", "joe@d"},
        {"/%%%d/%n%%", "/%d/joe%", "joe@d"},
        {"/%d/%n", "/d/joe+box", "joe+box@d"},
        {"/%d/%n", "/d/john doe", "john doe@d"},
        {"/%d/%n", "/d/a@b", "a@b@d"},
        {"/%u", "/a@b@d", "a@b@d"},
        {"/%d/%n", "/[ipv6:::1]/joe", "joe@[ipv6:::1]"},
        {"/%d/%n", "/d/\xc3\xbc", "\xc3\xbc@d"},
        {"/%d/%n", "/d/" X255("a"), X255("a") "@d"},
        /* the same again */
        {"/%d/%n/%u", "/d/joe/joe@d", "joe@d"},
        {"/%u/%n", "/joe@d/joe", "joe@d"},
        {"/%n%n/%d", "/joejoe/d", "joe@d"},
        {"/%n/%n/%d", "/joe/jim/d", NULL},
        {"/%u/%d", "/joe@d/e", NULL},
        {"/%n%n/%d", "/joejo/d", NULL},
        /* several in one component */
        {"/%n@%d", "/joe@d", "joe@d"},
        {"/%n@%d", "/a@b@d", "a@b@d"},
        {"/%d-%n", "/d-joe", "joe@d"},
        {"/%n-%d", "/jean-luc-d", "jean@luc-d"},
        {"/%n-%d", "/jean-.d", NULL},
        {"/%n-%d", "/jean-luc-*", NULL},
        {"/%n.%d", "/a.b.c", "a@b.c"},
        {"/%n.%d", "/.a.b", NULL},
        {"/%n%d", "/ab", "a@b"},
        {"/%n%d", "/a", NULL},
        {"/%d%n-%d", "/ab-a", "b@a"},
        {"/%d%n-%d", "/aab-aa", "b@aa"},
        {"/x%n-%dx", "/xa-b-cx", "a@b-c"},
        {"/x%n-%dx", "/xa-b-c", NULL},
        /* what no template can have made */
        {"/var/mail/%d/%n", "/var/mail/example.org", NULL},
        {"/var/mail/%d/%n", "/var/mail/example.org/joe/Maildir", NULL},
        {"/var/mail/%d/%n", "/var/mai/example.org/joe", NULL},
        {"/var/mail/%d/%n", "/var/mail2/example.org/joe", NULL},
        {"/var/mail/%d/%n", "/", NULL},
        {"/var/mail/%d/%n/Maildir", "/var/mail/example.org/joe/maildir", NULL},
        {"/%d/%n", "/d/Joe", NULL},
        {"/%d/%n", "/D/joe", NULL},
        {"/%u", "/joe", NULL},
        {"/%u", "/@d", NULL},
        {"/%u", "/joe@", NULL},
        {"/%u", "/joe@D", NULL},
        {"/%d/%n", "/d/..", NULL},
        {"/%d/%n", "/../joe", NULL},
        {"/%d/%n", "/d/.joe", NULL},
        {"/%d/%n", "/d./joe", NULL},
        {"/%d/%n", "/a@b/joe", NULL},
        {"/%d/%n", "/a b/joe", NULL},
        {"/%d/%n", "/d/j\xfc", NULL},
        {"/%d/%n", "/d/j\x1b", NULL},
        {"/%d/%n", "/d/" X255("a") "a", NULL},
        /* templates that do not say all of an address */
        {"/home/%n/Maildir", "/home/joe/Maildir", NULL},
        {"/home/%d/Maildir", "/home/d/Maildir", NULL},
        {"/home", "/home", NULL},
        {"/%%n/%%d", "/%n/%d", NULL},
        {"/", "/", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct address address = {};
        bool found = address_from_path(cases[i].template, cases[i].path, &address);

        if (found != (cases[i].address != NULL) ||
            (found && strcmp(address.text, cases[i].address) != 0))
            fail_msg("%s in %s: %s instead of %s", cases[i].path, cases[i].template,
                     found ? address.text : "none", cases[i].address ? cases[i].address : "none");
    }
}

static const char *const both_parts[] = {"/%d/%n", "/%u",       "/.%n/%d.", "/%n-%d", "/%n%d",
                                         "/%n@%d", "/%d/%u/%n", "/a%na%d",  "/%n.%d", "/%n%n/%d"};

/* Writes text number `number` of that length, of the characters of the alphabet. */
static void write_text(const char *alphabet, size_t length, size_t number, char *text)
{
    for (size_t i = 0; i < length; i++, number /= strlen(alphabet))
        text[i] = alphabet[number % strlen(alphabet)];
    text[length] = '\0';
}

static size_t texts(const char *alphabet, size_t length)
{
    size_t count = 1;

    while (length-- > 0)
        count *= strlen(alphabet);
    return count;
}

/* Fails unless address_parse() makes the same of the address when it is written with quotes. */
static void assert_is_parsed(const struct address *address)
{
    struct address again;
    const char *why = "";
    char text[2 * ADDRESS_MAX];
    size_t used = 0;

    text[used++] = '"';
    for (size_t i = 0; i < address->local_length; i++) {
        if (address->text[i] == '"' || address->text[i] == '\\')
            text[used++] = '\\';
        text[used++] = address->text[i];
    }
    used += (size_t)snprintf(text + used, sizeof(text) - used, "\"@%s", address_domain(address));
    if (address_parse(text, used, "", &again, &why) != 0)
        fail_msg("%s: %s", text, why);
    assert_string_equal(again.text, address->text);
    assert_int_equal(again.local_length, address->local_length);
}

/* Whatever address is found for a path, it is one, and has this path. */
static void no_path_has_another_address(void **state)
{
    static const char alphabet[] = "ab./@-A";
    size_t found = 0;

    (void)state;
    for (size_t length = 0; length <= 6; length++) {
        for (size_t number = 0; number < texts(alphabet, length); number++) {
            char path[8] = "/", again[PATH_MAX];

            write_text(alphabet, length, number, path + 1);
            for (size_t i = 0; i < ARRAY_SIZE(both_parts); i++) {
                struct address address;

                if (!address_from_path(both_parts[i], path, &address))
                    continue;
                assert_is_parsed(&address);
                assert_int_equal(
                    address_template_expand(both_parts[i], &address, again, sizeof(again)), 0);
                assert_string_equal(again, path);
                found++;
            }
        }
    }
    assert_true(found > 10000);
}

/* The path of each address has an address, which has this path. */
static void each_address_is_found(void **state)
{
    static const char alphabet[] = "ab.@-";
    size_t count = 0;

    (void)state;
    for (size_t length = 3; length <= 7; length++) {
        for (size_t number = 0; number < texts(alphabet, length); number++) {
            char text[8], path[PATH_MAX], again[PATH_MAX];
            struct address address, found;
            const char *why;

            write_text(alphabet, length, number, text);
            if (address_parse(text, length, "", &address, &why) < 0)
                continue;
            for (size_t i = 0; i < ARRAY_SIZE(both_parts); i++) {
                assert_int_equal(
                    address_template_expand(both_parts[i], &address, path, sizeof(path)), 0);
                if (!address_from_path(both_parts[i], path, &found))
                    fail_msg("%s in %s: %s is not found", path, both_parts[i], text);
                assert_int_equal(
                    address_template_expand(both_parts[i], &found, again, sizeof(again)), 0);
                assert_string_equal(again, path);
                /* these tell all of it */
                if (i < 2)
                    assert_string_equal(found.text, address.text);
            }
            count++;
        }
    }
    assert_true(count > 1000);
}

/* What is written is read as the same address, whatever the local part is. */
static void each_address_can_be_written(void **state)
{
    static const char alphabet[] = "a\"\\@. ";
    char text[8], written[ADDRESS_TEXT_MAX + 1];
    struct address address = {}, again;
    const char *why;

    (void)state;
    for (size_t length = 1; length <= 5; length++) {
        for (size_t number = 0; number < texts(alphabet, length); number++) {
            write_text(alphabet, length, number, text);
            if (address_local_fault(text, length))
                continue;
            address.local_length = length;
            address.domain_length = 1;
            (void)snprintf(address.text, sizeof(address.text), "%.*s@d", (int)length, text);
            address_write(&address, written);
            if (address_parse(written, strlen(written), "", &again, &why) < 0)
                fail_msg("%s: %s", written, why);
            assert_string_equal(again.text, address.text);
        }
    }
    address.local_length = ADDRESS_LOCAL_MAX;
    address.domain_length = ADDRESS_DOMAIN_MAX;
    memset(address.text, '"', ADDRESS_LOCAL_MAX);
    address.text[ADDRESS_LOCAL_MAX] = '@';
    memset(address.text + ADDRESS_LOCAL_MAX + 1, 'd', ADDRESS_DOMAIN_MAX);
    address_write(&address, written);
    assert_int_equal(strlen(written), ADDRESS_TEXT_MAX);
}

static void templates_without_a_part(void **state)
{
    static const struct {
        const char *template;
        const char *path;
        bool leads;
    } cases[] = {
        {"/m/%n", "/m/joe", true},    {"/m/%n", "/m/.joe", false},   {"/m/%n", "/m/Joe", false},
        {"/m/%n", "/n/joe", false},   {"/m/%d", "/m/d.org", true},   {"/m/%d", "/m/d.", false},
        {"/m/%%n", "/m/%n", true},    {"/m/%%n", "/m/joe", false},   {"/m/x", "/m/x", true},
        {"/m/%n/%n", "/m/a/a", true}, {"/m/%n/%n", "/m/a/b", false}, {"/m/%n/x", "/m/a/x", true},
        {"/m/%n", "/m/a@b@c", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (address_leads_to(cases[i].template, cases[i].path) != cases[i].leads)
            fail_msg("%s, %s", cases[i].template, cases[i].path);
    assert_true(address_template_has("/%%/%u", "du"));
    assert_false(address_template_has("/%%d/%%u/%n", "du"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(reads_the_internal_form),
        cmocka_unit_test(drops_extensions),
        cmocka_unit_test(reads_as_much_as_a_request_has),
        cmocka_unit_test(checks_templates),
        cmocka_unit_test(expands_templates),
        cmocka_unit_test(no_address_leads_elsewhere),
        cmocka_unit_test(paths_have_addresses),
        cmocka_unit_test(no_path_has_another_address),
        cmocka_unit_test(each_address_is_found),
        cmocka_unit_test(each_address_can_be_written),
        cmocka_unit_test(templates_without_a_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
