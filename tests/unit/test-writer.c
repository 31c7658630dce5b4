/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/writer.h"

/* More than any queue holds, with the pipe. */
#define MANY 20000

/* What a queue holds, and the smallest pipe does not. */
#define SOME 2000

/* How long a busy disk may well take. */
#define BUSY_MSEC 300

static size_t note(enum writer_note note, uint64_t number, char *bytes, void *userdata)
{
    (void)userdata;
    return (size_t)snprintf(bytes, WRITER_NOTE_BYTES_MAX, "%s %" PRIu64 "\n",
                            note == WRITER_LOST ? "lost" : "not reopened", number);
}

static struct writer *make_writer(const struct writer_target *target)
{
    struct writer *writer;

    assert_int_equal(writer_new(target, note, NULL, &writer), 0);
    return writer;
}

static void add(struct writer *writer, unsigned int number)
{
    char line[32];

    writer_add(writer, line, (size_t)snprintf(line, sizeof(line), "entry %u\n", number));
}

static void add_many(struct writer *writer)
{
    for (unsigned int i = 0; i < MANY; i++)
        add(writer, i);
}

/* Reads entries until it was told how many were lost. They come in their order. */
static void read_entries(FILE *file)
{
    unsigned int number, next = 0, read = 0, lost = 0;
    char line[64];

    while (lost == 0) {
        assert_non_null(fgets(line, sizeof(line), file));
        if (sscanf(line, "lost %u\n", &lost) == 1)
            break;
        assert_int_equal(sscanf(line, "entry %u\n", &number), 1);
        assert_true(number >= next);
        next = number + 1;
        read++;
    }
    assert_true(read > 0);
    assert_int_equal(read + lost, MANY);
}

/* Starts a writer to a pipe. Returns what reads from it. */
static FILE *start_pipe(struct writer **ret)
{
    FILE *file;
    int fds[2];

    assert_return_code(pipe2(fds, O_CLOEXEC), errno);
    *ret = make_writer(&(struct writer_target){.fd = fds[1]});
    writer_start(*ret);
    file = fdopen(fds[0], "r");
    assert_non_null(file);
    return file;
}

static void nobody_reads_a_pipe(void **state)
{
    struct writer *writer;
    FILE *file = start_pipe(&writer);

    (void)state;
    add_many(writer);
    read_entries(file);
    assert_true(writer_end(writer));
    assert_null(fgets((char[64]){}, 64, file)); /* and it is closed */
    assert_int_equal(fclose(file), 0);
}

static void somebody_reads_a_pipe(void **state)
{
    char line[32], expected[32];
    struct writer *writer;
    FILE *file = start_pipe(&writer);

    (void)state;
    for (unsigned int i = 0; i < MANY; i++) {
        add(writer, i);
        assert_non_null(fgets(line, sizeof(line), file));
        (void)snprintf(expected, sizeof(expected), "entry %u\n", i);
        assert_string_equal(line, expected);
    }
    assert_true(writer_end(writer));
    assert_int_equal(fclose(file), 0);
}

/* A pipe, and how many lines were read from it. */
struct late_reader {
    int fd;
    unsigned int lines;
};

static void *read_late(void *userdata)
{
    struct late_reader *reader = userdata;
    char bytes[4096];
    ssize_t n;

    (void)poll(NULL, 0, BUSY_MSEC);
    while ((n = read(reader->fd, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < n; i++)
            reader->lines += bytes[i] == '\n';
    return NULL;
}

static void nothing_is_lost_at_the_end(void **state)
{
    struct writer *writer;
    FILE *file = start_pipe(&writer);
    struct late_reader reader = {.fd = fileno(file)};
    pthread_t thread;

    (void)state;
    assert_return_code(fcntl(reader.fd, F_SETPIPE_SZ, 1), errno); /* as small as possible */
    for (unsigned int i = 0; i < SOME; i++)
        add(writer, i);
    assert_int_equal(pthread_create(&thread, NULL, read_late, &reader), 0);
    assert_true(writer_end(writer));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reader.lines, SOME);
    assert_int_equal(fclose(file), 0);
}

static enum child_result end_while_a_write_hangs(void *userdata)
{
    uint64_t before_usec = clock_usec(CLOCK_MONOTONIC);
    struct writer *writer;
    int fds[2];

    (void)userdata;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK(writer_new(&(struct writer_target){.fd = fds[1]}, note, NULL, &writer) == 0);
    add_many(writer);
    CHECK(!writer_end(writer));
    CHECK(clock_usec(CLOCK_MONOTONIC) - before_usec < 20 * USEC_PER_SEC);
    return CHILD_PASSED;
}

static void the_end_does_not_wait_for_ever(void **state)
{
    (void)state;
    assert_int_equal(child_run(end_while_a_write_hangs, NULL), CHILD_PASSED);
}

/* A folder, its log file and its socket. */
struct place {
    char folder[32];
    char log[48];
    char old[48];
    struct sockaddr_un address;
};

static void make_place(struct place *place)
{
    *place = (struct place){.folder = "/tmp/test-writer-XXXXXX", .address.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(place->folder));
    (void)snprintf(place->log, sizeof(place->log), "%s/log", place->folder);
    (void)snprintf(place->old, sizeof(place->old), "%s/old", place->folder);
    (void)snprintf(place->address.sun_path, sizeof(place->address.sun_path), "%s/socket",
                   place->folder);
}

static void remove_place(const struct place *place)
{
    (void)unlink(place->log);
    (void)unlink(place->old);
    (void)unlink(place->address.sun_path);
    assert_return_code(rmdir(place->folder), errno);
}

static void assert_content(const char *path, const char *expected)
{
    char text[256];
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, expected);
}

