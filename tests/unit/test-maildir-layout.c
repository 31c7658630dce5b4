/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders: in either layout, by links, left out and excluded. */
#include "items.h"

#include "quota/maildir_access.h"
#include "system/cleanup.h"

static const struct maildir_options fs_options = {.layout = MAILDIR_LAYOUT_FS};

/* Tagged messages worth a power of ten, so that a sum tells which were counted, and how often. */
struct layout_case {
    const char *what;
    struct item items[ITEMS_MAX];
    uint64_t bytes; /* with the layout fs */
    bool is_mailbox;
    uint32_t left_out;
    const char *left_out_name;
};

static void layout_fs(void **state)
{
    static const struct layout_case cases[] = {
        {"nothing", {}, 0, false, 0, ""},
        {"a Maildir", {{'m', "", 0, NULL}, {'f', "new/a,S=1", 0, NULL}}, 1, true, 0, ""},
        {"folders, and one of these",
         {{'m', "", 0, NULL},
          {'f', "cur/a,S=1", 0, NULL},
          {'m', "A", 0, NULL},
          {'f', "A/cur/a,S=10", 0, NULL},
          {'m', "A/B", 0, NULL},
          {'f', "A/B/new/a,S=100", 0, NULL},
          {'m', ".dot", 0, NULL},
          {'f', ".dot/new/a,S=1000", 0, NULL}},
         1111,
         true,
         0,
         ""},
        {"below what is no folder",
         {{'d', "A", 0, NULL},
          {'d', "A/B", 0, NULL},
          {'d', "A/B/C", 0, NULL},
          {'d', "A/B/C/new", 0, NULL},
          {'f', "A/B/C/new/a,S=1", 0, NULL},
          {'f', "A/file", 5, NULL},
          {'f', "A/new", 5, NULL}},
         1,
         true,
         0,
         ""},
        {"not below cur, new and tmp",
         {{'m', "", 0, NULL},
          {'m', "new/A,S=1", 0, NULL},
          {'f', "new/A,S=1/cur/a,S=10", 0, NULL},
          {'m', "tmp/A", 0, NULL},
          {'f', "tmp/A/cur/a,S=100", 0, NULL},
          {'d', "A", 0, NULL},
          {'d', "A/tmp", 0, NULL},
          {'d', "A/tmp/cur", 0, NULL},
          {'f', "A/tmp/cur/a,S=1000", 0, NULL}},
         1,
         true,
         0,
         ""},
        {"links: to a folder, to the mailbox itself, to what is above it",
         {{'m', "", 0, NULL},
          {'m', "A", 0, NULL},
          {'f', "A/cur/a,S=1", 0, NULL},
          {'m', "../other", 0, NULL},
          {'f', "../other/cur/a,S=10", 0, NULL},
          {'m', "../other/below", 0, NULL},
          {'f', "../other/below/new/a,S=100", 0, NULL},
          {'l', "0", 0, "A"},
          {'l', "B", 0, "../other"},
          {'l', "A/loop", 0, ".."},
          {'l', "../other/up", 0, "../box/A"},
          {'l', "C", 0, "B"}},
         111,
         true,
         0,
         ""},
        {"links: outside, to nothing, to a file",
         {{'m', "", 0, NULL},
          {'m', "A", 0, NULL},
          {'f', "A/file", 0, NULL},
          {'l', "A/outside", 0, "/etc"},
          {'l', "A/file.link", 0, "file"}},
         0,
         true,
         1,
         "A/outside"},
        {"links to nothing are left out",
         {{'m', "", 0, NULL}, {'m', "A", 0, NULL}, {'l', "A/nothing", 0, "nowhere"}},
         0,
         true,
         1,
         "A/nothing"},
        {"no Maildir, and no folder",
         {{'d', "A", 0, NULL}, {'d', "A/B", 0, NULL}},
         0,
         false,
         0,
         ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct maildir_count count;
        struct box box;

        print_message("%s\n", cases[i].what);
        box_init(&box);
        make_items(&box, cases[i].items, ITEMS_MAX);
        count = box_count_with(&box, &fs_options, NULL);
        assert_int_equal(count.bytes, cases[i].bytes);
        assert_int_equal(count.messages, count.files_counted);
        assert_string_equal(count.left_out_name, cases[i].left_out_name);
        assert_int_equal(count.is_mailbox, cases[i].is_mailbox);
        assert_int_equal(count.left_out, cases[i].left_out);
        assert_int_equal(count.stray_folders, 0);
        box_done(&box);
    }
}

static void layout_fs_is_bounded_in_depth(void **state)
{
    struct maildir_count count;
    char name[4 * MAILDIR_DEPTH_MAX + 32] = "";
    size_t length = 0;
    struct box box;

    (void)state;
    box_init(&box);
    for (int depth = 1; depth <= MAILDIR_DEPTH_MAX + 2; depth++) {
        length += (size_t)snprintf(name + length, sizeof(name) - length, "%s%02d",
                                   depth > 1 ? "/" : "", depth);
        box_mkdir(&box, name);
        if (depth < MAILDIR_DEPTH_MAX)
            continue;
        (void)snprintf(name + length, sizeof(name) - length, "/cur");
        box_mkdir(&box, name);
        (void)snprintf(name + length, sizeof(name) - length, "/cur/a,S=1");
        box_put(&box, name, 0);
        name[length] = '\0';
    }
    count = box_count_with(&box, &fs_options, NULL);
    assert_int_equal(count.messages, 1);
    assert_int_equal(count.left_out, 1);
    /* The name of what is left out is cut off. */
    name[sizeof(count.left_out_name) - 1] = '\0';
    assert_string_equal(count.left_out_name, name);
    box_done(&box);
}

/* Names may be as long as they can be: a path that is too long is left out. */
static void layout_fs_is_bounded_in_length(void **state)
{
    struct maildir_count count;
    char name[NAME_MAX + 1], path[PATH_MAX];
    int fds[18];
    struct box box;

    (void)state;
    memset(name, 'n', NAME_MAX);
    name[NAME_MAX] = '\0';
    box_init(&box);
    fds[0] = open(box_path(&box, ".", path), O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i + 1 < ARRAY_SIZE(fds); i++) {
        assert_return_code(fds[i], errno);
        assert_return_code(mkdirat(fds[i], name, 0755), errno);
        fds[i + 1] = openat(fds[i], name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_return_code(fds[i + 1], errno);
        assert_return_code(mkdirat(fds[i + 1], "new", 0755), errno);
    }
    count = box_count_with(&box, &fs_options, NULL);
    assert_int_equal(count.left_out, 1);
    /* 16 names of 255 bytes, with slashes between them, are just shorter than PATH_MAX. */
    assert_int_equal(count.directories_read, 16);
    for (size_t i = ARRAY_SIZE(fds); i > 0; i--) {
        if (i < ARRAY_SIZE(fds)) {
            assert_return_code(unlinkat(fds[i], "new", AT_REMOVEDIR), errno);
            assert_return_code(close(fds[i]), errno);
            assert_return_code(unlinkat(fds[i - 1], name, AT_REMOVEDIR), errno);
        }
    }
    assert_return_code(close(fds[0]), errno);
    box_done(&box);
}

/* The sums of each folder are remembered, but what folders there are is found out each time. */
static void layout_fs_remembers_sums(void **state)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    static const struct item items[] = {
        {'m', "", 0, NULL},         {'f', "cur/a,S=1", 0, NULL},
        {'m', "A", 0, NULL},        {'m', "A/B", 0, NULL},
        {'m', "A/B/C", 0, NULL},    {'f', "A/B/C/cur/a,S=10", 0, NULL},
        {'m', "../other", 0, NULL}, {'f', "../other/new/a,S=100", 0, NULL},
        {'l', "L", 0, "../other"},  {'l', "A/B/out", 0, "/etc"},
    };
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init(&box);
    make_items(&box, items, ARRAY_SIZE(items));
    box_settle();
    for (int i = 0; i < 2; i++) {
        count = box_count_with(&box, &fs_options, &memory);
        assert_int_equal(count.bytes, 111);
        assert_int_equal(count.directories_read, i == 0 ? 10 : 0);
        assert_int_equal(count.directories_cached, i == 0 ? 0 : 10);
        assert_int_equal(count.left_out, 1);
        assert_string_equal(count.left_out_name, "A/B/out");
        assert_true(count.is_mailbox);
    }
    box_put(&box, "A/B/C/new/b,S=1000", 0);
    count = box_count_with(&box, &fs_options, &memory);
    assert_int_equal(count.bytes, 1111);
    assert_int_equal(count.directories_read, 1);
    assert_int_equal(count.directories_cached, 9);
    box_folder(&box, "A/B/C/D");
    box_put(&box, "A/B/C/D/cur/a,S=10000", 0);
    box_remove(&box, "A/B/out");
    count = box_count_with(&box, &fs_options, &memory);
    assert_int_equal(count.bytes, 11111);
    assert_int_equal(count.left_out, 0);
    box_remove(&box, "A/B/C");
    assert_int_equal(box_count_with(&box, &fs_options, &memory).bytes, 101);
    box_done(&box);
}

static void layout_fs_too_many_directories(void **state)
{
    struct maildir_count count;
    char name[64];
    struct box box;

    (void)state;
    box_init_many(&box);
    for (int i = 0; i <= MAILDIR_FOLDERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        if (i % 1024 == 0)
            box_mkdir(&box, name);
        else
            (void)snprintf(name, sizeof(name), "%d/%d", i - i % 1024, i);
        if (i % 1024 != 0)
            box_mkdir(&box, name);
        if (i + 1 == MAILDIR_FOLDERS_MAX)
            assert_int_equal(box_count_with(&box, &fs_options, NULL).messages, 0);
    }
    assert_int_equal(maildir_count(box.fd, box.path, box.confine, &fs_options, NULL, &count),
                     -E2BIG);
    box_done(&box);
}

/* With Maildir++, what looks like the other layout is counted apart. */
static void stray_folders(void **state)
{
    static const struct item items[] = {
        {'m', "", 0, NULL},
        {'f', "cur/a,S=1", 0, NULL},
        {'m', ".A", 0, NULL},
        {'f', ".A/new/a,S=10", 0, NULL},
        {'m', "Sent", 0, NULL},
        {'f', "Sent/cur/a,S=100", 0, NULL},
        {'f', "Sent/new/b,S=200", 0, NULL},
        {'d', "Sent/cur/Sub,S=400", 0, NULL},
        {'d', "Sent/Sub", 0, NULL},
        {'d', "Sent/Sub/cur", 0, NULL},
        {'f', "Sent/Sub/cur/a,S=1000", 0, NULL},
        /* These are none: without cur, below such, links. */
        {'d', "sieve", 0, NULL},
        {'d', "sieve/new", 0, NULL},
        {'f', "sieve/new/a,S=20000", 0, NULL},
        {'m', "sieve/Sub", 0, NULL},
        {'f', "sieve/Sub/cur/a,S=40000", 0, NULL},
        {'l', "Link", 0, "../other"},
        {'m', "../other", 0, NULL},
        {'f', "../other/cur/a,S=80000", 0, NULL},
        {'l', "dangling", 0, "nowhere"},
        {'l', "Sent/out", 0, "/etc"},
    };
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init(&box);
    make_items(&box, items, ARRAY_SIZE(items));
    box_settle();
    for (int i = 0; i < 2; i++) {
        count = box_count(&box, &memory);
        assert_int_equal(count.bytes, 11);
        assert_int_equal(count.messages, 2);
        assert_int_equal(count.stray_folders, 2);
        assert_int_equal(count.stray_bytes, 1700);
        assert_int_equal(count.stray_messages, 4);
        assert_string_equal(count.stray_name, "Sent");
        assert_int_equal(count.left_out, 0);
        /* the mailbox; cur and new of itself, .A, Sent, and the cur of Sent/Sub */
        assert_int_equal(count.directories_read, i == 0 ? 8 : 0);
        assert_int_equal(count.directories_cached, i == 0 ? 0 : 8);
    }
    /* Of what becomes one the mailbox itself does not tell. */
    box_mkdir(&box, "sieve/cur");
    count = box_count(&box, &memory);
    assert_int_equal(count.stray_folders, 4);
    assert_int_equal(count.stray_bytes, 61700);
    box_remove(&box, "sieve/cur");
    box_remove(&box, "Sent/Sub");
    count = box_count(&box, &memory);
    assert_int_equal(count.bytes, 11);
    assert_int_equal(count.stray_folders, 1);
    assert_int_equal(count.stray_bytes, 700);
    box_done(&box);
}

/* A folder is none the less one because it can be reached by another name too. */
static void folders_are_not_stray(void **state)
{
    static const struct item items[] = {
        {'m', "", 0, NULL},
        {'m', "A", 0, NULL},
        {'f', "A/cur/a,S=1", 0, NULL},
        {'l', ".A", 0, "A"},
    };
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init(&box);
    make_items(&box, items, ARRAY_SIZE(items));
    count = box_count(&box, NULL);
    assert_int_equal(count.messages, 1);
    assert_int_equal(count.stray_folders, 0);
    assert_int_equal(count.stray_messages, 0);
    assert_string_equal(count.stray_name, "");
    box_done(&box);
}

static void is_mailbox(void **state)
{
    static const struct {
        struct item item;
        bool is_mailbox, is_mailbox_fs;
    } cases[] = {
        {{'d', "tmp", 0, NULL}, false, false},   {{'d', "cur", 0, NULL}, true, true},
        {{'d', "new", 0, NULL}, true, true},     {{'f', "cur", 0, NULL}, false, false},
        {{'m', ".A", 0, NULL}, false, true},     {{'m', "A", 0, NULL}, false, true},
        {{'d', "A", 0, NULL}, false, false},     {{'f', "maildirsize", 0, NULL}, false, false},
        {{'l', "cur", 0, "/etc"}, true, true},   {{'l', "cur", 0, "nowhere"}, true, true},
        {{'l', "new", 0, "../box"}, true, true}, {{'l', "A", 0, "/etc"}, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct box box;

        box_init(&box);
        make_item(&box, &cases[i].item);
        assert_int_equal(box_count(&box, NULL).is_mailbox, cases[i].is_mailbox);
        assert_int_equal(box_count_with(&box, &fs_options, NULL).is_mailbox,
                         cases[i].is_mailbox_fs);
        box_done(&box);
    }
}

/* Each folder holds a message worth its place in the sum. */
static void exclude(void **state)
{
    static const struct {
        enum maildir_layout layout;
        const char *names[2];
        uint64_t bytes;
    } cases[] = {
        {MAILDIR_LAYOUT_MAILDIRPP, {}, 111111},
        {MAILDIR_LAYOUT_MAILDIRPP, {"Trash"}, 111101},
        {MAILDIR_LAYOUT_MAILDIRPP, {"Trash.*"}, 111011},
        {MAILDIR_LAYOUT_MAILDIRPP, {"Trash", "Trash.*"}, 111001},
        {MAILDIR_LAYOUT_MAILDIRPP, {"Trash*"}, 110001},
        {MAILDIR_LAYOUT_MAILDIRPP, {"Deleted Items"}, 101111},
        {MAILDIR_LAYOUT_MAILDIRPP, {"Deleted?Items", "Trash"}, 101101},
        {MAILDIR_LAYOUT_MAILDIRPP, {"trash", "*/*"}, 111111},
        {MAILDIR_LAYOUT_MAILDIRPP, {"cur", "new"}, 111111},
        {MAILDIR_LAYOUT_MAILDIRPP, {"*"}, 1},
        {MAILDIR_LAYOUT_MAILDIRPP, {"&AOk-"}, 11111},
        {MAILDIR_LAYOUT_MAILDIRPP, {""}, 111111},
        {MAILDIR_LAYOUT_FS, {}, 111111},
        {MAILDIR_LAYOUT_FS, {"Trash"}, 111101},
        {MAILDIR_LAYOUT_FS, {"Trash/*"}, 111011},
        {MAILDIR_LAYOUT_FS, {"Trash/old"}, 111011},
        {MAILDIR_LAYOUT_FS, {"old"}, 111111},
        {MAILDIR_LAYOUT_FS, {"*/old", "Deleted Items"}, 101011},
        {MAILDIR_LAYOUT_FS, {"*"}, 1},
    };
    static const struct item items[] = {
        {'m', "", 0, NULL},
        {'f', "new/a,S=1", 0, NULL},
        {'m', ".Trash", 0, NULL},
        {'f', ".Trash/cur/a,S=10", 0, NULL},
        {'m', ".Trash.old", 0, NULL},
        {'f', ".Trash.old/cur/a,S=100", 0, NULL},
        {'m', ".Trashed", 0, NULL},
        {'f', ".Trashed/cur/a,S=1000", 0, NULL},
        {'m', ".Deleted Items", 0, NULL},
        {'f', ".Deleted Items/cur/a,S=10000", 0, NULL},
        {'m', ".&AOk-", 0, NULL},
        {'f', ".&AOk-/cur/a,S=100000", 0, NULL},
    };
    struct box box, fs_box;

    (void)state;
    box_init(&box);
    make_items(&box, items, ARRAY_SIZE(items));
    box_init(&fs_box);
    make_items(&fs_box, items, ARRAY_SIZE(items));
    box_move(&fs_box, ".Trash", "Trash");
    box_move(&fs_box, ".Trash.old", "Trash/old");
    box_move(&fs_box, ".Trashed", "Trashed");
    box_move(&fs_box, ".Deleted Items", "Deleted Items");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char first[32], second[32], *names[] = {first, second};
        struct maildir_options options = {.layout = cases[i].layout, .exclude_folders = names};

        for (size_t j = 0; j < 2 && cases[i].names[j]; j++) {
            (void)snprintf(names[j], sizeof(first), "%s", cases[i].names[j]);
            options.exclude_folders_count++;
        }
        assert_int_equal(
            box_count_with(options.layout == MAILDIR_LAYOUT_FS ? &fs_box : &box, &options, NULL)
                .bytes,
            cases[i].bytes);
    }
    box_done(&box);
    box_done(&fs_box);
}

/* What is excluded is not counted by another name, nor reported where it cannot be found. */
static void exclude_counts_for_all_names(void **state)
{
    static const struct item items[] = {
        {'m', "", 0, NULL},
        {'m', ".Trash", 0, NULL},
        {'f', ".Trash/cur/a,S=1", 0, NULL},
        {'l', ".Deleted Items", 0, ".Trash"},
        {'d', ".Other", 0, NULL},
        {'l', ".Other/new", 0, "../.Trash/cur"},
        {'m', "../far", 0, NULL},
        {'f', "../far/new/a,S=10", 0, NULL},
        {'l', ".A", 0, "../far"},
        {'l', ".Trash.far", 0, "../far"},
        {'l', ".Trash.out", 0, "/etc"},
        {'l', ".Out", 0, "/etc"},
    };
    static const enum maildir_layout layouts[] = {MAILDIR_LAYOUT_MAILDIRPP, MAILDIR_LAYOUT_FS};
    struct box box;

    (void)state;
    box_init(&box);
    make_items(&box, items, ARRAY_SIZE(items));
    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
        char trash[] = "?Trash*", *names[] = {trash};
        const struct maildir_options options = {
            .layout = layouts[i],
            .exclude_folders = names,
            .exclude_folders_count = 1,
        };
        struct maildir_count count;

        if (layouts[i] == MAILDIR_LAYOUT_MAILDIRPP)
            names[0]++; /* the leading dot */
        count = box_count_with(&box, &options, NULL);
        assert_int_equal(count.messages, 0);
        assert_int_equal(count.left_out, 1);
        assert_string_equal(count.left_out_name, ".Out");
    }
    box_done(&box);
}

