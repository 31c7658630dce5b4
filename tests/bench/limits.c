/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a limits file costs: seconds to load it, bytes that it takes in memory, nanoseconds for a
 * lookup that ends with the address itself, with its domain, and with `*`. Prints a table; judges
 * nothing.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "quota/limits.h"
#include "system/cleanup.h"

enum {
    DOMAINS = 100,
    LOADS = 5,
    BATCH = 4096,
    BATCHES = 250,
};

/* The addresses that are looked up: found by themselves, by their domain, by "*". */
static const struct form {
    const char *user, *top;
} forms[] = {{"user", "org"}, {"nobody", "org"}, {"user", "net"}};

static uint64_t now_nsec(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

__attribute__((noreturn)) static void die(const char *what)
{
    (void)fprintf(stderr, "bench-limits: %s\n", what);
    exit(1);
}

static void write_limits(const char *path, size_t entries)
{
    FILE *file = fopen(path, "w");

    if (!file)
        die("cannot write the limits file");
    for (size_t i = 0; i < entries; i++)
        (void)fprintf(file, "user%zu@example%zu.org: %zuM,%zuC\n", i, i % DOMAINS, i % 4096 + 1,
                      i + 1);
    for (size_t i = 0; i < DOMAINS; i++)
        (void)fprintf(file, "example%zu.org: 1G\n", i);
    (void)fputs("*: 500M\n", file);
    if (fclose(file) != 0)
        die("cannot write the limits file");
}

/* Loads the file a few times. Returns the limits, and the shortest time. */
static struct limits *load(const char *path, uint64_t *ret_nsec)
{
    struct limits *limits = NULL;
    char error[LIMITS_ERROR_BYTES_MAX];

    *ret_nsec = UINT64_MAX;
    for (size_t i = 0; i < LOADS; i++) {
        uint64_t begin = now_nsec(), taken;

        limits_free(limits);
        if (limits_load(path, &limits, error) < 0)
            die(error);
        taken = now_nsec() - begin;
        *ret_nsec = taken < *ret_nsec ? taken : *ret_nsec;
    }
    return limits;
}

/* Fills the batch with addresses of that form, any of so many users. */
static void make_addresses(struct address *addresses, const struct form *form, size_t users)
{
    for (size_t i = 0; i < BATCH; i++) {
        size_t user = ((size_t)random() << 16 ^ (size_t)random()) % users;
        const char *why;
        char text[64];
        int length;

        length = snprintf(text, sizeof(text), "%s%zu@example%zu.%s", form->user, user,
                          user % DOMAINS, form->top);
        if (address_parse(text, (size_t)length, "", &addresses[i], &why) < 0)
            die(why);
    }
}

/* Returns the nanoseconds of a lookup, on average. */
static uint64_t look_up(const struct limits *limits, const struct form *form, size_t users)
{
    _cleanup_(freep) struct address *addresses = calloc(BATCH, sizeof(*addresses));
    uint64_t taken = 0;

    if (!addresses)
        die("out of memory");
    for (size_t batch = 0; batch < BATCHES; batch++) {
        uint64_t begin;

        make_addresses(addresses, form, users);
        begin = now_nsec();
        for (size_t i = 0; i < BATCH; i++) {
            struct limits_entry entry;

            if (limits_lookup(limits, &addresses[i], &entry) != LIMITS_FOUND ||
                entry.limit.bytes == 0)
                die("an address has no limit");
        }
        taken += now_nsec() - begin;
    }
    return taken / ((uint64_t)BATCH * BATCHES);
}

static void measure(const char *path, size_t entries)
{
    uint64_t load_nsec;
    struct limits *limits;

    write_limits(path, entries);
    limits = load(path, &load_nsec);
    (void)printf("| %7zu | %.4f s | %5.2f MB |", entries, (double)load_nsec / 1e9,
                 (double)limits_bytes(limits) / 1e6);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        (void)printf(" %4" PRIu64 " ns |", look_up(limits, &forms[i], entries));
    (void)printf("\n");
    limits_free(limits);
}

int main(void)
{
    char path[] = "/tmp/bench-limits.XXXXXX";
    int fd = mkstemp(path);

    if (fd < 0)
        die("cannot make a temporary file");
    (void)close(fd);
    (void)printf("| entries | load | memory | lookup: address | domain | * |\n"
                 "| --- | --- | --- | --- | --- | --- |\n");
    measure(path, 1000);
    measure(path, 1000000);
    return unlink(path) < 0;
}
