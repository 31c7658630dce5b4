/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "child.h"
#include "filter.h"
#include "hoard.h"
#include "quota/maildirsize_memory.h"
#include "random.h"

#define MANY 100000

/* When the files of the tests were changed, and when they are read. */
#define CHANGED_SEC 1000
#define READ_SEC    2000

static struct maildirsize_memory *new_memory(size_t max_files)
{
    struct maildirsize_memory *memory = NULL;

    assert_int_equal(maildirsize_memory_new(max_files * 56, &memory), 0);
    return memory;
}

static uint64_t id_of(const struct maildirsize_memory *memory, unsigned int i)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/var/mail/example.org/user%u", i);
    return maildirsize_memory_id(memory, path);
}

/* A file in a state. */
static struct statx file(unsigned int i, unsigned int state)
{
    return (struct statx){
        .stx_ino = i + 1,
        .stx_size = 20,
        .stx_mtime = {.tv_sec = CHANGED_SEC, .tv_nsec = state},
        .stx_ctime = {.tv_sec = CHANGED_SEC, .tv_nsec = state},
        .stx_dev_major = 8,
    };
}

static struct maildirsize said(unsigned int i, unsigned int state)
{
    return (struct maildirsize){
        .limit = {.bytes = i, .messages = state},
        .bytes = UINT64_C(1) << 40 | i,
        .messages = UINT64_C(1) << 50 | state,
        .entries = 3,
    };
}

static void put(struct maildirsize_memory *memory, unsigned int i, unsigned int state)
{
    const struct statx st = file(i, state);
    const struct maildirsize says = said(i, state);

    maildirsize_memory_put(memory, id_of(memory, i), &st, READ_SEC, &says);
}

/* Whether what the file says in that state is remembered, and rightly. */
static bool recalls(struct maildirsize_memory *memory, unsigned int i, unsigned int state)
{
    const struct statx st = file(i, state);
    const struct maildirsize says = said(i, state);
    struct maildirsize recalled = {};

    return maildirsize_memory_recall(memory, id_of(memory, i), &st, READ_SEC, &recalled) &&
           memcmp(&recalled, &says, sizeof(says)) == 0;
}

static bool has(const struct maildirsize_memory *memory, unsigned int i)
{
    return maildirsize_memory_has(memory, id_of(memory, i));
}

static void remembers_a_state(void **state)
{
    struct maildirsize_memory *memory = new_memory(8);

    (void)state;
    assert_false(has(memory, 1));
    assert_false(recalls(memory, 1, 1));
    put(memory, 1, 1);
    assert_true(has(memory, 1));
    assert_false(has(memory, 2));
    assert_true(recalls(memory, 1, 1));
    assert_true(recalls(memory, 1, 1));
    assert_false(recalls(memory, 2, 1));
    assert_int_equal(maildirsize_memory_count(memory), 1);
    /* of one file the last state alone */
    put(memory, 1, 2);
    assert_int_equal(maildirsize_memory_count(memory), 1);
    assert_true(recalls(memory, 1, 2));
    /* a state that has gone does not come back */
    assert_false(recalls(memory, 1, 1));
    assert_false(has(memory, 1));
    assert_false(recalls(memory, 1, 2));
    assert_int_equal(maildirsize_memory_count(memory), 0);
    maildirsize_memory_free(memory);
    maildirsize_memory_free(NULL);
}

/* Everything that tells of a change does. */
static void every_field_of_the_state_counts(void **state)
{
    struct maildirsize_memory *memory = new_memory(8);
    struct statx others[9];
    struct maildirsize says;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        others[i] = file(1, 1);
    others[0].stx_size++;
    others[1].stx_ino++;
    others[2].stx_mtime.tv_sec--;
    others[3].stx_mtime.tv_nsec++;
    others[4].stx_ctime.tv_sec--;
    others[5].stx_ctime.tv_nsec++;
    others[6].stx_dev_major++;
    others[7].stx_dev_minor++;
    others[8].stx_size = UINT64_C(1) << 32 | 20;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        put(memory, 1, 1);
        assert_true(recalls(memory, 1, 1));
        assert_false(
            maildirsize_memory_recall(memory, id_of(memory, 1), &others[i], READ_SEC, &says));
    }
    maildirsize_memory_free(memory);
}

