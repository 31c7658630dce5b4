/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tree.h"
#include "config/config_file.h"
#include "random.h"
#include "system/cleanup.h"

/* Where the options are read into: each value in brackets behind the option's letter. */
struct target {
    char text[4096];
    bool has_flag;
};

static int add(struct target *target, char letter, const char *value)
{
    size_t used = strlen(target->text);

    if (strcmp(value, "wrong") == 0)
        return -EINVAL;
    if (strcmp(value, "none") == 0)
        return -EIO;
    (void)snprintf(target->text + used, sizeof(target->text) - used, "%c[%.99s]", letter, value);
    return 0;
}

static int read_name(void *target, const char *value)
{
    return add(target, 'n', value);
}

static int read_list(void *target, const char *value)
{
    return add(target, 'l', value);
}

static int read_path(void *target, const char *value)
{
    return add(target, 'p', value);
}

static int read_log(void *target, const char *value)
{
    return add(target, 'g', value);
}

static int read_flag(void *target, const char *value)
{
    struct target *set = target;

    assert_null(value);
    set->has_flag = true;
    return 0;
}

static int read_never(void *target, const char *value)
{
    (void)target;
    (void)value;
    fail_msg("an option of the command line was read");
    return 0;
}

static const struct option_spec first_specs[] = {
    {"list", 0, "VALUE", "a value", "a list", .read = read_list, .repeatable = true},
    {"path", 0, "PATH", "a path", "a path", .read = read_path, .path_or = ""},
};

static const struct option_spec second_specs[] = {
    {"name", 'n', "VALUE", "a value", "a name", .read = read_name},
    {"other-name", 0, "VALUE", "a value", NULL, .read = read_name},
    {"flag", 'f', NULL, NULL, "a flag", .read = read_flag},
    {"log", 0, "PATH|syslog", "a path, or syslog", "a log", .read = read_log, .path_or = "syslog"},
    {"help", 'h', NULL, NULL, "the help", .read = read_never, .command_line_only = true},
    {"config", 0, "FILE", "a path", "a file", .read = read_never, .command_line_only = true},
};

/* A file, what it is read into, and what is said about it. */
struct fixture {
    char folder[64];
    char path[96];
    struct target target, outranked;
    struct option_group groups[2];
    char said[32768];
    char *text;
};

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.folder = "/tmp/test-config-file.XXXXXX"};
    if (!mkdtemp(fixture.folder))
        return -1;
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/conf", fixture.folder);
    fixture.groups[0] = (struct option_group){first_specs, ARRAY_SIZE(first_specs), &fixture.target,
                                              &fixture.outranked, 0};
    fixture.groups[1] = (struct option_group){second_specs, ARRAY_SIZE(second_specs),
                                              &fixture.target, &fixture.outranked, 0};
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    free(fixture->text);
    return tree_remove(fixture->folder);
}

/* Adds the line without the folder's name. */
static void say(const char *line, void *userdata)
{
    struct fixture *fixture = userdata;
    size_t used = strlen(fixture->said), cut = strlen(fixture->folder);

    if (strncmp(line, fixture->folder, cut) == 0)
        line += cut + 1;
    (void)snprintf(fixture->said + used, sizeof(fixture->said) - used, "%s\n", line);
}

static int read_path_of(struct fixture *fixture, const char *path, bool may_be_missing)
{
    free(fixture->text);
    fixture->text = NULL;
    fixture->said[0] = '\0';
    fixture->target = fixture->outranked = (struct target){.text = ""};
    return config_file_read(path, may_be_missing, fixture->groups, ARRAY_SIZE(fixture->groups), say,
                            fixture, &fixture->text);
}

static int read_bytes(struct fixture *fixture, const char *bytes, size_t length)
{
    {
        _cleanup_(fclosep) FILE *file = fopen(fixture->path, "w");

        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, length, file), length);
    }
    return read_path_of(fixture, fixture->path, false);
}

/* Fails unless the file is right, sets that, and keeps that text. */
static void check(struct fixture *fixture, const char *file, const char *set, const char *text)
{
    assert_int_equal(read_bytes(fixture, file, strlen(file)), 0);
    assert_string_equal(fixture->said, "");
    assert_string_equal(fixture->target.text, set);
    assert_string_equal(fixture->text, text);
}

/* Fails unless that is said about the file. */
static void check_wrong(struct fixture *fixture, const char *file, const char *said)
{
    assert_int_equal(read_bytes(fixture, file, strlen(file)), -EINVAL);
    assert_string_equal(fixture->said, said);
    assert_null(fixture->text);
}

static void what_lines_set(void **state)
{
    struct fixture *fixture = *state;

    check(fixture, "", "", "");
    check(fixture, "\n", "", "");
    check(fixture, "name = x\n", "n[x]", "name=x\n");
    check(fixture, "name=x", "n[x]", "name=x\n");
    check(fixture, "other-name = x\n", "n[x]", "other-name=x\n");
    check(fixture, "list = a\nname = x\nlist = b\n", "l[a]n[x]l[b]", "list=a\nname=x\nlist=b\n");
    check(fixture, "path = /a\nlog = /b\n", "p[/a]g[/b]", "path=/a\nlog=/b\n");
    check(fixture, "log = syslog\n", "g[syslog]", "log=syslog\n");
    check(fixture, "flag = no\n", "", "flag=no\n");
    assert_false(fixture->target.has_flag);
    check(fixture, "flag = yes\n", "", "flag=yes\n");
    assert_true(fixture->target.has_flag);
}

