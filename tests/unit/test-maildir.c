/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "items.h"

#include <fts.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "child.h"
#include "filter.h"
#include "hoard.h"
#include "quota/size.h"
#include "system/cleanup.h"

#define NOT_WRITTEN UINT64_C(0x5a5a5a5a)

static void what_counts(void **state)
{
    static const struct {
        const char *what;
        struct item items[ITEMS_MAX];
        uint64_t bytes, messages, files_stat;
        uint32_t directories; /* the mailbox itself included */
    } cases[] = {
        {"nothing", {}, 0, 0, 0, 1},
        {"a Maildir without messages", {{'m', "", 0, NULL}}, 0, 0, 0, 3},
        {"cur alone", {{'d', "cur", 0, NULL}, {'f', "cur/a,S=5:2,", 0, NULL}}, 5, 1, 0, 2},
        {"new alone", {{'d', "new", 0, NULL}, {'f', "new/a,S=5", 0, NULL}}, 5, 1, 0, 2},
        {"the name has precedence over the file",
         {{'m', "", 0, NULL}, {'f', "new/a,S=5", 77, NULL}, {'f', "cur/a,S=6:2,S", 88, NULL}},
         11,
         2,
         0,
         3},
        {"no tag, or an odd one: the file",
         {{'m', "", 0, NULL},
          {'f', "new/a", 100, NULL},
          {'f', "cur/b:2,S", 20, NULL},
          {'f', "cur/c,S=12x", 3, NULL},
          {'f', "cur/d,S=9223372036854775808", 4, NULL},
          {'f', "cur/e,S=1", 9000, NULL}},
         128,
         5,
         4,
         3},
        {"an empty number is 0", {{'m', "", 0, NULL}, {'f', "new/a,S=", 100, NULL}}, 0, 1, 0, 3},
        {"hidden names are no messages",
         {{'m', "", 0, NULL},
          {'f', "new/.a,S=5", 1, NULL},
          {'f', "cur/..b,S=5", 1, NULL},
          {'f', "cur/.nfs0001", 1, NULL}},
         0,
         0,
         0,
         3},
        {"neither tmp nor the mailbox itself holds messages",
         {{'m', "", 0, NULL},
          {'f', "tmp/a,S=5", 1, NULL},
          {'f', "a,S=5", 1, NULL},
          {'f', "maildirsize", 1, NULL}},
         0,
         0,
         0,
         3},
        {"folders: one dot",
         {{'m', "", 0, NULL},
          {'m', ".A", 0, NULL},
          {'m', ".A.B", 0, NULL},
          {'m', ".&AOk- & co", 0, NULL},
          {'f', "new/a,S=1", 0, NULL},
          {'f', ".A/cur/a,S=10", 0, NULL},
          {'f', ".A.B/new/a,S=100", 0, NULL},
          {'f', ".&AOk- & co/cur/a,S=1000", 0, NULL},
          {'f', ".A/maildirfolder", 0, NULL}},
         1111,
         4,
         0,
         9},
        {"not folders: two dots, no dot, a file",
         {{'m', "", 0, NULL},
          {'m', "..x", 0, NULL},
          {'m', "...", 0, NULL},
          {'d', "A", 0, NULL},
          {'d', "A/new", 0, NULL},
          {'f', "..x/new/a,S=1", 0, NULL},
          {'f', ".../new/a,S=1", 0, NULL},
          {'f', "A/new/a,S=1", 0, NULL},
          {'f', ".F", 1, NULL}},
         0,
         0,
         0,
         3},
        {"folders are not searched for folders",
         {{'m', "", 0, NULL},
          {'m', ".A", 0, NULL},
          {'m', ".A/.B", 0, NULL},
          {'f', ".A/.B/new/a,S=1", 0, NULL}},
         0,
         0,
         0,
         5},
        {"a folder without new and cur",
         {{'m', "", 0, NULL}, {'d', ".A", 0, NULL}, {'f', ".A/a,S=1", 1, NULL}},
         0,
         0,
         0,
         3},
        {"files where directories are expected",
         {{'f', "cur", 5, NULL}, {'d', ".A", 0, NULL}, {'f', ".A/new", 5, NULL}},
         0,
         0,
         0,
         1},
        {"a FIFO and a socket are messages of no bytes",
         {{'m', "", 0, NULL}, {'p', "cur/fifo", 0, NULL}, {'s', "cur/socket", 0, NULL}},
         0,
         2,
         2,
         3},
        {"a directory whose name is tagged",
         {{'m', "", 0, NULL}, {'d', "cur/a,S=9", 0, NULL}, {'f', "cur/a,S=9/b,S=5", 0, NULL}},
         9,
         1,
         0,
         3},
        {"links that dangle, lead outside, or to themselves",
         {{'m', "", 0, NULL},
          {'l', "cur/a", 0, "nowhere"},
          {'l', "cur/b", 0, "/etc/passwd"},
          {'l', "cur/c", 0, "../../../../../../../../../etc/passwd"},
          {'l', "cur/d", 0, "d"},
          {'l', "cur/e", 0, "../tmp/file/below"},
          {'f', "tmp/file", 0, NULL},
          {'l', "cur/f", 0, "/proc/self/exe"}},
         0,
         0,
         0,
         3},
        {"a link whose name is tagged",
         {{'m', "", 0, NULL}, {'l', "cur/a,S=7", 0, "/etc/passwd"}},
         7,
         1,
         0,
         3},
        {"a link that stays inside",
         {{'m', "", 0, NULL},
          {'f', "../shared", 50, NULL},
          {'l', "cur/a", 0, "../../shared"},
          {'m', ".A", 0, NULL},
          {'l', ".A/new/b", 0, "../../../shared"},
          {'l', ".A/new/c", 0, "b"}},
         150,
         3,
         3,
         5},
        {"a folder that is a link inside",
         {{'m', "", 0, NULL},
          {'m', "../other", 0, NULL},
          {'f', "../other/new/a,S=5", 0, NULL},
          {'f', "../other/cur/b", 6, NULL},
          {'f', "../other/file", 50, NULL},
          {'l', "../other/cur/c", 0, "../file"},
          {'l', ".A", 0, "../other"}},
         61,
         3,
         2,
         5},
        {"a folder that is a link outside, nowhere, to a file, or to itself",
         {{'m', "", 0, NULL},
          {'l', ".A", 0, "/proc"},
          {'l', ".B", 0, "/nowhere"},
          {'l', ".C", 0, "../nowhere"},
          {'f', "file", 5, NULL},
          {'l', ".D", 0, "./file"},
          {'l', ".E", 0, "./.E"},
          {'l', ".F", 0, "../../../../../../../tmp"}},
         0,
         0,
         0,
         3},
        {"a folder's other name",
         {{'m', "", 0, NULL},
          {'m', ".A", 0, NULL},
          {'f', ".A/new/a,S=5", 0, NULL},
          {'l', ".B", 0, ".A"},
          {'l', ".C", 0, "."},
          {'l', ".D", 0, ".B"}},
         5,
         1,
         0,
         5},
        {"cur and new are links",
         {{'d', "../store", 0, NULL},
          {'f', "../store/a,S=5", 0, NULL},
          {'l', "cur", 0, "../store"},
          {'d', ".A", 0, NULL},
          {'l', ".A/new", 0, "../../store"},
          {'l', ".A/cur", 0, "/tmp"}},
         5,
         1,
         0,
         2},
        {"a link to nothing is not followed, nor is one that is tagged, but that is counted",
         {{'m', "", 0, NULL}, {'l', "new/a,S=7", 0, "nowhere"}, {'l', "new/b", 0, "nowhere"}},
         7,
         1,
         0,
         3},
        {"a cur by the name of another folder",
         {{'m', "", 0, NULL},
          {'d', ".A", 0, NULL},
          {'l', ".A/cur", 0, "../cur"},
          {'m', ".B", 0, NULL},
          {'f', ".B/cur/a,S=10", 0, NULL},
          {'l', ".A/new", 0, "../.B/cur"},
          {'l', ".C", 0, "./.B"},
          {'f', "cur/a,S=1", 0, NULL}},
         11,
         2,
         0,
         5},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct maildir_count count;
        struct box box;

        print_message("%s\n", cases[i].what);
        box_init(&box);
        make_items(&box, cases[i].items, ITEMS_MAX);
        count = box_count(&box, NULL);
        assert_int_equal(count.bytes, cases[i].bytes);
        assert_int_equal(count.messages, cases[i].messages);
        assert_int_equal(count.files_counted, cases[i].messages);
        assert_int_equal(count.files_stat, cases[i].files_stat);
        assert_int_equal(count.directories_read, cases[i].directories);
        assert_int_equal(count.directories_cached, 0);
        box_done(&box);
    }
}

