/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Explanations, for people. */
#pragma once

#include <stdio.h>

#include "ctl/answer.h"
#include "ctl/screen.h"

/*
 * Prints an answer to `explain`, unless it is ANSWER_UNREACHABLE, and where it differs from the
 * direct one. Returns 0 or -ENOMEM.
 */
int explain_print(FILE *file, const struct screen *screen, const struct answer *answer);
