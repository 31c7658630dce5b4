/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which mailbox a path means, on a real file system: folders, and what is not a mailbox.
 */
#include "probe.h"

#include "random.h"
#include "same_mailbox.h"

/* Makes a directory beside the mailbox ("../name") or in it, and the names that are in it. */
static void make_directory(const struct fixture *fixture, const char *name,
                           const char *const *entries, size_t count)
{
    char entry[PATH_MAX];

    box_mkdir(&fixture->box, name);
    for (size_t i = 0; i < count && entries[i]; i++) {
        (void)snprintf(entry, sizeof(entry), "%s/%s", name, entries[i]);
        box_mkdir(&fixture->box, entry);
    }
}

static void normalises_paths(void **state)
{
    static const struct {
        const char *path, *normal;
    } cases[] = {
        {"/", "/"},
        {"//", "/"},
        {"///", "/"},
        {"/.", "/"},
        {"/./", "/"},
        {"/././/.", "/"},
        {"/a", "/a"},
        {"//a", "/a"},
        {"/a/", "/a"},
        {"/a//", "/a"},
        {"/a/.", "/a"},
        {"/a/./", "/a"},
        {"/./a", "/a"},
        {"/a/b/c", "/a/b/c"},
        {"/a//b///c////", "/a/b/c"},
        {"/a/./b/././c/.", "/a/b/c"},
        {"/..", "/.."},
        {"/../", "/.."},
        {"/a/..", "/a/.."},
        {"/a/../", "/a/.."},
        {"/a/../b", "/a/../b"},
        {"/a/./../b", "/a/../b"},
        {"/.a/b./..c/...", "/.a/b./..c/..."},
        {"/a/.b/", "/a/.b"},
        {"/a/b.", "/a/b."},
        {"/ / . /", "/ / . "},
        {"/a b/c\t/\xc3\xa4", "/a b/c\t/\xc3\xa4"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *path = test_malloc(strlen(cases[i].path) + 1);

        memcpy(path, cases[i].path, strlen(cases[i].path) + 1);
        mailbox_normalise_path(path);
        assert_string_equal(path, cases[i].normal);
        mailbox_normalise_path(path);
        assert_string_equal(path, cases[i].normal);
        test_free(path);
    }
}

/* Random paths, against what becomes of them one component at a time. */
static void normalises_random_paths(void **state)
{
    static const char *const pieces[] = {"/", "/", "/./", ".", "..", "a", "bc", "/.", "./"};
    struct random random = random_begin("mailbox");

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        char path[64] = "/", copy[64], expected[64] = "", *rest = copy, *part;

        for (size_t n = random_below(&random, 16); n > 0; n--)
            strcat(path, pieces[random_below(&random, ARRAY_SIZE(pieces))]);
        strcpy(copy, path);
        while ((part = strsep(&rest, "/")))
            if (part[0] != '\0' && strcmp(part, ".") != 0) {
                strcat(expected, "/");
                strcat(expected, part);
            }
        mailbox_normalise_path(path);
        assert_string_equal(path, expected[0] ? expected : "/");
    }
}

