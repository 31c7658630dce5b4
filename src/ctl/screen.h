/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The terminal, and what may be shown there. Untrusted text (addresses, paths, what came from a
 * socket) only reaches it through screen_text().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum screen_colour {
    SCREEN_COLOUR_AUTO, /* on a terminal that knows colours, unless NO_COLOR forbids it */
    SCREEN_COLOUR_ALWAYS,
    SCREEN_COLOUR_NEVER,
};

enum screen_tone {
    SCREEN_PLAIN,
    SCREEN_TITLE,
    SCREEN_GOOD,
    SCREEN_WARNING,
    SCREEN_BAD,
    SCREEN_TONES_COUNT_,
};

struct screen {
    size_t columns; /* SIZE_MAX where lines may have any length */
    bool has_colour;
    bool has_utf8;
};

/* Examines standard output, the environment and the locale, after setlocale(3). */
void screen_init(struct screen *screen, enum screen_colour colour);

/* Return the escapes that switch a tone on and off, or "". */
const char *screen_tone_on(const struct screen *screen, enum screen_tone tone);
const char *screen_tone_off(const struct screen *screen, enum screen_tone tone);

/*
 * Makes a printable copy of the text (printable.h), in which characters that the screen cannot
 * display are escaped too. Returns the copy, which the caller frees, or NULL if out of memory.
 */
char *screen_text(const struct screen *screen, const char *text);

/* Returns how many columns a text from screen_text() takes. */
size_t screen_width(const char *text);

/*
 * Copies a text from screen_text(). If it takes more than that many columns (at least one), its
 * middle is left out; escapes stay whole. Returns the copy, which the caller frees, or NULL if out
 * of memory.
 */
char *screen_shorten(const struct screen *screen, const char *text, size_t columns);

/* Returns a cell of a bar, a constant string that takes one column. */
const char *screen_bar_cell(const struct screen *screen, bool is_filled);
