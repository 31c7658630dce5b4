/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/budget.h"

#include <errno.h>
#include <time.h>

#include "system/clock.h"
#include "system/confine.h"

/* How many entries are spent between two looks at the clock, which cost a system call each. */
#define ENTRIES_PER_CHECK 64

void budget_start(struct budget *budget)
{
    budget->entries = 0;
    budget->cpu_start_usec = clock_usec(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t budget_cpu_usec(const struct budget *budget)
{
    return clock_usec(CLOCK_THREAD_CPUTIME_ID) - budget->cpu_start_usec;
}

static int check_cpu(const struct budget *budget)
{
    return budget_cpu_usec(budget) > budget->cpu_usec_max ? -ETIME : 0;
}

int budget_spend(struct budget *budget)
{
    if (!budget)
        return 0;
    if (++budget->entries > budget->entries_max)
        return -ETIME;
    return budget->entries % ENTRIES_PER_CHECK == 0 ? check_cpu(budget) : 0;
}

int budget_spend_dear(struct budget *budget)
{
    int r = budget_spend(budget);

    return r < 0 || !budget ? r : check_cpu(budget);
}

int budget_open(const struct budget *budget, struct confine *confine, const char *path, int flags)
{
    return budget
               ? confine_open_visiting(confine, path, flags, budget->enter_device, budget->userdata)
               : confine_open(confine, path, flags);
}
