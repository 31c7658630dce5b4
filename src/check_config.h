/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --check-config: what a service with these options would find.
 */
#pragma once

#include <stdbool.h>

#include "config/options.h"

/*
 * Opens the roots of the options, reads the limits file, and looks for the log and the user. Says
 * what it finds on standard output, and on standard error what is wrong; with quiet, as in a
 * reload, whose service reports the rest, only what makes the service useless. Returns 0, or -1 if
 * a root or the log cannot be opened, the limits file cannot be read, or there is no such user.
 */
int check_config(struct options *options, bool quiet);
