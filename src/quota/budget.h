/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one look into a mailbox may cost: directory entries, processor time, memory. Whoever owns
 * the mailbox decides how much there is to look at; this decides how much of it is looked at.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct budget {
    uint64_t entries_max;     /* entries of directories, and files and directories looked at */
    uint64_t cpu_usec_max;    /* of the thread that looks */
    size_t folders_bytes_max; /* for the list of folders and what is remembered of them */

    /*
     * Called before the look may wait for the device, where that is not the mailbox's own: behind a
     * symbolic link. A negative errno that it returns ends the look. May be NULL.
     */
    int (*enter_device)(dev_t device, void *userdata);
    void *userdata;

    uint64_t entries; /* spent so far */
    uint64_t cpu_start_usec;
};

/* Begins to spend, on the thread that looks. What was spent before is forgotten. */
void budget_start(struct budget *budget);

/* Returns the processor time that was spent since budget_start(), on the same thread. */
uint64_t budget_cpu_usec(const struct budget *budget);

/*
 * Spends entries. budget may be NULL: there is no bound. Returns 0, or -ETIME where one of the
 * bounds is exceeded; of processor time that is noticed every few dozen entries.
 */
int budget_spend(struct budget *budget, uint64_t entries);

/* As budget_spend() of one entry that may itself have cost much processor time. */
int budget_spend_dear(struct budget *budget);
