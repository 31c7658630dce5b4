/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration file, read by a table of options: a line for each, `name = value`. Blanks
 * around the name and the value mean nothing, those inside a value are part of it, and so is any
 * other character up to the end of the line; CRLF ends a line, too. Empty lines and those whose
 * first character is `#` are skipped. An option that takes no value on the command line takes yes
 * or no.
 */
#pragma once

#include "config/options_table.h"

/* A larger file is refused. */
#define CONFIG_FILE_BYTES_MAX ((size_t)1 << 20)

/* At most this many wrong lines are reported in full. */
#define CONFIG_FILE_FAULTS_MAX 20

/* Called with a line for people for each thing that is wrong. */
typedef void (*config_fault_fn)(const char *line, void *userdata);

/*
 * Reads the file at path into the targets of the groups, but for what the command line gives (see
 * options_table_read()). A line that is wrong changes nothing, and the others are still read.
 * Returns 0, and in *ret_text what the file sets, line by line without comments and blanks, which
 * is the caller's, or NULL if there is no file and may_be_missing; -EINVAL if there are wrong
 * lines; or the negative errno of file_read() or of a value that could not be looked up. say is
 * called at least once after an error.
 */
int config_file_read(const char *path, bool may_be_missing, const struct option_group *groups,
                     size_t groups_count, config_fault_fn say, void *userdata, char **ret_text);
