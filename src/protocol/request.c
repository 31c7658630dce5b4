/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/request.h"

#include <errno.h>
#include <string.h>

#include "quota/ascii.h"

static const struct {
    const char *word;
    enum request_type type;
    size_t pairs_count; /* that may come before its target; 0: it has no target */
} verbs[] = {
    {"usage", REQUEST_USAGE, 2}, {"check", REQUEST_CHECK, 2}, {"explain", REQUEST_EXPLAIN, 3},
    {"ping", REQUEST_PING, 0},   {"stats", REQUEST_STATS, 0},
};

ssize_t request_find_end(const char *buffer, size_t length, bool end)
{
    size_t within = length > REQUEST_BYTES_MAX ? REQUEST_BYTES_MAX + 1 : length;
    const char *lf = within > 0 ? memchr(buffer, '\n', within) : NULL;

    if (lf)
        return lf - buffer;
    if (length > REQUEST_BYTES_MAX)
        return -EMSGSIZE;
    return end ? (ssize_t)length : -EAGAIN;
}

/* Returns the length of the run of ASCII letters that text[0..length) begins with. */
static size_t letters(const char *text, size_t length)
{
    size_t n = 0;

    while (n < length && ascii_is_letter(text[n]))
        n++;
    return n;
}

bool request_wants_pairs(const char *line, size_t length)
{
    size_t word = letters(line, length);

    return word > 0 && (word == length || line[word] == ' ' || line[word] == '\0');
}

static enum reason parse_size(const char *value, size_t length, struct request *request)
{
    bool negative = length > 0 && value[0] == '-';
    uint64_t size = 0;

    if (length == 0)
        return REASON_NONE;
    switch (size_parse_number(value + negative, length - negative, &size)) {
    case 0:
        break;
    case -ERANGE:
        size = SIZE_BYTES_MAX; /* larger than anything: it will not fit */
        break;
    default:
        return REASON_BAD_VALUE;
    }
    request->size_bytes = negative ? 0 : size;
    return REASON_NONE;
}

static enum reason parse_quota(const char *value, size_t length, struct request *request)
{
    request->have_limit = length > 0;
    return size_parse_limit(value, length, &request->limit) < 0 ? REASON_BAD_VALUE : REASON_NONE;
}

static enum reason parse_recount(const char *value, size_t length, struct request *request)
{
    request->recount = length == 3 && memcmp(value, "yes", length) == 0;
    return length == 0 || request->recount ? REASON_NONE : REASON_BAD_VALUE;
}

static const struct {
    const char *key;
    enum reason (*parse)(const char *value, size_t length, struct request *request);
    const char *accepted;
} pairs[] = {
    {"size", parse_size, "size= takes a number of bytes"},
    {"quota", parse_quota,
     "quota= takes SIZE, SIZE,NNNC or NNNC, where SIZE is in bytes or followed by K, M, G or T"},
    {"recount", parse_recount, "recount= takes yes"},
};

#define PAIRS_COUNT (sizeof(pairs) / sizeof(pairs[0]))

/* Returns the place of the key text[0..length) in pairs, or count if it is none of the first. */
static size_t find_pair(const char *text, size_t length, size_t count)
{
    size_t i = 0;

    while (i < count && (strlen(pairs[i].key) != length || memcmp(pairs[i].key, text, length) != 0))
        i++;
    return i;
}

/*
 * Parses the pairs before the target, of which there may be count. What looks like a pair but is
 * the last word of the line, has an unknown key and an `@`, is repeated, or follows all pairs that
 * there are, begins the target: a strange address (prvs=1a2b=joe@example.org) stays one, and no
 * sender can change the pairs before it.
 */
static enum reason take_pairs(char **text, size_t count, struct request *request,
                              const char **ret_text)
{
    bool given[PAIRS_COUNT] = {};

    for (size_t taken = 0; taken < count; taken++) {
        size_t word = strcspn(*text, " ");
        size_t key = letters(*text, word);
        size_t i = find_pair(*text, key, count);
        enum reason reason;

        if (key == 0 || (*text)[key] != '=' || (*text)[word] == '\0')
            return REASON_NONE;
        if (i == count && !memchr(*text, '@', word)) {
            *ret_text = "the keys before the target are size= and quota=, and recount= of explain";
            return REASON_BAD_REQUEST;
        }
        if (i == count || given[i])
            return REASON_NONE;
        given[i] = true;
        *ret_text = pairs[i].accepted;
        reason = pairs[i].parse(*text + key + 1, word - key - 1, request);
        if (reason != REASON_NONE)
            return reason;
        *text += word + strspn(*text + word, " ");
    }
    return REASON_NONE;
}

static enum reason parse_target(char *text, size_t pairs_count, struct request *request,
                                const char **ret_text)
{
    enum reason reason = take_pairs(&text, pairs_count, request, ret_text);

    if (reason != REASON_NONE)
        return reason;
    if (*text == '\0') {
        *ret_text = "a target is missing: an absolute path or an address";
        return REASON_BAD_REQUEST;
    }
    request->target = text;
    return REASON_NONE;
}

enum reason request_parse(char *line, size_t length, struct request *ret, const char **ret_text)
{
    struct request request = {.type = REQUEST_PATH};
    size_t word;

    *ret = request;
    if (request_wants_pairs(line, length))
        ret->type = REQUEST_USAGE;
    if (memchr(line, '\0', length)) {
        *ret_text = "a request must not contain a NUL byte";
        return REASON_BAD_REQUEST;
    }
    line[length] = '\0';
    if (line[0] == '/') {
        request.target = line;
        *ret = request;
        return REASON_NONE;
    }
    if (ret->type == REQUEST_PATH) {
        *ret_text = "a request is an absolute path, or one of usage, check, explain, ping, stats";
        return REASON_BAD_REQUEST;
    }
    word = letters(line, length);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        char *rest = line + word + strspn(line + word, " ");
        enum reason reason = REASON_NONE;

        if (word != strlen(verbs[i].word) || memcmp(line, verbs[i].word, word) != 0)
            continue;
        request.type = verbs[i].type;
        if (verbs[i].pairs_count > 0) {
            reason = parse_target(rest, verbs[i].pairs_count, &request, ret_text);
        } else if (*rest != '\0') {
            *ret_text = "ping and stats take no arguments";
            reason = REASON_BAD_REQUEST;
        }
        if (reason == REASON_NONE)
            *ret = request;
        return reason;
    }
    *ret_text = "the verbs are usage, check, explain, ping and stats";
    return REASON_BAD_REQUEST;
}

struct target_terms request_terms(const struct request *request)
{
    return (struct target_terms){
        .size_bytes = request->size_bytes,
        .verdict_alone = request->type == REQUEST_CHECK || request->type == REQUEST_EXPLAIN ||
                         request->type == REQUEST_POLICY,
        .have_limit = request->have_limit,
        .limit = request->limit,
        .internal_address = request->type == REQUEST_POLICY,
    };
}