/* Once a day more is to be looked at than the file. */
static void what_is_of_another_day_is_forgotten(void **state)
{
    static const struct {
        int64_t now_sec;
        bool remembered;
    } cases[] = {{READ_SEC + 60, true}, {86399, true}, {86400, false}, {READ_SEC + 86400, false}};
    struct maildirsize_memory *memory = new_memory(8);
    const struct statx st = file(1, 1);
    struct maildirsize says;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        put(memory, 1, 1);
        assert_int_equal(
            maildirsize_memory_recall(memory, id_of(memory, 1), &st, cases[i].now_sec, &says),
            cases[i].remembered);
        assert_int_equal(has(memory, 1), cases[i].remembered);
    }
    maildirsize_memory_free(memory);
}

static void only_what_is_settled_is_remembered(void **state)
{
    static const struct {
        int64_t mtime_sec, ctime_sec;
        bool remembered;
    } cases[] = {
        {READ_SEC - 3, READ_SEC - 3, true},
        {READ_SEC - 2, READ_SEC - 3, false},
        {READ_SEC - 3, READ_SEC - 2, false},
        {READ_SEC + 5, READ_SEC - 3, false},
        {0, 0, false},
    };
    const struct maildirsize says = said(1, 1);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct maildirsize_memory *memory = new_memory(8);
        struct statx st = file(1, 1);

        st.stx_mtime.tv_sec = cases[i].mtime_sec;
        st.stx_ctime.tv_sec = cases[i].ctime_sec;
        maildirsize_memory_put(memory, id_of(memory, 1), &st, READ_SEC, &says);
        assert_int_equal(has(memory, 1), cases[i].remembered);
        maildirsize_memory_free(memory);
    }
}

static void a_bound_of_none(void **state)
{
    struct maildirsize_memory *memory = new_memory(7);

    (void)state;
    put(memory, 1, 1);
    assert_false(has(memory, 1));
    assert_false(recalls(memory, 1, 1));
    assert_int_equal(maildirsize_memory_count(memory), 0);
    assert_in_range(maildirsize_memory_bytes(memory), 1, 256);
    maildirsize_memory_free(memory);
}

/* However many come, the last one is known, and no more than may be. */
static void the_bound_is_kept(void **state)
{
    static const struct {
        size_t max_files, most;
    } cases[] = {{8, 8}, {15, 8}, {16, 16}, {100, 64}, {1024, 1024}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct maildirsize_memory *memory = new_memory(cases[i].max_files);
        size_t most = 0;

        for (unsigned int file = 0; file < 5 * cases[i].most; file++) {
            put(memory, file, file % 7);
            assert_true(recalls(memory, file, file % 7));
            if (maildirsize_memory_count(memory) > most)
                most = maildirsize_memory_count(memory);
        }
        assert_int_equal(most, cases[i].most);
        assert_in_range(maildirsize_memory_bytes(memory), 56 * cases[i].most,
                        56 * cases[i].most + 256);
        maildirsize_memory_free(memory);
    }
}

/* What makes room is not always what came last. */
static void the_last_few_are_known(void **state)
{
    struct maildirsize_memory *memory = new_memory(8);

    (void)state;
    for (unsigned int i = 0; i < 100; i++) {
        put(memory, i, 1);
        for (unsigned int j = i < 7 ? 0 : i - 7; j <= i; j++)
            assert_true(recalls(memory, j, 1));
    }
    maildirsize_memory_free(memory);
}

