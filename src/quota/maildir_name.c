/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildir_name.h"

#include <string.h>

#include "quota/ascii.h"
#include "quota/size.h"

/* Reads the number of the first tag ,LETTER=N of name. Returns whether it is usable. */
static bool read_tag(const char *name, char letter, uint64_t *ret_bytes)
{
    uint64_t value = 0;

    for (;;) {
        name = strchr(name, ',');
        if (!name)
            return false;
        name++;
        if (name[0] == letter && name[1] == '=')
            break;
    }
    for (name += 2; ascii_is_digit(*name); name++)
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*name - '0'), &value))
            return false;
    if (value > SIZE_BYTES_MAX || (*name != ':' && *name != ',' && *name != '\0'))
        return false;
    *ret_bytes = value;
    return true;
}

bool maildir_size_from_name(const char *name, enum maildir_size_tag tag, uint64_t *ret_bytes)
{
    if (tag == MAILDIR_SIZE_TAG_W && read_tag(name, 'W', ret_bytes))
        return true;
    return read_tag(name, 'S', ret_bytes);
}
