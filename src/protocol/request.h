/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parses a request: a line that ends with LF or the end of input. The grammar is that of
 * exim-quotad-protocol(7).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "quota/reason.h"
#include "quota/size.h"
#include "quota/target.h"

/* The longest request, without its LF. */
#define REQUEST_BYTES_MAX 8192

enum request_type {
    REQUEST_PATH,    /* the line is a mailbox's path; the answer is a number */
    REQUEST_USAGE,   /* `usage TARGET` */
    REQUEST_CHECK,   /* `check TARGET` */
    REQUEST_EXPLAIN, /* `explain TARGET`: why `check` replies as it does */
    REQUEST_PING,
    REQUEST_STATS,
    REQUEST_POLICY, /* of Postfix (policy.h) */
};

struct request {
    enum request_type type;
    char *target;             /* in the line that was parsed; NULL if there is none */
    uint64_t size_bytes;      /* of the message that is to fit; 0: unknown */
    bool have_limit;          /* it has quota= */
    struct quota_limit limit; /* of quota= */
    bool recount;             /* it has recount=yes */
};

/*
 * Finds the end of a request in what was received so far; end says that nothing follows. Returns
 * the length of the line without its LF, -EAGAIN if more is needed, or -EMSGSIZE if the line is
 * longer than REQUEST_BYTES_MAX.
 */
ssize_t request_find_end(const char *buffer, size_t length, bool end);

/*
 * Returns whether the beginning of a line asks for a line of pairs: its first word is made of ASCII
 * letters alone. Anything else is answered with a number.
 */
bool request_wants_pairs(const char *line, size_t length);

/*
 * Parses the line, which has no LF and is followed by one byte that may be written. Works in place:
 * ret->target points into line.
 * Returns REASON_NONE; else the reason, in *ret_text a constant text for people that says what was
 * expected, and in ret->type REQUEST_PATH if the client is to be answered with a number, any other
 * type if with a line of pairs.
 */
enum reason request_parse(char *line, size_t length, struct request *ret, const char **ret_text);

/* Returns what a request brings beside its target. */
struct target_terms request_terms(const struct request *request);
