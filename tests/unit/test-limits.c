/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../tree.h"
#include "child.h"
#include "filter.h"
#include "quota/limits.h"
#include "random.h"
#include "system/cleanup.h"

#define X16(x) x x x x x x x x x x x x x x x x

/* Every test has a directory of its own. */
struct directory {
    char path[64];
};

static int make_directory(void **state)
{
    static struct directory directory;

    strcpy(directory.path, "/tmp/test-limits.XXXXXX");
    *state = &directory;
    return mkdtemp(directory.path) ? 0 : -1;
}

static int remove_directory(void **state)
{
    const struct directory *directory = *state;

    return tree_remove(directory->path);
}

/* Writes the path of file number into path, which has room for it. */
static void file_path(const struct directory *directory, size_t number, char path[128])
{
    (void)snprintf(path, 128, "%s/%zu", directory->path, number);
}

static void write_file(const char *path, const char *text, size_t length)
{
    _cleanup_(fclosep) FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
}

static struct limits *load_file(const char *path)
{
    char error[LIMITS_ERROR_BYTES_MAX];
    struct limits *limits;

    if (limits_load(path, &limits, error) < 0)
        fail_msg("%s: %s", path, error);
    return limits;
}

static struct limits *load_bytes(const struct directory *directory, const char *text, size_t length)
{
    char path[128];

    file_path(directory, 0, path);
    write_file(path, text, length);
    return load_file(path);
}

static struct limits *load_text(const struct directory *directory, const char *text)
{
    return load_bytes(directory, text, strlen(text));
}

static struct address parse_address(const char *text)
{
    struct address address;
    const char *why = "";

    if (address_parse(text, strlen(text), "", &address, &why) < 0)
        fail_msg("%s: %s", text, why);
    return address;
}

/* Returns the limit as text: "SIZE,NNNC", "-" if there is none, or "!" if it is unusable. */
static void limit_text(enum limits_answer answer, struct quota_limit limit, char text[64])
{
    if (answer == LIMITS_FOUND)
        (void)snprintf(text, 64, "%" PRIu64 ",%" PRIu64 "C", limit.bytes, limit.messages);
    else
        strcpy(text, answer == LIMITS_NONE ? "-" : "!");
}

static void look_up(const struct limits *limits, const char *address_text, char text[64])
{
    struct limits_entry entry = {};
    enum limits_answer answer;

    if (strcmp(address_text, "*") == 0) {
        answer = limits_lookup_default(limits, &entry);
    } else {
        struct address address = parse_address(address_text);

        answer = limits_lookup(limits, &address, &entry);
    }
    limit_text(answer, entry.limit, text);
}

