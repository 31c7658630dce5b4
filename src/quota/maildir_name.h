/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The size of a message, by its file name in a Maildir. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Which tag of a message's file name holds the size that is counted. */
enum maildir_size_tag {
    MAILDIR_SIZE_TAG_S, /* ,S=N: the size of the file; without one, stat */
    MAILDIR_SIZE_TAG_W, /* ,W=N: the size with CRLF line ends; without one ,S=, then stat */
};

/*
 * Reads the size out of a message's file name, from the tag `,S=N` or `,W=N`. Returns true and the
 * size in bytes, at most SIZE_BYTES_MAX, or false if there is no usable tag. As in Dovecot:
 * - only the first tag of a kind speaks: ",S=1x,S=2" is not usable, ",S=1,S=2" is 1;
 * - N must be followed by `:`, `,` or the end: ",S=12x", ",S=-1" and ",S= 1" are not usable;
 * - an empty N is 0: ",S=", ",S=:2,S". (An Exim with the usual quota_size_regex asks the file.)
 * But where Dovecot takes what is left of an N of 2^64 and more, one above SIZE_BYTES_MAX is not
 * usable here. With MAILDIR_SIZE_TAG_W, `,S=N` speaks where `,W=N` is missing or not usable.
 */
bool maildir_size_from_name(const char *name, enum maildir_size_tag tag, uint64_t *ret_bytes);
