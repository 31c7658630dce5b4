/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/options_table.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/cleanup.h"

/* The number of a long option for getopt_long(3) is its place, from here on. */
#define FIRST_NUMBER 256

/* All groups as getopt_long(3) takes them. */
struct table {
    struct option_group *groups;
    size_t groups_count;
    struct option *longs;
    char *letters;
};

static void table_deinit(struct table *table)
{
    free(table->longs);
    free(table->letters);
}

static void add_letter(char **letters, const struct option_spec *spec)
{
    if (spec->letter == 0)
        return;
    *(*letters)++ = spec->letter;
    if (spec->value)
        *(*letters)++ = ':';
}

static int table_init(struct table *table)
{
    size_t count = 0;
    struct option *next;
    char *letters;

    for (size_t g = 0; g < table->groups_count; g++)
        count += table->groups[g].count;
    table->longs = calloc(count + 1, sizeof(struct option));
    table->letters = calloc(1, 1 + 2 * count + 1);
    if (!table->longs || !table->letters)
        return -ENOMEM;
    next = table->longs;
    letters = table->letters;
    *letters++ = ':'; /* tell a missing value from an unknown option */
    for (size_t g = 0; g < table->groups_count; g++) {
        for (size_t i = 0; i < table->groups[g].count; i++) {
            const struct option_spec *spec = &table->groups[g].specs[i];

            *next = (struct option){
                .name = spec->name,
                .has_arg = spec->value ? required_argument : no_argument,
                .val = FIRST_NUMBER + (int)(next - table->longs),
            };
            next++;
            add_letter(&letters, spec);
        }
    }
    return 0;
}

/* Returns the option that getopt_long(3) means by a number or a letter, and its group; or NULL. */
static const struct option_spec *find_spec(const struct table *table, int option,
                                           struct option_group **ret_group)
{
    int number = FIRST_NUMBER;

    for (size_t g = 0; g < table->groups_count; g++) {
        *ret_group = &table->groups[g];
        for (size_t i = 0; i < table->groups[g].count; i++, number++) {
            const struct option_spec *spec = &table->groups[g].specs[i];

            if (option == number || (option != 0 && option == spec->letter))
                return spec;
        }
    }
    return NULL;
}

int options_fail(char *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error, OPTIONS_ERROR_BYTES_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* Says what is wrong with what getopt_long(3) did not take: result is what it returned. */
static int fail_option(const struct table *table, int result, const char *word, char *error)
{
    struct option_group *group;
    const struct option_spec *spec = find_spec(table, optopt, &group);

    if (result == ':' && spec)
        return options_fail(error, "--%s needs a value: %s", spec->name, spec->accepted);
    if (spec)
        return options_fail(error, "%s: --%s takes no value", word, spec->name);
    if (optopt != 0) /* one of several letters, maybe: word need not be the one with it */
        return options_fail(error, "there is no option -%c; --help lists them", optopt);
    return options_fail(error,
                        "there is no option %s, or more than one that begins so; --help lists "
                        "them",
                        word);
}

int options_table_read_value(const struct option_spec *spec, void *target, const char *prefix,
                             const char *separator, const char *value, char *error)
{
    int r = spec->read(target, value);

    if (r == -EINVAL)
        return options_fail(error, "%s%s%s%s is not accepted: it takes %s", prefix, spec->name,
                            separator, value, spec->accepted);
    if (r == -ENOMEM)
        (void)options_fail(error, "out of memory");
    else if (r < 0)
        (void)options_fail(error, "%s%s%s%s: %s", prefix, spec->name, separator, value,
                           strerror(-r));
    return r;
}

size_t options_table_index(const struct option_group *group, const struct option_spec *spec)
{
    while (!spec->help)
        spec--;
    return (size_t)(spec - group->specs);
}

const struct option_spec *options_table_given(const struct option_group *group)
{
    return group->given ? &group->specs[__builtin_ctzll(group->given)] : NULL;
}

static int read_all(const struct table *table, int argc, char **argv, char *error)
{
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, table->letters, table->longs, NULL)) != -1) {
        struct option_group *group;
        const struct option_spec *spec;
        int r;

        if (option == ':' || option == '?')
            return fail_option(table, option, argv[optind - 1], error);
        spec = find_spec(table, option, &group);
        group->given |= UINT64_C(1) << options_table_index(group, spec);
        r = options_table_read_value(spec, group->target, "--", "=", optarg, error);
        if (r < 0)
            return r;
    }
    return optind;
}

int options_table_read(struct option_group *groups, size_t groups_count, int argc, char **argv,
                       char *error)
{
    _cleanup_(table_deinit) struct table table = {.groups = groups, .groups_count = groups_count};
    int r = table_init(&table);

    if (r < 0) {
        (void)options_fail(error, "out of memory");
        return r;
    }
    return read_all(&table, argc, argv, error);
}

static void print_spec(const struct option_spec *spec)
{
    char names[64];

    snprintf(names, sizeof(names), "%c%c%c --%s%s%s", spec->letter ? '-' : ' ',
             spec->letter ? spec->letter : ' ', spec->letter ? ',' : ' ', spec->name,
             spec->value ? "=" : "", spec->value ? spec->value : "");
    printf("  %-31s %s\n", names, spec->help ? spec->help : "the same");
}

void options_table_print(const struct option_group *groups, size_t groups_count)
{
    for (size_t g = 0; g < groups_count; g++)
        for (size_t i = 0; i < groups[g].count; i++)
            print_spec(&groups[g].specs[i]);
}
