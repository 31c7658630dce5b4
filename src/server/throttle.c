/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/throttle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quota/hash.h"
#include "server/deadline.h"
#include "system/cleanup.h"

#define BUCKETS 1024 /* a power of two */

struct subject {
    struct deadline deadline; /* the end of its window */
    LIST_ENTRY(subject) link;
    uint64_t hash;
    uint64_t suppressed;
    int event;
    char text[];
};

LIST_HEAD(subject_list, subject);

struct throttle {
    struct hash_key key;
    struct deadline_queue windows;
    throttle_summary_fn summary;
    void *userdata;
    size_t count;
    struct subject_list buckets[BUCKETS];
};

static void subject_free(struct throttle *throttle, struct subject *subject)
{
    deadline_stop(&throttle->windows, &subject->deadline);
    LIST_REMOVE(subject, link);
    throttle->count--;
    free(subject);
}

/* Tells how many were not told. Returns whether there were any. */
static bool sum_up(struct throttle *throttle, struct subject *subject)
{
    uint64_t suppressed = subject->suppressed;

    if (suppressed == 0 || !throttle->summary)
        return false;
    subject->suppressed = 0;
    throttle->summary(subject->event, subject->text, suppressed, throttle->userdata);
    return true;
}

static struct subject *subject_of_deadline(struct deadline *deadline)
{
    return (struct subject *)((char *)deadline - offsetof(struct subject, deadline));
}

static void on_window_over(struct deadline *deadline, void *userdata)
{
    struct throttle *throttle = userdata;
    struct subject *subject = subject_of_deadline(deadline);

    /* What goes on is told once a window; what has ended is forgotten. */
    if (sum_up(throttle, subject))
        deadline_start(&throttle->windows, &subject->deadline);
    else
        subject_free(throttle, subject);
}

/* Forgets the subject that was first told longest ago. */
static void forget_oldest(struct throttle *throttle)
{
    struct subject *oldest = subject_of_deadline(deadline_first(&throttle->windows));

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
    r = hash_key_init_random(&throttle->key);
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
    while (throttle->count > 0)
        forget_oldest(throttle);
    deadline_queue_deinit(&throttle->windows);
    free(throttle);
}

bool throttle_admit(struct throttle *throttle, int event, const char *subject)
{
    size_t length = strlen(subject);
    uint64_t hash = hash_bytes(&throttle->key, subject, length) + (uint64_t)event;
    struct subject_list *bucket = &throttle->buckets[hash % BUCKETS];
    struct subject *known;

    LIST_FOREACH (known, bucket, link)
        if (known->hash == hash && known->event == event && strcmp(known->text, subject) == 0) {
            known->suppressed++;
            return false;
        }
    if (throttle->count >= THROTTLE_SUBJECTS_MAX)
        forget_oldest(throttle);
    known = calloc(1, sizeof(*known) + length + 1);
    if (!known)
        return true;
    known->hash = hash;
    known->event = event;
    memcpy(known->text, subject, length + 1);
    LIST_INSERT_HEAD(bucket, known, link);
    throttle->count++;
    deadline_start(&throttle->windows, &known->deadline);
    return true;
}
