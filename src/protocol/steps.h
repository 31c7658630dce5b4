/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the reply to `explain`: a line of pairs, beginning with step=, for each step that led to
 * the verdict, and as the last line the reply to `check`.
 */
#pragma once

#include <stddef.h>

#include "protocol/reply.h"
#include "quota/explanation.h"

/* Enough for every reply to `explain`. */
#define STEPS_BYTES_MAX 65536

struct steps {
    size_t length;
    size_t left_out; /* steps for which there was no room */
    char bytes[STEPS_BYTES_MAX];
};

/*
 * Makes the reply. Steps for which there is no room are left out, and the step before the last line
 * says how many.
 */
void steps_write(struct steps *steps, const struct explanation *explanation,
                 const struct quota_settings *settings);

/* Makes a reply of one line. */
void steps_set(struct steps *steps, const struct reply *line);

/* Makes the reply to `check`, or to `usage`, or the error. */
void steps_answer(struct reply *reply, const struct explanation *explanation, bool check);
