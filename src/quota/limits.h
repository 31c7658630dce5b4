/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits file: who may hold how much, in the format of Exim's lsearch lookups and read by
 * Exim's rules, so that Exim's own transport can look up the same file.
 *
 *     # a comment has a line of its own
 *     user@example.org: 2G
 *     "john doe@example.org": 500M,1000C
 *     *@example.org 1G
 *     example.net: 1G,
 *         100000C
 *     *: unlimited
 *
 * The rules are those of lsearch.h. Letters of keys have no case. Of two equal keys the first
 * holds. A byte order mark at the start is skipped.
 *
 * A value is a limit as size_parse_limit() reads it; blanks around its comma do no harm. A limit
 * that says that there is none is an answer: nothing further is looked up.
 *
 * A fault takes the limit from its own key and from no other. Faults are what Exim would read
 * without a word and yet not as it was meant: a value that is no limit, or none at all, whose key
 * is unusable then; a key that no address can match (`@example.org`, `*.example.org`,
 * `example.org.`); and what lsearch.h names.
 *
 * The file is read once, whole, and checked whole; it is not mapped, so that nobody who truncates
 * it can harm us. A lookup is a binary search.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/address.h"
#include "quota/size.h"
#include "system/cleanup.h"

/* A larger file is refused. */
#define LIMITS_FILE_BYTES_MAX (UINT64_C(1) << 30)

/* Room for why a file was not loaded. */
#define LIMITS_ERROR_BYTES_MAX 128

/* So many faults are kept, and so many lines at most are said about them. */
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

/* What is said of a key. */
enum limits_answer {
    LIMITS_NONE,     /* no such key */
    LIMITS_FOUND,    /* the limit */
    LIMITS_UNUSABLE, /* the key is there, and its limit cannot be read: there is none */
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
 * Calls say() with the faults of the file at path, a line for people each: `PATH:LINE: TEXT`. Of
 * more than LIMITS_FAULTS_MAX, the last line says how many are left out.
 */
void limits_say_faults(const struct limits *limits, const char *path,
                       void (*say)(const char *line, void *userdata), void *userdata);

/*
 * Looks up, in this order, the address, `*@` and its domain, the domain, and `*`. What is said of
 * the first that there is, is returned, with its limit in *ret where that is LIMITS_FOUND.
 */
enum limits_answer limits_lookup(const struct limits *limits, const struct address *address,
                                 struct quota_limit *ret);

/* As limits_lookup(), for the address alone. */
enum limits_answer limits_lookup_exact(const struct limits *limits, const struct address *address,
                                       struct quota_limit *ret);

/* As limits_lookup(), for `*` alone, where there is no address. */
enum limits_answer limits_lookup_default(const struct limits *limits, struct quota_limit *ret);

/* Returns the number of limits, those included that an equal key further up hides. */
size_t limits_count(const struct limits *limits);

/* Returns the bytes of memory that the limits take, everything included. */
size_t limits_bytes(const struct limits *limits);
