/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/throttle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/deadline.h"
#include "system/cleanup.h"
#include "system/hash_table.h"

struct subject {
    struct hash_entry hash;
    struct deadline deadline; /* the end of its window */
    uint64_t suppressed;
    int event;
    char text[];
};

struct throttle {
    struct hash_key key;
    struct hash_table subjects;
    struct deadline_queue windows;
    throttle_summary_fn summary;
    void *userdata;
};

static void subject_free(struct throttle *throttle, struct subject *subject)
{
    deadline_stop(&throttle->windows, &subject->deadline);
    hash_table_remove(&throttle->subjects, &subject->hash);
    free(subject);
}

/* Reports how many events were suppressed. Returns whether there were any. */
static bool sum_up(struct throttle *throttle, struct subject *subject)
{
    uint64_t suppressed = subject->suppressed;

    if (suppressed == 0 || !throttle->summary)
        return false;
    subject->suppressed = 0;
    throttle->summary(subject->event, subject->text, suppressed, throttle->userdata);
    return true;
}

static void on_window_over(struct deadline *deadline, void *userdata)
{
    struct throttle *throttle = userdata;
    struct subject *subject = container_of(deadline, struct subject, deadline);

    /* What continues is reported once a window; what has ended is forgotten. */
    if (sum_up(throttle, subject))
        deadline_start(&throttle->windows, &subject->deadline);
    else
        subject_free(throttle, subject);
}

static void forget_oldest(struct throttle *throttle)
{
    struct subject *oldest =
        container_of(deadline_first(&throttle->windows), struct subject, deadline);

    (void)sum_up(throttle, oldest);
    subject_free(throttle, oldest);
}

int throttle_new(sd_event *event, uint64_t window_usec, throttle_summary_fn summary, void *userdata,
                 struct throttle **ret)
{
    _cleanup_(freep) struct throttle *throttle = calloc(1, sizeof(*throttle));
    int r;

    if (!throttle)
        return -ENOMEM;
    throttle->summary = summary;
    throttle->userdata = userdata;
    r = hash_key_init(&throttle->key);
    if (r < 0)
        return r;
    r = deadline_queue_init(&throttle->windows, event, window_usec, on_window_over, throttle);
    if (r < 0)
        return r;
    *ret = steal_pointer(&throttle);
    return 0;
}

void throttle_free(struct throttle *throttle)
{
    if (!throttle)
        return;
    while (throttle->subjects.count > 0)
        forget_oldest(throttle);
    hash_table_clear(&throttle->subjects, NULL); /* it is empty */
    deadline_queue_deinit(&throttle->windows);
    free(throttle);
}

bool throttle_admit(struct throttle *throttle, int event, const char *subject)
{
    size_t length = strlen(subject);
    uint64_t id = hash_bytes(&throttle->key, subject, length) + (uint64_t)event;
    struct subject *known = (struct subject *)hash_table_find(&throttle->subjects, id);

    if (known) {
        known->suppressed++;
        return false;
    }
    if (throttle->subjects.count >= THROTTLE_SUBJECTS_MAX)
        forget_oldest(throttle);
    known = calloc(1, sizeof(*known) + length + 1);
    if (!known)
        return true;
    known->hash.id = id;
    known->event = event;
    memcpy(known->text, subject, length + 1);
    if (hash_table_add(&throttle->subjects, &known->hash) < 0) {
        free(known);
        return true;
    }
    deadline_start(&throttle->windows, &known->deadline);
    return true;
}
