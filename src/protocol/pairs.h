/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parses the pairs of a reply, as reply.h writes them. The peer is not trusted: a line that is not
 * exactly of that form is refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any reply has. */
#define PAIRS_MAX 64

struct pair {
    const char *key; /* letters, digits and `_`, the first a letter, all lower case */
    const char *value;
    bool is_quoted;
};

/* The pairs of a line, in their order, no key twice. They lie in the line. */
struct pairs {
    size_t count;
    struct pair items[PAIRS_MAX];
};

/*
 * Reads the whole of line[0..length), which has no LF and is followed by one byte that may be
 * written. Works in place. Returns 0, -EBADMSG if it is no line of pairs (an empty one is none), or
 * -E2BIG if it has more than PAIRS_MAX; *ret holds nothing of use then.
 */
int pairs_parse(char *line, size_t length, struct pairs *ret);

/* Returns the value of the key, or NULL if there is none. */
const char *pairs_find(const struct pairs *pairs, const char *key);

/*
 * Returns whether the pair's value is a number in decimal, without a sign, quotes or needless
 * zeros. It may be larger than anything.
 */
bool pair_is_number(const struct pair *pair);

/*
 * Reads the number that is the value of the key. Returns 0, -ENOENT if there is no such key,
 * -EINVAL if its value is no number, or -ERANGE if it is larger than UINT64_MAX.
 */
int pairs_number(const struct pairs *pairs, const char *key, uint64_t *ret);
