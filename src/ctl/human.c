/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/human.h"

#include <inttypes.h>
#include <stdio.h>

void human_size(uint64_t bytes, char text[HUMAN_BYTES_MAX])
{
    static const char letters[] = "KMGTPE";
    unsigned int shift = 0;
    uint64_t whole, rest;

    while (bytes >> shift >= 1024)
        shift += 10;
    if (shift == 0) {
        snprintf(text, HUMAN_BYTES_MAX, "%" PRIu64, bytes);
        return;
    }
    whole = bytes >> shift;
    rest = bytes - (whole << shift);
    if (rest == 0)
        snprintf(text, HUMAN_BYTES_MAX, "%" PRIu64 "%c", whole, letters[shift / 10 - 1]);
    else /* rest has at most 60 bits: ten times as much still has its place in 64 */
        snprintf(text, HUMAN_BYTES_MAX, "%" PRIu64 ".%" PRIu64 "%c", whole, rest * 10 >> shift,
                 letters[shift / 10 - 1]);
}

void human_duration(uint64_t seconds, char text[HUMAN_BYTES_MAX])
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t i = 0;

    while (i < 3 && seconds < units[i].seconds)
        i++;
    if (i == 3)
        snprintf(text, HUMAN_BYTES_MAX, "%" PRIu64 "s", seconds);
    else
        snprintf(text, HUMAN_BYTES_MAX, "%" PRIu64 "%s %" PRIu64 "%s", seconds / units[i].seconds,
                 units[i].name, seconds % units[i].seconds / units[i + 1].seconds,
                 units[i + 1].name);
}

size_t human_bar(uint64_t percent, uint64_t bytes, size_t cells)
{
    size_t filled;

    if (percent >= 100)
        return cells;
    filled = (size_t)percent * cells / 100;
    return filled == 0 && bytes > 0 ? 1 : filled;
}