static void a_directory_counts_as_one_message_of_its_own_size(void **state)
{
    struct maildir_count count;
    char path[PATH_MAX];
    struct stat st;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_mkdir(&box, "cur/directory");
    box_put(&box, "cur/directory/a,S=100000", 100000);
    assert_return_code(stat(box_path(&box, "cur/directory", path), &st), errno);
    count = box_count(&box, NULL);
    assert_int_equal(count.bytes, st.st_size);
    assert_int_equal(count.messages, 1);
    box_done(&box);
}

static void hard_links_count_in_full(void **state)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a", 1000);
    assert_return_code(link(box_path(&box, "cur/a", from), box_path(&box, "new/b", to)), errno);
    count = box_count(&box, NULL);
    assert_int_equal(count.bytes, 2000);
    assert_int_equal(count.messages, 2);
    box_done(&box);
}

static void size_tag_w(void **state)
{
    const struct maildir_options options = {.size_tag = MAILDIR_SIZE_TAG_W};
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a,S=1,W=2:2,S", 5000);
    box_put(&box, "cur/b,W=20", 5000);
    box_put(&box, "cur/c,S=100:2,", 5000);
    box_put(&box, "cur/d,S=1000,W=x", 5000);
    box_put(&box, "new/e", 10000);
    count = box_count_with(&box, &options, NULL);
    assert_int_equal(count.bytes, 11122);
    assert_int_equal(count.files_stat, 1);
    count = box_count(&box, NULL);
    assert_int_equal(count.bytes, 1 + 5000 + 100 + 1000 + 10000);
    assert_int_equal(count.files_stat, 2);
    box_done(&box);
}

static void sums_saturate(void **state)
{
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a,S=9223372036854775807", 0);
    assert_int_equal(box_count(&box, NULL).bytes, SIZE_BYTES_MAX);
    box_put(&box, "new/b,S=1", 0);
    assert_int_equal(box_count(&box, NULL).bytes, SIZE_BYTES_MAX);
    box_put(&box, "cur/c,S=9223372036854775807", 0);
    box_put(&box, "cur/d", 1);
    assert_int_equal(box_count(&box, NULL).bytes, SIZE_BYTES_MAX);
    assert_int_equal(box_count(&box, NULL).messages, 4);
    box_done(&box);
}

/* Adds up the files below path by other means: each is tagged with its size, or has it. */
static struct maildir_count independent_count(char *path)
{
    char *const paths[] = {path, NULL};
    struct maildir_count count = {};
    const FTSENT *entry;
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

