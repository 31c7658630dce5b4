/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The format of the files that Exim's lsearch lookups read (Exim's specification, chapter "File and
 * database lookups"), by what Exim 4.96 and 4.98 do.
 *
 * A key begins its line and ends at a colon, at white space or at the end of the line; white space,
 * one colon and white space may follow it. A key in double quotes may hold all of these, and the
 * escapes \" \\ \b \f \n \r \t \v \ooo \xhh. The rest of the line is the value. A line that begins
 * with white space continues it. White space at the end of a line, empty lines and lines that begin
 * with # are left out.
 *
 * What Exim silently reads in another way than it was meant is an error here: a key without its
 * closing quote, a comment with a NUL byte (Exim skips the line below it), and an indented line,
 * other than a comment, with no value directly above it (Exim skips it; by its specification, an
 * empty line or a comment does not end the value above, but its code drops the rest).
 */
#pragma once

#include <stddef.h>

/* A file that is being read. */
struct lsearch {
    char *text;
    size_t length;
    size_t position; /* what lies before it was read, and may have been overwritten */
    size_t line;     /* the number of the line at position, from 1 */
};

/* An entry. Both parts lie in the text, the key first, do not overlap, and end without a NUL. */
struct lsearch_entry {
    char *key;
    size_t key_length;
    char *value; /* without white space at its end */
    size_t value_length;
    size_t line; /* where the entry begins */
};

/* Begins to read text[0..length), which stays the caller's and is overwritten. */
struct lsearch lsearch_begin(char *text, size_t length);

/*
 * Reads the next entry. Returns 1 and the entry, 0 at the end, or -EBADMSG: *ret_why is then a
 * constant string that says what is wrong, ret->line the line that it is about, and the next call
 * goes on behind it.
 */
int lsearch_next(struct lsearch *lsearch, struct lsearch_entry *ret, const char **ret_why);
