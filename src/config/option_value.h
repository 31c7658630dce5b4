/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers of the values of options, for the read() of an option_spec. Each returns 0, -EINVAL if it
 * does not accept the value, or -ENOMEM, and leaves what it was given as it was unless it returns
 * 0.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What option_value_msecs() accepts, for people. */
#define OPTION_VALUE_MSECS "milliseconds from 1 to 86400000 (a day)"

/* What a path may be that the configuration file can set, for people. */
#define OPTION_VALUE_PATH "a path (absolute in a file)"

/* Reads a decimal number from min to max. */
int option_value_range(const char *value, uint64_t min, uint64_t max, uint64_t *ret);

/* Reads milliseconds, from one to a day's. *ret is in microseconds. */
int option_value_msecs(const char *value, uint64_t *ret_usec);

/* Copies a value that is not empty, and releases what *ret pointed to. */
int option_value_string(const char *value, char **ret);

/* As option_value_string(), for a path that means the same once the working directory was left. */
int option_value_path(const char *value, char **ret);

/* Appends a copy of the value to the list, which is allocated anew. */
int option_value_list(const char *value, char ***list, size_t *count);
