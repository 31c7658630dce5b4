/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "items.h"

#include "child.h"
#include "quota/everything.h"
#include "quota/maildir_access.h"
#include "quota/size.h"
#include "random.h"

#define NOT_WRITTEN UINT64_C(0x5a5a5a5a)

static struct maildir_count count_everything(const struct box *box)
{
    struct maildir_count count = {};

    assert_int_equal(everything_count(box->fd, box->path, box->confine, NULL, &count), 0);
    assert_int_equal(count.messages, count.files_counted);
    assert_int_equal(count.directories_cached, 0);
    assert_true(count.is_mailbox);
    return count;
}

static void box_hard_link(const struct box *box, const char *from, const char *to)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];

    assert_return_code(link(box_path(box, from, from_path), box_path(box, to, to_path)), errno);
}

static void what_counts(void **state)
{
    static const struct {
        const char *what;
        struct item items[ITEMS_MAX];
        uint64_t bytes, messages;
        uint32_t directories; /* read, that of the mailbox included */
        uint32_t left_out;
        const char *left_out_name;
    } cases[] = {
        {"nothing", {}, 0, 0, 1, 0, ""},
        {"a Maildir counts as three", {{'m', "", 0, NULL}}, 0, 3, 4, 0, ""},
        {"files, by their sizes, wherever they are",
         {{'m', "", 0, NULL},
          {'f', "cur/a,S=5:2,", 1, NULL},
          {'f', "tmp/b", 10, NULL},
          {'f', "maildirsize", 100, NULL},
          {'f', "cur/.hidden", 1000, NULL},
          {'f', ".index", 10000, NULL},
          {'m', ".Trash", 0, NULL},
          {'f', ".Trash/new/c", 100000, NULL},
          {'d', "sieve", 0, NULL},
          {'f', "sieve/x", 1000000, NULL}},
         1111111,
         3 + 5 + 1 + 3 + 1 + 1 + 1,
         9,
         0,
         ""},
        {"what is no file has no size",
         {{'p', "fifo", 0, NULL}, {'s', "socket", 0, NULL}, {'d', "a directory", 0, NULL}},
         0,
         3,
         2,
         0,
         ""},
        {"a link counts as what it leads to",
         {{'f', "../file", 50, NULL},
          {'l', "a", 0, "../file"},
          {'l', "b", 0, "a"},
          {'d', "../store", 0, NULL},
          {'f', "../store/c", 7, NULL},
          {'d', "../store/sub", 0, NULL},
          {'f', "../store/sub/d", 1000, NULL},
          {'l', "store", 0, "../store"}},
         50 + 50 + 7 + 1000,
         3 + 2 + 1,
         3,
         0,
         ""},
        {"a directory that several links lead to counts once",
         {{'d', "A", 0, NULL},
          {'f', "A/a", 5, NULL},
          {'l', "B", 0, "A"},
          {'l', "A/up", 0, ".."},
          {'l', "A/itself", 0, "."},
          {'l', "C", 0, "B"}},
         5,
         6,
         2,
         0,
         ""},
        {"links that lead outside, to nothing, or to themselves",
         {{'d', "A", 0, NULL},
          {'f', "file", 1, NULL},
          {'l', "A/a", 0, "/etc/passwd"},
          {'l', "A/b", 0, "/etc"},
          {'l', "A/c", 0, "nowhere"},
          {'l', "A/d", 0, "d"},
          {'l', "A/e", 0, "../file/below"}},
         1,
         7,
         2,
         5,
         NULL},
        {"the one that is left out",
         {{'d', "A", 0, NULL}, {'l', "A/a", 0, "/etc/passwd"}},
         0,
         2,
         2,
         1,
         "A/a"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct maildir_count count;
        struct box box;

        print_message("%s\n", cases[i].what);
        box_init(&box);
        make_items(&box, cases[i].items, ITEMS_MAX);
        count = count_everything(&box);
        assert_int_equal(count.bytes, cases[i].bytes);
        assert_int_equal(count.messages, cases[i].messages);
        assert_int_equal(count.directories_read, cases[i].directories);
        assert_int_equal(count.left_out, cases[i].left_out);
        if (cases[i].left_out_name)
            assert_string_equal(count.left_out_name, cases[i].left_out_name);
        box_done(&box);
    }
}

static void hard_links_share(void **state)
{
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "new/a", 1001);
    assert_int_equal(count_everything(&box).bytes, 1001);
    box_hard_link(&box, "new/a", "../outside");
    assert_int_equal(count_everything(&box).bytes, 500);
    box_hard_link(&box, "new/a", "cur/a");
    assert_int_equal(count_everything(&box).bytes, 2 * 333);
    /* A link to it shares too. */
    box_link(&box, "../cur/a", "cur/b");
    assert_int_equal(count_everything(&box).bytes, 3 * 333);
    assert_int_equal(count_everything(&box).messages, 3 + 3);
    box_done(&box);
}