    assert_non_null(tree);
    while ((entry = fts_read(tree))) {
        const char *tag = strstr(entry->fts_name, ",S=");

        if (entry->fts_info != FTS_F)
            continue;
        count.bytes += tag ? strtoull(tag + 3, NULL, 10) : (uint64_t)entry->fts_statp->st_size;
        count.files_stat += !tag;
        count.messages++;
    }
    assert_return_code(fts_close(tree), errno);
    return count;
}

static void thousands_of_messages(void **state)
{
    static const char *const folders[] = {"", ".A", ".B", ".B.C", ".D"};
    struct maildir_count count, independent;
    struct box box;

    (void)state;
    box_init(&box);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        box_folder(&box, folders[i]);
    for (int i = 0; i < 5000; i++) {
        const char *folder = folders[(size_t)i % ARRAY_SIZE(folders)];
        char name[128];

        (void)snprintf(name, sizeof(name), i % 3 ? "%s/%s/%d.M%dP1.host,S=%d:2,S" : "%s/%s/%d.M%d",
                       folder, i % 7 ? "cur" : "new", i, i, i * 17);
        box_put(&box, name, i);
    }
    independent = independent_count(box.path);
    assert_int_equal(independent.messages, 5000);
    count = box_count(&box, NULL);
    assert_int_equal(count.bytes, independent.bytes);
    assert_int_equal(count.messages, 5000);
    assert_int_equal(count.files_counted, 5000);
    assert_int_equal(count.files_stat, independent.files_stat);
    assert_int_equal(count.directories_read, 11);
    box_done(&box);
}

/* The directory of a link does not change with its target; tagged, the target does not matter. */
static void what_links_lead_to_may_change(void **state)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "../shared", 5);
    box_link(&box, "../../shared", "new/a");
    box_link(&box, "../../later", "new/b");
    box_link(&box, "../../shared", "cur/c,S=100");
    box_settle();
    for (int i = 0; i < 2; i++) {
        count = box_count(&box, &memory);
        assert_int_equal(count.bytes, 105);
        assert_int_equal(count.messages, 2);
    }
    assert_int_equal(count.directories_read, 1);
    assert_int_equal(count.directories_cached, 2);
    box_put(&box, "../shared", 7);
    box_put(&box, "../later", 1000);
    count = box_count(&box, &memory);
    assert_int_equal(count.bytes, 1107);
    assert_int_equal(count.messages, 3);
    box_done(&box);
}

/*
 * What happens to a mailbox that is remembered whole. It holds, each tagged with 1, two messages in
 * cur, one in new, one in .A/cur and one in .B.C/new; .B is without new and cur; .L is a link to
 * ../other, with a message in its cur. Trash is excluded and holds another.
 */
struct scenario {
    const char *what;
    void (*change)(const struct box *box);
    uint64_t messages;         /* afterwards */
    uint64_t files_counted;    /* this time */
    uint32_t directories_read; /* this time */
    uint32_t directories_cached;
};

static void change_nothing(const struct box *box)
{
    (void)box;
}

static void change_what_does_not_count(const struct box *box)
{
    box_put(box, ".A/maildirfolder", 0);
    box_put(box, ".A/tmp/x", 0);
    box_put(box, "tmp/x", 0);
    box_put(box, "cur/a,S=1", 100);
    box_put(box, ".Trash/cur/x", 0);
}

static void change_deliver(const struct box *box)
{
    box_put(box, "new/x,S=1", 0);
}

static void change_deliver_to_folder(const struct box *box)
{
    box_put(box, ".A/new/x,S=1", 0);
}

static void change_deliver_to_linked_folder(const struct box *box)
{
    box_put(box, "../other/new/x,S=1", 0);
}

static void change_delete(const struct box *box)
{
    box_remove(box, "cur/a,S=1");
}

static void change_read(const struct box *box)
{
    box_move(box, "new/c,S=1", "cur/c,S=1:2,S");
}

static void change_flags(const struct box *box)
{
    box_move(box, "cur/a,S=1", "cur/a,S=1:2,S");
}

static void change_to_folder(const struct box *box)
{
    box_move(box, "cur/b,S=1", ".A/new/b,S=1");
}

static void change_mailbox(const struct box *box)
{
    box_put(box, "maildirsize", 0);
}

static void change_add_folder(const struct box *box)
{
    box_folder(box, ".0");
    box_put(box, ".0/new/a,S=1", 0);
}

static void change_add_directories_of_folder(const struct box *box)
{
    box_mkdir(box, ".B/cur");
    box_put(box, ".B/cur/a,S=1", 0);
}

static void change_rename_folder(const struct box *box)
{
    box_move(box, ".A", ".Z");
}

static void change_remove_folder(const struct box *box)
{
    box_remove(box, ".A");
}

static void change_remove_directories(const struct box *box)
{
    box_remove(box, "new");
    box_remove(box, ".A/cur");
}

static void change_exchange_directory(const struct box *box)
{
    box_move(box, "cur", "cur.old");
    box_mkdir(box, "cur");
}

static void change_exchange_folders(const struct box *box)
{
    box_move(box, ".A", "A");
    box_move(box, ".B.C", ".A");
    box_move(box, "A", ".B.C");
}

static void change_folder_to_file(const struct box *box)
{
    box_remove(box, ".A");
    box_put(box, ".A", 0);
}

static void change_folder_to_link(const struct box *box)
{
    box_move(box, ".A", "../A");
    box_link(box, "../A", ".A");
}

static void change_folder_to_link_outside(const struct box *box)
{
    box_move(box, ".A", "../A");
    box_link(box, "../../..", ".A");
}

