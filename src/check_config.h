/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --check-config: what a service with these options would find.
 */
#pragma once

#include <stdbool.h>

#include "config/options.h"

/*
 * Opens the roots of the options and reads the limits file. Says what it finds on standard output,
 * and on standard error what is wrong; with quiet, as in a reload, whose service reports the rest,
 * only what makes the service useless. Returns 0, or -1 if a root cannot be opened or the limits
 * file not be read.
 */
int check_config(struct options *options, bool quiet);
