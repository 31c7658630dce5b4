/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The size in a message's file name, as maildir_name.h describes it. The input is the name.
 */
#include "fuzz.h"

#include "quota/maildir_name.h"
#include "quota/size.h"

/* Reads what stands behind the first comma that the letter and an equals sign follow. */
static bool expect_tag(const char *name, char letter, uint64_t *ret)
{
    const char tag[] = {',', letter, '=', '\0'};
    const char *found = strstr(name, tag);
    unsigned __int128 value = 0;
    size_t length;

    if (!found)
        return false;
    found += 3;
    length = strcspn(found, ",:");
    if (length > 0 && !fuzz_number(found, length, &value))
        return false;
    *ret = (uint64_t)value;
    return value <= SIZE_BYTES_MAX;
}

static void check(const char *name, enum maildir_size_tag tag, bool expected_found,
                  uint64_t expected)
{
    uint64_t bytes = UINT64_MAX;
    bool found = maildir_size_from_name(name, tag, &bytes);

    require(found == expected_found);
    require(!found || bytes == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = fuzz_string(data, size);
    uint64_t s = 0, w = 0;
    bool have_s = expect_tag(name, 'S', &s), have_w = expect_tag(name, 'W', &w);

    check(name, MAILDIR_SIZE_TAG_S, have_s, s);
    check(name, MAILDIR_SIZE_TAG_W, have_w || have_s, have_w ? w : s);
    free(name);
    return 0;
}