/* A file may be as large as that in memory alone. */
static void sums_saturate(void **state)
{
    struct box box;

    (void)state;
    if (access("/dev/shm", W_OK) < 0)
        skip_because("there is no /dev/shm");
    box_init_in(&box, "/dev/shm");
    box_put(&box, "a", INT64_MAX);
    assert_int_equal(count_everything(&box).bytes, SIZE_BYTES_MAX);
    box_put(&box, "b", 1);
    box_put(&box, "c", INT64_MAX);
    assert_int_equal(count_everything(&box).bytes, SIZE_BYTES_MAX);
    assert_int_equal(count_everything(&box).messages, 3);
    box_done(&box);
}

static void depth_is_bounded(void **state)
{
    struct maildir_count count;
    char name[2 * MAILDIR_DEPTH_MAX + 16] = "";
    size_t length = 0;
    struct box box;

    (void)state;
    box_init(&box);
    for (int depth = 1; depth <= MAILDIR_DEPTH_MAX + 2; depth++) {
        length += (size_t)snprintf(name + length, sizeof(name) - length, depth > 1 ? "/d" : "d");
        box_mkdir(&box, name);
        (void)snprintf(name + length, sizeof(name) - length, "/f");
        box_put(&box, name, 1);
        name[length] = '\0';
    }
    count = count_everything(&box);
    assert_int_equal(count.bytes, MAILDIR_DEPTH_MAX);
    /* A file and a directory at each level, and the directory in which nothing is counted. */
    assert_int_equal(count.messages, 2 * MAILDIR_DEPTH_MAX + 1);
    assert_int_equal(count.left_out, 1);
    box_done(&box);
}

static void too_many_directories_are_an_error(void **state)
{
    struct maildir_count count = {.bytes = NOT_WRITTEN};
    char name[64];
    struct box box;

    (void)state;
    box_init_many(&box); /* with cur, new and tmp */
    for (int i = 0; i < MAILDIR_FOLDERS_MAX - 3; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        box_mkdir(&box, name);
    }
    assert_int_equal(count_everything(&box).messages, MAILDIR_FOLDERS_MAX);
    box_mkdir(&box, "one-more");
    assert_int_equal(everything_count(box.fd, box.path, box.confine, NULL, &count), -E2BIG);
    assert_int_equal(count.bytes, NOT_WRITTEN);
    box_done(&box);
}

static enum child_result count_as_nobody(void *userdata)
{
    const struct box *box = userdata;
    struct maildir_count count = {.bytes = NOT_WRITTEN};

    if (geteuid() != 0 || !child_become_nobody())
        return CHILD_SKIPPED;
    CHECK(everything_count(box->fd, box->path, box->confine, NULL, &count) == -EACCES);
    CHECK(count.bytes == NOT_WRITTEN);
    return CHILD_PASSED;
}

static void what_may_not_be_read_is_an_error(void **state)
{
    static const struct {
        struct item items[4];
        const char *forbidden;
        mode_t mode;
    } cases[] = {
        {{{'d', "A", 0, NULL}}, "A", 0},
        {{{'d', "A", 0, NULL}, {'f', "A/a", 0, NULL}}, "A", 0644},
        {{{'d', "../x", 0, NULL}, {'f', "../x/a", 0, NULL}, {'l', "a", 0, "../x/a"}}, "../x", 0},
        {{{'d', "../x", 0, NULL}, {'l', "x", 0, "../x"}}, "../x", 0},
        {{}, ".", 0311},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum child_result result;
        struct box box;

        box_init(&box);
        make_items(&box, cases[i].items, ARRAY_SIZE(cases[i].items));
        box_chmod(&box, cases[i].forbidden, cases[i].mode);
        result = child_run(count_as_nobody, &box);
        box_done(&box);
        assert_child_result(result);
    }
}

