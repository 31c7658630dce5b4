/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes and counts as text: "2G", "500M,1000C". They are read the same way on the command line, in
 * requests and in the limits file. Every size is at most SIZE_BYTES_MAX, the largest number that
 * Exim's comparisons can hold; larger ones are refused here, or saturate.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SIZE_BYTES_MAX ((uint64_t)INT64_MAX)

/* A limit on a mailbox. Either member is 0 if there is no such limit. */
struct quota_limit {
    uint64_t bytes;
    uint64_t messages;
};

/*
 * Reads the whole of text[0..length) as a decimal number from 0 to SIZE_BYTES_MAX, no sign, no
 * blanks. Returns 0, -EINVAL if it is no number, or -ERANGE if it is too large.
 */
int size_parse_number(const char *text, size_t length, uint64_t *ret);

/*
 * Reads the whole of text[0..length) as a size: a decimal number and at most one of K, M, G, T in
 * either case (powers of 1024, as Exim reads them). Returns 0 and the size in bytes, -EINVAL if it
 * is no size, or -ERANGE if it is larger than SIZE_BYTES_MAX.
 */
int size_parse(const char *text, size_t length, uint64_t *ret_bytes);

/*
 * Reads the whole of text[0..length) as a limit: `SIZE`, `SIZE,NNNC` or `NNNC` (C in either case:
 * a number of messages; K, M, G, T multiply no count). An empty text, 0, and `unlimited` or `none`
 * in any case are no limit. Each of the two may be given once. Returns 0, -EINVAL or -ERANGE.
 */
int size_parse_limit(const char *text, size_t length, struct quota_limit *ret);

/* Returns a + b, or SIZE_BYTES_MAX where that is smaller. */
uint64_t size_add(uint64_t a, uint64_t b);
