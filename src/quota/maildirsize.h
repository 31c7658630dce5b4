/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file `maildirsize` of a Maildir++ mailbox: a limit in its first line, and lines that add up
 * to the usage. The specification is README.maildirquota of Courier; where it leaves something
 * open, the messages are counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/size.h"

/* A file of this size or more is to be thrown away and counted anew, says the specification. */
#define MAILDIRSIZE_BYTES_MAX 5120

struct maildirsize {
    struct quota_limit limit; /* of the first line */
    uint64_t bytes;
    uint64_t messages;
    uint32_t entries;  /* the complete lines after the first */
    bool has_bytes;    /* the first line says something about bytes; 0 there means no limit */
    bool has_messages; /* likewise about messages */
};

/*
 * Reads the text of a maildirsize file. The first line is `NNNS,NNNC` in any order; unknown letters
 * are ignored, a limit of 0 is none, one too large to count saturates. Every other line is `bytes
 * messages`, either may be negative, blanks may stand before, between and behind. A last line
 * without LF is still being written and is left out.
 *
 * Returns 0, or why the sums cannot be trusted:
 * -EFBIG    the file has MAILDIRSIZE_BYTES_MAX bytes or more,
 * -ENODATA  there is no line after the first: nobody has written sums yet,
 * -EBADMSG  it does not parse, or holds a NUL,
 * -ERANGE   a sum is negative, or larger than SIZE_BYTES_MAX.
 * The limit is what the first line says whenever that can be read, else nothing; the sums are meant
 * only where 0 is returned.
 */
int maildirsize_parse(const char *text, size_t length, struct maildirsize *ret);
