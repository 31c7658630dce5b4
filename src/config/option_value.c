/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/option_value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quota/size.h"
#include "system/cleanup.h"
#include "system/clock.h"

#define MSECS_MAX (UINT64_C(24) * 3600 * 1000)

int option_value_range(const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (size_parse_number(value, strlen(value), &number) < 0 || number < min || number > max)
        return -EINVAL;
    *ret = number;
    return 0;
}

int option_value_msecs(const char *value, uint64_t *ret_usec)
{
    uint64_t msecs;
    int r = option_value_range(value, 1, MSECS_MAX, &msecs);

    if (r == 0)
        *ret_usec = msecs * USEC_PER_MSEC;
    return r;
}

int option_value_string(const char *value, char **ret)
{
    char *copy;

    if (*value == '\0')
        return -EINVAL;
    copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*ret);
    *ret = copy;
    return 0;
}

int option_value_path(const char *value, char **ret)
{
    _cleanup_(freep) char *directory = NULL;
    char *path;

    if (*value == '/' || *value == '\0')
        return option_value_string(value, ret);
    directory = getcwd(NULL, 0);
    if (!directory)
        return -errno;
    if (asprintf(&path, "%s/%s", directory, value) < 0)
        return -ENOMEM;
    free(*ret);
    *ret = path;
    return 0;
}

int option_value_list(const char *value, char ***list, size_t *count)
{
    char **grown = reallocarray(*list, *count + 1, sizeof(char *));

    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[*count] = strdup(value);
    if (!grown[*count])
        return -ENOMEM;
    (*count)++;
    return 0;
}
