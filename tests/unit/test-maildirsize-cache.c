/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>

#include "quota/maildirsize_cache.h"

/* When the files of the tests were changed, and when they are read. */
#define CHANGED_SEC 1000
#define READ_SEC    2000

static struct cache *new_cache(void)
{
    struct cache *cache = NULL;

    assert_int_equal(cache_new((size_t)1024 * 1024, &cache), 0);
    return cache;
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

static void put(struct cache *cache, const char *path, unsigned int i, unsigned int state)
{
    const struct statx st = file(i, state);
    const struct maildirsize says = said(i, state);

    maildirsize_cache_put(cache, path, &st, READ_SEC, &says);
}

/* Whether what the file says in that state is cached, and rightly. */
static bool recalls(const struct cache *cache, const char *path, unsigned int i, unsigned int state)
{
    const struct maildirsize_cached *cached = maildirsize_cache_find(cache, path);
    const struct statx st = file(i, state);
    const struct maildirsize says = said(i, state);
    struct maildirsize recalled = {};

    return cached && maildirsize_cached_get(cached, &st, READ_SEC, &recalled) &&
           recalled.bytes == says.bytes && recalled.messages == says.messages &&
           recalled.limit.bytes == says.limit.bytes &&
           recalled.limit.messages == says.limit.messages && recalled.entries == says.entries;
}

static void a_state_is_cached(void **state)
{
    struct cache *cache = new_cache();

    (void)state;
    assert_false(recalls(cache, "/a", 1, 1));
    put(cache, "/a", 1, 1);
    assert_true(recalls(cache, "/a", 1, 1));
    assert_true(recalls(cache, "/a", 1, 1));
    assert_false(recalls(cache, "/b", 1, 1));
    assert_false(recalls(cache, "/a", 2, 1));
    /* of one file the last state alone */
    put(cache, "/a", 1, 2);
    assert_int_equal(cache_count(cache, CACHE_MAILDIRSIZE), 1);
    assert_true(recalls(cache, "/a", 1, 2));
    assert_false(recalls(cache, "/a", 1, 1));
    cache_free(cache);
}

/* Everything that tells of a change does. */
static void every_field_of_the_state_counts(void **state)
{
    struct cache *cache = new_cache();
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
        put(cache, "/a", 1, 1);
        assert_true(recalls(cache, "/a", 1, 1));
        assert_false(maildirsize_cached_get(maildirsize_cache_find(cache, "/a"), &others[i],
                                            READ_SEC, &says));
    }
    cache_free(cache);
}

/* Once a day more is to be looked at than the file. */
static void what_is_of_another_day_does_not_count(void **state)
{
    static const struct {
        int64_t now_sec;
        bool is_cached;
    } cases[] = {{READ_SEC + 60, true}, {86399, true}, {86400, false}, {READ_SEC + 86400, false}};
    struct cache *cache = new_cache();
    const struct statx st = file(1, 1);
    struct maildirsize says;

    (void)state;
    put(cache, "/a", 1, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(maildirsize_cached_get(maildirsize_cache_find(cache, "/a"), &st,
                                                cases[i].now_sec, &says),
                         cases[i].is_cached);
    cache_free(cache);
}

static void only_what_is_settled_is_cached(void **state)
{
    static const struct {
        int64_t mtime_sec, ctime_sec;
        bool is_cached;
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
        struct cache *cache = new_cache();
        struct statx st = file(1, 1);

        st.stx_mtime.tv_sec = cases[i].mtime_sec;
        st.stx_ctime.tv_sec = cases[i].ctime_sec;
        maildirsize_cache_put(cache, "/a", &st, READ_SEC, &says);
        assert_int_equal(maildirsize_cache_find(cache, "/a") != NULL, cases[i].is_cached);
        cache_free(cache);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_cached),
        cmocka_unit_test(every_field_of_the_state_counts),
        cmocka_unit_test(what_is_of_another_day_does_not_count),
        cmocka_unit_test(only_what_is_settled_is_cached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