static void blanks_and_comments(void **state)
{
    struct fixture *fixture = *state;

    check(fixture, "# name = y\n#\n\n \t\n\t # name = z\n \tname\t =  a  b \t\n", "n[a  b]",
          "name=a  b\n");
    check(fixture, "name = a # b\nlist = \"c\"\nlist = d = e\nlist=\\f\\", /* nothing is quoted */
          "n[a # b]l[\"c\"]l[d = e]l[\\f\\]", "name=a # b\nlist=\"c\"\nlist=d = e\nlist=\\f\\\n");
}

static void how_other_systems_write_files(void **state)
{
    struct fixture *fixture = *state;

    check(fixture, "name = x\r\nlist = a b\r\n\r\n# c\r\nflag = no\r\n", "n[x]l[a b]",
          "name=x\nlist=a b\nflag=no\n");
    check(fixture, "\xef\xbb\xbfname = x\n", "n[x]", "name=x\n");
    check(fixture, "\xef\xbb\xbf# x\n", "", "");
    check(fixture, "name = J\xc3\xb6rg \xff\n", "n[J\xc3\xb6rg \xff]", "name=J\xc3\xb6rg \xff\n");
    /* UTF-16 */
    assert_int_equal(read_bytes(fixture, "\xff\xfen\0a\0\n\0", 8), -EINVAL);
    assert_string_equal(fixture->said, "conf:1: there is a NUL byte in this line\n"
                                       "conf:2: there is a NUL byte in this line\n");
}

static void lines_that_are_wrong(void **state)
{
    struct fixture *fixture = *state;

    check_wrong(fixture, "nome = x\n", "conf:1: there is no option nome; --help lists them\n");
    check_wrong(fixture, "\n--name = x", "conf:2: there is no option --name; --help lists them\n");
    check_wrong(fixture, "n = x", "conf:1: there is no option n; --help lists them\n");
    check_wrong(fixture, "nam = x", "conf:1: there is no option nam; --help lists them\n");
    check_wrong(fixture, "= x", "conf:1: there is no option without a name; --help lists them\n");
    check_wrong(fixture, "name", "conf:1: name needs a value: a value\n");
    check_wrong(fixture, "name = \n", "conf:1: name needs a value: a value\n");
    check_wrong(fixture, "flag", "conf:1: flag needs a value: yes or no\n");
    check_wrong(fixture, "flag = Yes", "conf:1: flag = Yes is not accepted: it takes yes or no\n");
    check_wrong(fixture, "name = wrong",
                "conf:1: name = wrong is not accepted: it takes a value\n");
    check_wrong(fixture, "help = yes", "conf:1: help is for the command line only\n");
    check_wrong(fixture, "config = /x", "conf:1: config is for the command line only\n");
    check_wrong(fixture, "path = a/b", "conf:1: path = a/b is not accepted: it takes a path\n");
    check_wrong(fixture, "path = ~/b", "conf:1: path = ~/b is not accepted: it takes a path\n");
    check_wrong(fixture, "log = a",
                "conf:1: log = a is not accepted: it takes a path, or syslog\n");
    assert_int_equal(read_bytes(fixture, "name = none", 11), -EIO);
    assert_string_equal(fixture->said, "conf:1: name = none: Input/output error\n");
}

static void options_that_are_set_twice(void **state)
{
    struct fixture *fixture = *state;

    check_wrong(fixture, "name = x\n\nname = x\n", "conf:3: name is already set in line 1\n");
    check_wrong(fixture, "flag = no\nflag = yes\n", "conf:2: flag is already set in line 1\n");
    check_wrong(fixture, "name = x\nother-name = y\n",
                "conf:2: other-name is already set in line 1\n");
    assert_string_equal(fixture->target.text, "n[x]");
}

static void the_command_line_outranks_the_file(void **state)
{
    struct fixture *fixture = *state;
    static const char file[] = "name = x\nlist = a\nlist = b\npath = /p\n";

    fixture->groups[0].given = 1 << 0;
    fixture->groups[1].given = 1 << 0;
    check(fixture, file, "p[/p]", "name=x\nlist=a\nlist=b\npath=/p\n");
    assert_string_equal(fixture->outranked.text, "n[x]l[a]l[b]");
    /* Lines that mean nothing may not be wrong either. */
    check_wrong(fixture, "other-name = wrong",
                "conf:1: other-name = wrong is not accepted: it takes a value\n");
}

