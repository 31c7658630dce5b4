/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/limit_source.h"

const char *limit_source_to_string(enum limit_source source)
{
    static const char *const words[] = {
        [LIMIT_SOURCE_NONE] = "none",       [LIMIT_SOURCE_REQUEST] = "request",
        [LIMIT_SOURCE_FILE] = "file",       [LIMIT_SOURCE_HEADER] = "header",
        [LIMIT_SOURCE_DEFAULT] = "default",
    };

    return words[source];
}
