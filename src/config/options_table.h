/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines by table: a program lists its options in groups, and this reads a command line by
 * them, tells what is wrong with it, and prints the help. Nothing here knows what an option means.
 *
 * A wrong option is told in one line that names the option, the value, and what is accepted.
 */
#pragma once

#include <stddef.h>

/* Reads the value of one option. Returns 0, -EINVAL if it is not accepted, or -ENOMEM. */
typedef int (*option_read_fn)(void *target, const char *value);

struct option_spec {
    const char *name;
    char letter;          /* 0: none */
    const char *value;    /* what it takes, for people; NULL: nothing */
    const char *accepted; /* what its value may be; NULL: anything */
    const char *help;     /* NULL: another name of the option above */
    option_read_fn read;  /* its value is NULL where it takes none */
};

/* The options that are read into one place. */
struct option_group {
    const struct option_spec *specs;
    size_t count;
    void *target;                    /* handed to read() */
    const struct option_spec *given; /* set: the first of them that was given; NULL: none */
};

/* A line for people about what is wrong, with its NUL. */
#define OPTIONS_ERROR_BYTES_MAX 1024

/* Writes the line into error[0..OPTIONS_ERROR_BYTES_MAX), cut off if need be. Returns -EINVAL. */
int options_fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Reads the options of the command line, in any order with the words that are none; those are moved
 * behind the options, in their order. Returns the place of the first of them in argv (argc if there
 * are none); or -EINVAL, -ENOMEM or what else a value could not be looked up for, with the line
 * about it in error[0..OPTIONS_ERROR_BYTES_MAX).
 */
int options_table_read(struct option_group *groups, size_t groups_count, int argc, char **argv,
                       char *error);

/* Prints a line of help for each option. */
void options_table_print(const struct option_group *groups, size_t groups_count);
