/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting while others deliver, move and delete: whatever a count says lies between what was there
 * all the time that it ran and did not move, and what was there at any of that time. Once it is
 * quiet it is exact.
 */
#include "box.h"

#include <pthread.h>
#include <stdatomic.h>

#include "child.h"
#include "random.h"
#include "system/cleanup.h"

#define WRITERS       8
#define READERS       8
#define COUNTS        250 /* of each reader */
#define LIVE_MAX      40  /* messages of each writer */
#define MESSAGE_BYTES 7

/* After each `new` its `cur`. */
static const char *const directories[] = {"new", "cur", ".A/new", ".A/cur", ".C/new", ".C/cur"};

/* Events that have begun and events that are over. */
struct events {
    atomic_uint begun;
    atomic_uint done;
};

struct world {
    struct box box;
    atomic_bool quiet; /* the writers are to end */
    struct events delivered, moved, flagged, deleted;
};

struct message {
    unsigned int number;
    size_t directory;
    bool tagged;
    bool seen;
};

struct writer {
    struct world *world;
    unsigned int number;
    struct random random;
    struct message live[LIVE_MAX];
    size_t live_count;
    unsigned int next;
};

static const char *message_path(const struct writer *writer, const struct message *message,
                                char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s/%u.W%u%s%s", writer->world->box.path,
                   directories[message->directory], message->number, writer->number,
                   message->tagged ? ",S=7" : "", message->seen ? ":2,S" : ":2,");
    return path;
}

static enum child_result writer_deliver(struct writer *writer)
{
    struct message *message = &writer->live[writer->live_count++];
    char path[PATH_MAX], temporary[PATH_MAX];
    int fd;

    *message = (struct message){
        .number = writer->next++,
        .directory = random_below(&writer->random, ARRAY_SIZE(directories)),
        .tagged = random_below(&writer->random, 2) == 0,
    };
    (void)snprintf(temporary, sizeof(temporary), "%s/tmp/%u", writer->world->box.path,
                   writer->number);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, message->tagged ? 1000 : MESSAGE_BYTES) == 0 && close(fd) == 0);
    atomic_fetch_add(&writer->world->delivered.begun, 1);
    CHECK(rename(temporary, message_path(writer, message, path)) == 0);
    atomic_fetch_add(&writer->world->delivered.done, 1);
    return CHILD_PASSED;
}

/* Moves a message from `new` to `cur`; one that is there already gets or loses a flag. */
static enum child_result writer_move(struct writer *writer)
{
    struct message *message = &writer->live[random_below(&writer->random, writer->live_count)];
    bool is_new = message->directory % 2 == 0;
    struct events *events = is_new ? &writer->world->moved : &writer->world->flagged;
    char from[PATH_MAX], to[PATH_MAX];

    (void)message_path(writer, message, from);
    if (is_new)
        message->directory++;
    message->seen = !message->seen;
    atomic_fetch_add(&events->begun, 1);
    CHECK(rename(from, message_path(writer, message, to)) == 0);
    atomic_fetch_add(&events->done, 1);
    return CHILD_PASSED;
}

static enum child_result writer_delete(struct writer *writer)
{
    struct message *message = &writer->live[random_below(&writer->random, writer->live_count)];
    char path[PATH_MAX];

    (void)message_path(writer, message, path);
    *message = writer->live[--writer->live_count];
    atomic_fetch_add(&writer->world->deleted.begun, 1);
    CHECK(unlink(path) == 0);
    atomic_fetch_add(&writer->world->deleted.done, 1);
    return CHILD_PASSED;
}

/* Folders without messages come and go. */
static enum child_result writer_folder(struct writer *writer)
{
    char path[PATH_MAX], cur[PATH_MAX + 4];

    (void)snprintf(path, sizeof(path), "%s/.W%u", writer->world->box.path, writer->number);
    (void)snprintf(cur, sizeof(cur), "%s/cur", path);
    CHECK(mkdir(path, 0755) == 0 && mkdir(cur, 0755) == 0);
    CHECK(rmdir(cur) == 0 && rmdir(path) == 0);
    return CHILD_PASSED;
}

static enum child_result writer_step(struct writer *writer)
{
    switch (random_below(&writer->random, 20)) {
    case 0:
        return writer_folder(writer);
    case 1 ... 7:
        return writer->live_count < LIVE_MAX ? writer_deliver(writer) : CHILD_PASSED;
    case 8 ... 13:
        return writer->live_count > 0 ? writer_delete(writer) : CHILD_PASSED;
    default:
        return writer->live_count > 0 ? writer_move(writer) : CHILD_PASSED;
    }
}