static void kinds_of_targets(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name;
        int result;
        enum mailbox_kind kind;
        uint64_t bytes;
    } cases[] = {
        {"", MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, 0},
        {"@/to-box", MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, 0},
        {"@/box/cur/..", MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, 0},
        {"@/bare", MAILBOX_ANSWERED, MAILBOX_NONE, 0},
        {"@/mbox", MAILBOX_ANSWERED, MAILBOX_MBOX, 12345},
        {"@/empty", MAILBOX_ANSWERED, MAILBOX_MBOX, 0},
        {"@/large", MAILBOX_ANSWERED, MAILBOX_MBOX, UINT64_C(1) << 40},
        {"@/to-mbox", MAILBOX_ANSWERED, MAILBOX_MBOX, 12345},
        {"@/nothing", MAILBOX_ANSWERED, MAILBOX_NONE, 0},
        {"@/nothing/at/all", MAILBOX_ANSWERED, MAILBOX_NONE, 0},
        {"@", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/to-nothing", -ENOLINK, MAILBOX_NONE, 0},
        {"@/to-nothing/x", -ENOLINK, MAILBOX_NONE, 0},
        {"@/mbox/x", -ENOTDIR, MAILBOX_NONE, 0},
        {"@/fifo", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/socket", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/to-fifo", -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {"@/loop", -ELOOP, MAILBOX_NONE, 0},
        {"@/out", -EXDEV, MAILBOX_NONE, 0},
        {"@/..", -EXDEV, MAILBOX_NONE, 0},
        {"/", -EXDEV, MAILBOX_NONE, 0},
        {"/dev/null", -EXDEV, MAILBOX_NONE, 0},
    };

    box_put(&fixture->box, "../mbox", 12345);
    box_put(&fixture->box, "../empty", 0);
    box_put(&fixture->box, "../large", INT64_C(1) << 40);
    box_mkdir(&fixture->box, "../bare");
    make_fifo(fixture, "@/fifo");
    make_socket(fixture, "@/socket");
    box_link(&fixture->box, "box", "../to-box");
    box_link(&fixture->box, "mbox", "../to-mbox");
    box_link(&fixture->box, "nothing", "../to-nothing");
    box_link(&fixture->box, "fifo", "../to-fifo");
    box_link(&fixture->box, "loop", "../loop");
    box_link(&fixture->box, "..", "../out");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mailbox mailbox;
        char path[PATH_MAX];
        struct stat st;
        int r = probe(fixture, cases[i].name, &mailbox);

        if (r != cases[i].result)
            fail_msg("%s: %d instead of %d", cases[i].name, r, cases[i].result);
        if (r < 0) {
            mailbox_close(&mailbox);
            continue;
        }
        path_of(fixture, cases[i].name, path);
        assert_int_equal(mailbox.kind, cases[i].kind);
        assert_int_equal(mailbox.path_length, strlen(path));
        if (mailbox.kind != MAILBOX_NONE) {
            assert_return_code(stat(path, &st), errno);
            assert_int_equal(mailbox.device, st.st_dev);
            assert_int_equal(mailbox.device_kind, filesystem_kind(fixture->box.fd));
        }
        if (mailbox.kind != MAILBOX_MAILDIR) {
            assert_int_equal(mailbox.usage.source,
                             mailbox.kind == MAILBOX_MBOX ? USAGE_MBOX : USAGE_NONE);
            assert_int_equal(mailbox.usage.rule, USAGE_RULE_TRUSTED);
            assert_int_equal(mailbox.usage.bytes, cases[i].bytes);
            assert_int_equal(mailbox.usage.messages, 0);
        }
        mailbox_close(&mailbox);
        assert_int_equal(mailbox.fd, -1);
        mailbox_close(&mailbox);
    }
}

/* A mailbox was moved to another disk, and an absolute link left in its place. */
static void absolute_links_lead_to_roots(void **state)
{
    static const struct {
        const char *target; /* behind the temporary folder's name, unless it is "/etc" */
        int result;
    } cases[] = {
        {"/b/joe", MAILBOX_NEEDS_COUNT},
        {"/a/ann", MAILBOX_NEEDS_COUNT},
        {"/b/nobody", -ENOLINK},
        {"/box", -EXDEV},
        {"/etc", -EXDEV},
    };
    struct fixture *fixture = *state;
    _cleanup_(confine_freep) struct confine *two = NULL;
    char path[PATH_MAX], target[PATH_MAX];

    box_mkdir(&fixture->box, "../a");
    box_mkdir(&fixture->box, "../b");
    box_folder(&fixture->box, "../a/ann");
    box_folder(&fixture->box, "../b/joe");
    assert_int_equal(confine_new(&two), 0);
    assert_int_equal(confine_add_root(two, path_of(fixture, "@/a", path)), 0);
    assert_int_equal(confine_add_root(two, path_of(fixture, "@/b", path)), 0);
    fixture->settings.confine = two;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool outside = strcmp(cases[i].target, "/etc") == 0;
        struct mailbox mailbox;

        (void)snprintf(target, sizeof(target), "%s%s", outside ? "" : fixture->box.root,
                       cases[i].target);
        box_link(&fixture->box, target, "../a/joe");
        assert_int_equal(probe(fixture, "@/a/joe", &mailbox), cases[i].result);
        if (cases[i].result >= 0)
            assert_int_equal(mailbox.path_length, strlen(path_of(fixture, "@/a/joe", path)));
        mailbox_close(&mailbox);
        box_remove(&fixture->box, "../a/joe");
    }
}

