/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a question to its answer, whoever gives it.
 */
#pragma once

#include "ctl/answer.h"
#include "ctl/direct.h"
#include "ctl/question.h"

struct asker {
    struct direct *direct;   /* NULL: the service is asked */
    const char *socket_path; /* where it is asked */
    uint64_t timeout_usec;
    int connect_error; /* set: why nobody can be asked; 0: not known of */
};

/*
 * Asks the question about answer->target, and makes answer what came of it, be it an error. Returns
 * 0 or -ENOMEM.
 */
int ask(struct asker *asker, const struct question *question, struct answer *answer);