/* Files that Exim and we read alike. The address "*" stands for the default alone. */
static const struct {
    const char *file;
    const char *address;
    const char *limit;
} entries[] = {
    /* nothing */
    {"", "u@d", "-"},
    {"", "*", "-"},
    {"\n", "u@d", "-"},
    {"# u@d: 1\n", "u@d", "-"},
    {" \t\n\n", "u@d", "-"},
    /* what ends a key, and what stands between it and its value */
    {"u@d:1", "u@d", "1,0C"},
    {"u@d:1\n", "u@d", "1,0C"},
    {"u@d: 1\n", "u@d", "1,0C"},
    {"u@d 1\n", "u@d", "1,0C"},
    {"u@d\t1\n", "u@d", "1,0C"},
    {"u@d : 1\n", "u@d", "1,0C"},
    {"u@d \t:\t 1\n", "u@d", "1,0C"},
    {"u@d\v1\n", "u@d", "1,0C"},
    {"u@d\f: 1\n", "u@d", "1,0C"},
    /* values */
    {"u@d: 0\n", "u@d", "0,0C"},
    {"u@d: 2G\n", "u@d", "2147483648,0C"},
    {"u@d: 2g\n", "u@d", "2147483648,0C"},
    {"u@d: 1K,7C\n", "u@d", "1024,7C"},
    {"u@d: 7C,1K\n", "u@d", "1024,7C"},
    {"u@d: 7C\n", "u@d", "0,7C"},
    {"u@d: 1K , 7C\n", "u@d", "1024,7C"},
    {"u@d: 1K,\t7C\n", "u@d", "1024,7C"},
    {"u@d: 9223372036854775807\n", "u@d", "9223372036854775807,0C"},
    {"u@d: unlimited\n", "u@d", "0,0C"},
    {"u@d:\n Unlimited \n", "u@d", "0,0C"},
    {"u@d NONE", "u@d", "0,0C"},
    /* white space at the end of a line and of the file, other line ends */
    {"u@d: 1  \nx: 2\n", "u@d", "1,0C"},
    {"u@d: 1\r\nx: 2\r\n", "u@d", "1,0C"},
    {"u@d: 1\r\nx: 2\r\n", "a@x", "2,0C"},
    {"u@d: 1 \t", "u@d", "1,0C"},
    {"u@d: 1\n  ", "u@d", "1,0C"},
    {"u@d: 1\n\n\n", "u@d", "1,0C"},
    /* letters have no case, ASCII alone */
    {"U@D: 1\n", "u@d", "1,0C"},
    {"u@d: 1\n", "U@D", "1,0C"},
    {"\"\\x55@D\": 1\n", "u@d", "1,0C"},
    {"\xc3\xbc@d: 1\n", "\xc3\xbc@d", "1,0C"},
    {"\xc3\xbc@d: 1\n", "\xc3\x9c@d", "-"},
    /* the first of equal keys holds */
    {"u@d: 1\nu@d: 2\n", "u@d", "1,0C"},
    {"u@d: 1\nU@D: 2\n\"u@d\": 3\n", "u@d", "1,0C"},
    {"d: 1\n*: 2\nd: 3\n*: 4\n", "u@d", "1,0C"},
    {"d: 1\n*: 2\nd: 3\n*: 4\n", "u@e", "2,0C"},
    /* quoted keys */
    {"\"u@d\": 1\n", "u@d", "1,0C"},
    {"\"u@d\" 1\n", "u@d", "1,0C"},
    {"\"u@d\" : 1\n", "u@d", "1,0C"},
    {"\"u@d\"1\n", "u@d", "1,0C"},
    {"\"u@d\":1\n", "u@d", "1,0C"},
    {"\"john doe@d\": 1\n", "\"john doe\"@d", "1,0C"},
    {"\"a:b@d\": 1\n", "a:b@d", "1,0C"},
    {"\"u@[ipv6:::1]\": 1\n", "u@[IPv6:::1]", "1,0C"},
    {"\"#u@d\": 1\n", "#u@d", "1,0C"},
    {"\"*\": 1\n", "*", "1,0C"},
    {"\"a\\\"b@d\": 1\n", "\"a\\\"b\"@d", "1,0C"},
    {"\"a\\\\b@d\": 1\n", "\"a\\\\b\"@d", "1,0C"},
    {"\"\\165\\x40\\144\": 1\n", "u@d", "1,0C"},
    {"\"\\1653@d\": 1\n", "u3@d", "1,0C"},
    {"\"a\\569@d\": 1\n", "a.9@d", "1,0C"},
    {"\"\\8@d\": 1\n", "8@d", "1,0C"},
    {"\"\\x758@d\": 1\n", "u8@d", "1,0C"},
    {"\"\\x2Du@d\": 1\n", "-u@d", "1,0C"},
    {"\"\\x2du@d\": 1\n", "-u@d", "1,0C"},
    {"\"\\465@d\": 1\n", "5@d", "1,0C"},
    {"\"\\u@\\d\": 1\n", "u@d", "1,0C"},
    {"\"u@d\"\n  1\n", "u@d", "1,0C"},
    /* a # or a quote within a line is nothing special */
    {"u#1@d: 1\n", "u#1@d", "1,0C"},
    {"u\"1@d: 1\n", "u\"1@d", "1,0C"},
    {"u\\x@d: 1\n", "u\\x@d", "1,0C"},
    /* lines that continue a value */
    {"u@d:\n 1\n", "u@d", "1,0C"},
    {"u@d\n 1\n", "u@d", "1,0C"},
    {"u@d\n 1\nd: 2\n", "x@d", "2,0C"},
    {"u@d:\n\t \t1,\n\t7C\nd: 2\n", "u@d", "1,7C"},
    {"u@d: 1,\n 7C\nd: 2\n", "u@d", "1,7C"},
    {"u@d: 1\n  ,7C\nd: 2\n", "x@d", "2,0C"},
    {"u@d: 1\n  ,7C", "u@d", "1,7C"},
    {"u@d: 1 \r\n\t,7C \r\n", "u@d", "1,7C"},
    {"u@d: 1\n ,\n 7C\n", "u@d", "1,7C"},
    {"u@d:" X16(X16(X16(" "))) " 1," X16(X16(X16(" "))) " 7C\n", "u@d", "1,7C"},
    {"u@d: 1," X16(X16(X16(" "))) "\n" X16(X16(X16(" "))) " 7C\nd: 2\n", "u@d", "1,7C"},
    /* comments and empty lines between entries, an indented comment below one of these */
    {"# one\nu@d: 1\n# two\n\nd: 2\n#", "u@d", "1,0C"},
    {"# one\nu@d: 1\n# two\n\nd: 2\n#", "x@d", "2,0C"},
    {"\n  # one\nu@d: 1\n\n\t# two\n# three\n  # four\nd: 2\n", "u@d", "1,0C"},
    {"\n  # one\nu@d: 1\n\n\t# two\n# three\n  # four\nd: 2\n", "x@d", "2,0C"},
    {"#" X16(X16(X16("x"))) "\n#" X16(X16(X16(" "))) "u@d: 1\nu@d: 2\n", "u@d", "2,0C"},
    /* the order: address, *@domain, domain, * */
    {"*: 1\nd: 2\n*@d: 3\nu@d: 4\n", "u@d", "4,0C"},
    {"*: 1\nd: 2\n*@d: 3\nu@d: 4\n", "x@d", "3,0C"},
    {"*: 1\nd: 2\nu@d: 4\n", "x@d", "2,0C"},
    {"*: 1\nd: 2\n*@d: 3\nu@d: 4\n", "u@x", "1,0C"},
    {"*: 1\nd: 2\n*@d: 3\nu@d: 4\n", "*", "1,0C"},
    {"d: 2\n*@d: 3\nu@d: 4\n", "u@x", "-"},
    {"d: 2\n*@d: 3\nu@d: 4\n", "*", "-"},
    {"*@d: 3\nx: 1\n", "\"a@x\"@d", "3,0C"},
    {"*@d: 3\n", "u@dd", "-"},
    {"*@d: 3\n", "u@x.d", "-"},
    {"d: 3\n", "u@x.d", "-"},
    {"u: 3\n", "u@d", "-"},
    /* 0 is an answer */
    {"*: 1\nd: 2\n*@d: 3\nu@d: 0\n", "u@d", "0,0C"},
    {"*: 1\nd: 0\n", "u@d", "0,0C"},
    {"*: 1\n*@d: 0C\nd: 1\n", "u@d", "0,0C"},
    {"*: 1\n*@d: none\nd: 1\n", "u@d", "0,0C"},
};

