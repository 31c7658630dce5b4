/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers as people read them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Enough for every number below, with its NUL. */
#define HUMAN_BYTES_MAX 32

/* Writes a size, rounded down: `512`, `10K`, `1.4G`. Without a decimal place it is exact. */
void human_size(uint64_t bytes, char text[HUMAN_BYTES_MAX]);

/* Writes a duration by its two largest units: `45s`, `2min 5s`, `3h 0min`, `12d 4h`. */
void human_duration(uint64_t seconds, char text[HUMAN_BYTES_MAX]);

/* Returns how many cells of a bar to fill: none only if nothing is used, all only from 100 on. */
size_t human_bar(uint64_t percent, uint64_t bytes, size_t cells);