static void every_wrong_line_is_reported(void **state)
{
    struct fixture *fixture = *state;
    char file[2048] = "", said[4096] = "";

    for (int line = 1; line <= 23; line++) {
        strcat(file, line == 2 ? "name = x\n" : "wrong\n");
        if (line != 2 && line <= CONFIG_FILE_FAULTS_MAX + 1)
            (void)snprintf(said + strlen(said), sizeof(said) - strlen(said),
                           "conf:%d: there is no option wrong; --help lists them\n", line);
    }
    strcat(said, "conf: and 2 more\n");
    check_wrong(fixture, file, said);
    assert_string_equal(fixture->target.text, "n[x]"); /* the others are still read */
}

static void lines_of_any_length(void **state)
{
    struct fixture *fixture = *state;
    static char file[CONFIG_FILE_BYTES_MAX];

    memset(file, 'x', sizeof(file));
    memcpy(file, "name = ", 7);
    assert_int_equal(read_bytes(fixture, file, sizeof(file)), 0);
    assert_int_equal(strlen(fixture->text), sizeof(file) - 2 + 1);
    memcpy(file, "path = ", 7);
    assert_int_equal(read_bytes(fixture, file, sizeof(file)), -EINVAL);
    assert_int_equal(strncmp(fixture->said, "conf:1: path = xxx", 18), 0);
    memset(file, 'x', 7);
    assert_int_equal(read_bytes(fixture, file, sizeof(file)), -EINVAL);
    memset(file, ' ', sizeof(file));
    assert_int_equal(read_bytes(fixture, file, sizeof(file)), 0);
}

/* Fails unless the file at path cannot be read, and that is said. */
static void check_unreadable(struct fixture *fixture, const char *path, int result, const char *why)
{
    char said[256];

    assert_int_equal(read_path_of(fixture, path, false), result);
    (void)snprintf(said, sizeof(said), "%s: %s\n", strcmp(path, fixture->path) == 0 ? "conf" : path,
                   why);
    assert_string_equal(fixture->said, said);
    assert_null(fixture->text);
}

static void files_that_cannot_be_read(void **state)
{
    struct fixture *fixture = *state;
    char inside[128];

    check_unreadable(fixture, fixture->path, -ENOENT,
                     "cannot be opened: No such file or directory");
    assert_int_equal(read_path_of(fixture, fixture->path, true), 0);
    assert_string_equal(fixture->said, "");
    assert_null(fixture->text);

    check_unreadable(fixture, "/tmp", -EINVAL, "is not a regular file");
    assert_return_code(symlink("nowhere", fixture->path), errno);
    assert_int_equal(read_path_of(fixture, fixture->path, true), -ENOENT);
    assert_return_code(unlink(fixture->path), errno);
    assert_int_equal(read_path_of(fixture, "/tmp", true), -EINVAL);
    check_unreadable(fixture, "/dev/null", -EINVAL, "is not a regular file");
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    check_unreadable(fixture, fixture->path, -EINVAL, "is not a regular file");
    assert_int_equal(unlink(fixture->path), 0);

    assert_int_equal(read_bytes(fixture, "", 0), 0);
    assert_int_equal(truncate(fixture->path, (off_t)CONFIG_FILE_BYTES_MAX + 1), 0);
    check_unreadable(fixture, fixture->path, -EFBIG, "is larger than 1 MiB");
    (void)snprintf(inside, sizeof(inside), "%s/x", fixture->path);
    assert_int_equal(read_path_of(fixture, inside, true), -ENOTDIR);
}

/* Whatever a file holds, it is read or not, and what is kept of it means the same. */
static void any_file_is_read_or_not(void **state)
{
    static const char *const pieces[] = {
        "name", "list", "flag", "path", " ",      "\t",      "=",   "\n",     "\r\n",        "#",
        "/",    "\0",   "x",    "yes",  " = a\n", "list = ", "log", "syslog", "\xef\xbb\xbf"};
    struct fixture *fixture = *state;
    struct random random = random_begin("any_file_is_read_or_not");
    struct target target;
    char file[256];
    int rights = 0;

    for (int i = 0; i < 2000; i++) {
        size_t length = 0;

        for (size_t count = random_below(&random, 12); count > 0; count--) {
            const char *piece = pieces[random_below(&random, ARRAY_SIZE(pieces))];
            size_t piece_length = *piece == '\0' ? 1 : strlen(piece);

            memcpy(file + length, piece, piece_length);
            length += piece_length;
        }
        if (read_bytes(fixture, file, length) < 0) {
            assert_string_not_equal(fixture->said, "");
            continue;
        }
        rights++;
        target = fixture->target;
        (void)snprintf(file, sizeof(file), "%s", fixture->text);
        check(fixture, file, target.text, file);
        assert_int_equal(fixture->target.has_flag, target.has_flag);
    }
    assert_in_range(rights, 10, 1990);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_lines_set),
        TEST(blanks_and_comments),
        TEST(how_other_systems_write_files),
        TEST(lines_that_are_wrong),
        TEST(options_that_are_set_twice),
        TEST(the_command_line_outranks_the_file),
        TEST(every_wrong_line_is_reported),
        TEST(lines_of_any_length),
        TEST(files_that_cannot_be_read),
        TEST(any_file_is_read_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
