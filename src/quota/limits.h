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
 *     *: 0
 *
 * The rules are those of lsearch.h. Letters of keys have no case. Of two equal keys the first
 * holds.
 *
 * A value is a limit as size_parse_limit() reads it; blanks around its comma do no harm. The limit
 * 0 says that there is none, and it is an answer: nothing further is looked up.
 *
 * What Exim would read without a word and yet not as it was meant is an error here: a key without a
 * value, a key that no address can match (`@example.org`, `*.example.org`, `example.org.`), and
 * what lsearch.h names.
 *
 * The file is read once, whole, and checked whole; it is not mapped, so that nobody who truncates
 * it can harm us. A lookup takes as long among many entries as among few, whoever chose the keys.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/address.h"
#include "quota/size.h"

/* A larger file is refused. */
#define LIMITS_FILE_BYTES_MAX (UINT64_C(1) << 30)

struct limits;

/* Why a file was not loaded. */
struct limits_error {
    size_t line; /* from 1; 0 where it is not about a line */
    char text[320];
};

/*
 * Reads the limits file at path. Returns 0 and the limits, which the caller releases with
 * limits_free(), or, with *error filled and *ret untouched,
 * -EBADMSG   the line error->line is wrong,
 * -EINVAL    it is no regular file,
 * -EFBIG     it is larger than LIMITS_FILE_BYTES_MAX,
 * -EAGAIN    it grew or shrank while it was read,
 * -ENOENT, -EACCES, -EIO, -ENOMEM, ... as open(2), read(2), malloc(3), getrandom(2).
 */
int limits_load(const char *path, struct limits **ret, struct limits_error *error);

/* Room for a line of limits_error_line(): a path, the text of an error, and what is around them. */
#define LIMITS_ERROR_LINE_BYTES_MAX (PATH_MAX + 512)

/*
 * Writes for people why the file of --limits was not loaded: `--limits=PATH: line N: TEXT`, or
 * without `line N: ` where it is not about a line. A path that no file can have is cut off.
 */
void limits_error_line(const struct limits_error *error, const char *path,
                       char line[static LIMITS_ERROR_LINE_BYTES_MAX]);

/* Releases the limits. NULL is allowed. */
void limits_free(struct limits *limits);
void limits_freep(struct limits **limits);

/*
 * Looks up, in this order, the address, `*@` and its domain, the domain, and `*`. Returns 1 and the
 * limit of the first that there is, or 0 if there is none of them.
 */
int limits_lookup(const struct limits *limits, const struct address *address,
                  struct quota_limit *ret);

/* Looks up `*`, where there is no address. Returns 1 and its limit, or 0 if there is none. */
int limits_lookup_default(const struct limits *limits, struct quota_limit *ret);

/* Returns the number of entries, those included that an equal key further up hides. */
size_t limits_count(const struct limits *limits);

/* Returns the bytes of memory that the limits take, everything included. */
size_t limits_bytes(const struct limits *limits);
