/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a question to its answer, whoever gives it.
 */
#pragma once

#include "ctl/answer.h"
#include "ctl/direct.h"
#include "ctl/question.h"

struct asker {
    const struct direct *direct; /* NULL: the service is asked */
    const char *socket_path;     /* where it is asked */
    uint64_t timeout_usec;       /* for each question */
};

/*
 * Asks the question about answer->target, and makes answer what came of it, be it an error. Returns
 * 0 or -ENOMEM.
 */
int ask(const struct asker *asker, const struct question *question, struct answer *answer);
