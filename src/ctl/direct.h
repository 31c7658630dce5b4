/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers without the service: the same questions, by the same rules, and in the same lines, but
 * with the caller's own rights, with nothing remembered, and for as long as it takes.
 */
#pragma once

#include <stddef.h>

#include "protocol/reply.h"
#include "quota/limits.h"
#include "quota/settings.h"

struct direct {
    struct quota_settings *settings; /* the caller's */
    struct limits *limits;           /* NULL: none */
};

/*
 * Opens the roots and reads the limits that the settings name, whose faults are said on standard
 * error. Returns 0, or a negative errno and in *ret_error a line about it, allocated, which is the
 * caller's (NULL: out of memory).
 */
int direct_init(struct direct *direct, struct quota_settings *settings, char **ret_error);

/* Releases the limits. */
void direct_deinit(struct direct *direct);

/*
 * Answers the question line[0..length), which asks about a mailbox and has no LF; one byte more may
 * be written behind it.
 */
void direct_answer(const struct direct *direct, char *line, size_t length, struct reply *reply);
