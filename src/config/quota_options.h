/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options about mailboxes and limits, which mean the same to every program that answers
 * questions.
 */
#pragma once

#include "config/options_table.h"
#include "quota/settings.h"

/* What a limit may be, for people. */
#define QUOTA_OPTIONS_LIMIT "SIZE, SIZE,NNNC or NNNC, where SIZE may be followed by K, M, G or T"

/* Returns the group of these options, to be read into settings. */
struct option_group quota_options_group(struct quota_settings *settings);