static void change_link_to_folder(const struct box *box)
{
    box_remove(box, ".L");
    box_move(box, "../other", ".L");
}

static void change_what_a_link_leads_to(const struct box *box)
{
    box_move(box, "../other", "../another");
    box_mkdir(box, "../other");
}

static void change_link_dangles(const struct box *box)
{
    box_remove(box, "../other");
}

static const struct scenario scenarios[] = {
    /* the mailbox; cur and new of itself, .A, .B.C and .L: 1 + 4 * 2 */
    {"nothing", change_nothing, 6, 0, 0, 9},
    {"what does not count", change_what_does_not_count, 6, 0, 0, 9},
    {"a delivery", change_deliver, 7, 2, 1, 8},
    {"a delivery to a folder", change_deliver_to_folder, 7, 1, 1, 8},
    {"a delivery to a linked folder", change_deliver_to_linked_folder, 7, 1, 1, 8},
    {"a message is deleted", change_delete, 5, 1, 1, 8},
    {"a message is moved from new to cur", change_read, 6, 3, 2, 7},
    {"a message gets a flag", change_flags, 6, 2, 1, 8},
    {"a message is moved to a folder", change_to_folder, 6, 2, 2, 7},
    {"the mailbox gets a file", change_mailbox, 6, 0, 1, 8},
    {"a folder is added", change_add_folder, 7, 1, 3, 8},
    {"a folder gets a cur", change_add_directories_of_folder, 7, 1, 1, 9},
    {"a folder is renamed", change_rename_folder, 6, 1, 3, 6},
    {"a folder is removed", change_remove_folder, 5, 0, 1, 6},
    {"directories are removed", change_remove_directories, 4, 0, 1, 6},
    {"a directory is exchanged", change_exchange_directory, 4, 0, 2, 7},
    {"folders are exchanged", change_exchange_folders, 6, 2, 5, 4},
    {"a folder becomes a file", change_folder_to_file, 5, 0, 1, 6},
    {"a folder becomes a link", change_folder_to_link, 6, 1, 3, 6},
    {"a folder becomes a link outside", change_folder_to_link_outside, 5, 0, 1, 6},
    {"a link becomes a folder", change_link_to_folder, 6, 1, 3, 6},
    {"a link's target is exchanged", change_what_a_link_leads_to, 5, 0, 0, 7},
    {"a link dangles", change_link_dangles, 5, 0, 0, 7},
};

static void only_what_changed_is_read(void **state)
{
    static const struct item items[] = {
        {'m', "", 0, NULL},
        {'f', "cur/a,S=1", 0, NULL},
        {'f', "cur/b,S=1", 0, NULL},
        {'f', "new/c,S=1", 0, NULL},
        {'m', ".A", 0, NULL},
        {'f', ".A/cur/a,S=1", 0, NULL},
        {'d', ".B", 0, NULL},
        {'m', ".B.C", 0, NULL},
        {'f', ".B.C/new/a,S=1", 0, NULL},
        {'m', "../other", 0, NULL},
        {'f', "../other/cur/a,S=1", 0, NULL},
        {'l', ".L", 0, "../other"},
        {'m', ".Trash", 0, NULL},
        {'f', ".Trash/cur/a,S=1", 0, NULL},
    };
    char trash[] = "Trash", *names[] = {trash};
    const struct maildir_options options = {.exclude_folders = names, .exclude_folders_count = 1};
    struct box boxes[ARRAY_SIZE(scenarios)];
    struct maildir_count count;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        box_init(&boxes[i]);
        make_items(&boxes[i], items, ARRAY_SIZE(items));
    }
    box_settle();
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
        const struct scenario *scenario = &scenarios[i];

        print_message("%s\n", scenario->what);
        count = box_count_with(&boxes[i], &options, &memory);
        assert_int_equal(count.messages, 6);
        assert_int_equal(count.directories_read, 9);
        assert_int_equal(count.directories_cached, 0);
        scenario->change(&boxes[i]);
        count = box_count_with(&boxes[i], &options, &memory);
        assert_int_equal(count.messages, scenario->messages);
        assert_int_equal(count.bytes, scenario->messages);
        assert_int_equal(count.files_counted, scenario->files_counted);
        assert_int_equal(count.directories_read, scenario->directories_read);
        assert_int_equal(count.directories_cached, scenario->directories_cached);
        /* It is the same once more, and without a memory. */
        assert_int_equal(box_count_with(&boxes[i], &options, &memory).messages, count.messages);
        assert_int_equal(box_count_with(&boxes[i], &options, NULL).messages, count.messages);
    }
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
        box_done(&boxes[i]);
}

static void changes_within_one_tick_are_seen(void **state)
{
    (void)state;
    box_change_within_ticks(500);
}

/* Either stamp may be set, or be young: only two old ones are trusted. */
static void stamps_young_and_old(void **state)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_folder(&box, ".Future");
    box_touch(&box, ".Future/cur", 3600);
    box_folder(&box, ".Past");
    box_touch(&box, ".Past/cur", -3600);
    box_settle();
    /* Now the last changes are old, but that of .Future/cur pretends to come. */
    (void)box_count(&box, &memory);
    count = box_count(&box, &memory);
    assert_int_equal(count.directories_read, 1);
    assert_int_equal(count.directories_cached, 6);
    /* An mtime set back makes a young ctime, a young mtime is young. */
    box_touch(&box, "new", -3600);
    box_touch(&box, "cur", 0);
    for (int i = 0; i < 3; i++) {
        count = box_count(&box, &memory);
        assert_int_equal(count.directories_read, 3);
        assert_int_equal(count.directories_cached, 4);
    }
    box_settle();
    count = box_count(&box, &memory);
    assert_int_equal(count.directories_read, 3);
    count = box_count(&box, &memory);
    assert_int_equal(count.directories_read, 1);
    assert_int_equal(count.directories_cached, 6);
    /* The mailbox itself is treated alike. */
    box_touch(&box, ".", -3600);
    for (int i = 0; i < 3; i++)
        assert_int_equal(box_count(&box, &memory).directories_read, 2);
    box_done(&box);
}