static void entries_are_read(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        _cleanup_(limits_freep) struct limits *limits = load_text(*state, entries[i].file);
        char text[64];

        look_up(limits, entries[i].address, text);
        if (strcmp(text, entries[i].limit) != 0)
            fail_msg("%s has %s instead of %s in:\n%s", entries[i].address, text, entries[i].limit,
                     entries[i].file);
    }
}

/* The path of Exim, or NULL where there is none to compare with. */
static const char *exim_path(void)
{
    static const char *const paths[] = {"/usr/sbin/exim4", "/usr/sbin/exim", "/usr/exim/bin/exim"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    return NULL;
}

/* Questions to Exim: one line for each lookup of one key, expanded by one process. */
struct exim {
    char script_path[128];
    FILE *script;
    FILE *answers;
};

static struct exim exim_begin(const struct directory *directory)
{
    struct exim exim = {};

    (void)snprintf(exim.script_path, sizeof(exim.script_path), "%s/script", directory->path);
    exim.script = fopen(exim.script_path, "w");
    assert_non_null(exim.script);
    return exim;
}

/* Asks for a key, every byte of which is escaped, so that none has a meaning for the expansion. */
static void exim_ask_key(struct exim *exim, const char *file, const char *key, size_t length)
{
    (void)fprintf(exim->script, "${lookup{");
    for (size_t i = 0; i < length; i++)
        (void)fprintf(exim->script, "\\x%02x", (unsigned char)key[i]);
    (void)fprintf(exim->script, "}lsearch{%s}{=$value}{-}}\n", file);
}

/* Asks for everything that is looked up for an address; "*" is the default alone. */
static void exim_ask(struct exim *exim, const char *file, const char *address_text)
{
    if (strcmp(address_text, "*") != 0) {
        struct address address = parse_address(address_text);
        const char *domain = address_domain(&address);
        char any[ADDRESS_MAX];

        (void)snprintf(any, sizeof(any), "*@%s", domain);
        exim_ask_key(exim, file, address.text, strlen(address.text));
        exim_ask_key(exim, file, any, strlen(any));
        exim_ask_key(exim, file, domain, strlen(domain));
    }
    exim_ask_key(exim, file, "*", 1);
}

static void exim_run(struct exim *exim)
{
    char command[256];

    assert_int_equal(fclose(exim->script), 0);
    (void)snprintf(command, sizeof(command), "%s -C /dev/null -be <%s", exim_path(),
                   exim->script_path);
    exim->answers = popen(command, "r");
    assert_non_null(exim->answers);
}

/* Leaves out the blanks at the ends and beside a comma, as the limits file allows them there. */
static void normalise(char *text)
{
    char *out = text, last = ',';

    for (char *in = text; *in; in++) {
        size_t blanks = strspn(in, " \t\n\v\f\r");
        char next = in[blanks];

        if (blanks == 0)
            last = *out++ = *in;
        else if (last != ',' && next != ',' && next != '\0')
            last = *out++ = ' ';
        if (blanks > 1)
            in += blanks - 1;
    }
    *out = '\0';
}

/* Reads the answer about one key. Returns whether there is an entry, and its limit. */
static bool exim_answer_key(struct exim *exim, struct quota_limit *ret)
{
    _cleanup_(freep) char *line = NULL;
    size_t size = 0;

    assert_true(getline(&line, &size, exim->answers) > 0);
    if (strcmp(line, "> -\n") == 0)
        return false;
    if (strncmp(line, "> =", 3) != 0)
        fail_msg("Exim says %s", line);
    normalise(line + 3);
    if (size_parse_limit(line + 3, strlen(line + 3), ret) < 0)
        fail_msg("Exim reads the limit \"%s\"", line + 3);
    return true;
}

/* Reads the answers to one exim_ask() as text: the first entry counts. */
static void exim_answer(struct exim *exim, const char *address_text, char text[64])
{
    size_t keys = strcmp(address_text, "*") == 0 ? 1 : 4;
    struct quota_limit limit = {};
    bool found = false;

    while (keys-- > 0) {
        struct quota_limit ignored;

        if (exim_answer_key(exim, found ? &ignored : &limit))
            found = true;
    }
    limit_text(found ? LIMITS_FOUND : LIMITS_NONE, limit, text);
}

static void exim_end(struct exim *exim)
{
    assert_int_equal(pclose(exim->answers), 0);
}

static void exim_reads_the_same_entries(void **state)
{
    struct exim exim;
    char path[128], text[64];

    if (!exim_path())
        skip_because("there is no Exim");
    exim = exim_begin(*state);
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        file_path(*state, i, path);
        write_file(path, entries[i].file, strlen(entries[i].file));
        exim_ask(&exim, path, entries[i].address);
    }
    exim_run(&exim);
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        exim_answer(&exim, entries[i].address, text);
        if (strcmp(text, entries[i].limit) != 0)
            fail_msg("%s has %s instead of %s for Exim in:\n%s", entries[i].address, text,
                     entries[i].limit, entries[i].file);
    }
    exim_end(&exim);
}

static const char *pick(struct random *random, const char *const *choices, size_t count)
{
    return choices[random_below(random, count)];
}

