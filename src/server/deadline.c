/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/deadline.h"

#include <time.h>

/* How late a deadline may be noticed. */
#define ACCURACY_USEC 10000

static int on_timer(sd_event_source *timer, uint64_t now_usec, void *userdata)
{
    struct deadline_queue *queue = userdata;
    struct deadline *first;

    while ((first = TAILQ_FIRST(&queue->list)) && first->at_usec <= now_usec) {
        deadline_stop(queue, first);
        queue->passed(first, queue->userdata);
    }
    if (first) {
        sd_event_source_set_time(timer, first->at_usec);
        sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
    }
    return 0;
}

int deadline_queue_init(struct deadline_queue *queue, sd_event *event, uint64_t after_usec,
                        deadline_fn passed, void *userdata)
{
    int r;

    *queue = (struct deadline_queue){
        .after_usec = after_usec, .event = event, .passed = passed, .userdata = userdata};
    TAILQ_INIT(&queue->list);
    r = sd_event_add_time(event, &queue->timer, CLOCK_MONOTONIC, 0, ACCURACY_USEC, on_timer, queue);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(queue->timer, SD_EVENT_OFF);
}

void deadline_queue_deinit(struct deadline_queue *queue)
{
    sd_event_source_disable_unref(queue->timer);
    queue->timer = NULL;
}

void deadline_start(struct deadline_queue *queue, struct deadline *deadline)
{
    int enabled = SD_EVENT_OFF;
    uint64_t now_usec;

    deadline_stop(queue, deadline);
    sd_event_now(queue->event, CLOCK_MONOTONIC, &now_usec);
    deadline->at_usec = now_usec + queue->after_usec;
    TAILQ_INSERT_TAIL(&queue->list, deadline, link);
    /* An armed timer is early enough: what it was armed for came before. It is never disarmed. */
    sd_event_source_get_enabled(queue->timer, &enabled);
    if (enabled == SD_EVENT_OFF) {
        sd_event_source_set_time(queue->timer, deadline->at_usec);
        sd_event_source_set_enabled(queue->timer, SD_EVENT_ONESHOT);
    }
}

void deadline_stop(struct deadline_queue *queue, struct deadline *deadline)
{
    if (deadline->at_usec == 0)
        return;
    TAILQ_REMOVE(&queue->list, deadline, link);
    deadline->at_usec = 0;
}

struct deadline *deadline_first(const struct deadline_queue *queue)
{
    return TAILQ_FIRST(&queue->list);
}