/* System calls, by number, between the marks that a child made. */
struct calls {
    unsigned int total;
    unsigned int of[512];
};

/* Marks where the calls that are of interest begin and end. No one else asks for this. */
static void calls_mark(void)
{
    (void)syscall(SYS_getppid);
}

struct calls_child {
    child_fn function;
    void *userdata;
};

static enum child_result calls_child_run(void *userdata)
{
    const struct calls_child *child = userdata;

    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    CHECK(raise(SIGSTOP) == 0);
    return child->function(child->userdata);
}

/* Lets the stopped child go on to the next stop. Returns false once it has ended. */
static bool calls_next(pid_t pid, int signal, int *status)
{
    assert_return_code(ptrace(PTRACE_SYSCALL, pid, NULL, (uintptr_t)signal), errno);
    assert_int_equal(waitpid(pid, status, 0), pid);
    return WIFSTOPPED(*status);
}

/* Returns how often it was asked what a file is: fstatat() is either of these, by the processor. */
static unsigned int looks(const struct calls *calls)
{
#ifdef SYS_newfstatat
    return calls->of[SYS_statx] + calls->of[SYS_newfstatat];
#else
    return calls->of[SYS_statx];
#endif
}

/* Runs function in a child, which must pass, and counts the calls between its two marks. */
static struct calls calls_of(child_fn function, void *userdata)
{
    const struct calls_child child = {.function = function, .userdata = userdata};
    struct __ptrace_syscall_info info;
    struct calls calls = {};
    unsigned int marks = 0;
    int status, signal = 0;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        struct calls_child copy = child;

        _exit((int)calls_child_run(&copy));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status));
    assert_return_code(ptrace(PTRACE_SETOPTIONS, pid, NULL,
                              (uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
                       errno);
    while (calls_next(pid, signal, &status)) {
        signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
        if (signal != 0)
            continue;
        assert_return_code(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info), errno);
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
            continue;
        if (info.entry.nr == SYS_getppid) {
            marks++;
        } else if (marks == 1) {
            assert_in_range(info.entry.nr, 0, ARRAY_SIZE(calls.of) - 1);
            calls.of[info.entry.nr]++;
            calls.total++;
        }
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_PASSED);
    assert_int_equal(marks, 2);
    return calls;
}

static enum child_result recount(void *userdata)
{
    const struct box *box = userdata;
    struct maildir_cache *memory = NULL;
    struct maildir_count count;
    int r;

    CHECK(maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count) == 0);
    calls_mark();
    r = maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count);
    calls_mark();
    CHECK(r == 0 && count.messages == 40);
    CHECK(count.directories_read == 0 && count.directories_cached == 43);
    maildir_cache_free(memory);
    return CHILD_PASSED;
}

static void an_unchanged_mailbox_costs_one_statx_a_directory(void **state)
{
    struct calls calls;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    for (int i = 0; i < 20; i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), ".%d", i);
        box_folder(&box, name);
        (void)snprintf(name, sizeof(name), ".%d/cur/a,S=5", i);
        box_put(&box, name, 5);
        (void)snprintf(name, sizeof(name), ".%d/new/a", i);
        box_put(&box, name, 5);
    }
    box_settle();
    calls = calls_of(recount, &box);
    assert_int_equal(calls.of[SYS_statx], 43);
    /* What is left is the coming and going of memory. */
    assert_in_range(calls.total, 43, 43 + 10);
    box_done(&box);
}

static enum child_result count_once(void *userdata)
{
    const struct box *box = userdata;
    struct maildir_count count;
    int r;

    calls_mark();
    r = maildir_count(box->fd, box->path, box->confine, &box_options, NULL, &count);
    calls_mark();
    CHECK(r == 0 && count.messages == 1003 && count.files_stat == 3);
    return CHILD_PASSED;
}

/* Each directory costs two statx(2), one open and two readings, the second of which is the end. */
static void a_tagged_message_costs_no_system_call(void **state)
{
    static const char *const parts[] = {"cur", "new"};
    struct box boxes[ARRAY_SIZE(parts)];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        box_init_maildir(&boxes[i]);
        for (int j = 0; j < 1003; j++) {
            char name[64];

            (void)snprintf(name, sizeof(name), j < 1000 ? "%s/%d,S=1:2,S" : "%s/%d", parts[i], j);
            box_put(&boxes[i], name, 1);
        }
    }
    box_settle();
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        struct calls calls = calls_of(count_once, &boxes[i]);

        assert_int_equal(looks(&calls), 3 + 3 * 2);
        assert_int_equal(calls.of[SYS_openat], 3);
        assert_int_equal(calls.of[SYS_close], 3);
        assert_int_equal(calls.of[SYS_getdents64], 3 * 2);
        /* What is left is the coming and going of memory. */
        assert_in_range(calls.total, 21, 21 + 10);
        box_done(&boxes[i]);
    }
}

static enum child_result recount_changed(void *userdata)
{
    const struct box *box = userdata;
    struct maildir_cache *memory = NULL;
    struct maildir_count count;
    char path[PATH_MAX];
    int fd, r;