/* Writes a file of a few entries, which may have gone wrong, with a few odd bytes in some. */
static size_t random_file(struct random *random, char text[4096])
{
    static const char *const keys[] = {
        "a@x",       "A@X",           "b@x", "*@x",       "x",           "X",
        "*",         "*@y",           "y",   "\"a b@x\"", "\"a\\x40x\"", "\"\\141@x\"",
        "\"a:b@x\"", "\"\\*@\\x79\"", "c"};
    static const char *const separators[] = {":", ": ", " ", " : ", "\t", ":\n ", "\n\t", " \t:  "};
    static const char *const values[] = {"1",        "2G",           "3M,4C", "5C", "0",    "6 ,7C",
                                         "8,\n\t9C", "10\n , \n11C", "none",  "",   "12 13"};
    static const char *const ends[] = {"\n",          "\n",          "\n",         "\r\n",
                                       " \n",         "\n\n",        "\n# note\n", "\n \t\n",
                                       "\n#1\n #2\n", "\n\n  # 3\n", "\n #4\n",    "\n\n 5C\n"};
    size_t used = 0;

    for (size_t lines = random_below(random, 8); lines > 0; lines--) {
        bool odd = random_below(random, 40) == 0;

        used += (size_t)snprintf(text + used, 4096 - used, "%s%s%s%s",
                                 pick(random, keys, ARRAY_SIZE(keys)),
                                 pick(random, separators, ARRAY_SIZE(separators)),
                                 pick(random, values, ARRAY_SIZE(values) - (odd ? 0 : 2)),
                                 pick(random, ends, ARRAY_SIZE(ends) - (odd ? 0 : 2)));
    }
    if (used > 0 && random_below(random, 8) == 0)
        text[random_below(random, used)] = " \t\n#:\"\\,*@"[random_below(random, 10)];
    if (used > 0 && random_below(random, 4) == 0)
        used--;
    return used;
}

static const char *const asked[] = {"a@x", "b@x", "\"a b\"@x", "a:b@x", "q@x",
                                    "a@y", "q@y", "q@z",       "q@c",   "*"};

/* What we read of one file that Exim is asked about too. */
struct reading {
    char limits[ARRAY_SIZE(asked)][64];
};

static void exim_agrees_on_random_files(void **state)
{
    struct random random = random_begin("limits");
    static struct reading readings[400];
    size_t accepted = 0, answered = 0;
    struct exim exim;

    if (!exim_path())
        skip_because("there is no Exim");
    exim = exim_begin(*state);
    while (accepted < ARRAY_SIZE(readings)) {
        _cleanup_(limits_freep) struct limits *limits = NULL;
        char path[128], text[4096];

        file_path(*state, accepted, path);
        write_file(path, text, random_file(&random, text));
        limits = load_file(path);
        if (limits_faults(limits)->count > 0)
            continue; /* Exim reads it otherwise */
        for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
            look_up(limits, asked[i], readings[accepted].limits[i]);
            exim_ask(&exim, path, asked[i]);
        }
        accepted++;
    }
    exim_run(&exim);
    for (size_t i = 0; i < accepted; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(asked); j++) {
            char text[64];

            exim_answer(&exim, asked[j], text);
            answered += text[0] != '-';
            if (strcmp(text, readings[i].limits[j]) != 0)
                fail_msg("file %zu: %s has %s, for Exim %s", i, asked[j], readings[i].limits[j],
                         text);
        }
    }
    exim_end(&exim);
    assert_true(answered > accepted);
}

/* A text with its length, so that it may hold a NUL. */
#define TEXT(literal) literal, sizeof(literal) - 1

