/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a limit comes from: the word behind limit_from= in a reply.
 */
#pragma once

enum limit_source {
    LIMIT_SOURCE_NONE,    /* there is no limit */
    LIMIT_SOURCE_REQUEST, /* quota= of the request */
    LIMIT_SOURCE_FILE,    /* --limits */
    LIMIT_SOURCE_HEADER,  /* the first line of maildirsize */
    LIMIT_SOURCE_DEFAULT, /* --default-quota */
};

/* Returns the protocol's word for the source, a constant string. */
const char *limit_source_to_string(enum limit_source source);