static void devices_are_no_mailboxes(void **state)
{
    _cleanup_(confine_freep) struct confine *whole = NULL;
    struct fixture fixture = {};
    struct mailbox mailbox;

    (void)state;
    assert_int_equal(confine_new(&whole), 0);
    assert_int_equal(confine_add_root(whole, "/"), 0);
    fixture.settings.confine = whole;
    assert_int_equal(probe(&fixture, "/dev/null", &mailbox), -EMEDIUMTYPE);
    assert_string_equal(mailbox.detail, "");

    /* a root is a directory like any other */
    assert_int_equal(probe(&fixture, "/", &mailbox), -EMEDIUMTYPE);
    assert_string_not_equal(mailbox.detail, "");
    mailbox_close(&mailbox);
}

static void paths_that_are_too_long(void **state)
{
    struct fixture *fixture = *state;
    const struct mailbox_settings *settings = &fixture->settings;
    struct mailbox mailbox;
    char path[2 * PATH_MAX];
    size_t length = strlen(fixture->box.root);

    (void)snprintf(path, sizeof(path), "%s/", fixture->box.root);
    memset(path + length + 1, 'x', 256);
    path[length + 257] = '\0';
    assert_int_equal(mailbox_probe(settings, &no_policy, NULL, path, 0, &mailbox), -ENAMETOOLONG);
    for (size_t i = length; i < PATH_MAX; i += 2)
        memcpy(path + i, "/x", 3);
    assert_int_equal(mailbox_probe(settings, &no_policy, NULL, path, 0, &mailbox), -ENAMETOOLONG);
}

