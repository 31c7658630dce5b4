/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests, as exim-quotad-protocol(7) describes them. The input is what a client sends.
 */
#include "fuzz.h"

#include <errno.h>

#include "protocol/request.h"

/* What the manual page makes of a line. */
struct expected {
    enum reason reason;
    struct request request;
};

/* Reads SIZE: digits, and K, M, G or T. */
static bool expect_size(const char *text, size_t length, uint64_t *ret)
{
    static const char units[] = "KMGTkmgt";
    const char *unit = length > 0 ? memchr(units, text[length - 1], 8) : NULL;
    unsigned __int128 value;

    if (!fuzz_number(text, length - (unit != NULL), &value))
        return false;
    for (long i = unit ? (unit - units) % 4 + 1 : 0; i > 0 && value <= SIZE_BYTES_MAX; i--)
        value *= 1024;
    *ret = (uint64_t)value;
    return value <= SIZE_BYTES_MAX;
}

/* Reads SIZE, SIZE,NNNC or NNNC, in either order, each once. */
static bool expect_limit(const char *text, size_t length, struct quota_limit *ret)
{
    const char *end = text + length;
    unsigned int sizes = 0, counts = 0;

    for (;;) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t part = (size_t)((comma ? comma : end) - text);
        unsigned __int128 count;

        if (part > 0 && (text[part - 1] == 'C' || text[part - 1] == 'c')) {
            if (++counts > 1 || !fuzz_number(text, part - 1, &count) || count > SIZE_BYTES_MAX)
                return false;
            ret->messages = (uint64_t)count;
        } else if (++sizes > 1 || !expect_size(text, part, &ret->bytes)) {
            return false;
        }
        if (!comma)
            return true;
        text = comma + 1;
    }
}

/* The keys of pairs, with `=`; the last one is that of explain alone. */
static const char *const keys[] = {"size=", "quota=", "recount="};

/* Takes one pair, whose key is keys[key]. Returns false where it is wrong. */
static bool expect_pair(size_t key, const char *value, size_t length, struct request *request)
{
    unsigned __int128 number;
    bool negative = length > 0 && *value == '-';

    if (length == 0)
        return true;
    if (key == 2) {
        request->recount = true;
        return length == 3 && strncmp(value, "yes", 3) == 0;
    }
    if (key == 1) {
        request->have_limit = true;
        return expect_limit(value, length, &request->limit);
    }
    if (!fuzz_number(value + negative, length - negative, &number))
        return false;
    if (!negative)
        request->size_bytes = number > SIZE_BYTES_MAX ? SIZE_BYTES_MAX : (uint64_t)number;
    return true;
}

static const char *skip_blanks(const char *text)
{
    while (*text == ' ')
        text++;
    return text;
}

static void expect_question(struct expected *expected, const char *text)
{
    size_t keys_count = expected->request.type == REQUEST_EXPLAIN ? 3 : 2;
    bool seen[3] = {};

    for (size_t taken = 0; taken < keys_count; taken++) {
        const char *blank = strchr(text, ' ');
        const char *equals = strchr(text, '=');
        bool is_pair = blank && equals && equals < blank && equals > text;
        size_t key = 0;

        for (const char *c = text; is_pair && c < equals; c++)
            is_pair = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        while (key < keys_count && strncmp(text, keys[key], strlen(keys[key])) != 0)
            key++;
        if (!is_pair || (key < keys_count && seen[key]))
            break;
        if (key == keys_count) {
            if (memchr(text, '@', (size_t)(blank - text)))
                break;
            expected->reason = REASON_BAD_REQUEST;
            return;
        }
        seen[key] = true;
        if (!expect_pair(key, equals + 1, (size_t)(blank - equals - 1), &expected->request)) {
            expected->reason = REASON_BAD_VALUE;
            return;
        }
        text = skip_blanks(blank);
    }
    if (*text == '\0')
        expected->reason = REASON_BAD_REQUEST;
    else
        expected->request.target = strdup(text);
}

static struct expected expect(const char *line, size_t length)
{
    struct expected expected = {.reason = REASON_BAD_REQUEST};
    const char *rest;

