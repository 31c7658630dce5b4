/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of Postfix, as exim-quotad-protocol(7) describes them. The input is what a client sends
 * down one connection.
 */
#include "policy_model.h"

#include <errno.h>

/* Longer inputs say nothing more about the limit, and take long. */
#define PADDED_BYTES_MAX 64

/* Returns the length of the first request, -EAGAIN or -EMSGSIZE. */
static ssize_t expect_end(const char *bytes, size_t length)
{
    for (size_t i = 1; i <= length && i <= POLICY_BYTES_MAX; i++)
        if (policy_model_is_whole(bytes, i))
            return (ssize_t)i;
    return length < POLICY_BYTES_MAX ? -EAGAIN : -EMSGSIZE;
}

/* However the bytes come in, the same end is found, at the first byte that tells. */
static void check_pieces(const char *bytes, size_t length, size_t step, ssize_t whole)
{
    size_t searched = 0;

    for (size_t have = 0;; have = length - have < step ? length : have + step) {
        char *buffer = fuzz_copy(bytes, have, 0);
        ssize_t found = policy_find_end(buffer, have, searched);

        free(buffer);
        if (found != -EAGAIN) {
            require(found == whole);
            return;
        }
        require(have < length || whole == -EAGAIN);
        require(have < POLICY_BYTES_MAX);
        if (have == length)
            return;
        searched = have;
    }
}

static void check_request(const char *bytes, size_t length)
{
    char *copy = fuzz_copy(bytes, length, 0);
    struct request request, expected;
    const char *text = NULL;
    enum reason reason = policy_parse(copy, length, &request, &text);

    require(policy_model_read(bytes, length, &expected) == (reason == REASON_NONE));
    require(request.type == REQUEST_POLICY && !request.have_limit);
    if (reason == REASON_NONE) {
        require(request.size_bytes == expected.size_bytes);
        require(!request.target == !expected.target);
        require(!request.target || strcmp(request.target, expected.target) == 0);
        require(!request.target ||
                (request.target > copy && request.target + strlen(request.target) < copy + length));
    } else {
        require(reason == REASON_BAD_REQUEST || reason == REASON_BAD_VALUE);
        require(text && *text);
    }
    free(expected.target);
    free(copy);
}

/* The same behind a line so long that the longest request ends amid it. */
static void check_limit(const char *bytes, size_t length)
{
    size_t before = length < POLICY_BYTES_MAX ? POLICY_BYTES_MAX - length / 2 : 0;
    char *padded = malloc(before + length);

    require(padded);
    memset(padded, 'x', before);
    memcpy(padded + before, bytes, length);
    check_pieces(padded, before + length, POLICY_BYTES_MAX / 2 - 1,
                 expect_end(padded, before + length));
    free(padded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 1000};
    const char *bytes = (const char *)data;
    size_t at = 0;

    for (;;) {
        ssize_t whole = expect_end(bytes + at, size - at);

        for (size_t i = size > 1000 ? 1 : 0; i < sizeof(steps) / sizeof(steps[0]); i++)
            check_pieces(bytes + at, size - at, steps[i], whole);
        if (whole < 0)
            break;
        check_request(bytes + at, (size_t)whole);
        at += (size_t)whole;
    }
    if (size > 0 && size <= PADDED_BYTES_MAX)
        check_limit(bytes, size);
    return 0;
}