/* What is left out is reported each time, also where nothing has to be read. */
static void what_is_left_out_is_remembered(void **state)
{
    static const struct item items[] = {
        {'m', "", 0, NULL},
        {'l', ".A", 0, "/etc"},
        {'l', ".B", 0, "nowhere"},
        {'d', ".C", 0, NULL},
        {'l', ".C/cur", 0, "/etc"},
        {'l', ".C/new", 0, "new"},
        {'l', "cur/a", 0, "/x"},
        {'l', "cur/b,S=5", 0, "/x"},
        {'l', ".file", 0, "maildirsize"},
        {'f', "maildirsize", 5, NULL},
    };
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init(&box);
    make_items(&box, items, ARRAY_SIZE(items));
    box_settle();
    for (int i = 0; i < 3; i++) {
        count = box_count(&box, &memory);
        assert_int_equal(count.bytes, 5);
        assert_int_equal(count.left_out, 5);
        assert_string_equal(count.left_out_name, "cur/a");
    }
    assert_int_equal(count.directories_read, 1);
    assert_int_equal(count.directories_cached, 2);
    box_done(&box);
}

/* Whoever links one folder a thousand times has it read once. */
static void many_links_to_one_folder(void **state)
{
    static const struct maildir_options *const options[] = {&box_options, &fs_options};
    struct maildir_count count;
    char name[64];
    struct box box;

    (void)state;
    box_init_many(&box);
    box_folder(&box, ".A");
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), ".A/cur/%d", i);
        box_put(&box, name, 1);
    }
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), ".L%d", i);
        box_link(&box, ".A", name);
        (void)snprintf(name, sizeof(name), ".M%d", i);
        box_mkdir(&box, name);
        (void)snprintf(name, sizeof(name), ".M%d/cur", i);
        box_link(&box, "../.A/cur", name);
        (void)snprintf(name, sizeof(name), ".A/%d", i);
        box_link(&box, "../.A", name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        count = box_count_with(&box, options[i], NULL);
        assert_int_equal(count.bytes, 1000);
        assert_int_equal(count.files_counted, 1000);
        assert_int_equal(count.files_stat, 1000);
        assert_int_equal(count.left_out, 0);
    }
    box_done(&box);
}