/* What makes a directory a Maildir, alone; and what does not. */
static void what_a_maildir_has(void **state)
{
    static const struct {
        const char *entry; /* NULL: none */
        bool ignore, everything;
        int result;
        enum mailbox_kind kind;
        enum usage_rule rule;
    } cases[] = {
        {"cur", false, false, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_MISSING},
        {"new", false, false, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_MISSING},
        {"maildirsize", false, false, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR,
         USAGE_RULE_UNREADABLE}, /* it is a directory */
        {"tmp", false, false, -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {".Sent", false, false, -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {NULL, false, false, MAILBOX_ANSWERED, MAILBOX_NONE, USAGE_RULE_TRUSTED},

        {"cur", true, false, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_IGNORED},
        {"new", true, false, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_IGNORED},
        {"maildirsize", true, false, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_IGNORED},
        {"tmp", true, false, -EMEDIUMTYPE, MAILBOX_NONE, 0},
        {NULL, true, false, MAILBOX_ANSWERED, MAILBOX_NONE, USAGE_RULE_TRUSTED},

        {"cur", false, true, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_EVERYTHING},
        {"tmp", false, true, MAILBOX_NEEDS_COUNT, MAILBOX_MAILDIR, USAGE_RULE_EVERYTHING},
        {NULL, false, true, MAILBOX_ANSWERED, MAILBOX_NONE, USAGE_RULE_TRUSTED},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mailbox mailbox;
        int r;

        fixture->settings.ignore_maildirsize = cases[i].ignore;
        fixture->settings.count_everything = cases[i].everything;
        make_directory(fixture, "../joe", &cases[i].entry, 1);
        r = probe(fixture, "@/joe", &mailbox);
        if (r != cases[i].result)
            fail_msg("case %zu: %d instead of %d", i, r, cases[i].result);
        if (r >= 0) {
            assert_int_equal(mailbox.kind, cases[i].kind);
            assert_int_equal(mailbox.rule, cases[i].rule);
        }
        mailbox_close(&mailbox);
        box_remove(&fixture->box, "../joe");
    }
}

/* Other ways to keep mail, and what an operator reads of them. */
static void what_is_not_a_mailbox_is_described(void **state)
{
    static const struct {
        const char *entries[8];
        const char *meant; /* what may be meant instead, NULL: nothing */
    } cases[] = {
        {{"mailboxes", "storage", "dovecot-uidvalidity"}, NULL}, /* mdbox */
        {{"mailboxes"}, NULL},                                   /* sdbox */
        {{"1", "2", ".mh_sequences"}, NULL},
        {{"Maildir", ".bashrc"}, "Maildir"},
        {{"mail", "public_html"}, "mail"},
        {{".maildir"}, ".maildir"},
        {{".maildir", "mail", "Maildir"}, "Maildir"},
        {{"a", "b", "c", "d", "e", "f", "Maildir"}, "Maildir"},
        {{"a", "b", "c", "d", "e", "f", "maildir"}, NULL},
        {{"tmp"}, NULL},
    };
    static const char begin[] = "is not a Maildir: it has no cur, new or maildirsize, but ";
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char end[64] = "", shown[64], list[MAILBOX_DETAIL_BYTES_MAX];
        struct mailbox mailbox;
        size_t named = 0, entries = 0;

        make_directory(fixture, "../home", cases[i].entries, ARRAY_SIZE(cases[i].entries));
        assert_int_equal(probe(fixture, "@/home", &mailbox), -EMEDIUMTYPE);
        if (cases[i].meant)
            (void)snprintf(end, sizeof(end), "; is its %s meant?", cases[i].meant);
        assert_memory_equal(mailbox.detail, begin, strlen(begin));
        assert_true(strlen(mailbox.detail) > strlen(begin) + strlen(end));
        assert_string_equal(mailbox.detail + strlen(mailbox.detail) - strlen(end), end);

        /* up to three of the entries, and nothing else */
        (void)snprintf(list, sizeof(list), ", %.*s,",
                       (int)(strlen(mailbox.detail) - strlen(begin) - strlen(end)),
                       mailbox.detail + strlen(begin));
        for (; entries < ARRAY_SIZE(cases[i].entries) && cases[i].entries[entries]; entries++) {
            (void)snprintf(shown, sizeof(shown), " %s,", cases[i].entries[entries]);
            if (strstr(list, shown)) {
                named++;
                memset(strstr(list, shown), ' ', strlen(shown));
            }
        }
        assert_int_equal(named, entries < 3 ? entries : 3);
        assert_int_equal(strspn(list, " ,"), strlen(list));
        mailbox_close(&mailbox);
        assert_string_equal(mailbox.detail, "");
        box_remove(&fixture->box, "../home");
    }
}

/* Who owns a mailbox chooses the names. */
static void what_is_seen_commands_no_terminal(void **state)
{
    static const struct {
        const char *entry, *shown;
    } cases[] = {
        {"a\x1b[31mb", "a?[31mb"},
        {"\x7f\x01\n", "???"},
        {"\xc2\x9bx", "??x"},
        {"a b", "a?b"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"}, /* 32 */
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
    };
    struct fixture *fixture = *state;
    char names[4][40] = {"", "", "", "Maildir"};
    struct mailbox mailbox;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        make_directory(fixture, "../home", &cases[i].entry, 1);
        assert_int_equal(probe(fixture, "@/home", &mailbox), -EMEDIUMTYPE);
        assert_string_equal(strstr(mailbox.detail, "but ") + 4, cases[i].shown);
        mailbox_close(&mailbox);
        box_remove(&fixture->box, "../home");
    }

    /* three of the longest fit, with all that may stand around them */
    for (size_t i = 0; i < 3; i++)
        memset(names[i], 'a' + (int)i, sizeof(names[i]) - 1);
    strcpy(names[3], ".maildir");
    make_directory(fixture, "../home",
                   (const char *const[]){names[0], names[1], names[2], names[3]}, 4);
    assert_int_equal(probe(fixture, "@/home", &mailbox), -EMEDIUMTYPE);
    assert_non_null(strstr(mailbox.detail, "; is its .maildir meant?"));
    mailbox_close(&mailbox);
}

/* A tree of a test's own: what is made, which path is probed, and what path that is the mailbox. */
struct tree {
    const char *made[8]; /* directories, or files where the name ends with `maildirfolder` */
    const char *probed, *mailbox;
};

static void check_tree(const struct fixture *fixture, const struct tree *tree)
{
    char name[PATH_MAX], path[PATH_MAX];
    struct mailbox mailbox;
    int r;

    box_mkdir(&fixture->box, "../top");
    for (size_t i = 0; i < ARRAY_SIZE(tree->made) && tree->made[i]; i++) {
        (void)snprintf(name, sizeof(name), "../top/%s", tree->made[i]);
        if (strstr(tree->made[i], "maildirfolder"))
            box_put(&fixture->box, name, 0);
        else
            box_mkdir(&fixture->box, name);
    }
    (void)snprintf(name, sizeof(name), "@/top/%s", tree->probed);
    r = probe(fixture, name, &mailbox);
    path_of(fixture, name, path);
    if (!tree->mailbox) {
        assert_int_equal(r, -EMEDIUMTYPE);
    } else {
        assert_int_equal(r, MAILBOX_NEEDS_COUNT);
        path[mailbox.path_length] = '\0';
        (void)snprintf(name, sizeof(name), "%s/top%s%s", fixture->box.root,
                       tree->mailbox[0] ? "/" : "", tree->mailbox);
        assert_string_equal(path, name);
    }
    mailbox_close(&mailbox);
    box_remove(&fixture->box, "../top");
}

/* A folder has a name with a dot, a maildirfolder, and a parent that is a mailbox. */
static void the_mailbox_of_a_folder_is_its_parent(void **state)
{
    static const struct tree trees[] = {
        {{"cur", ".Sub", ".Sub/cur", ".Sub/maildirfolder"}, ".Sub", ""},
        {{"new", ".Sub", ".Sub/cur", ".Sub/maildirfolder"}, ".Sub", ""},
        {{"cur", "new", ".Sub", ".Sub/maildirfolder"}, ".Sub", ""},

        /* without one of the three it is a mailbox of its own */
        {{"cur", "new", ".Sub", ".Sub/cur"}, ".Sub", ".Sub"},
        {{"cur", "new", "Sub", "Sub/cur", "Sub/maildirfolder"}, "Sub", "Sub"},
        {{".Sub", ".Sub/cur", ".Sub/maildirfolder"}, ".Sub", ".Sub"},
        {{"maildirsize", "tmp", ".Sub", ".Sub/cur", ".Sub/maildirfolder"}, ".Sub", ".Sub"},
        {{".Sub", ".Sub/maildirfolder"}, ".Sub", NULL},

        /* Dovecot writes one into INBOX itself, wherever that is */
        {{"joe", "joe/cur", "joe/new", "joe/maildirfolder"}, "joe", "joe"},
        {{"joe", "joe/Maildir", "joe/Maildir/cur", "joe/Maildir/maildirfolder"},
         "joe/Maildir",
         "joe/Maildir"},
        {{"joe", "joe/.maildir", "joe/.maildir/cur", "joe/.maildir/maildirfolder"},
         "joe/.maildir",
         "joe/.maildir"},

        /* the parent is taken as it is, whatever it says of itself */
        {{"cur", "maildirfolder", ".Sub", ".Sub/cur", ".Sub/maildirfolder"}, ".Sub", ""},
        {{"cur", ".A", ".A/cur", ".A/maildirfolder", ".A/.B", ".A/.B/cur", ".A/.B/maildirfolder"},
         ".A/.B",
         ".A"},

        /* odd names begin with a dot too, but for the parent's, which names no parent */
        {{"cur", "...", ".../cur", ".../maildirfolder"}, "...", ""},
        {{"cur", "..a", "..a/cur", "..a/maildirfolder"}, "..a", ""},
        {{"cur", ".Sub", ".Sub/cur", ".Sub/maildirfolder"}, ".Sub/cur/..", ".Sub/cur/.."},
    };

    for (size_t i = 0; i < ARRAY_SIZE(trees); i++)
        check_tree(*state, &trees[i]);
}

/* The sums that count for a folder are the parent's. */
static void the_sums_of_a_folder_are_its_parents(void **state)
{
    struct fixture *fixture = *state;
    struct mailbox mailbox, parent;

    put_folder(fixture);
    assert_int_equal(probe(fixture, ".Sub", &mailbox), MAILBOX_ANSWERED);
    assert_int_equal(probe(fixture, "", &parent), MAILBOX_ANSWERED);
    assert_int_equal(mailbox.usage.bytes, 500);
    assert_same_mailbox(&mailbox, &parent);
    mailbox_close(&mailbox);
    mailbox_close(&parent);

    /* a directory or a link called maildirfolder says so too */
    for (int odd = 0; odd < 2; odd++) {
        box_remove(&fixture->box, ".Sub/maildirfolder");
        if (odd)
            box_link(&fixture->box, "nothing", ".Sub/maildirfolder");
        else
            box_mkdir(&fixture->box, ".Sub/maildirfolder");
        assert_int_equal(probe(fixture, ".Sub", &mailbox), MAILBOX_ANSWERED);
        assert_int_equal(mailbox.usage.bytes, 500);
        mailbox_close(&mailbox);
    }
    box_remove(&fixture->box, ".Sub/maildirfolder");
    assert_int_equal(probe(fixture, ".Sub", &mailbox), MAILBOX_ANSWERED);
    assert_int_equal(mailbox.usage.bytes, 9);
    mailbox_close(&mailbox);
}

/* A root has no parent that could be looked into, whatever it says of itself. */
static void a_root_is_no_folder(void **state)
{
    struct fixture *fixture = *state;
    _cleanup_(confine_freep) struct confine *inner = NULL;
    struct mailbox mailbox;
    char path[PATH_MAX];

    put_folder(fixture);
    assert_int_equal(confine_new(&inner), 0);
    assert_int_equal(confine_add_root(inner, path_of(fixture, ".Sub", path)), 0);
    fixture->settings.confine = inner;
    assert_int_equal(probe(fixture, ".Sub", &mailbox), MAILBOX_ANSWERED);
    assert_int_equal(mailbox.path_length, strlen(path));
    assert_int_equal(mailbox.usage.bytes, 9);
    mailbox_close(&mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalises_paths),
        cmocka_unit_test(normalises_random_paths),
        cmocka_unit_test_setup_teardown(kinds_of_targets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(absolute_links_lead_to_roots, set_up, tear_down),
        cmocka_unit_test(devices_are_no_mailboxes),
        cmocka_unit_test_setup_teardown(paths_that_are_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_maildir_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_a_mailbox_is_described, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_seen_commands_no_terminal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_mailbox_of_a_folder_is_its_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_sums_of_a_folder_are_its_parents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_root_is_no_folder, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