static void a_descriptor_that_is_no_directory(void **state)
{
    struct maildir_count count;
    char path[PATH_MAX];
    struct box box;
    int fd;

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "file", 5);
    fd = open(box_path(&box, "file", path), O_PATH | O_CLOEXEC);
    assert_return_code(fd, errno);
    assert_int_equal(everything_count(fd, path, box.confine, NULL, &count), -ENOTDIR);
    assert_int_equal(everything_count(-1, path, box.confine, NULL, &count), -EBADF);
    assert_return_code(close(fd), errno);
    /* One that has been removed is empty. */
    box_remove(&box, "../box");
    assert_int_equal(count_everything(&box).messages, 0);
    box_done(&box);
}

/* What Exim does, by paths and by recursion. */
static void exim_count(const char *path, uint64_t *bytes, uint64_t *entries)
{
    DIR *stream = opendir(path);
    const struct dirent *entry;

    assert_non_null(stream);
    while ((entry = readdir(stream))) {
        char text[PATH_MAX];
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        ++*entries;
        assert_in_range(snprintf(text, sizeof(text), "%s/%s", path, entry->d_name), 1,
                        PATH_MAX - 1);
        if (stat(text, &st) < 0)
            continue;
        if (S_ISREG(st.st_mode))
            *bytes += (uint64_t)st.st_size / st.st_nlink;
        else if (S_ISDIR(st.st_mode))
            exim_count(text, bytes, entries);
    }
    assert_return_code(closedir(stream), errno);
}

#define DIRECTORIES 20

/* Puts something into a directory at random, of which there are so many already. */
static void make_something(struct random *random, const struct box *box, int number,
                           char directories[static DIRECTORIES][PATH_MAX], size_t *count)
{
    static const char *const names[] = {"cur", "new", "tmp", ".Sent", "Sent", ".x", "..y"};
    const char *directory = directories[random_below(random, *count)];
    char name[PATH_MAX], other[PATH_MAX];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%.3000s/%d", directory, number);
    switch (random_below(random, 9)) {
    case 0:
    case 1:
        (void)snprintf(name, sizeof(name), "%.3000s/%s", directory,
                       names[random_below(random, ARRAY_SIZE(names))]);
        if (*count == DIRECTORIES || lstat(box_path(box, name, other), &st) == 0)
            return;
        box_mkdir(box, name);
        (void)snprintf(directories[(*count)++], PATH_MAX, "%s", name);
        break;
    case 2:
        (void)snprintf(other, sizeof(other), "../file%zu", random_below(random, 3));
        box_hard_link(box, other, name);
        break;
    case 3:
        /* from wherever it is, out of the mailbox, within the root or to nothing */
        other[0] = '\0';
        for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/'))
            (void)strcat(other, "../");
        (void)strcat(other, random_below(random, 2) == 0 ? "file1" : "nothing");
        box_link(box, other, name);
        break;
    default:
        box_put(box, name, (off_t)random_below(random, 100000));
    }
}

static void trees_at_random(void **state)
{
    struct random random = random_begin("trees_at_random");

    (void)state;
    for (int i = 0; i < 40; i++) {
        char(*directories)[PATH_MAX] = calloc(DIRECTORIES, PATH_MAX);
        uint64_t bytes = 0, entries = 0;
        struct maildir_count count;
        size_t made = 1;
        struct box box;

        assert_non_null(directories);
        box_init(&box);
        (void)strcpy(directories[0], ".");
        for (int j = 0; j < 3; j++) {
            (void)snprintf(directories[1], PATH_MAX, "../file%d", j);
            box_put(&box, directories[1], (off_t)random_below(&random, 100000));
        }
        for (int j = 0; j < 60; j++)
            make_something(&random, &box, j, directories, &made);
        exim_count(box.path, &bytes, &entries);
        count = count_everything(&box);
        assert_int_equal(count.bytes, bytes);
        assert_int_equal(count.messages, entries);
        assert_int_equal(count.directories_read, made);
        free(directories);
        box_done(&box);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts),
        cmocka_unit_test(hard_links_share),
        cmocka_unit_test(sums_saturate),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(too_many_directories_are_an_error),
        cmocka_unit_test(what_may_not_be_read_is_an_error),
        cmocka_unit_test(a_descriptor_that_is_no_directory),
        cmocka_unit_test(trees_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
