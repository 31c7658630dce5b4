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
 * What Exim reads without a word and yet not as it was meant is an error here: a key without its
 * closing quote, a comment with a NUL byte (Exim leaves out the line below it), and a line that
 * begins with white space and has nothing directly above that it could continue. (Exim passes over
 * such a line. Below an empty line or a comment its specification says that the value goes on; its
 * code drops the rest of the value.) Only a comment may be indented there.
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

/*
 * Begins to read text[0..length). The text stays the caller's, and must outlive the reading, which
 * overwrites it.
 */
struct lsearch lsearch_begin(char *text, size_t length);

/*
 * Reads the next entry. Returns 1 and the entry, 0 at the end, or -EBADMSG: *ret_why is then a
 * constant string that says what is wrong, ret->line the line that it is about, and the next call
 * goes on behind it.
 */
int lsearch_next(struct lsearch *lsearch, struct lsearch_entry *ret, const char **ret_why);
