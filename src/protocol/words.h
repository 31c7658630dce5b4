/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of the protocol, on which clients may rely, and what they mean, for people. All are
 * constant strings.
 */
#pragma once

#include "quota/effective_limit.h"
#include "quota/reason.h"
#include "quota/usage.h"
#include "quota/verdict.h"

/* status= of a reply that is an error. */
#define STATUS_ERROR "error"

/* status= of any other reply, and text= of one to `check`. */
const char *verdict_to_string(enum verdict verdict);
const char *verdict_text(enum verdict verdict);

/* The code and the enhanced code of the reply to RCPT, or NULL if the message fits. */
const char *verdict_smtp_code(enum verdict verdict);

/* reason= */
const char *reason_to_string(enum reason reason);

/* source= */
const char *usage_source_to_string(enum usage_source source);

/* rule= */
const char *usage_rule_to_string(enum usage_rule rule);
const char *usage_rule_text(enum usage_rule rule);

/* limit_from= */
const char *limit_source_to_string(enum limit_source source);
