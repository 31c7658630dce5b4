/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/metrics.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "system/clock.h"

#define NAME_PREFIX "exim_quotad_"

#define DURATION NAME_PREFIX "query_duration_seconds"

/* Pairs that are a number each, or a list of WORD:COUNT if they have a label. */
static const struct {
    const char *key;
    const char *name;
    const char *type;
    const char *label;
    const char *help;
} families[] = {
    {"queries", "queries_total", "counter", NULL, "Requests that got a reply."},
    {"verdicts", "verdicts_total", "counter", "verdict", "Queries about mailboxes, by verdict."},
    {"reasons", "errors_total", "counter", "reason", "Queries that got an error, by reason."},
    {"scans", "scans_total", "counter", NULL, "Counts that read at least one directory."},
    {"cache_hits", "cache_hits_total", "counter", NULL, "Counts answered from the cache."},
    {"connections", "connections_total", "counter", NULL, "Connections accepted."},
    {"shared", "shared_queries_total", "counter", NULL,
     "Queries that shared a probe or count with another one."},
    {"timeouts", "timeouts_total", "counter", NULL,
     "Queries whose probe or count did not finish in time."},
    {"stuck", "stuck_scans", "gauge", NULL,
     "Probes and counts that have taken longer than the scan timeout and are still running."},
    {"mailboxes", "cached_mailboxes", "gauge", NULL, "Mailboxes in the cache."},
    {"watches", "watches", "gauge", NULL, "Directories and files watched for changes."},
    {"watch_hits", "watch_hits_total", "counter", NULL,
     "Queries about watched mailboxes that were answered from memory."},
    {"watch_invalidations", "watch_invalidations_total", "counter", NULL,
     "Mailboxes that ceased to be watched because they changed."},
    {"watch_overflows", "watch_overflows_total", "counter", NULL,
     "Times that all watches were lost."},
    {"uptime", "uptime_seconds", "gauge", NULL, "Time since the service started."},
    {"misconfigured", "misconfigured", "gauge", NULL,
     "1 if the service cannot work with its options."},
};

/* Prints text[0..length), of which only harmless characters are kept, as the value of a label. */
static void print_label(FILE *file, const char *label, const char *text, size_t length)
{
    fprintf(file, "{%s=\"", label);
    for (size_t i = 0; i < length; i++)
        fputc(isalnum((unsigned char)text[i]) || strchr("-._+~", text[i]) ? text[i] : '_', file);
    fputs("\"} ", file);
}

static void print_head(FILE *file, const char *name, const char *type, const char *help)
{
    fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* An item of a list: WORD:COUNT. */
struct item {
    const char *word;
    size_t word_length;
    uint64_t count;
};

/* Reads the item that *list begins with, and moves *list behind it. Returns whether there is one.
 */
static bool next_item(const char **list, struct item *ret)
{
    const char *colon = strchr(*list, ':');
    char *end;

    if (!colon || !isdigit((unsigned char)colon[1]))
        return false;
    *ret = (struct item){.word = *list, .word_length = (size_t)(colon - *list)};
    ret->count = strtoull(colon + 1, &end, 10);
    *list = end + (*end == ',');
    return true;
}

static void print_list(FILE *file, const char *name, const char *label, const char *list)
{
    struct item item;

    while (next_item(&list, &item)) {
        fputs(name, file);
        print_label(file, label, item.word, item.word_length);
        fprintf(file, "%" PRIu64 "\n", item.count);
    }
}

static void print_seconds(FILE *file, uint64_t usec)
{
    fprintf(file, "%" PRIu64 ".%06" PRIu64, usec / USEC_PER_SEC, usec % USEC_PER_SEC);
}

static void print_duration(FILE *file, const struct answer *answer)
{
    const char *list = answer_get(answer, "latency");
    uint64_t sum_usec, count = 0;
    struct item item;

    if (!list || pairs_number(&answer->pairs, "latency_sum", &sum_usec) < 0)
        return;
    print_head(file, DURATION, "histogram", "Time from a request to its reply.");
    while (next_item(&list, &item)) {
        uint64_t end_usec = strtoull(item.word, NULL, 10);

        count += item.count;
        fputs(DURATION "_bucket{le=\"", file);
        if (end_usec > 0)
            print_seconds(file, end_usec);
        else
            fputs("+Inf", file);
        fprintf(file, "\"} %" PRIu64 "\n", count);
    }
    fputs(DURATION "_sum ", file);
    print_seconds(file, sum_usec);
    fprintf(file, "\n" DURATION "_count %" PRIu64 "\n", count);
}

void metrics_print(FILE *file, const struct answer *answer)
{
    const char *version = answer_get(answer, "version");

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        const char *value = answer_get(answer, families[i].key);
        uint64_t number;
        char name[64];

        if (!value ||
            (!families[i].label && pairs_number(&answer->pairs, families[i].key, &number) < 0))
            continue;
        snprintf(name, sizeof(name), NAME_PREFIX "%s", families[i].name);
        print_head(file, name, families[i].type, families[i].help);
        if (families[i].label)
            print_list(file, name, families[i].label, value);
        else
            fprintf(file, "%s %" PRIu64 "\n", name, number);
    }
    print_duration(file, answer);
    if (version) {
        print_head(file, NAME_PREFIX "build_info", "gauge", "The version of the service.");
        fputs(NAME_PREFIX "build_info", file);
        print_label(file, "version", version, strlen(version));
        fputs("1\n", file);
    }
}
