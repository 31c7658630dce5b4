/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors on standard error, for people. */
#pragma once

#include "ctl/answer.h"
#include "ctl/screen.h"

/* Prints the reason of an answer that is an error. Returns 0 or -ENOMEM. */
int complain_of(const struct screen *screen, const struct answer *answer);
