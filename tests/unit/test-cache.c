/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "box.h"

#include <sys/syscall.h>

#include "child.h"
#include "filter.h"
#include "hoard.h"
#include "quota/cache.h"
#include "quota/maildir_cache.h"
#include "random.h"
#include "system/cleanup.h"

/* Each is counted, which takes a sanitizer's allocator long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY 10000
#else
#define MANY 100000
#endif

/* More than the 32 that a cache needs to keep any. */
#define BOUND 40

#define ROOMY ((size_t)1024 * 1024 * 1024)

/* A mailbox of the group's, whose memory serves for all. */
static int setup(void **state)
{
    struct box *box = malloc(sizeof(*box));

    assert_non_null(box);
    box_init(box);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    box_done(*state);
    free(*state);
    return 0;
}

static struct maildir_cache *new_memory(const struct box *box)
{
    struct maildir_cache *memory = NULL;

    (void)box_count(box, &memory);
    assert_non_null(memory);
    return memory;
}

static void put(struct cache *cache, const char *path, struct maildir_cache *memory)
{
    cache_put(cache, CACHE_COUNT, path, memory, maildir_cache_bytes(memory));
}

static const char *path_of(unsigned int i, char path[static 64])
{
    (void)snprintf(path, 64, "/var/mail/example.org/user%u", i);
    return path;
}

static void put_number(struct cache *cache, const struct box *box, unsigned int i)
{
    char path[64];

    put(cache, path_of(i, path), new_memory(box));
}

/* Says whether a mailbox is remembered, which makes it the most recently used. */
static bool touch_number(struct cache *cache, unsigned int i)
{
    char path[64];
    struct maildir_cache *memory = cache_take(cache, CACHE_COUNT, path_of(i, path));

    put(cache, path, memory);
    return memory != NULL;
}

/* Returns the bytes of one mailbox with a number of two digits. */
static size_t bytes_of_one(const struct box *box)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    size_t bytes;

    assert_int_equal(cache_new(ROOMY, &cache), 0);
    put_number(cache, box, 10);
    bytes = cache_bytes(cache);
    put_number(cache, box, 11);
    return cache_bytes(cache) - bytes;
}

/* Makes a cache that has room for so many mailboxes, whose numbers have up to two digits. */
static struct cache *cache_for(const struct box *box, size_t count)
{
    struct cache *cache = NULL;
    size_t bytes, buckets = 16;

    while (buckets < count)
        buckets *= 2;
    assert_int_equal(cache_new(0, &cache), 0);
    bytes = cache_bytes(cache) + buckets * sizeof(void *) + count * bytes_of_one(box);
    cache_free(cache);
    assert_int_equal(cache_new(bytes, &cache), 0);
    return cache;
}

static void take_and_put(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    struct maildir_cache *a = new_memory(*state), *b = new_memory(*state);

    assert_int_equal(cache_new(ROOMY, &cache), 0);
    assert_null(cache_take(cache, CACHE_COUNT, "/a"));
    put(cache, "/a", a);
    put(cache, "/b", b);
    assert_int_equal(cache_count(cache, CACHE_COUNT), 2);
    assert_null(cache_take(cache, CACHE_COUNT, "/"));
    assert_null(cache_take(cache, CACHE_COUNT, "/a/"));
    assert_null(cache_take(cache, CACHE_COUNT, ""));
    assert_ptr_equal(cache_take(cache, CACHE_COUNT, "/a"), a);
    assert_null(cache_take(cache, CACHE_COUNT, "/a"));
    assert_int_equal(cache_count(cache, CACHE_COUNT), 1);
    assert_ptr_equal(cache_take(cache, CACHE_COUNT, "/b"), b);
    assert_null(cache_take(cache, CACHE_COUNT, "/b"));
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
    /* The same mailbox twice: the later stays. */
    put(cache, "/a", a);
    put(cache, "/a", b);
    assert_int_equal(cache_count(cache, CACHE_COUNT), 1);
    assert_ptr_equal(cache_take(cache, CACHE_COUNT, "/a"), b);
    maildir_cache_free(b);
}

static void each_kind_has_its_own(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    char *text = strdup("x");

    assert_int_equal(cache_new(ROOMY, &cache), 0);
    put(cache, "/a", new_memory(*state));
    assert_null(cache_find(cache, CACHE_MAILDIRSIZE, "/a"));
    cache_put(cache, CACHE_MAILDIRSIZE, "/a", text, 2);
    assert_ptr_equal(cache_find(cache, CACHE_MAILDIRSIZE, "/a"), text);
    assert_ptr_equal(cache_find(cache, CACHE_MAILDIRSIZE, "/a"), text); /* it stays */
    assert_int_equal(cache_count(cache, CACHE_COUNT), 1);
    assert_int_equal(cache_count(cache, CACHE_MAILDIRSIZE), 1);
    maildir_cache_free(cache_take(cache, CACHE_COUNT, "/a"));
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
    assert_int_equal(cache_count(cache, CACHE_MAILDIRSIZE), 1);
}