/* Nobody has so many folders; whoever makes them does not fill our memory with their names. */
static void too_many_folders_are_an_error(void **state)
{
    struct maildir_count count;
    char name[64];
    struct box box;

    (void)state;
    box_init_many(&box);
    for (int i = 0; i < MAILDIR_FOLDERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), ".%d", i);
        box_mkdir(&box, name);
    }
    assert_int_equal(box_count(&box, NULL).messages, 0);
    box_mkdir(&box, ".one-more");
    assert_int_equal(maildir_count(box.fd, box.path, box.confine, &box_options, NULL, &count),
                     -E2BIG);
    box_done(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_fs),
        cmocka_unit_test(layout_fs_is_bounded_in_depth),
        cmocka_unit_test(layout_fs_is_bounded_in_length),
        cmocka_unit_test(layout_fs_remembers_sums),
        cmocka_unit_test(layout_fs_too_many_directories),
        cmocka_unit_test(stray_folders),
        cmocka_unit_test(folders_are_not_stray),
        cmocka_unit_test(is_mailbox),
        cmocka_unit_test(exclude),
        cmocka_unit_test(exclude_counts_for_all_names),
        cmocka_unit_test(what_is_left_out_is_remembered),
        cmocka_unit_test(many_links_to_one_folder),
        cmocka_unit_test(too_many_folders_are_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