    CHECK(maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count) == 0);
    fd = open(box_path(box, "cur/x,S=1:2,", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && close(fd) == 0);
    calls_mark();
    r = maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count);
    calls_mark();
    CHECK(r == 0 && count.messages == 3);
    CHECK(count.directories_read == 1 && count.directories_cached == 2);
    maildir_cache_free(memory);
    return CHILD_PASSED;
}

/* A look at each directory, and two while cur is read; which is done twice, for it is young. */
static void a_change_in_cur_costs_the_reading_of_cur(void **state)
{
    struct calls calls;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a,S=1:2,", 0);
    box_put(&box, "new/b,S=1", 0);
    box_settle();
    calls = calls_of(recount_changed, &box);
    assert_int_equal(looks(&calls), 3 + 2 * 2);
    assert_int_equal(calls.of[SYS_openat], 2);
    assert_int_equal(calls.of[SYS_getdents64], 2 * 2);
    box_done(&box);
}

/* Who may not read a directory says so; what may not be read but is excluded is not missed. */
static enum child_result count_as_nobody(void *userdata)
{
    const struct box *box = userdata;
    char trash[] = "Trash", *names[] = {trash};
    const struct maildir_options without_trash = {.exclude_folders = names,
                                                  .exclude_folders_count = 1};
    struct maildir_cache *memory = NULL;
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    int r;

    if (geteuid() != 0 || !child_become_nobody())
        return CHILD_SKIPPED;
    r = maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count);
    CHECK(r == -EACCES && count.bytes == NOT_WRITTEN);
    /* Sound, and good for what could be read: the mailbox, cur and new. */
    r = maildir_count(box->fd, box->path, box->confine, &without_trash, NULL, &count);
    CHECK(r == 0 && count.messages == 1);
    r = maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count);
    CHECK(r == -EACCES);
    maildir_cache_free(memory);
    return CHILD_PASSED;
}

static void what_may_not_be_read_is_an_error(void **state)
{
    static const char *const forbidden[] = {".Trash/cur", ".Trash/new", ".Trash"};
    enum child_result result = CHILD_PASSED;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "new/a,S=1", 0);
    box_folder(&box, ".Trash");
    for (size_t i = 0; i < ARRAY_SIZE(forbidden) && result == CHILD_PASSED; i++) {
        box_chmod(&box, forbidden[i], 0);
        result = child_run(count_as_nobody, &box);
        box_chmod(&box, forbidden[i], 0755);
    }
    box_done(&box);
    assert_child_result(result);
}

static enum child_result count_links_as_nobody(void *userdata)
{
    const struct box *box = userdata;
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    int r;

    if (geteuid() != 0 || !child_become_nobody())
        return CHILD_SKIPPED;
    r = maildir_count(box->fd, box->path, box->confine, &box_options, NULL, &count);
    CHECK(r == -EACCES && count.bytes == NOT_WRITTEN);
    return CHILD_PASSED;
}

/* As above, for the mailbox itself, a message without a tag, and links to where one may not look.
 */
static void what_may_not_be_looked_at_is_an_error(void **state)
{
    static const struct {
        struct item items[4];
        const char *forbidden;
        mode_t mode;
    } cases[] = {
        {{{'m', "", 0, NULL}}, ".", 0311},
        {{{'m', "", 0, NULL}, {'f', "cur/a", 0, NULL}}, "cur", 0644},
        {{{'m', "", 0, NULL}, {'m', "../other", 0, NULL}, {'l', ".L", 0, "../other"}},
         "../other",
         0},
        {{{'m', "", 0, NULL},
          {'d', "../x", 0, NULL},
          {'f', "../x/a", 0, NULL},
          {'l', "cur/a", 0, "../../x/a"}},
         "../x",
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum child_result result;
        struct box box;

        box_init(&box);
        make_items(&box, cases[i].items, ARRAY_SIZE(cases[i].items));
        box_chmod(&box, cases[i].forbidden, cases[i].mode);
        result = child_run(count_links_as_nobody, &box);
        box_chmod(&box, cases[i].forbidden, 0755);
        box_done(&box);
        assert_child_result(result);
    }
}

static enum child_result count_tree_as_nobody(void *userdata)
{
    static const struct maildir_options tree = {.layout = MAILDIR_LAYOUT_FS};
    const struct box *box = userdata;
    struct maildir_count count;

    if (geteuid() != 0 || !child_become_nobody())
        return CHILD_SKIPPED;
    CHECK(maildir_count(box->fd, box->path, box->confine, &tree, NULL, &count) == -EACCES);
    return CHILD_PASSED;
}

/* Whether a directory is a folder can only be found out where one may look. */
static void folders_that_may_not_be_looked_into(void **state)
{
    static const mode_t modes[] = {0, 0311, 0644};
    enum child_result result = CHILD_PASSED;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_folder(&box, "Sent");
    for (size_t i = 0; i < ARRAY_SIZE(modes) && result == CHILD_PASSED; i++) {
        box_chmod(&box, "Sent", modes[i]);
        result = child_run(count_tree_as_nobody, &box);
        box_chmod(&box, "Sent", 0755);
    }
    box_done(&box);
    assert_child_result(result);
}

/* Counts while no descriptor can be opened. */
static int count_without_descriptors(const struct box *box, struct maildir_cache **memory,
                                     struct maildir_count *ret)
{
    struct rlimit before, none;
    int r;

    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    r = maildir_count(box->fd, box->path, box->confine, &box_options, memory, ret);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    return r;
}

/* What an earlier count left serves the next after an error, and is mended by it. */
static void a_memory_survives_an_error(void **state)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a,S=1", 0);
    box_put(&box, "new/a", 5);
    box_settle();
    /* Without descriptors to spare nothing can be read. */
    assert_int_equal(count_without_descriptors(&box, &memory, &count), -EMFILE);
    assert_null(memory);
    assert_int_equal(count.bytes, NOT_WRITTEN);
    count = box_count(&box, &memory);
    assert_int_equal(count.bytes, 6);
    box_put(&box, "new/b,S=10", 0);
    count.bytes = NOT_WRITTEN;
    assert_int_equal(count_without_descriptors(&box, &memory, &count), -EMFILE);
    assert_int_equal(count.bytes, NOT_WRITTEN);
    count = box_count(&box, &memory);
    assert_int_equal(count.bytes, 16);
    assert_int_equal(count.directories_read, 1);
    assert_int_equal(count.directories_cached, 2);
    box_done(&box);
}