static void nothing_is_put(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    size_t bytes;

    (void)state;
    assert_int_equal(cache_new(ROOMY, &cache), 0);
    bytes = cache_bytes(cache);
    put(cache, "/a", NULL);
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
    assert_int_equal(cache_bytes(cache), bytes);
    cache_free(NULL);
}

static void a_bound_of_none(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;

    assert_int_equal(cache_new(0, &cache), 0);
    put(cache, "/a", new_memory(*state));
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
    assert_null(cache_take(cache, CACHE_COUNT, "/a"));
}

static void the_least_recently_used_goes(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = cache_for(*state, BOUND);
    char path[64];

    for (unsigned int i = 0; i < BOUND; i++)
        put_number(cache, *state, i);
    /* In order of use, the latest last: 1 3 4 ... 0 2. */
    assert_true(touch_number(cache, 0));
    put_number(cache, *state, 2);
    assert_int_equal(cache_count(cache, CACHE_COUNT), BOUND);
    put_number(cache, *state, 50);
    assert_false(touch_number(cache, 1));
    assert_int_equal(cache_count(cache, CACHE_COUNT), BOUND);
    /* 3 4 ... 0 2 50: taken from the middle and both ends, then filled up. */
    maildir_cache_free(cache_take(cache, CACHE_COUNT, path_of(0, path)));
    put_number(cache, *state, 51);
    put_number(cache, *state, 52);
    assert_false(touch_number(cache, 3));
    assert_int_equal(cache_count(cache, CACHE_COUNT), BOUND);
    maildir_cache_free(cache_take(cache, CACHE_COUNT, path_of(2, path)));
    maildir_cache_free(cache_take(cache, CACHE_COUNT, path_of(52, path)));
    assert_int_equal(cache_count(cache, CACHE_COUNT), BOUND - 2);
    put_number(cache, *state, 53);
    put_number(cache, *state, 54);
    put_number(cache, *state, 55);
    assert_false(touch_number(cache, 4));
    for (unsigned int i = 5; i < BOUND; i++)
        assert_true(touch_number(cache, i));
}

/* One with many folders would take the place of many. */
static void what_takes_too_much_is_not_kept(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    size_t one_bytes = bytes_of_one(*state);

    assert_int_equal(cache_new(32 * one_bytes - 1, &cache), 0);
    put_number(cache, *state, 10);
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
    cache_free(cache);
    assert_int_equal(cache_new(32 * one_bytes, &cache), 0);
    put_number(cache, *state, 10);
    assert_int_equal(cache_count(cache, CACHE_COUNT), 1);
    /* what is too large takes the place of what was there, and is dropped */
    cache_put(cache, CACHE_COUNT, "/var/mail/example.org/user10", malloc(1000), 1000);
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
}

/* Against a plain list of numbers in the order of their use, in a random history. */
static void a_random_history(void **state)
{
    enum { NUMBERS = 60 };
    _cleanup_(cache_freep) struct cache *cache = cache_for(*state, BOUND);
    unsigned int used[BOUND], count = 0;
    struct random random = random_begin("a_random_history");

    for (int i = 0; i < 20000; i++) {
        unsigned int number = (unsigned int)random_below(&random, NUMBERS), at = 0;
        bool take = random_below(&random, 3) == 0, found;
        char path[64];

        while (at < count && used[at] != number)
            at++;
        found = at < count;
        if (take) {
            struct maildir_cache *memory = cache_take(cache, CACHE_COUNT, path_of(number, path));

            assert_int_equal(memory != NULL, found);
            maildir_cache_free(memory);
        } else {
            put_number(cache, *state, number);
        }
        if (!found && !take && count == BOUND) {
            at = 0;
            found = true;
        }
        if (found) {
            memmove(used + at, used + at + 1, (--count - at) * sizeof(used[0]));
        }
        if (!take)
            used[count++] = number;
        assert_int_equal(cache_count(cache, CACHE_COUNT), count);
    }
}

