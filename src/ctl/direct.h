/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers without the service: the same requests, by the same rules and with the same replies, but
 * with the caller's own rights, without a cache, and for as long as it takes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/steps.h"
#include "quota/limits.h"
#include "quota/settings.h"
#include "quota/target.h"

struct direct {
    struct quota_settings *settings; /* the caller's */
    struct limits *limits;           /* NULL: none */
};

/*
 * Opens the roots and reads the limits file of the settings, and prints its faults on standard
 * error. Returns 0, or a negative errno and in *ret_error a line about it, which the caller frees
 * (NULL: out of memory).
 */
int direct_init(struct direct *direct, struct quota_settings *settings, char **ret_error);

/* Releases the limits. */
void direct_deinit(struct direct *direct);

/*
 * Answers the request line[0..length), which is about a mailbox and has no LF; the byte after it
 * may be overwritten. Returns 0 or -ENOMEM.
 */
int direct_answer(const struct direct *direct, char *line, size_t length, struct steps *ret);

/*
 * Answers about the target that text names, as the reply to `check`. Safe to call from several
 * threads at once. Returns 0 and in *ret_candidate which of the mailboxes of an
 * address was found (see target.h); or, if the reply is an error, a negative errno: that of the
 * mailbox's probe, if there was one.
 */
int direct_look(const struct direct *direct, const struct target_terms *terms, const char *text,
                size_t *ret_candidate, struct reply *reply);
