/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options by table: a program lists its options in groups, and this reads a command line by them,
 * says what is wrong with it, and prints the help. Nothing here knows what an option means.
 *
 * One line about a wrong option names the option, the value, and what is accepted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the value of one option. Returns 0, -EINVAL if it is not accepted, or -ENOMEM. */
typedef int (*option_read_fn)(void *target, const char *value);

struct option_spec {
    const char *name;
    char letter;            /* 0: none */
    const char *value;      /* what it takes, for people; NULL: nothing */
    const char *accepted;   /* what its value may be; NULL: anything */
    const char *help;       /* NULL: another name of the option above */
    option_read_fn read;    /* its value is NULL where it takes none */
    bool command_line_only; /* a configuration file cannot set it */
    bool repeatable;        /* each value adds to those before */
    const char *path_or;    /* it takes a path or this word; NULL: it takes no path */
};

/* The options that are read into one place: at most 64. */
struct option_group {
    const struct option_spec *specs;
    size_t count;
    void *target;    /* handed to read() */
    void *outranked; /* the same for lines of a file that the command line outranks: only checked */
    uint64_t given;  /* set: bit i for specs[i] if the command line gives it, by whatever name */
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

/*
 * Reads the value of one option, which a message names as prefix, name, separator and value.
 * Returns 0, or as options_table_read() with the line about it in error.
 */
int options_table_read_value(const struct option_spec *spec, void *target, const char *prefix,
                             const char *separator, const char *value, char *error);

/* Returns where in the group an option is, by its first name. */
size_t options_table_index(const struct option_group *group, const struct option_spec *spec);

/* Returns the first option of the group that the command line gives, or NULL. */
const struct option_spec *options_table_given(const struct option_group *group);

/* Prints a line of help for each option. */
void options_table_print(const struct option_group *groups, size_t groups_count);