struct failing_call {
    const struct box *box;
    unsigned int number;
    int error;
};

static enum child_result count_with_failing_call(void *userdata)
{
    const struct failing_call *failing = userdata;
    const struct box *box = failing->box;
    struct maildir_cache *memory = NULL;
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    int r;

    CHECK(filter_install(failing->number, FILTER_ERRNO((unsigned int)failing->error)) == 0);
    r = maildir_count(box->fd, box->path, box->confine, &box_options, &memory, &count);
    CHECK(r == -failing->error && count.bytes == NOT_WRITTEN && !memory);
    return CHILD_PASSED;
}

static void a_failing_call_is_an_error(void **state)
{
    static const struct {
        unsigned int number;
        int error;
    } cases[] = {
        {SYS_openat, EIO},     {SYS_openat, ESTALE},     {SYS_openat, EMFILE},
        {SYS_getdents64, EIO}, {SYS_getdents64, ESTALE}, {SYS_statx, EIO},
    };
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "new/a,S=1", 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct failing_call failing = {&box, cases[i].number, cases[i].error};

        assert_child_passes(count_with_failing_call, &failing);
    }
    box_done(&box);
}

struct scarcity {
    const struct box *box;
    size_t bytes;
};

/* Counts while malloc(3) has one free block of so many bytes, and nothing else. */
static enum child_result count_with_little_memory(void *userdata)
{
    const struct scarcity *scarcity = userdata;
    const struct box *box = scarcity->box;
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    void *block;
    int r;

    CHECK(hoard_prepare());
    block = malloc(scarcity->bytes);
    CHECK(block);
    CHECK(hoard_all());
    free(block);
    r = maildir_count(box->fd, box->path, box->confine, &box_options, NULL, &count);
    CHECK(r == 0 ? count.messages == 1 : r == -ENOMEM && count.bytes == NOT_WRITTEN);
    return r == 0 ? CHILD_PASSED : CHILD_SKIPPED;
}

/* From too little for a buffer to enough for all: each allocation comes to fail once. */
static void no_memory_is_an_error(void **state)
{
    enum child_result result = CHILD_SKIPPED;
    struct scarcity scarcity;
    unsigned int failures = 0;
    struct box box;

    (void)state;
    if (!HOARD_WORKS)
        skip_because("the sanitizer has an allocator of its own");
    box_init_maildir(&box);
    box_put(&box, "new/a,S=1", 0);
    for (int i = 0; i < 200; i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), ".folder%d", i);
        box_mkdir(&box, name);
    }
    scarcity = (struct scarcity){.box = &box, .bytes = (size_t)250 * 1024};
    for (; result == CHILD_SKIPPED; scarcity.bytes += 1024, failures++)
        result = child_run(count_with_little_memory, &scarcity);
    assert_int_equal(result, CHILD_PASSED);
    assert_in_range(failures, 30, 80);
    box_done(&box);
}

static void a_descriptor_that_is_no_mailbox(void **state)
{
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    _cleanup_(closep) int file_fd = -1;
    char path[PATH_MAX];
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "file", 5);
    file_fd = open(box_path(&box, "file", path), O_PATH | O_CLOEXEC);
    assert_return_code(file_fd, errno);
    assert_int_equal(maildir_count(file_fd, path, box.confine, &box_options, NULL, &count),
                     -ENOTDIR);
    assert_int_equal(maildir_count(-1, path, box.confine, &box_options, NULL, &count), -EBADF);
    assert_int_equal(count.bytes, NOT_WRITTEN);
    box_done(&box);
}

static void a_mailbox_that_is_removed_holds_nothing(void **state)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a,S=1", 0);
    box_folder(&box, ".A");
    assert_int_equal(box_count(&box, &memory).messages, 1);
    box_remove(&box, "../box");
    for (int i = 0; i < 2; i++) {
        count = box_count(&box, i == 0 ? &memory : NULL);
        assert_int_equal(count.bytes, 0);
        assert_int_equal(count.messages, 0);
        assert_int_equal(count.directories_cached, 0);
    }
    box_done(&box);
}

static void the_bytes_of_a_memory(void **state)
{
    const size_t of_mailbox = sizeof(struct maildir_cache) + 128;
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct box box;

    (void)state;
    assert_int_equal(maildir_cache_bytes(NULL), 0);
    box_init_maildir(&box);
    (void)box_count(&box, &memory);
    assert_in_range(maildir_cache_bytes(memory), 1, 200);
    assert_int_equal(maildir_cache_bytes(memory), of_mailbox);
    box_folder(&box, ".A");
    box_folder(&box, ".Bcd");
    (void)box_count(&box, &memory);
    assert_int_equal(maildir_cache_bytes(memory),
                     of_mailbox + 2 * 128 + sizeof("2.A") + sizeof("2.Bcd"));
    box_remove(&box, ".A");
    (void)box_count(&box, &memory);
    assert_int_equal(maildir_cache_bytes(memory), of_mailbox + 128 + sizeof("2.Bcd"));
    box_done(&box);
}

