/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one scan of a mailbox may cost: directory entries, processor time, memory. The owner of the
 * mailbox decides how much there is to read; the budget decides how much of it is read.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/clock.h"

/* The most processor time and memory that any scan may cost. */
#define BUDGET_CPU_USEC_MAX      (8 * USEC_PER_SEC)
#define BUDGET_FOLDERS_BYTES_MAX ((size_t)8 * 1024 * 1024)

struct confine;

struct budget {
    uint64_t entries_max;     /* directory entries read, files and directories examined */
    uint64_t cpu_usec_max;    /* processor time of the scanning thread */
    size_t folders_bytes_max; /* for the list of folders and what is cached of them */

    /*
     * Called before the scan may wait for a device other than the mailbox's own, behind a symbolic
     * link. If it returns a negative errno, that ends the scan. May be NULL.
     */
    int (*enter_device)(dev_t device, void *userdata);
    void *userdata;

    uint64_t entries; /* spent so far */
    uint64_t cpu_start_usec;
};

/* What a first attempt may cost, so that mailboxes wait little for each other. */
#define BUDGET_SMALL                                                                               \
    {                                                                                              \
        .entries_max = 20000, .cpu_usec_max = 10 * USEC_PER_MSEC,                                  \
        .folders_bytes_max = (size_t)1024 * 1024,                                                  \
    }

/* Resets what was spent. Called on the scanning thread. */
void budget_start(struct budget *budget);

/* Returns the processor time spent since budget_start(). Called on the same thread. */
uint64_t budget_cpu_usec(const struct budget *budget);

/*
 * Spends one entry. budget may be NULL: there is no bound. Returns 0, or -ETIME if a bound is
 * exceeded; the processor time is checked only every few dozen entries.
 */
int budget_spend(struct budget *budget);

/* Spends one entry that may have cost much processor time itself, and always checks that. */
int budget_spend_dear(struct budget *budget);

/* As confine_open(), with enter_device() called as described. budget may be NULL. */
int budget_open(const struct budget *budget, struct confine *confine, const char *path, int flags);
