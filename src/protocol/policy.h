/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Postfix's policy delegation protocol (SMTPD_POLICY_README). A request consists of lines
 * `name=value` and an empty line, a reply of the line `action=...` and an empty line.
 *
 * Nothing that a sender or recipient can put into a value makes a request invalid: a recipient that
 * is not an address, or that contains a carriage return, is an error of the query. An invalid
 * request comes from a client that does not speak the protocol.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "protocol/reply.h"
#include "protocol/request.h"
#include "quota/reason.h"
#include "quota/target.h"

/* The longest request, with its empty line. */
#define POLICY_BYTES_MAX 65536

/*
 * Finds the end of the first request in what was received so far. buffer[0..searched) was searched
 * before. Returns the length of the request with its empty line, -EAGAIN if more is needed, or
 * -EMSGSIZE if it is longer than POLICY_BYTES_MAX. An empty line may end with CR, so that a client
 * which sends CR is noticed.
 */
ssize_t policy_find_end(const char *buffer, size_t length, size_t searched);

/*
 * Parses a request, bytes[0..length) with its empty line. Works in place: ret->target points into
 * bytes. Unknown attributes are ignored; if one is repeated, the last is used.
 * ret->target is the recipient, in Postfix's internal form (address_parse_internal()); NULL if
 * there is none, or in a state in which nothing is to be checked.
 * Returns REASON_NONE; else the reason, and in *ret_text a constant text for people that says what
 * was expected.
 */
enum reason policy_parse(char *bytes, size_t length, struct request *ret, const char **ret_text);

/* Makes the reply that leaves the decision to the restrictions that follow. */
void policy_reply_dunno(struct reply *reply);

/*
 * Makes the reply for the verdict. If no mailbox was found, the recipient may be an alias, and is
 * not refused.
 */
void policy_reply_decision(struct reply *reply, const struct target_decision *decision);