static void a_file_is_opened_again(void **state)
{
    struct writer *writer;
    struct place place;
    int fd;

    (void)state;
    make_place(&place);
    fd = writer_open_file(place.log);
    assert_return_code(fd, -fd);
    writer = make_writer(&(struct writer_target){.fd = fd, .path = place.log});
    add(writer, 1);
    assert_content(place.log, ""); /* there is no thread yet */
    writer_start(writer);
    add(writer, 2);
    assert_return_code(rename(place.log, place.old), errno);
    add(writer, 3);
    writer_reopen(writer);
    add(writer, 4);
    writer_reopen(writer); /* it is the same file */
    assert_content(place.old, "entry 1\nentry 2\nentry 3\n");
    assert_content(place.log, "entry 4\n");

    /* where that fails, the old file says so */
    assert_return_code(unlink(place.log), errno);
    assert_return_code(mkdir(place.log, 0700), errno);
    writer_reopen(writer);
    assert_return_code(rmdir(place.log), errno);
    assert_true(writer_end(writer));
    remove_place(&place);
}

static void assert_received(int fd, const char *expected)
{
    char text[64];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    assert_return_code(n, errno);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

/* Whoever reads has an entry when writer_add() returns, and there is no need of a thread. */
static void datagrams(void **state)
{
    const int size = 1; /* of the buffer: as small as the kernel allows */
    unsigned int sent = 0, lost;
    struct writer *writer;
    struct place place;
    char text[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), sender;

    (void)state;
    make_place(&place);
    assert_return_code(fd, errno);
    sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_return_code(sender, errno);
    assert_return_code(setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), errno);
    writer = make_writer(&(struct writer_target){.fd = sender, .address = &place.address});

    add(writer, 1); /* nobody is there */
    add(writer, 2);
    assert_return_code(bind(fd, (const struct sockaddr *)&place.address, sizeof(place.address)),
                       errno);
    add(writer, 3);
    assert_received(fd, "entry 3\n");
    assert_received(fd, "lost 2\n");

    writer_start(writer);
    add_many(writer);
    for (lost = 0; lost == 0; sent++) {
        ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

        assert_return_code(n, errno);
        text[n] = '\0';
        if (sscanf(text, "lost %u\n", &lost) == 1)
            break;
    }
    assert_int_equal(sent + lost, MANY);
    assert_true(writer_end(writer));
    assert_return_code(close(fd), errno);
    remove_place(&place);
}

static void a_full_disk(void **state)
{
    struct writer *writer;
    int fd = writer_open_file("/dev/full");

    (void)state;
    assert_return_code(fd, -fd);
    writer = make_writer(&(struct writer_target){.fd = fd, .path = "/dev/full"});
    writer_start(writer);
    add_many(writer);
    assert_true(writer_end(writer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_end_does_not_wait_for_ever), /* first: a child begins without threads */
        cmocka_unit_test(nobody_reads_a_pipe),
        cmocka_unit_test(somebody_reads_a_pipe),
        cmocka_unit_test(nothing_is_lost_at_the_end),
        cmocka_unit_test(a_file_is_opened_again),
        cmocka_unit_test(datagrams),
        cmocka_unit_test(a_full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