/* Counts within the budget, whose spending begins anew. */
static int count_within(const struct box *box, struct budget *budget, struct maildir_cache **memory,
                        struct maildir_count *ret)
{
    struct maildir_options options = box_options;

    options.budget = budget;
    budget_start(budget);
    return maildir_count(box->fd, box->path, box->confine, &options, memory, ret);
}

/* A count ends when its budget is spent; what was read before need not be read again. */
static void a_budget_ends_the_count(void **state)
{
    static const struct budget ample = {1000000, UINT64_MAX, 1000000, NULL, NULL, 0, 0};
    _cleanup_(maildir_cache_freep) struct maildir_cache *memory = NULL;
    struct maildir_count count;
    struct budget budget = ample;
    char name[64];
    struct box box;

    (void)state;
    box_init_many(&box);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), ".%d", i);
        box_mkdir(&box, name);
        (void)snprintf(name, sizeof(name), ".%d/new", i);
        box_mkdir(&box, name);
        (void)snprintf(name, sizeof(name), ".%d/new/a,S=2", i);
        box_put(&box, name, 0);
    }
    box_settle();
    /* the mailbox has 102 entries to read and more, then each folder two directories */
    budget.entries_max = 300;
    assert_int_equal(count_within(&box, &budget, &memory, &count), -ETIME);
    assert_non_null(memory);
    budget.entries_max = 100;
    assert_int_equal(count_within(&box, &budget, &memory, &count), -ETIME);
    budget = ample;
    assert_int_equal(count_within(&box, &budget, &memory, &count), 0);
    assert_int_equal(count.messages, 100);
    assert_int_equal(count.bytes, 200);
    assert_in_range(count.directories_cached, 20, 60);
    assert_in_range(count.directories_read, 40, 80);
    /* of what is remembered, each directory is one entry */
    assert_int_equal(count_within(&box, &budget, &memory, &count), 0);
    assert_int_equal(count.directories_read, 0);
    assert_in_range(budget.entries, 202, 210);

    budget = ample;
    budget.folders_bytes_max = 100 * (FOLDER_BYTES + 2 * sizeof("2.12"));
    maildir_cache_free(steal_pointer(&memory));
    assert_int_equal(count_within(&box, &budget, &memory, &count), 0);
    budget.folders_bytes_max -= 100;
    maildir_cache_free(steal_pointer(&memory));
    assert_int_equal(count_within(&box, &budget, &memory, &count), -E2BIG);

    /* every few dozen entries the clock is looked at */
    budget = ample;
    budget.cpu_usec_max = 0;
    assert_int_equal(count_within(&box, &budget, NULL, &count), -ETIME);
    box_done(&box);
}

/* Notes the devices that a count meets, and lets it go on or not. */
struct guard {
    dev_t device;
    unsigned int calls;
    int result;
};

static int on_enter_device(dev_t device, void *userdata)
{
    struct guard *guard = userdata;

    guard->device = device;
    guard->calls++;
    return guard->result;
}

/* Where a link leads, it is asked first whether that device may be waited for. */
static void a_budget_tells_of_devices(void **state)
{
    struct guard guard = {};
    struct budget budget = {1000, UINT64_MAX, 0, on_enter_device, &guard, 0, 0};
    struct maildir_count count;
    struct stat st;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "new/a,S=2", 0);
    assert_int_equal(count_within(&box, &budget, NULL, &count), 0);
    assert_int_equal(guard.calls, 0);
    box_mkdir(&box, "../elsewhere");
    box_mkdir(&box, "../elsewhere/new");
    box_put(&box, "../elsewhere/new/b,S=3", 0);
    box_link(&box, "../elsewhere", ".linked");
    assert_int_equal(count_within(&box, &budget, NULL, &count), 0);
    assert_int_equal(count.bytes, 5);
    assert_return_code(fstat(box.fd, &st), errno);
    assert_true(guard.calls > 0);
    assert_int_equal(guard.device, st.st_dev);
    guard.result = -EBUSY;
    assert_int_equal(count_within(&box, &budget, NULL, &count), -EBUSY);
    box_done(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts),
        cmocka_unit_test(a_directory_counts_as_one_message_of_its_own_size),
        cmocka_unit_test(hard_links_count_in_full),
        cmocka_unit_test(size_tag_w),
        cmocka_unit_test(sums_saturate),
        cmocka_unit_test(thousands_of_messages),
        cmocka_unit_test(what_links_lead_to_may_change),
        cmocka_unit_test(only_what_changed_is_read),
        cmocka_unit_test(changes_within_one_tick_are_seen),
        cmocka_unit_test(stamps_young_and_old),
        cmocka_unit_test(an_unchanged_mailbox_costs_one_statx_a_directory),
        cmocka_unit_test(a_tagged_message_costs_no_system_call),
        cmocka_unit_test(a_change_in_cur_costs_the_reading_of_cur),
        cmocka_unit_test(what_may_not_be_read_is_an_error),
        cmocka_unit_test(what_may_not_be_looked_at_is_an_error),
        cmocka_unit_test(folders_that_may_not_be_looked_into),
        cmocka_unit_test(a_memory_survives_an_error),
        cmocka_unit_test(a_failing_call_is_an_error),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(a_descriptor_that_is_no_mailbox),
        cmocka_unit_test(a_mailbox_that_is_removed_holds_nothing),
        cmocka_unit_test(the_bytes_of_a_memory),
        cmocka_unit_test(a_budget_ends_the_count),
        cmocka_unit_test(a_budget_tells_of_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
