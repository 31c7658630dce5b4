/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every fuzz target includes. A target is a program of libFuzzer: it is handed inputs, and
 * crashes where what must always hold does not.
 *
 * Whatever a target compares with is written anew from the manual pages and headers, not from the
 * code that it checks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called by libFuzzer: the first once, the other for each input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Crashes unless the condition holds. */
#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(__FILE__, __LINE__, #condition);                                             \
    } while (0)

__attribute__((noreturn)) static inline void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

/*
 * Returns a copy of data[0..length) with room for so many bytes more, which the caller frees. It is
 * exactly as large as that, so that the sanitizer sees who looks further.
 */
static inline char *fuzz_copy(const void *data, size_t length, size_t room)
{
    char *copy = malloc(length + room > 0 ? length + room : 1);

    require(copy);
    if (length > 0)
        memcpy(copy, data, length);
    return copy;
}

/* As fuzz_copy(), as a string, which ends where data has a NUL at the latest. */
static inline char *fuzz_string(const void *data, size_t length)
{
    char *copy = fuzz_copy(data, length, 1);

    copy[length] = '\0';
    return copy;
}

/* An input of several parts. */
struct fuzz_input {
    const char *at;
    size_t left;
};

/*
 * Takes what comes before the next separator, or all that is left. Returns a string, which the
 * caller frees.
 */
static inline char *fuzz_take(struct fuzz_input *input, char separator)
{
    const char *end = input->left > 0 ? memchr(input->at, separator, input->left) : NULL;
    size_t length = end ? (size_t)(end - input->at) : input->left;
    char *taken = fuzz_string(input->at, length);

    input->at += length + (end != NULL);
    input->left -= length + (end != NULL);
    return taken;
}

/*
 * Reads text[0..length) as decimal digits and nothing else. Returns whether it is that; *ret stays
 * far above every number of 64 bits where it is larger.
 */
static inline bool fuzz_number(const char *text, size_t length, unsigned __int128 *ret)
{
    unsigned __int128 value = 0;

    if (length == 0)
        return false;
    for (; length > 0; text++, length--) {
        if (*text < '0' || *text > '9')
            return false;
        if (value >> 100 == 0)
            value = value * 10 + (unsigned __int128)(*text - '0');
    }
    *ret = value;
    return true;
}
