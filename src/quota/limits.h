/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits file, in the format of Exim's lsearch lookups and read by Exim's rules (lsearch.h), so
 * that Exim's own transport can look up the same file.
 *
 *     # a comment has a line of its own
 *     user@example.org: 2G
 *     "john doe@example.org": 500M,1000C
 *     *@example.org 1G
 *     example.net: 1G,
 *         100000C
 *     *: unlimited
 *
 * The case of keys does not matter. Of two equal keys the first holds. A byte order mark at the
 * start is skipped. A value is a limit as size_parse_limit() reads it, with blanks around its comma
 * allowed. A value that means "no limit" ends the lookup.
 *
 * A fault takes the limit from its own key and from no other. Faults are what Exim would silently
 * read in another way than it was meant: a value that is no limit, or none at all, which makes its
 * key unusable; a key that no address can match (`@example.org`, `*.example.org`,
 * `example.org.`); and what lsearch.h names.
 *
 * The file is read at once and checked whole. It is not mapped: truncating it does no harm. A
 * lookup is a binary search.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/address.h"
#include "quota/size.h"
#include "system/cleanup.h"
#include "system/file.h"

/* A larger file is refused. */
#define LIMITS_FILE_BYTES_MAX (UINT64_C(1) << 30)

/* Room for why a file was not loaded. */
#define LIMITS_ERROR_BYTES_MAX FILE_ERROR_BYTES_MAX

/* At most this many faults are kept, and at most this many lines report them. */
#define LIMITS_FAULTS_MAX 20

struct limits;

/* What is wrong with a line of the file. */
struct limits_fault {
    size_t line; /* from 1 */
    char text[320];
};

struct limits_faults {
    size_t count;                                 /* of all of them */
    struct limits_fault first[LIMITS_FAULTS_MAX]; /* by their lines */
};

/* What the file says about a key. */
enum limits_answer {
    LIMITS_NONE,     /* no such key */
    LIMITS_FOUND,    /* the limit */
    LIMITS_UNUSABLE, /* the key is there, but its limit cannot be read: there is none */
};

/* Which of its keys an address was found by; they are looked up in this order. */
enum limits_key {
    LIMITS_KEY_ADDRESS,
    LIMITS_KEY_ANY,     /* *@domain */
    LIMITS_KEY_DOMAIN,  /* domain */
    LIMITS_KEY_DEFAULT, /* * */
};

/* An entry of the file. */
struct limits_entry {
    struct quota_limit limit; /* if it is usable */
    enum limits_key key;
    uint32_t line; /* of its key, from 1 */
};

/*
 * Reads the limits file at path. Returns 0 and the limits, which the caller releases with
 * limits_free(), or, with a text for people in error and *ret untouched,
 * -EINVAL    it is no regular file,
 * -EFBIG     it is larger than LIMITS_FILE_BYTES_MAX,
 * -EAGAIN    it grew or shrank while it was read,
 * -ENOENT, -EACCES, -EIO, -ENOMEM, ... as open(2), read(2), malloc(3), getrandom(2).
 */
int limits_load(const char *path, struct limits **ret, char error[static LIMITS_ERROR_BYTES_MAX]);

/* Releases the limits. NULL is allowed. */
void limits_free(struct limits *limits);
DEFINE_FREEP(limits)

/* Returns what is wrong with the file. It stays the limits' own. */
const struct limits_faults *limits_faults(const struct limits *limits);

/*
 * Calls say() with a line for people for each fault of the file at path: `PATH:LINE: TEXT`. If
 * there are more than LIMITS_FAULTS_MAX, the last line says how many are left out.
 */
void limits_say_faults(const struct limits *limits, const char *path,
                       void (*say)(const char *line, void *userdata), void *userdata);

/*
 * Looks up, in this order, the address, `*@` and its domain, the domain, and `*`. Returns the
 * answer for the first key that there is, and unless it is LIMITS_NONE the entry in *ret.
 */
enum limits_answer limits_lookup(const struct limits *limits, const struct address *address,
                                 struct limits_entry *ret);

/* As limits_lookup(), for the address alone. */
enum limits_answer limits_lookup_exact(const struct limits *limits, const struct address *address,
                                       struct limits_entry *ret);

/* As limits_lookup(), for `*` alone, where there is no address. */
enum limits_answer limits_lookup_default(const struct limits *limits, struct limits_entry *ret);

/* Returns the number of limits, including those that an equal key above hides. */
size_t limits_count(const struct limits *limits);

/* Returns the bytes that the limits take. */
size_t limits_bytes(const struct limits *limits);
