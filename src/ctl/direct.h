/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers without the service: the same requests, by the same rules and with the same replies, but
 * with the caller's own rights, without a cache, and for as long as it takes.
 */
#pragma once

#include <stddef.h>

#include "protocol/steps.h"
#include "quota/limits.h"
#include "quota/settings.h"

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
