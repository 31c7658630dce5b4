/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clean-up by scope: a variable that owns something releases it when it goes out of scope, so that
 * functions return early without a label to jump to.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Releases the memory that *pointer, a pointer to any pointer, owns. */
static inline void freep(void *pointer)
{
    free(*(void **)pointer);
}

/* Closes the descriptor *fd, unless it is negative. */
static inline void closep(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* Closes the stream *stream, unless it is NULL. */
static inline void fclosep(FILE **stream)
{
    if (*stream)
        (void)fclose(*stream);
}

/* Defines NAME_freep(), which releases what a struct NAME * points to by NAME_free(). */
#define DEFINE_FREEP(name)                                                                         \
    static inline void name##_freep(struct name **pointer)                                         \
    {                                                                                              \
        name##_free(*pointer);                                                                     \
    }

/* Returns the struct that the member at pointer is part of. */
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Takes the descriptor out of *fd, so that its clean-up leaves it alone. Returns it. */
static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

/* Takes the pointer out of *pointer, so that its clean-up leaves it alone. Returns it. */
#define steal_pointer(pointer)                                                                     \
    __extension__({                                                                                \
        __typeof__(pointer) slot_ = &(pointer)[0];                                                 \
        __typeof__(*(pointer)) stolen_ = *slot_;                                                   \
        *slot_ = NULL;                                                                             \
        stolen_;                                                                                   \
    })
