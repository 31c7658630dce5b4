/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What exim-quotad-protocol(7) says of policy requests, written a second time. */
#pragma once

#include "fuzz.h"

#include "protocol/policy.h"
#include "quota/size.h"

/* What a client has sent. All zeroes: nothing. */
struct policy_model {
    size_t valid; /* requests that get a reply */
    bool broken;  /* the one behind them gets none, and no other */
    size_t length;
    char part[POLICY_BYTES_MAX]; /* of the next request */
};

/* Returns the value of the last attribute of that name in a valid request, which the caller frees.
 */
static inline char *policy_model_value(const char *bytes, size_t length, const char *name)
{
    struct fuzz_input input = {bytes, length};
    char *value = NULL;

    while (input.left > 0) {
        char *line = fuzz_take(&input, '\n');
        size_t key = strcspn(line, "=");

        if (line[key] == '=' && key == strlen(name) && memcmp(line, name, key) == 0) {
            free(value);
            value = fuzz_string(line + key + 1, strlen(line + key + 1));
        }
        free(line);
    }
    return value;
}

/* Whether a whole request is made of nothing but attributes, and its end. */
static inline bool policy_model_has_form(const char *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length - 1}; /* the last LF is the end's */
    bool good = !memchr(bytes, '\0', length);

    while (input.left > 0) {
        char *line = fuzz_take(&input, '\n');

        good &= strchr(line, '=') && *line != '=';
        free(line);
    }
    return good;
}

/*
 * Reads a whole request. Returns whether it is valid. ret->target, which the caller frees, is the
 * recipient, or NULL if nothing is to be checked.
 */
static inline bool policy_model_read(const char *bytes, size_t length, struct request *ret)
{
    char *request = policy_model_value(bytes, length, "request");
    char *state = policy_model_value(bytes, length, "protocol_state");
    char *size = policy_model_value(bytes, length, "size");
    unsigned __int128 number = 0;
    bool valid = policy_model_has_form(bytes, length) && request &&
                 strcmp(request, "smtpd_access_policy") == 0;

    if (size && *size != '\0')
        valid &= fuzz_number(size, strlen(size), &number);
    *ret = (struct request){.type = REQUEST_POLICY};
    ret->size_bytes = number > SIZE_BYTES_MAX ? SIZE_BYTES_MAX : (uint64_t)number;
    ret->target = policy_model_value(bytes, length, "recipient");
    if (ret->target && (!valid || *ret->target == '\0' ||
                        (state && *state != '\0' && strcmp(state, "RCPT") != 0 &&
                         strcmp(state, "DATA") != 0 && strcmp(state, "END-OF-MESSAGE") != 0))) {
        free(ret->target);
        ret->target = NULL;
    }
    free(request);
    free(state);
    free(size);
    return valid;
}

/* Whether what has come of a request is all of it: an empty line, with CR or without. */
static inline bool policy_model_is_whole(const char *bytes, size_t length)
{
    if (length == 0 || bytes[length - 1] != '\n')
        return false;
    length--;
    length -= length > 0 && bytes[length - 1] == '\r';
    return length == 0 || bytes[length - 1] == '\n';
}

/* Takes in what the client sends. */
static inline void policy_model_send(struct policy_model *model, const char *bytes, size_t length)
{
    for (; length > 0 && !model->broken; bytes++, length--) {
        struct request request;

        model->part[model->length++] = *bytes;
        if (policy_model_is_whole(model->part, model->length)) {
            model->broken = !policy_model_read(model->part, model->length, &request);
            model->valid += !model->broken;
            model->length = 0;
            free(request.target);
        } else if (model->length == POLICY_BYTES_MAX) {
            model->broken = true;
        }
    }
}

/* Returns the length of the reply that told[0..length) begins with, or 0. */
static inline size_t policy_model_reply(const char *told, size_t length)
{
    static const char *const replies[] = {
        "action=DUNNO\n\n",
        "action=452 4.2.2 Mailbox is full\n\n",
        "action=552 5.2.2 Message is larger than the mailbox may ever be\n\n",
    };

    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        size_t whole = strlen(replies[i]);

        if (length >= whole && memcmp(told, replies[i], whole) == 0)
            return whole;
    }
    return 0;
}

/* Returns how many replies there are in told[0..length), all of which must be whole. */
static inline size_t policy_model_replies(const char *told, size_t length)
{
    size_t count = 0;

    while (length > 0) {
        size_t whole = policy_model_reply(told, length);

        require(whole > 0);
        told += whole;
        length -= whole;
        count++;
    }
    return count;
}