static void faults_are_named(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        size_t line;
        const char *why; /* a part of the message */
    } cases[] = {
        /* values */
        {TEXT("u@d:\n"), 1, "no limit after the key; write 0"},
        {TEXT("u@d"), 1, "no limit after the key"},
        {TEXT("\"u@d\"\n"), 1, "no limit after the key"},
        {TEXT("u@d:\nd: 1\n"), 1, "no limit after the key"},
        {TEXT("u@d:\n\n 1\n"), 1, "no limit after the key"},
        {TEXT("u@d: lots\n"), 1, "\"lots\" is not a limit; write a size (500M; K, M, G, T)"},
        {TEXT("u@d: 1,\n"), 1, "\"1,\" is not a limit"},
        {TEXT("u@d: 1,2\n"), 1, "\"1,2\" is not a limit"},
        {TEXT("u@d: -1\n"), 1, "\"-1\" is not a limit"},
        {TEXT("u@d: 1 G\n"), 1, "\"1 G\" is not a limit"},
        {TEXT("u@d: 1\n G\n"), 1, "\"1 G\" is not a limit"},
        {TEXT("u@d:: 1\n"), 1, "\": 1\" is not a limit"},
        {TEXT("u@d 1: 2\n"), 1, "\"1: 2\" is not a limit"},
        {TEXT("u@d: 1 # much\n"), 1, "\"1 # much\" is not a limit"},
        {TEXT("u@d: 1\n # much\n"), 1, "\"1 # much\" is not a limit"},
        {TEXT("u@d: 1\n  d: 2\n"), 1, "\"1 d: 2\" is not a limit"},
        {TEXT("u@d: \"1\"\n"), 1, "\"\"1\"\" is not a limit"},
        {TEXT("u@d: \x1b[2J\xc3\xbc\n"), 1, "\"?[2J\?\?\" is not a limit"},
        {TEXT("u@d: 0123456789012345678901234567890123456789x\n"), 1,
         "\"0123456789012345678901234567890123456789\" is not a limit"},
        {TEXT("u@d: 9223372036854775808\n"), 1, "\"9223372036854775808\" is too large"},
        {TEXT("u@d: 8388608T\n"), 1, "too large; the largest limit is 9223372036854775807"},
        /* keys */
        {TEXT("u@d: 1\n: 1\n"), 2, "no address can match the key: the domain is empty"},
        {TEXT("\"\": 1\n"), 1, "the domain is empty"},
        {TEXT("\"u@d: 1\n"), 1, "no closing quote"},
        {TEXT("\"u@d\\\": 1\n"), 1, "no closing quote"},
        {TEXT("\"u@d\\"), 1, "no closing quote"},
        {TEXT("\""), 1, "no closing quote"},
        {TEXT("\"\n\": 1\n"), 1, "no closing quote"},
        {TEXT("@d: 1\n"), 1, "local part is empty; a key is user@domain, *@domain, domain, or *"},
        {TEXT("u@: 1\n"), 1, "domain is empty"},
        {TEXT("*.d: 1\n"), 1, "neither a name"},
        {TEXT("u@*: 1\n"), 1, "neither a name"},
        {TEXT("d.: 1\n"), 1, "ends with a dot"},
        {TEXT("a b: 1\n"), 1, "\"b: 1\" is not a limit"},
        {TEXT("\"a b\": 1\n"), 1, "neither a name"},
        {TEXT("u/v@d: 1\n"), 1, "slash"},
        {TEXT("\"u\\0@d\": 1\n"), 1, "control character"},
        {TEXT("\"u\\x@d\": 1\n"), 1, "control character"},
        {TEXT("\"\\b\": 1\n"), 1, "control character"},
        {TEXT("\"\\f\": 1\n"), 1, "control character"},
        {TEXT("\"\\n\": 1\n"), 1, "control character"},
        {TEXT("\"\\r\": 1\n"), 1, "control character"},
        {TEXT("\"\\t\": 1\n"), 1, "control character"},
        {TEXT("\"\\v\": 1\n"), 1, "control character"},
        {TEXT("\xfc@d: 1\n"), 1, "UTF-8"},
        {TEXT(X16(X16("a")) "@d: 1\n"), 1, "local part is longer than 255"},
        {TEXT(X16(X16("d")) ": 1\n"), 1, "longer than 255"},
        /* lines that continue nothing */
        {TEXT(" u@d: 1\n"), 1, "begins with white space"},
        {TEXT("# one\n\tu@d: 1\n"), 2, "begins with white space"},
        {TEXT("u@d: 1\n\n ,7C\n"), 3, "begins with white space"},
        {TEXT("u@d: 1\n# and\n ,7C\n"), 3, "begins with white space"},
        {TEXT("u@d: 1,\n 2C\n \n x\n"), 4, "begins with white space"},
        /* what is no plain text */
        {TEXT("u@d: 1\0\n"), 1, "NUL byte"},
        {TEXT("u@d:\0\n"), 1, "NUL byte"},
        {TEXT("u@d: 1,\n 2C\0\n"), 1, "NUL byte"},
        {TEXT("\0"), 1, "control character"},
        {TEXT("u\0@d: 1\n"), 1, "control character"},
        {TEXT("u@d: 1\n\n# \n\0"), 4, "control character"},
        {TEXT("u@d: 1\n# \0\nd: 2\n"), 2, "NUL byte"},
        {TEXT("u@d: 1\n# x\n \0\n"), 3, "NUL byte"},
        {TEXT("\xef\xbb\xbfx\n"), 1, "no limit after the key"},
        {TEXT("u@d: 1\n\xef\xbb\xbf*: 1\n"), 2, "neither a name"},
        /* the number of the line */
        {TEXT("d: 1\nu@d: 1\nx\n"), 3, "no limit"},
        {TEXT("d: 1,\n 7C\nx\n"), 3, "no limit"},
        {TEXT("d:\n 1\n ,\n 7C\n\n# a\n\n #b\nx: y\nz:"), 9, "\"y\" is not a limit"},
        {TEXT("d: 1\r\n\r\nx\r\n"), 3, "no limit"},
        {TEXT("d:\n 1\n x\nu@d: 1\n"), 1, "\"1 x\" is not a limit"},
        /* what an equal key further up hides is checked too */
        {TEXT("d: 1\nd: x\n"), 2, "\"x\" is not a limit"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(limits_freep) struct limits *limits =
            load_bytes(*state, cases[i].text, cases[i].length);
        const struct limits_faults *faults = limits_faults(limits);
        const struct limits_fault *first = &faults->first[0];

        if (faults->count == 0)
            fail_msg("accepted: %s", cases[i].text);
        if (first->line != cases[i].line || !strstr(first->text, cases[i].why))
            fail_msg("line %zu: %s, instead of line %zu: %s, in:\n%s", first->line, first->text,
                     cases[i].line, cases[i].why, cases[i].text);
        assert_true(strlen(first->text) < sizeof(first->text) - 1);
    }
}