/* Nearly all are known as long as there is room, and they take no more than they should. */
static void many_files(void **state)
{
    struct maildirsize_memory *memory = new_memory(131072);
    size_t known = 0, bytes;

    (void)state;
    assert_in_range(maildirsize_memory_bytes(memory), 1, 256); /* nothing is reserved */
    for (unsigned int count = 1; count <= MANY; count++) {
        put(memory, count, 0);
        if (count == 1000 || count == 10000) {
            bytes = maildirsize_memory_bytes(memory);
            assert_in_range(maildirsize_memory_count(memory), count * 19 / 20, count);
            assert_in_range(bytes / count, 56, 224);
        }
    }
    for (unsigned int i = 1; i <= MANY; i++)
        known += recalls(memory, i, 0);
    assert_int_equal(maildirsize_memory_count(memory), known);
    bytes = maildirsize_memory_bytes(memory);
    print_message("%d files: %zu known, %zu bytes each\n", MANY, known, bytes / MANY);
    assert_in_range(known, MANY / 100 * 88, MANY);
    assert_in_range(bytes, 131072 * 56, 131072 * 56 + 256);
    maildirsize_memory_free(memory);
}

/* Against what was put last: nothing else is ever told. */
static void a_random_history(void **state)
{
    enum { FILES = 300, UNKNOWN = -1 };
    struct maildirsize_memory *memory = new_memory(128);
    struct random random = random_begin("a_random_history");
    int last[FILES];
    size_t told = 0;

    (void)state;
    for (size_t i = 0; i < FILES; i++)
        last[i] = UNKNOWN;
    for (int i = 0; i < 200000; i++) {
        unsigned int file = (unsigned int)random_below(&random, FILES);
        unsigned int in_state = (unsigned int)random_below(&random, 2);

        if (random_below(&random, 3) == 0) {
            put(memory, file, in_state);
            last[file] = (int)in_state;
        } else if (recalls(memory, file, in_state)) {
            assert_int_equal(last[file], in_state);
            told++;
        } else {
            assert_false(has(memory, file));
            last[file] = UNKNOWN;
        }
    }
    assert_true(told > 1000);
    maildirsize_memory_free(memory);
}

/* userdata is how many files are remembered when the memory ends. */
static enum child_result put_without_memory(void *userdata)
{
    const unsigned int *count = userdata;
    struct maildirsize_memory *memory = NULL, *none = NULL;
    size_t bytes;

    CHECK(hoard_prepare());
    CHECK(maildirsize_memory_new(1024 * 56, &memory) == 0);
    for (unsigned int i = 0; i < *count; i++)
        put(memory, i, 1);
    bytes = maildirsize_memory_bytes(memory);
    CHECK(hoard_all());
    CHECK(maildirsize_memory_new(1, &none) == -ENOMEM && !none);
    for (unsigned int i = *count; i < 100; i++) {
        put(memory, i, 1);
        CHECK(recalls(memory, i, 1) == (*count > 0));
    }
    CHECK(maildirsize_memory_count(memory) == *count);
    CHECK(maildirsize_memory_bytes(memory) == bytes);
    return CHILD_PASSED;
}

/* Where there is no memory for more, others make room; or nothing is remembered. */
static void without_memory_it_forgets(void **state)
{
    (void)state;
    if (!HOARD_WORKS)
        skip_because("the sanitizer has an allocator of its own");
    for (unsigned int count = 0; count <= 8; count += 8)
        assert_child_passes(put_without_memory, &count);
}

static enum child_result new_without_random_numbers(void *userdata)
{
    struct maildirsize_memory *memory = NULL;

    (void)userdata;
    CHECK(filter_install(SYS_getrandom, FILTER_ERRNO(ENOSYS)) == 0);
    CHECK(maildirsize_memory_new(1, &memory) == -ENOSYS);
    CHECK(!memory);
    return CHILD_PASSED;
}

static void without_random_numbers_there_is_none(void **state)
{
    (void)state;
    assert_child_passes(new_without_random_numbers, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_a_state),
        cmocka_unit_test(every_field_of_the_state_counts),
        cmocka_unit_test(what_is_of_another_day_is_forgotten),
        cmocka_unit_test(only_what_is_settled_is_remembered),
        cmocka_unit_test(a_bound_of_none),
        cmocka_unit_test(the_bound_is_kept),
        cmocka_unit_test(the_last_few_are_known),
        cmocka_unit_test(many_files),
        cmocka_unit_test(a_random_history),
        cmocka_unit_test(without_memory_it_forgets),
        cmocka_unit_test(without_random_numbers_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