static enum child_result writer_run(struct writer *writer)
{
    enum child_result result = CHILD_PASSED;

    while (result == CHILD_PASSED && !atomic_load(&writer->world->quiet))
        result = writer_step(writer);
    return result;
}

static void *writer_thread(void *userdata)
{
    return (void *)(intptr_t)writer_run(userdata);
}

struct reader {
    struct world *world;
    struct maildir_cache *memory;
};

static enum child_result reader_count(struct reader *reader)
{
    struct world *world = reader->world;
    const struct box *box = &world->box;
    unsigned int delivered = atomic_load(&world->delivered.done);
    unsigned int deleted = atomic_load(&world->deleted.done);
    unsigned int moved = atomic_load(&world->moved.done) + atomic_load(&world->flagged.done);
    struct maildir_count count;
    int64_t least, most;

    CHECK(maildir_count(box->fd, box->path, box->confine, &box_options, &reader->memory, &count) ==
          0);
    /* A message that moves or gets a flag may be missed, but not be met twice. */
    least = (int64_t)delivered - atomic_load(&world->deleted.begun) -
            (atomic_load(&world->moved.begun) + atomic_load(&world->flagged.begun) - moved);
    most = (int64_t)atomic_load(&world->delivered.begun) - deleted;
    CHECK((int64_t)count.messages >= least && (int64_t)count.messages <= most);
    CHECK(count.bytes == count.messages * MESSAGE_BYTES);
    return CHILD_PASSED;
}

static void *reader_thread(void *userdata)
{
    enum child_result result = CHILD_PASSED;

    for (int i = 0; i < COUNTS && result == CHILD_PASSED; i++)
        result = reader_count(userdata);
    return (void *)(intptr_t)result;
}

static uint64_t independent_count(const struct box *box)
{
    uint64_t messages = 0;

    for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
        char path[PATH_MAX];
        DIR *stream = opendir(box_path(box, directories[i], path));
        const struct dirent *entry;

        assert_non_null(stream);
        while ((entry = readdir(stream)))
            messages += entry->d_name[0] != '.';
        assert_return_code(closedir(stream), errno);
    }
    return messages;
}

static void join(pthread_t thread)
{
    void *result;

    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal((intptr_t)result, CHILD_PASSED);
}

static void counting_while_others_write(void **state)
{
    static const char *const folders[] = {".A", ".A.B", ".C"};
    struct world world = {};
    struct writer writers[WRITERS];
    struct reader readers[READERS];
    pthread_t writing[WRITERS], reading[READERS];
    struct random random = random_begin("counting_while_others_write");
    uint64_t messages;

    (void)state;
    box_init_maildir(&world.box);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        box_folder(&world.box, folders[i]);
    for (unsigned int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){
            .world = &world,
            .number = i,
            .random = {.state = random_next(&random)},
        };
        assert_int_equal(pthread_create(&writing[i], NULL, writer_thread, &writers[i]), 0);
    }
    for (unsigned int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.world = &world};
        assert_int_equal(pthread_create(&reading[i], NULL, reader_thread, &readers[i]), 0);
    }
    for (unsigned int i = 0; i < READERS; i++)
        join(reading[i]);
    atomic_store(&world.quiet, true);
    for (unsigned int i = 0; i < WRITERS; i++)
        join(writing[i]);

    messages = independent_count(&world.box);
    print_message("%u deliveries, %u moves, %u flags, %u deletions, %llu messages left\n",
                  atomic_load(&world.delivered.done), atomic_load(&world.moved.done),
                  atomic_load(&world.flagged.done), atomic_load(&world.deleted.done),
                  (unsigned long long)messages);
    assert_int_equal(messages,
                     atomic_load(&world.delivered.done) - atomic_load(&world.deleted.done));
    for (unsigned int i = 0; i < READERS; i++)
        assert_int_equal(box_count(&world.box, &readers[i].memory).messages, messages);
    box_settle();
    for (unsigned int i = 0; i < READERS; i++) {
        assert_int_equal(box_count(&world.box, &readers[i].memory).messages, messages);
        assert_int_equal(box_count(&world.box, &readers[i].memory).directories_cached, 9);
        maildir_cache_free(readers[i].memory);
    }
    box_done(&world.box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counting_while_others_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
