/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps the journal readable: of the same event about the same subject, a mailbox for one, the
 * first is told at once, and how many more there were once in each window of time. No subject mutes
 * another. What it remembers is bounded; what has to be forgotten early is summed up early.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* As many subjects are told apart. */
#define THROTTLE_SUBJECTS_MAX 4096

struct throttle;

/* Called when a window is over in which `suppressed` more events were not told. */
typedef void (*throttle_summary_fn)(int event, const char *subject, uint64_t suppressed,
                                    void *userdata);

/*
 * Makes a throttle. With summary NULL nothing is summed up, and the first event after each window
 * is told as well as the first of all. Returns 0, or a negative errno of getrandom(2), malloc(3) or
 * sd_event_add_time(3).
 */
int throttle_new(sd_event *event, uint64_t window_usec, throttle_summary_fn summary, void *userdata,
                 struct throttle **ret);

/* Sums up what was not told yet, and releases the throttle. NULL is allowed. */
void throttle_free(struct throttle *throttle);

/*
 * Returns whether the event is to be told. It is counted if not. Short of memory, everything is
 * told.
 */
bool throttle_admit(struct throttle *throttle, int event, const char *subject);
