/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/complain.h"

#include <errno.h>
#include <stdio.h>

#include "system/cleanup.h"

int complain_of(const struct screen *screen, const struct answer *answer)
{
    _cleanup_(freep) char *target = NULL, *text = NULL;

    text = screen_text(screen, answer_get(answer, "text"));
    target = screen_text(screen, answer->target ? answer->target : "");
    if (!text || !target)
        return -ENOMEM;
    if (!answer->target || answer_failed_with(answer, ANSWER_UNREACHABLE))
        fprintf(stderr, "exim-quotactl: %s\n", text);
    else
        fprintf(stderr, "exim-quotactl: %s: %s\n", target, text);
    return 0;
}