/* Faults, and what they leave in force. "faults" are the lines that they are in. */
static const struct {
    const char *file;
    const char *faults;
    const char *address;
    const char *limit;
} faulty[] = {
    /* a key whose value is not a limit is unusable, and hides what is less exact */
    {"u@d: x\nd: 2\n*: 3\n", "1", "u@d", "!"},
    {"u@d: x\nd: 2\n*: 3\n", "1", "v@d", "2,0C"},
    {"u@d\nd: 2\n*: 3\n", "1", "u@d", "!"},
    {"u@d", "1", "u@d", "!"},
    {"u@d:", "1", "u@d", "!"},
    {"\"u@d\"", "1", "u@d", "!"},
    {"\"u@d\"\nd: 2", "1", "u@d", "!"},
    {"U@D: 0MM\n*: 3\n", "1", "u@d", "!"},
    {"*@d: x\nd: 2\n*: 3\n", "1", "u@d", "!"},
    {"*@d: x\nu@d: 1\nd: 2\n*: 3\n", "1", "u@d", "1,0C"},
    {"d: x\n*: 3\n", "1", "u@d", "!"},
    {"d: x\n*: 3\n", "1", "u@e", "3,0C"},
    {"*: x\n", "1", "u@d", "!"},
    {"*: x\n", "1", "*", "!"},
    {"*: x\nd: 2\n", "1", "u@d", "2,0C"},
    /* the first of equal keys holds, whether it is usable or not */
    {"u@d: x\nu@d: 1\n", "1", "u@d", "!"},
    {"u@d: 1\nu@d: x\n", "2", "u@d", "1,0C"},
    /* a key that is no address matches nobody */
    {"@d: 1\n*: 3\n", "1", "u@d", "3,0C"},
    {"*.d: 1\n*: 3\n", "1", "u@x.d", "3,0C"},
    {"d.: 1\n*: 3\n", "1", "u@d", "3,0C"},
    {"u@d: 1\n: 2\n\0: 3\n*: 3\n", "2", "u@d", "1,0C"},
    {"@d: x\n*: 3\n", "1", "u@d", "3,0C"},
    /* a quote that does not end takes the lines that continue it along, and no others */
    {"\"u@d: 1\n*: 3\n", "1", "u@d", "3,0C"},
    {"\"u@d: 1\n ,2C\n  3\n*: 3\n", "1", "u@d", "3,0C"},
    {"u@d: 1\n\"\n", "2", "u@d", "1,0C"},
    /* lines that continue nothing, one by one; and those of a value that is not a limit */
    {"u@d: 1\n\n 2\n 3\n*: 3\n", "3 4", "u@d", "1,0C"},
    {"u@d: 1\n\n 2\n 3\n*: 3\n", "3 4", "v@d", "3,0C"},
    {" u@d: 1\n", "1", "u@d", "-"},
    {"u@d: x\n 2\n 3\nd: 4\n", "1", "v@d", "4,0C"},
    {"u@d: 1\n d: 4\nd: 5\n", "1", "v@d", "5,0C"},
    /* a byte order mark is skipped at the start alone */
    {"\xef\xbb\xbfu@d: 1\n", "", "u@d", "1,0C"},
    {"\xef\xbb\xbf# u@d: 1\n*: 3\n", "", "u@d", "3,0C"},
    {"\xef\xbb\xbf", "", "u@d", "-"},
    {"\xef\xbb\xbf\xef\xbb\xbfu@d: 1\n", "", "u@d", "-"},
    {"\xef\xbb", "1", "u@d", "-"},
    {"\xef\xbb\xbf u@d: 1\nd: 2\n", "1", "u@d", "2,0C"},
    /* a web page */
    {"<!DOCTYPE html>\n<html>\n  <head>\n\n    <title>404</title>\n*: 3\n</html>\n", "1 2 5 7",
     "u@d", "3,0C"},
};

static void faults_cost_their_own_key(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(faulty); i++) {
        _cleanup_(limits_freep) struct limits *limits = load_text(*state, faulty[i].file);
        const struct limits_faults *faults = limits_faults(limits);
        char text[64], lines[64] = "";
        size_t used = 0;

        look_up(limits, faulty[i].address, text);
        for (size_t j = 0; j < faults->count; j++)
            used += (size_t)snprintf(lines + used, sizeof(lines) - used, j > 0 ? " %zu" : "%zu",
                                     faults->first[j].line);
        if (strcmp(text, faulty[i].limit) != 0 || strcmp(lines, faulty[i].faults) != 0)
            fail_msg("%s has %s instead of %s, with faults in %s instead of %s, in:\n%s",
                     faulty[i].address, text, faulty[i].limit, lines, faulty[i].faults,
                     faulty[i].file);
    }
}

/* What the file that lines of no use were added to says must be what it said without. */
static void lines_of_no_use_change_nothing(void **state)
{
    static const char *const useless[] = {
        "@x: 1\n",      "\"a@x: 1\n", "\"a@x: 1\n 2\n", "# \n  a@x: 1\n", "<html>\n",
        "*.x\n  : 1\n", "a@[x: 1\n",  "a/b@x:\n",       "x..y 1G\n",      "\"\n",
    };
    struct random random = random_begin("limits");
    size_t compared = 0;

    for (size_t file = 0; file < 2000; file++) {
        _cleanup_(limits_freep) struct limits *limits = NULL, *mixed_limits = NULL;
        char text[4096], mixed[8192] = "";
        size_t added = 0;

        text[random_file(&random, text)] = '\0';
        limits = load_text(*state, text);
        for (char *line = text; *line;) {
            size_t length = strcspn(line, "\n");

            length += line[length] == '\n';
            /* Not within a value that goes on. */
            if (!strchr(" \t\v\f\r\n", line[0]) && random_below(&random, 3) == 0 &&
                (line == text || line[-1] == '\n')) {
                strcat(mixed, pick(&random, useless, ARRAY_SIZE(useless)));
                added++;
            }
            strncat(mixed, line, length);
            line += length;
        }
        mixed_limits = load_text(*state, mixed);
        assert_int_equal(limits_faults(mixed_limits)->count, limits_faults(limits)->count + added);
        for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
            char plain[64], other[64];

            look_up(limits, asked[i], plain);
            look_up(mixed_limits, asked[i], other);
            if (strcmp(plain, other) != 0)
                fail_msg("%s has %s, and %s without the useless lines of:\n%s", asked[i], other,
                         plain, mixed);
        }
        compared += added;
    }
    assert_true(compared > 2000);
}

