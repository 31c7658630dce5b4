/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many deadlines that are all equally far away, on one timer: a queue in the order of their start.
 * Starting and stopping one costs no system call.
 */
#pragma once

#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

/* One deadline, part of what it guards. All zero is a deadline that is not started. */
struct deadline {
    TAILQ_ENTRY(deadline) link;
    uint64_t at_usec; /* CLOCK_MONOTONIC; 0: not started */
};

TAILQ_HEAD(deadline_list, deadline);

/* Called when a deadline has passed; it is stopped already. */
typedef void (*deadline_fn)(struct deadline *deadline, void *userdata);

struct deadline_queue {
    struct deadline_list list;
    uint64_t after_usec;
    sd_event *event;
    sd_event_source *timer;
    deadline_fn passed;
    void *userdata;
};

/*
 * Makes a queue of deadlines that pass after_usec after their start. Returns 0 or a negative errno
 * of sd_event_add_time(3). The caller releases it with deadline_queue_deinit().
 */
int deadline_queue_init(struct deadline_queue *queue, sd_event *event, uint64_t after_usec,
                        deadline_fn passed, void *userdata);
void deadline_queue_deinit(struct deadline_queue *queue);

/* Starts the deadline now, anew if it was started. */
void deadline_start(struct deadline_queue *queue, struct deadline *deadline);

/* Stops the deadline, if it was started. */
void deadline_stop(struct deadline_queue *queue, struct deadline *deadline);

/* Returns the deadline that was started before all others, or NULL where none is. */
struct deadline *deadline_first(const struct deadline_queue *queue);
