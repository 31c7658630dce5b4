/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/human.h"
#include "protocol/words.h"
#include "system/cleanup.h"

#define LABEL_COLUMNS 13

/* What is being printed. Every text of a row is made printable as a whole. */
struct printer {
    FILE *file;
    const struct screen *screen;
    const struct answer *answer;
    const char *label; /* of the row above */
    int error;         /* 0 or -ENOMEM */
};

/* Prints a row. A label that is that of the row above is not printed again. */
static void row(struct printer *printer, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void row(struct printer *printer, const char *label, const char *format, ...)
{
    _cleanup_(freep) char *text = NULL, *shown = NULL;
    bool is_same = printer->label && strcmp(printer->label, label) == 0;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    shown = text ? screen_text(printer->screen, text) : NULL;
    if (!shown) {
        printer->error = -ENOMEM;
        return;
    }
    printer->label = label;
    fprintf(printer->file, "  %s%-*s%s%s\n", screen_tone_on(printer->screen, SCREEN_TITLE),
            LABEL_COLUMNS, is_same ? "" : label, screen_tone_off(printer->screen, SCREEN_TITLE),
            shown);
}

/* Returns the value of the key, or "". */
static const char *get(const struct pairs *step, const char *key)
{
    const char *value = step ? pairs_find(step, key) : NULL;

    return value ? value : "";
}

static bool is(const struct pairs *step, const char *key, const char *value)
{
    return strcmp(get(step, key), value) == 0;
}

/* Returns the number, or 0. */
static uint64_t number(const struct pairs *step, const char *key)
{
    uint64_t value;

    return step && pairs_number(step, key, &value) == 0 ? value : 0;
}

/* A number of bytes, messages or seconds as people read it. */
struct human {
    char text[96];
};

static struct human size(uint64_t bytes)
{
    struct human human = {};

    human_size(bytes, human.text);
    if (bytes < 1024)
        strcat(human.text, bytes == 1 ? " byte" : " bytes");
    return human;
}

static struct human count(uint64_t number_of, const char *one, const char *many)
{
    struct human human = {};

    snprintf(human.text, sizeof(human.text), "%" PRIu64 " %s", number_of,
             number_of == 1 ? one : many);
    return human;
}

static struct human messages(const struct pairs *step)
{
    return count(number(step, "messages"), "message", "messages");
}

static struct human age(const struct pairs *step)
{
    struct human human = {};

    human_duration(number(step, "age"), human.text);
    return human;
}

/* Room for the text of a limit. */
#define LIMIT_BYTES (2 * sizeof(struct human) + 8)

/* Returns a limit in bytes, in messages, or in both. */
static void limit_text(uint64_t bytes, uint64_t number_of, char text[static LIMIT_BYTES])
{
    struct human in_messages = count(number_of, "message", "messages");

    snprintf(text, LIMIT_BYTES, "%s%s%s", bytes > 0 ? size(bytes).text : "",
             bytes > 0 && number_of > 0 ? ", " : "", number_of > 0 ? in_messages.text : "");
    if (bytes == 0 && number_of == 0)
        strcpy(text, "no limit");
}

static void print_target(struct printer *printer)
{
    const struct pairs *target = answer_step(printer->answer, "target", NULL);
    const char *address = get(target, "address");

    if (*address == '\0')
        return;
    if (*printer->answer->target == '/')
        row(printer, "Address", "%s, to which --mailbox assigns this path", address);
    else if (is(target, "extension", "dropped"))
        row(printer, "Address", "%s, without its extension: the whole name has no mailbox",
            address);
    else
        row(printer, "Address", "%s%s", address,
            is(target, "extension", "kept") ? ", with its extension" : "");
}

static const char *found_text(const struct pairs *tried)
{
    if (is(tried, "found", "maildir"))
        return "a Maildir";
    if (is(tried, "found", "mbox"))
        return "an mbox";
    return is(tried, "found", "error") ? get(tried, "text") : "nothing is there";
}

static void print_tries(struct printer *printer)
{
    const struct pairs *step = NULL;

    while ((step = answer_step(printer->answer, "tried", step)))
        row(printer, "Tried", "%s%s%s%s: %s", get(step, "path"), *get(step, "template") ? " (" : "",
            get(step, "template"), *get(step, "template") ? ")" : "", found_text(step));
    while ((step = answer_step(printer->answer, "remark", step)))
        row(printer, "Note", "%s", get(step, "text"));
    step = answer_step(printer->answer, "mailbox", NULL);
    if (*get(step, "folder"))
        row(printer, "Mailbox", "%s, of which %s is a folder", get(step, "path"),
            get(step, "folder"));
}

/* Returns what the word of a rule means, or the word. */
static const char *rule_text(const char *word)
{
    for (int rule = 0; rule < USAGE_RULE_COUNT_; rule++)
        if (strcmp(usage_rule_to_string((enum usage_rule)rule), word) == 0)
            return usage_rule_text((enum usage_rule)rule);
    return word;
}

static void print_maildirsize(struct printer *printer)
{
    const struct pairs *step = answer_step(printer->answer, "maildirsize", NULL);
    bool has_age = *get(step, "age") != '\0';

    if (!step)
        return;
    if (!is(step, "state", "valid")) {
        row(printer, "maildirsize", "%s",
            is(step, "state", "ignored") ? "ignored" : rule_text(get(step, "state")));
        return;
    }
    row(printer, "maildirsize", "%s in %s; %s, %s%s%s", size(number(step, "bytes")).text,
        messages(step).text, count(number(step, "lines"), "line", "lines").text,
        has_age ? "written " : "with a time in the future or before 1970",
        has_age ? age(step).text : "", has_age ? " ago" : "");
    if (is(step, "kept", "no"))
        row(printer, "maildirsize",
            "messages arrived more than a day after that: no program maintains this file");
}

static void print_limit(struct printer *printer, const struct pairs *step)
{
    bool is_used = is(step, "used", "yes"), is_file = is(step, "from", "file");
    char limit[LIMIT_BYTES], place[64] = "";

    limit_text(number(step, "limit"), number(step, "message_limit"), limit);
    if (is_file && number(step, "line") > 0)
        snprintf(place, sizeof(place), ":%" PRIu64, number(step, "line"));
    row(printer, "Limit", "%s%s%s%s%s%s%s%s%s",
        is_used ? "" : "not used: ", *get(step, "text") ? get(step, "text") : limit,
        is(step, "from", "request")   ? ", from the request"
        : is(step, "from", "header")  ? ", from the first line of maildirsize"
        : is(step, "from", "default") ? ", from --default-quota"
                                      : ", in ",
        get(step, "file"), place, *get(step, "key") ? " (" : "", get(step, "key"),
        *get(step, "key") ? ")" : "",
        is(step, "trusted", "no") ? "; not trusted now, because that file is old" : "");
}

static void print_limits(struct printer *printer)
{
    const struct pairs *step = NULL;
    bool any = false;

    while ((step = answer_step(printer->answer, "limit", step)))
        if (is(step, "used", "yes")) {
            print_limit(printer, step);
            any = true;
        }
    if (!any && printer->answer->status != ANSWER_ERROR)
        row(printer, "Limit", "none");
    while ((step = answer_step(printer->answer, "limit", step)))
        if (!is(step, "used", "yes"))
            print_limit(printer, step);
}

static const char *source_text(const struct pairs *usage)
{
    if (is(usage, "source", "maildirsize"))
        return "the sums in maildirsize";
    if (is(usage, "source", "mbox"))
        return "the size of the file";
    if (is(usage, "source", "none"))
        return "there is no mailbox yet";
    if (is(usage, "source", "unknown"))
        return "not determined";
    return "counted";
}

static void print_usage(struct printer *printer)
{
    const struct pairs *step = answer_step(printer->answer, "usage", NULL);
    bool says_more = step && !is(step, "source", "mbox") && !is(step, "source", "none");
    const char *why = get(step, "text");

    if (!step)
        return;
    if (is(step, "source", "maildirsize") && is(step, "rule", "trusted") &&
        printer->answer->status == ANSWER_OVER)
        why = "written a moment ago, and nothing has changed since";
    row(printer, "Usage", "%s in %s: %s%s%s%s", size(number(step, "bytes")).text,
        messages(step).text, source_text(step), says_more ? " (" : "", says_more ? why : "",
        says_more ? ")" : "");
}

static void print_sums(struct printer *printer, const struct pairs *step)
{
    if (is(step, "result", "compared"))
        row(printer, "Count", "%s in %s, counted for comparison; by this, the verdict would be %s",
            size(number(step, "bytes")).text, messages(step).text, get(step, "status"));
    else
        row(printer, "Count", "%s in %s", size(number(step, "bytes")).text, messages(step).text);
    if (number(step, "examined") > 0 &&
        !is(answer_step(printer->answer, "usage", NULL), "rule", "everything"))
        row(printer, "Count", "%s",
            count(number(step, "examined"), "file was examined: there is no size in its name",
                  "files were examined: there is no size in their names")
                .text);
    if (number(step, "left_out") > 0)
        row(printer, "Count",
            "%s left out: links that lead outside the roots or to nothing, or directories "
            "that are too deep, such as %s",
            count(number(step, "left_out"), "name is", "names are").text,
            get(step, "left_out_path"));
    if (number(step, "stray_folders") > 0)
        row(printer, "Count",
            "not included: %s without a leading dot, as in --layout=fs, with %s in %s",
            count(number(step, "stray_folders"), "folder", "folders").text,
            size(number(step, "stray_bytes")).text,
            count(number(step, "stray_messages"), "message", "messages").text);
}

static void print_count(struct printer *printer)
{
    const struct pairs *step = answer_step(printer->answer, "count", NULL);

    if (is(step, "result", "given-up"))
        row(printer, "Count", "given up, because it would take too long; --recount counts anyway");
    else if (is(step, "result", "failed"))
        row(printer, "Count", "failed: %s", get(step, "text"));
    else if (step)
        print_sums(printer, step);
    step = answer_step(printer->answer, "cache", NULL);
    if (step)
        row(printer, "Cache", "%s in %s; the service began to count them %s ago",
            size(number(step, "bytes")).text, messages(step).text, age(step).text);
}

/* Prints a folder as a row of a table, its name in so many columns. */
static void print_folder(struct printer *printer, const struct pairs *step, size_t columns)
{
    const char *path = is(step, "path", ".") ? "INBOX" : get(step, "path");
    _cleanup_(freep) char *shown = screen_text(printer->screen, path);
    size_t width = shown ? screen_width(shown) : 0;
    char numbers[2 * sizeof(struct human) + 8], after[64] = "";

    snprintf(numbers, sizeof(numbers), "%11s  %15s", size(number(step, "bytes")).text,
             messages(step).text);
    if (is(step, "state", "excluded"))
        strcpy(after, "  not counted: --exclude-folder=");
    else if (is(step, "state", "stray"))
        strcpy(after, "  not counted: a folder of --layout=fs");
    else if (is(step, "state", "unfollowed"))
        strcpy(after, "  a link that is not followed");
    row(printer, "Folders", "%s%*s  %s%s%s", path, width < columns ? (int)(columns - width) : 0, "",
        numbers, after, get(step, "pattern"));
}

/* The names of folders are aligned up to this width. */
#define FOLDER_COLUMNS_MAX 32

static void print_folders(struct printer *printer)
{
    const struct pairs *step = NULL;
    size_t columns = strlen("INBOX");

    while ((step = answer_step(printer->answer, "folder", step))) {
        _cleanup_(freep) char *shown = screen_text(printer->screen, get(step, "path"));
        size_t width = shown ? screen_width(shown) : 0;

        if (width > columns && width <= FOLDER_COLUMNS_MAX)
            columns = width;
    }
    while ((step = answer_step(printer->answer, "folder", step)))
        print_folder(printer, step, columns);
    step = answer_step(printer->answer, "folders", NULL);
    if (*get(step, "reason"))
        row(printer, "Folders", "cannot be read: %s", get(step, "text"));
    else if (step)
        row(printer, "Folders", "and %" PRIu64 " more, with %s in %s", number(step, "more"),
            size(number(step, "bytes")).text, messages(step).text);
    step = answer_step(printer->answer, "left-out", NULL);
    if (step)
        row(printer, "Folders", "%s not shown, because the reply would be too long",
            count(number(step, "steps"), "line is", "lines are").text);
}

/* Returns how far a message may exceed the limit. */
static struct human grace(const struct pairs *target)
{
    struct human human = {};

    if (number(target, "grace") > 0)
        snprintf(human.text, sizeof(human.text), ", even with a grace of %.30s",
                 size(number(target, "grace")).text);
    else if (number(target, "grace_percent") > 0)
        snprintf(human.text, sizeof(human.text), ", even with a grace of %" PRIu64 "%%",
                 number(target, "grace_percent"));
    return human;
}

/* Says why a message does not fit now. */
static void print_over(struct printer *printer)
{
    const struct answer *answer = printer->answer;
    const struct pairs *target = answer_step(answer, "target", NULL);
    struct human used = size(answer->bytes), limit = size(answer->limit);

    if (answer->message_limit > 0 && answer->messages >= answer->message_limit)
        row(printer, "Verdict",
            "over, because the mailbox holds %" PRIu64 " of at most %" PRIu64 " messages",
            answer->messages, answer->message_limit);
    else if (answer->bytes > answer->limit)
        row(printer, "Verdict", "over, because the mailbox holds %s, and its limit is %s",
            used.text, limit.text);
    else
        row(printer, "Verdict",
            "over, because a message of %s does not fit: the mailbox holds %s of %s%s",
            size(number(target, "size")).text, used.text, limit.text, grace(target).text);
}

/* Says why a message fits. */
static void print_fits(struct printer *printer)
{
    const struct answer *answer = printer->answer;
    const struct pairs *usage = answer_step(answer, "usage", NULL);
    const char *verdict = verdict_to_string((enum verdict)answer->status);
    char limit[LIMIT_BYTES];

    limit_text(answer->limit, answer->message_limit, limit);
    if (is(usage, "rule", "stale-limit"))
        row(printer, "Verdict",
            "%s, although the mailbox holds %s of %s: that limit is only in a maildirsize that is "
            "more than a day old, so the delivery agent decides",
            verdict, size(answer->bytes).text, limit);
    else if (is(usage, "source", "none"))
        row(printer, "Verdict", "%s, because nothing is there: %s", verdict,
            *answer->target == '/' ? "the first delivery creates the mailbox"
                                   : "the address may be an alias");
    else if (answer->limit == 0 && answer->message_limit == 0)
        row(printer, "Verdict", "%s, because there is no limit", verdict);
    else
        row(printer, "Verdict", "%s, because the mailbox holds %s%s%" PRIu64 "%s of %s", verdict,
            answer->limit > 0 ? size(answer->bytes).text : "", answer->limit > 0 ? " (" : "",
            answer->limit > 0 ? answer->percent : answer->messages,
            answer->limit > 0 ? "%)" : " messages", limit);
    if (is(usage, "rule", "over"))
        row(printer, "Verdict",
            "maildirsize says that the mailbox is over, but is out of date: messages were removed "
            "without updating it; no action is needed");
}

static void print_verdict(struct printer *printer)
{
    const struct answer *answer = printer->answer;
    const struct pairs *target = answer_step(answer, "target", NULL);
    const struct pairs *smtp = answer_step(answer, "smtp", NULL);

    if (answer->status == ANSWER_ERROR)
        row(printer, "Verdict", "none (%s): %s", answer_get(answer, "reason"),
            answer_get(answer, "text"));
    else if (answer->status == ANSWER_TOOLARGE)
        row(printer, "Verdict",
            "toolarge, because a message of %s alone is larger than the limit of %s%s",
            size(number(target, "size")).text, size(answer->limit).text, grace(target).text);
    else if (answer->status == ANSWER_OVER)
        print_over(printer);
    else
        print_fits(printer);
    if (smtp)
        row(printer, "Exim replies", "%s%s", get(smtp, "reply"),
            is(smtp, "logged", "yes") && !verdict_refuses((enum verdict)answer->status)
                ? ", and logs why"
                : "");
}

/* The first of these can be compared even if one answer is an error. */
#define COMPARED_OF_ERRORS 2

/* What is compared with the direct answer: a step and a key, or NULL for the last line. */
static const struct {
    const char *step;
    const char *key;
    const char *what;
} compared[] = {
    {NULL, "status", "the verdict"},
    {NULL, "reason", "the reason"},
    {"mailbox", "kind", "what is there"},
    {NULL, "mailbox", "the mailbox"},
    {NULL, "limit", "the limit in bytes"},
    {NULL, "message_limit", "the limit in messages"},
    {NULL, "limit_from", "where the limit comes from"},
    {"count", "bytes", "the bytes counted"},
    {"count", "messages", "the messages counted"},
};

static const char *compared_value(const struct answer *answer, size_t i)
{
    const struct pairs *pairs =
        compared[i].step ? answer_step(answer, compared[i].step, NULL) : &answer->pairs;
    const char *value = get(pairs, compared[i].key);

    return *value ? value : "nothing";
}

/* Whether both answers have the step; an error has neither a mailbox nor limits to compare. */
static bool have_both(const struct answer *answer, size_t i)
{
    const char *step = compared[i].step;

    if (step)
        return answer_step(answer, step, NULL) && answer_step(answer->beside, step, NULL);
    return i < COMPARED_OF_ERRORS ||
           (answer->status != ANSWER_ERROR && answer->beside->status != ANSWER_ERROR);
}

/* Says where the service and whoever runs this see different things. */
static void compare(struct printer *printer)
{
    const struct answer *beside = printer->answer->beside;
    bool differs = false;

    if (!beside)
        return;
    for (size_t i = 0; i < sizeof(compared) / sizeof(compared[0]); i++) {
        const char *service = compared_value(printer->answer, i);
        const char *direct = compared_value(beside, i);

        if (strcmp(service, direct) == 0 || !have_both(printer->answer, i))
            continue;
        row(printer, "Difference", "%s: %s for the service, %s read directly", compared[i].what,
            service, direct);
        differs = true;
    }
    if (differs && !answer_step(printer->answer, "target", NULL))
        row(printer, "Difference",
            "the service did not look at the mailbox; --direct shows what is there");
    else if (differs)
        row(printer, "Difference",
            "the unit may hide the mailbox (ProtectHome=), the service may lack "
            "permission, or it needs a reload; --direct shows what is there");
    else
        row(printer, "Direct", "the same without the service");
}

int explain_print(FILE *file, const struct screen *screen, const struct answer *answer)
{
    struct printer printer = {.file = file, .screen = screen, .answer = answer};
    _cleanup_(freep) char *target = NULL;

    if (answer_failed_with(answer, ANSWER_UNREACHABLE))
        return 0;
    target = screen_text(screen, answer->target);
    if (!target)
        return -ENOMEM;
    fprintf(file, "%s%s%s\n", screen_tone_on(screen, SCREEN_TITLE), target,
            screen_tone_off(screen, SCREEN_TITLE));
    print_target(&printer);
    print_tries(&printer);
    print_maildirsize(&printer);
    print_limits(&printer);
    print_usage(&printer);
    print_count(&printer);
    print_folders(&printer);
    print_verdict(&printer);
    compare(&printer);
    return printer.error;
}