/* The lines that were said, each with an LF. */
struct said {
    char text[16384];
    size_t lines;
};

static void say(const char *line, void *userdata)
{
    struct said *said = userdata;

    strcat(said->text, line);
    strcat(said->text, "\n");
    said->lines++;
}

/* Writes a file with so many lines that are all wrong. */
static struct limits *load_wrong(const struct directory *directory, size_t lines)
{
    char text[4096] = "";

    assert_true(lines * 2 < sizeof(text));
    for (size_t i = 0; i < lines; i++)
        strcat(text, "x\n");
    return load_text(directory, text);
}

static void faults_are_said_up_to_a_number(void **state)
{
    static const struct {
        size_t faults, lines;
        const char *last; /* how the last line begins */
    } cases[] = {
        {0, 0, ""},
        {1, 1, "/l:1: there is no limit"},
        {20, 20, "/l:20: there is no limit"},
        {21, 20, "/l: and 2 more\n"},
        {1000, 20, "/l: and 981 more\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(limits_freep) struct limits *limits = load_wrong(*state, cases[i].faults);
        struct said said = {};
        const char *last = said.text;

        limits_say_faults(limits, "/l", say, &said);
        assert_int_equal(limits_faults(limits)->count, cases[i].faults);
        assert_int_equal(limits_count(limits), 0);
        assert_int_equal(said.lines, cases[i].lines);
        for (const char *lf = last; (lf = strchr(lf, '\n')) && lf[1] != '\0'; lf++)
            last = lf + 1;
        assert_int_equal(strncmp(last, cases[i].last, strlen(cases[i].last)), 0);
    }
}

static void a_path_of_any_length_leaves_room_for_the_fault(void **state)
{
    _cleanup_(limits_freep) struct limits *limits = load_wrong(*state, 1);
    struct said said = {};
    char path[2 * PATH_MAX];

    memset(path, 'p', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    limits_say_faults(limits, path, say, &said);
    assert_string_equal(said.text + PATH_MAX,
                        ":1: there is no limit after the key; write 0 for none\n");
}

/* Whatever is in a file, it is loaded, and what is said of it is plain text. */
static void garbage_is_loaded(void **state)
{
    struct random random = random_begin("limits");

    for (size_t file = 0; file < 500; file++) {
        _cleanup_(limits_freep) struct limits *limits = NULL;
        struct limits_entry entry;
        struct said said = {};
        char bytes[3000];
        size_t length = random_below(&random, sizeof(bytes));

        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)random_below(&random, 256);
        limits = load_bytes(*state, bytes, length);
        limits_say_faults(limits, "/l", say, &said);
        assert_true(said.lines <= LIMITS_FAULTS_MAX);
        for (const char *c = said.text; *c; c++)
            assert_true((*c >= ' ' && *c <= '~') || *c == '\n');
        (void)limits_lookup_default(limits, &entry);
    }
}

static void check_failure(const char *path, int result, const char *text)
{
    struct limits *limits = NULL;
    char error[LIMITS_ERROR_BYTES_MAX];

    assert_int_equal(limits_load(path, &limits, error), result);
    assert_null(limits);
    assert_string_equal(error, text);
}

static void files_that_are_none_are_refused(void **state)
{
    const struct directory *directory = *state;
    char path[128], below[160];

    file_path(directory, 0, path);
    check_failure(path, -ENOENT, "cannot be opened: No such file or directory");
    check_failure(directory->path, -EINVAL, "is not a regular file");
    check_failure("/dev/null", -EINVAL, "is not a regular file");

    assert_int_equal(mkfifo(path, 0600), 0);
    check_failure(path, -EINVAL, "is not a regular file");
    assert_int_equal(unlink(path), 0);

    write_file(path, "", 0);
    (void)snprintf(below, sizeof(below), "%s/x", path);
    check_failure(below, -ENOTDIR, "cannot be opened: Not a directory");

    /* The end of a file that is all hole is found without reading it. */
    assert_int_equal(truncate(path, (off_t)LIMITS_FILE_BYTES_MAX + 1), 0);
    check_failure(path, -EFBIG, "is larger than 1024 MiB");

    /* A file of /proc says that it is empty, and is not; address 0 of our memory cannot be read. */
    check_failure("/proc/self/status", -EAGAIN, "changed its size while it was read");
    check_failure("/proc/self/mem", -EIO, "cannot be read: Input/output error");
}

/* Limits the memory of this process to so many bytes more than it has. */
static bool limit_memory(size_t more)
{
    _cleanup_(fclosep) FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages;
    struct rlimit limit;

    if (!file || fscanf(file, "%lu", &pages) != 1)
        return false;
    limit.rlim_cur = limit.rlim_max = pages * (unsigned long)sysconf(_SC_PAGESIZE) + more;
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

struct want {
    const char *path;
    size_t bytes; /* of memory that there are */
};

/* As check_failure(). */
static enum child_result load_in_want(void *userdata)
{
    const struct want *want = userdata;
    struct limits *limits = NULL;
    char error[LIMITS_ERROR_BYTES_MAX];

    CHECK(limit_memory(want->bytes));
    CHECK(limits_load(want->path, &limits, error) == -ENOMEM);
    CHECK(!limits);
    CHECK(strcmp(error, "cannot be held in memory: Cannot allocate memory") == 0);
    return CHILD_PASSED;
}

/* There in a program that a sanitizer watches. */
extern void __sanitizer_print_stack_trace(void) __attribute__((weak));

static void memory_may_be_missing(void **state)
{
    char path[128];
    struct want text = {path, 32 << 20}, keys = {path, 6 << 20};
    FILE *file;

    if (__sanitizer_print_stack_trace)
        skip_because("a sanitizer ends the program instead");
    file_path(*state, 0, path);
    write_file(path, "", 0);
    assert_int_equal(truncate(path, 64 << 20), 0);
    assert_child_passes(load_in_want, &text);

    /* 4 MB of text, for which there is room, and twice as much for the keys */
    file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < 1000000; i++)
        (void)fputs("* 1\n", file);
    assert_int_equal(fclose(file), 0);
    assert_child_passes(load_in_want, &keys);
}

enum {
    MANY = 100000,
    BAD_EVERY = 100,
};

/* What is wrong with a line, one of every BAD_EVERY, in turn. */
enum wrong {
    WRONG_NOTHING,
    WRONG_VALUE,
    WRONG_KEY,
    WRONG_QUOTE,
};

static enum wrong wrong_of(size_t number)
{
    return number % BAD_EVERY == 7 ? WRONG_VALUE + number / BAD_EVERY % 3 : WRONG_NOTHING;
}

static size_t write_many(const char *path)
{
    static const char *const before[] = {"", "", "/", "\""}, *const after[] = {"", "M", "", ""};
    _cleanup_(fclosep) FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (size_t i = 0; i < MANY; i++)
        (void)fprintf(file, "%sUser%zu@Example%zu.org: %zuM%s,%zuC\n", before[wrong_of(i)], i,
                      i % 90, i, after[wrong_of(i)], i + 1);
    (void)fputs("*: 1\n", file);
    return (size_t)ftell(file);
}

static void many_entries_are_found_among_wrong_ones(void **state)
{
    _cleanup_(limits_freep) struct limits *limits = NULL;
    char path[128];
    size_t length;

    file_path(*state, 0, path);
    length = write_many(path);
    limits = load_file(path);
    assert_int_equal(limits_faults(limits)->count, MANY / BAD_EVERY);
    assert_int_equal(limits_faults(limits)->first[1].line, BAD_EVERY + 7 + 1);
    assert_int_equal(limits_count(limits), MANY - MANY / BAD_EVERY + 1);
    for (size_t i = 0; i < MANY; i++) {
        char text[64], there[64], elsewhere[64], expected[64];

        (void)snprintf(there, sizeof(there), "user%zu@example%zu.org", i, i % 90);
        (void)snprintf(elsewhere, sizeof(elsewhere), "user%zu@example%zu.org", i, i % 90 + 1);
        (void)snprintf(expected, sizeof(expected), "%" PRIu64 ",%zuC", (uint64_t)i << 20, i + 1);
        if (wrong_of(i) != WRONG_NOTHING)
            strcpy(expected, wrong_of(i) == WRONG_VALUE ? "!" : "1,0C");
        look_up(limits, there, text);
        assert_string_equal(text, expected);
        look_up(limits, elsewhere, text);
        assert_string_equal(text, "1,0C");
    }
    /* no more than the file, 8 bytes for each key, and the faults */
    assert_in_range(limits_bytes(limits), (size_t)MANY * 8,
                    length + (size_t)MANY * 8 + sizeof(struct limits_faults) + 200);
}

static void entries_know_their_key_and_line(void **state)
{
    static const struct {
        const char *address;
        enum limits_answer answer;
        enum limits_key key;
        uint32_t line;
    } cases[] = {
        {"joe@a.org", LIMITS_FOUND, LIMITS_KEY_ADDRESS, 2},
        {"ann@a.org", LIMITS_FOUND, LIMITS_KEY_ANY, 3},
        {"ann@b.org", LIMITS_FOUND, LIMITS_KEY_DOMAIN, 5},
        {"ann@c.org", LIMITS_FOUND, LIMITS_KEY_DEFAULT, 8},
        {"sue@a.org", LIMITS_UNUSABLE, LIMITS_KEY_ADDRESS, 7},
    };
    _cleanup_(limits_freep) struct limits *limits =
        load_text(*state, "# one\njoe@a.org: 1\n*@a.org:\n  2\nb.org: 3\njoe@a.org: 4\n"
                          "sue@a.org: many\n*: 5\n");

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address address = parse_address(cases[i].address);
        struct limits_entry entry = {};

        assert_int_equal(limits_lookup(limits, &address, &entry), cases[i].answer);
        assert_int_equal(entry.key, cases[i].key);
        assert_int_equal(entry.line, cases[i].line);
    }
}

static void equal_keys_are_counted(void **state)
{
    _cleanup_(limits_freep) struct limits *limits = load_text(*state, "d: 1\nd: 2\n*: 3\n");
    _cleanup_(limits_freep) struct limits *none = load_text(*state, "# none\n");

    assert_int_equal(limits_count(limits), 3);
    assert_int_equal(limits_count(none), 0);
    limits_free(NULL);
}

#define with_directory(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_directory(entries_are_read),
        with_directory(exim_reads_the_same_entries),
        with_directory(exim_agrees_on_random_files),
        with_directory(faults_are_named),
        with_directory(faults_cost_their_own_key),
        with_directory(lines_of_no_use_change_nothing),
        with_directory(faults_are_said_up_to_a_number),
        with_directory(a_path_of_any_length_leaves_room_for_the_fault),
        with_directory(garbage_is_loaded),
        with_directory(files_that_are_none_are_refused),
        with_directory(memory_may_be_missing),
        with_directory(many_entries_are_found_among_wrong_ones),
        with_directory(entries_know_their_key_and_line),
        with_directory(equal_keys_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