/* Returns what malloc(3) has handed out. */
static size_t allocated_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void a_large_cache(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    size_t empty_bytes, bytes, before = allocated_bytes(), after;

    assert_int_equal(cache_new(ROOMY, &cache), 0);
    empty_bytes = cache_bytes(cache);
    assert_in_range(empty_bytes, 1, 256); /* nothing is reserved for what may come */
    for (unsigned int i = 0; i < MANY; i++)
        put_number(cache, *state, i);
    assert_int_equal(cache_count(cache, CACHE_COUNT), MANY);
    bytes = cache_bytes(cache);
    after = allocated_bytes();
    print_message("%d mailboxes: %zu bytes each, %zu with the allocator's\n", MANY, bytes / MANY,
                  (after - before) / MANY);
    assert_in_range(bytes / MANY, 200, 340);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_in_range(after - before, bytes - bytes / 20, bytes + bytes / 5);
#endif
    for (unsigned int i = 0; i < MANY; i++)
        assert_true(touch_number(cache, i));
    for (unsigned int i = 0; i < MANY; i++) {
        char path[64];

        maildir_cache_free(cache_take(cache, CACHE_COUNT, path_of(i, path)));
    }
    assert_int_equal(cache_count(cache, CACHE_COUNT), 0);
    /* The table stays for the next. */
    assert_in_range(cache_bytes(cache), empty_bytes, empty_bytes + 2 * MANY * sizeof(void *));
}

/* What is put is counted in bytes, and what goes is not. */
static void bytes(void **state)
{
    _cleanup_(cache_freep) struct cache *cache = NULL;
    struct maildir_cache *memory = new_memory(*state);
    size_t empty_bytes, one_bytes;

    assert_int_equal(cache_new(ROOMY, &cache), 0);
    put(cache, "/a", memory);
    one_bytes = cache_bytes(cache);
    memory = cache_take(cache, CACHE_COUNT, "/a");
    empty_bytes = cache_bytes(cache);
    assert_in_range(one_bytes - empty_bytes, maildir_cache_bytes(memory) + 1,
                    48 + maildir_cache_bytes(memory) + 24);
    for (int i = 0; i < 3; i++) {
        put(cache, "/b", memory);
        assert_int_equal(cache_bytes(cache), one_bytes);
        memory = new_memory(*state);
    }
    maildir_cache_free(cache_take(cache, CACHE_COUNT, "/b"));
    put(cache, "/longer", memory); /* the path takes no memory */
    assert_int_equal(cache_bytes(cache), one_bytes);
}

struct shortage {
    const struct box *box;
    unsigned int count;       /* mailboxes that are remembered already */
    size_t block_bytes;       /* what malloc(3) still has */
    unsigned int count_after; /* mailboxes that are remembered after one more was put */
};

static enum child_result put_without_memory(void *userdata)
{
    const struct shortage *shortage = userdata;
    struct maildir_cache *memory = new_memory(shortage->box);
    struct cache *cache = NULL, *none = NULL;
    char path[64];
    void *block;

    CHECK(hoard_prepare());
    CHECK(cache_new(ROOMY, &cache) == 0);
    for (unsigned int i = 0; i < shortage->count; i++)
        put_number(cache, shortage->box, i);
    block = malloc(shortage->block_bytes);
    CHECK(block && hoard_all());
    CHECK(cache_new(1, &none) == -ENOMEM && !none);
    free(block);
    put(cache, path_of(shortage->count, path), memory);
    CHECK(cache_count(cache, CACHE_COUNT) == shortage->count_after);
    for (unsigned int i = 0; i < shortage->count_after; i++) {
        memory = cache_take(cache, CACHE_COUNT, path_of(i, path));
        CHECK(memory);
        maildir_cache_free(memory);
    }
    CHECK(cache_count(cache, CACHE_COUNT) == 0);
    cache_free(cache);
    return CHILD_PASSED;
}

/* A cache that finds no memory forgets what it cannot keep, and is sound. */
static void without_memory_it_forgets(void **state)
{
    struct shortage cases[] = {
        {*state, 0, 1, 0},          /* neither a table nor an entry */
        {*state, 1, 1, 1},          /* no entry */
        {*state, 1024, 2000, 1025}, /* an entry, but no larger table */
    };

    if (!HOARD_WORKS)
        skip_because("the sanitizer has an allocator of its own");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_child_passes(put_without_memory, &cases[i]);
}

static enum child_result new_without_random_numbers(void *userdata)
{
    struct cache *cache = NULL;

    (void)userdata;
    CHECK(filter_install(SYS_getrandom, FILTER_ERRNO(ENOSYS)) == 0);
    CHECK(cache_new(1, &cache) == -ENOSYS);
    CHECK(!cache);
    return CHILD_PASSED;
}

static void without_random_numbers_there_is_no_cache(void **state)
{
    (void)state;
    assert_child_passes(new_without_random_numbers, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_and_put),
        cmocka_unit_test(each_kind_has_its_own),
        cmocka_unit_test(nothing_is_put),
        cmocka_unit_test(a_bound_of_none),
        cmocka_unit_test(the_least_recently_used_goes),
        cmocka_unit_test(what_takes_too_much_is_not_kept),
        cmocka_unit_test(a_random_history),
        cmocka_unit_test(a_large_cache),
        cmocka_unit_test(bytes),
        cmocka_unit_test(without_memory_it_forgets),
        cmocka_unit_test(without_random_numbers_there_is_no_cache),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
