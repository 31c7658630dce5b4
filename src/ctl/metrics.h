/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reply to `stats` for Prometheus: its text format, version 0.0.4, which node_exporter and
 * OpenTelemetry read as well.
 */
#pragma once

#include <stdio.h>

#include "ctl/answer.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Prints the metrics. answer must not be an error; pairs that it lacks are left out. */
void metrics_print(FILE *file, const struct answer *answer);
