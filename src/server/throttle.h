/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps the journal readable: of equal events about the same subject, such as a mailbox, the first
 * is reported at once, and the number of the others once in each window of time. Subjects are
 * independent. At most THROTTLE_SUBJECTS_MAX are known; what must be forgotten early is summed up
 * early.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define THROTTLE_SUBJECTS_MAX 4096

struct throttle;

/* Called when a window is over in which `suppressed` more events were not reported. */
typedef void (*throttle_summary_fn)(int event, const char *subject, uint64_t suppressed,
                                    void *userdata);

/*
 * Makes a throttle. With summary NULL nothing is summed up, and the first event after each window
 * is reported too. Returns 0, or a negative errno of getrandom(2), malloc(3) or
 * sd_event_add_time(3).
 */
int throttle_new(sd_event *event, uint64_t window_usec, throttle_summary_fn summary, void *userdata,
                 struct throttle **ret);

/* Sums up what was not reported, and releases the throttle. NULL is allowed. */
void throttle_free(struct throttle *throttle);

/* Returns whether to report the event; if not, it is counted. Without memory, all are reported. */
bool throttle_admit(struct throttle *throttle, int event, const char *subject);
