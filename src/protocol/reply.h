/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the line of a reply: a number, or pairs for Exim's ${extract}, `key=value` separated by one
 * space, in a fixed order. A value that needs it is in double quotes, with backslash escapes: no
 * control byte ever appears in a reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/reason.h"
#include "quota/target.h"

/* Enough for every reply: the quoted path of a mailbox, and a text. */
#define REPLY_BYTES_MAX 24576

/* A reply under construction. It never overflows: what does not fit is an error of the caller. */
struct reply {
    size_t length;
    char bytes[REPLY_BYTES_MAX];
};

/* Empties the reply. */
void reply_init(struct reply *reply);

/* Makes the reply a number and LF. */
void reply_number(struct reply *reply, uint64_t number);

/* Makes the reply to `check`, or to `usage`: all but the verdict. */
void reply_decision(struct reply *reply, bool check, const struct target_decision *decision);

/* Makes the reply `status=error reason=REASON text="TEXT"`. */
void reply_error(struct reply *reply, enum reason reason, const char *text);

/* Adds a pair to a line of pairs. */
void reply_add_text(struct reply *reply, const char *key, const char *value);
void reply_add_number(struct reply *reply, const char *key, uint64_t value);

/* Ends a line of pairs. */
void reply_end(struct reply *reply);
