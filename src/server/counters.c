/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/counters.h"

#include <inttypes.h>
#include <stdio.h>

#include "protocol/words.h"

/* The bounds of latency= are 2^5 to 2^24 microseconds: 32 us to 17 s. */
#define LATENCY_FIRST_BIT 5
#define LATENCY_LAST_BIT  24

/* A word, a colon, a number and a comma. */
#define ITEM_BYTES_MAX 64
#define LIST_BYTES_MAX (ITEM_BYTES_MAX * (LATENCY_LAST_BIT - LATENCY_FIRST_BIT + 2))

_Static_assert((int)REASON_COUNT_ < LATENCY_LAST_BIT - LATENCY_FIRST_BIT + 2,
               "the list is too short");

struct list {
    size_t length;
    char text[LIST_BYTES_MAX];
};

static void list_add(struct list *list, const char *word, uint64_t count)
{
    list->length += (size_t)snprintf(list->text + list->length, ITEM_BYTES_MAX, "%s%s:%" PRIu64,
                                     list->length > 0 ? "," : "", word, count);
}

uint64_t counters_over(const struct counters *counters)
{
    return counters->verdicts[VERDICT_OVER] + counters->verdicts[VERDICT_TOOLARGE];
}

uint64_t counters_errors(const struct counters *counters)
{
    uint64_t errors = 0;

    for (size_t reason = 0; reason < REASON_COUNT_; reason++)
        errors += counters->reasons[reason];
    return errors;
}

static void add_latency(const struct latency *latency, struct reply *reply)
{
    struct list list = {};
    uint64_t below = 0;

    for (unsigned int bit = LATENCY_FIRST_BIT; bit <= LATENCY_LAST_BIT; bit++) {
        uint64_t end_usec = UINT64_C(1) << bit, count = latency_count_below(latency, end_usec);
        char word[sizeof("18446744073709551615")];

        snprintf(word, sizeof(word), "%" PRIu64, end_usec);
        list_add(&list, word, count - below);
        below = count;
    }
    list_add(&list, "inf", latency->total - below);
    reply_add_text(reply, "latency", list.text);
    reply_add_number(reply, "latency_sum", latency->sum_usec);
}

void counters_add_lists(const struct counters *counters, struct reply *reply)
{
    struct list verdicts = {}, reasons = {};

    for (size_t verdict = 0; verdict < VERDICT_COUNT_; verdict++)
        list_add(&verdicts, verdict_to_string((enum verdict)verdict), counters->verdicts[verdict]);
    for (size_t reason = REASON_NONE + 1; reason < REASON_COUNT_; reason++)
        list_add(&reasons, reason_to_string((enum reason)reason), counters->reasons[reason]);
    reply_add_text(reply, "verdicts", verdicts.text);
    reply_add_text(reply, "reasons", reasons.text);
    add_latency(&counters->latency, reply);
}
