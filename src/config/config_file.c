/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system/cleanup.h"
#include "system/file.h"
#include "system/utf8.h"

/* What surrounds a name or a value without being part of it. */
#define BLANKS " \t\r"

/* The file, while it is read. */
struct reader {
    const char *path;
    const struct option_group *groups;
    size_t groups_count;
    size_t *set_in; /* the line in which each option was set, by number; 0: not yet */
    size_t line;    /* from 1 */
    config_fault_fn say;
    void *userdata;
    size_t faults;
    int error;  /* the last one; 0: none */
    char *text; /* what was set so far, squeezed to the front of the file's text */
    size_t text_length;
};

/* An option of the table, where it belongs, and its number among those of all groups. */
struct found {
    const struct option_spec *spec;
    const struct option_group *group;
    size_t index;
    size_t number;
};

/* Reports what is wrong with the line, unless enough was reported. */
__attribute__((format(printf, 3, 4))) static void add_fault(struct reader *reader, int error,
                                                            const char *format, ...)
{
    char why[OPTIONS_ERROR_BYTES_MAX], line[PATH_MAX + OPTIONS_ERROR_BYTES_MAX];
    va_list arguments;

    reader->error = error;
    if (reader->faults++ >= CONFIG_FILE_FAULTS_MAX)
        return;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    (void)snprintf(line, sizeof(line), "%s:%zu: %s", reader->path, reader->line, why);
    reader->say(line, reader->userdata);
}

static bool find_option(const struct reader *reader, const char *name, struct found *ret)
{
    size_t before = 0;

    for (size_t g = 0; g < reader->groups_count; g++) {
        const struct option_group *group = &reader->groups[g];

        for (size_t i = 0; i < group->count; i++) {
            const struct option_spec *spec = &group->specs[i];
            size_t index = options_table_index(group, spec);

            if (strcmp(spec->name, name) == 0) {
                *ret = (struct found){spec, group, index, before + index};
                return true;
            }
        }
        before += group->count;
    }
    return false;
}

/* Reads what stands for an option that takes no value on the command line. */
static int read_flag(const struct option_spec *spec, void *target, const char *value, char *error)
{
    if (strcmp(value, "yes") == 0)
        return spec->read(target, NULL);
    if (strcmp(value, "no") == 0)
        return 0;
    return options_fail(error, "%s = %s is not accepted: it takes yes or no", spec->name, value);
}

static int read_value(const struct found *found, const char *value, char *error)
{
    const struct option_spec *spec = found->spec;
    bool outranked = found->group->given >> found->index & 1;
    void *target = outranked ? found->group->outranked : found->group->target;

    if (!spec->value)
        return read_flag(spec, target, value, error);
    /* The working directory of a service means nothing to whoever writes the file. */
    if (spec->path_or && *value != '/' && strcmp(value, spec->path_or) != 0)
        return options_fail(error, "%s = %s is not accepted: it takes %s", spec->name, value,
                            spec->accepted);
    return options_table_read_value(spec, target, "", " = ", value, error);
}

/* Adds what was set to the text, where it takes no more room than the line had. */
static void keep(struct reader *reader, const char *name, const char *value)
{
    size_t name_length = strlen(name), value_length = strlen(value);
    char *end = reader->text + reader->text_length;

    memmove(end, name, name_length);
    end[name_length] = '=';
    memmove(end + name_length + 1, value, value_length);
    end[name_length + 1 + value_length] = '\n';
    reader->text_length += name_length + 1 + value_length + 1;
}

/* value is NULL where there is no `=`. */
static void set_option(struct reader *reader, const char *name, const char *value)
{
    char error[OPTIONS_ERROR_BYTES_MAX];
    struct found found;
    int r;

    if (!find_option(reader, name, &found)) {
        add_fault(reader, -EINVAL, "there is no option %s; --help lists them",
                  *name == '\0' ? "without a name" : name);
        return;
    }
    if (found.spec->command_line_only) {
        add_fault(reader, -EINVAL, "%s is for the command line only", name);
        return;
    }
    if (!value || *value == '\0') {
        add_fault(reader, -EINVAL, "%s needs a value: %s", name,
                  found.spec->value ? found.spec->accepted : "yes or no");
        return;
    }
    if (!found.spec->repeatable && reader->set_in[found.number] > 0) {
        add_fault(reader, -EINVAL, "%s is already set in line %zu", name,
                  reader->set_in[found.number]);
        return;
    }
    reader->set_in[found.number] = reader->line;
    r = read_value(&found, value, error);
    if (r < 0)
        add_fault(reader, r, "%s", error);
    else
        keep(reader, name, value);
}

/* Cuts the blanks off both ends of text[0..length), which gets a NUL behind it. */
static char *trim(char *text, size_t length)
{
    while (length > 0 && strchr(BLANKS, text[length - 1]))
        length--;
    text[length] = '\0';
    return text + strspn(text, BLANKS);
}

/* Reads line[0..length), behind which there is room for a byte. */
static void read_line(struct reader *reader, char *line, size_t length)
{
    char *name, *equals, *value = NULL;

    if (memchr(line, '\0', length)) {
        add_fault(reader, -EINVAL, "there is a NUL byte in this line");
        return;
    }
    name = trim(line, length);
    if (*name == '\0' || *name == '#')
        return;
    equals = strchr(name, '=');
    if (equals) {
        value = trim(equals + 1, strlen(equals + 1));
        name = trim(name, (size_t)(equals - name));
    }
    set_option(reader, name, value);
}

/* Reads the lines of text[0..length), behind which there is room for two bytes. */
static void read_lines(struct reader *reader, char *text, size_t length)
{
    size_t at = utf8_byte_order_mark(text, length);

    reader->text = text;
    while (at < length) {
        char *line = text + at;
        const char *end = memchr(line, '\n', length - at);
        size_t line_length = end ? (size_t)(end - line) : length - at;

        at += line_length + 1;
        reader->line++;
        read_line(reader, line, line_length);
    }
    text[reader->text_length] = '\0';
}

int config_file_read(const char *path, bool may_be_missing, const struct option_group *groups,
                     size_t groups_count, config_fault_fn say, void *userdata, char **ret_text)
{
    struct reader reader = {.path = path,
                            .groups = groups,
                            .groups_count = groups_count,
                            .say = say,
                            .userdata = userdata};
    char why[FILE_ERROR_BYTES_MAX], line[PATH_MAX + FILE_ERROR_BYTES_MAX];
    _cleanup_(freep) char *text = NULL;
    _cleanup_(freep) size_t *set_in = NULL;
    size_t length, count = 0;
    int r;

    for (size_t g = 0; g < groups_count; g++)
        count += groups[g].count;
    reader.set_in = set_in = calloc(count, sizeof(*set_in));
    r = file_read(path, CONFIG_FILE_BYTES_MAX, &text, &length, why);
    *ret_text = NULL;
    if (r == -ENOENT && may_be_missing &&
        faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0) /* no link to nothing either */
        return 0;
    if (r == 0 && !set_in) {
        (void)snprintf(why, sizeof(why), "out of memory");
        r = -ENOMEM;
    }
    if (r < 0) {
        (void)snprintf(line, sizeof(line), "%s: %s", path, why);
        say(line, userdata);
        return r;
    }
    read_lines(&reader, text, length);
    if (reader.faults > CONFIG_FILE_FAULTS_MAX) {
        (void)snprintf(line, sizeof(line), "%s: and %zu more", path,
                       reader.faults - CONFIG_FILE_FAULTS_MAX);
        say(line, userdata);
    }
    if (reader.error == 0)
        *ret_text = steal_pointer(&text);
    return reader.error;
}