    if (memchr(line, '\0', length))
        return expected;
    rest = line + strcspn(line, " ");
    for (const char *c = line; c < rest; c++)
        if (*line != '/' && !((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z')))
            return expected;
    rest = skip_blanks(rest);
    if (*line == '/') {
        expected.reason = REASON_NONE;
        expected.request.type = REQUEST_PATH;
        expected.request.target = strdup(line);
    } else if (strncmp(line, "usage", 5) == 0 && (line[5] == ' ' || line[5] == '\0')) {
        expected.reason = REASON_NONE;
        expected.request.type = REQUEST_USAGE;
        expect_question(&expected, rest);
    } else if (strncmp(line, "check", 5) == 0 && (line[5] == ' ' || line[5] == '\0')) {
        expected.reason = REASON_NONE;
        expected.request.type = REQUEST_CHECK;
        expect_question(&expected, rest);
    } else if (strncmp(line, "explain", 7) == 0 && (line[7] == ' ' || line[7] == '\0')) {
        expected.reason = REASON_NONE;
        expected.request.type = REQUEST_EXPLAIN;
        expect_question(&expected, rest);
    } else if (strncmp(line, "ping", 4) == 0 && rest == skip_blanks(line + 4) && *rest == '\0') {
        expected.reason = REASON_NONE;
        expected.request.type = REQUEST_PING;
    } else if (strncmp(line, "stats", 5) == 0 && rest == skip_blanks(line + 5) && *rest == '\0') {
        expected.reason = REASON_NONE;
        expected.request.type = REQUEST_STATS;
    }
    return expected;
}

static void require_same(const struct request *a, const struct request *b)
{
    require(a->type == b->type);
    require(a->size_bytes == b->size_bytes);
    require(a->have_limit == b->have_limit);
    require(a->recount == b->recount);
    require(a->limit.bytes == b->limit.bytes && a->limit.messages == b->limit.messages);
    require(!a->target == !b->target);
    require(!a->target || strcmp(a->target, b->target) == 0);
}

/* What was understood, written in full, is understood in the same way. */
static void require_round_trip(const struct request *request)
{
    char *line = NULL, limit[64] = "";
    struct request again;
    const char *text;
    int length;

    static const char *const words[] = {
        [REQUEST_USAGE] = "usage",
        [REQUEST_CHECK] = "check",
        [REQUEST_EXPLAIN] = "explain",
    };

    if (!request->target || request->type == REQUEST_PATH)
        return;
    if (request->have_limit)
        (void)snprintf(limit, sizeof(limit), "%ju,%juC", (uintmax_t)request->limit.bytes,
                       (uintmax_t)request->limit.messages);
    length = asprintf(&line, "%s size=%ju quota=%s%s%s %s", words[request->type],
                      (uintmax_t)request->size_bytes, limit,
                      request->type == REQUEST_EXPLAIN ? " recount=" : "",
                      request->recount ? "yes" : "", request->target);
    require(length > 0);
    require(request_parse(line, (size_t)length, &again, &text) == REASON_NONE);
    require_same(request, &again);
    free(line);
}

static void check_line(const char *bytes, size_t length)
{
    char *line = fuzz_copy(bytes, length, 1), *original = fuzz_string(bytes, length);
    struct expected expected = expect(original, length);
    bool pairs = request_wants_pairs(line, length);
    struct request request;
    const char *text = NULL;
    enum reason reason = request_parse(line, length, &request, &text);

    require(reason == expected.reason);
    require((request.type != REQUEST_PATH) == pairs);
    if (reason == REASON_NONE) {
        require_same(&request, &expected.request);
        require(!request.target ||
                (request.target >= line && request.target <= line + length && *request.target));
        require_round_trip(&request);
    } else {
        require(text && *text);
    }
    free(expected.request.target);
    free(original);
    free(line);
}

/* However the bytes come in, the same line is found, at the first byte that tells. */
static void check_pieces(const char *bytes, size_t length, bool end, size_t step, ssize_t whole)
{
    for (size_t have = 0;; have = length - have < step ? length : have + step) {
        char *buffer = fuzz_copy(bytes, have, 0);
        ssize_t found = request_find_end(buffer, have, end && have == length);

        free(buffer);
        if (found != -EAGAIN) {
            require(found == whole);
            return;
        }
        require(have < length || whole == -EAGAIN);
        require(have <= REQUEST_BYTES_MAX);
        if (have == length)
            return;
    }
}

static ssize_t expect_end(const char *bytes, size_t length, bool end)
{
    const char *lf = length > 0 ? memchr(bytes, '\n', length) : NULL;

    if (lf && lf - bytes <= REQUEST_BYTES_MAX)
        return lf - bytes;
    if (length > REQUEST_BYTES_MAX)
        return -EMSGSIZE;
    return end ? (ssize_t)length : -EAGAIN;
}

/* The same behind so many bytes that the longest request ends amid them. */
static void check_limit(const char *bytes, size_t length)
{
    size_t before = length < REQUEST_BYTES_MAX ? REQUEST_BYTES_MAX - length / 2 : 0;
    char *padded = malloc(before + length);

    require(padded);
    memset(padded, 'x', before);
    memcpy(padded + before, bytes, length);
    for (int end = 0; end < 2; end++)
        check_pieces(padded, before + length, end, REQUEST_BYTES_MAX / 2 - 1,
                     expect_end(padded, before + length, end));
    free(padded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 1000};
    const char *bytes = (const char *)data;

    for (int end = 0; end < 2; end++) {
        ssize_t whole = expect_end(bytes, size, end);

        for (size_t i = size > 1000 ? 1 : 0; i < sizeof(steps) / sizeof(steps[0]); i++)
            check_pieces(bytes, size, end, steps[i], whole);
        if (whole >= 0)
            check_line(bytes, (size_t)whole);
    }
    if (size > 0)
        check_limit(bytes, size);
    return 0;
}
