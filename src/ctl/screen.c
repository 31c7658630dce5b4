/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/screen.h"

#include <langinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "quota/size.h"
#include "system/printable.h"
#include "system/utf8.h"

/* The width of a terminal that does not report it. */
#define COLUMNS_DEFAULT 80
#define COLUMNS_MAX     10000

/* The size of a character in a text, in bytes and in columns. */
struct step {
    size_t bytes;
    size_t columns;
};

static const char *const tones[SCREEN_TONES_COUNT_] = {
    [SCREEN_PLAIN] = "",           [SCREEN_TITLE] = "\x1b[1m", [SCREEN_GOOD] = "\x1b[32m",
    [SCREEN_WARNING] = "\x1b[33m", [SCREEN_BAD] = "\x1b[31m",
};

static bool wants_colour(enum screen_colour colour, bool is_terminal)
{
    const char *forbidden = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    if (colour != SCREEN_COLOUR_AUTO)
        return colour == SCREEN_COLOUR_ALWAYS;
    return is_terminal && (!forbidden || *forbidden == '\0') && terminal &&
           strcmp(terminal, "dumb") != 0;
}

static size_t terminal_columns(void)
{
    const char *wanted = getenv("COLUMNS");
    uint64_t columns;
    struct winsize size;

    if (wanted && size_parse_number(wanted, strlen(wanted), &columns) == 0 && columns > 0 &&
        columns <= COLUMNS_MAX)
        return (size_t)columns;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return COLUMNS_DEFAULT;
}

void screen_init(struct screen *screen, enum screen_colour colour)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1;

    *screen = (struct screen){
        .columns = is_terminal ? terminal_columns() : SIZE_MAX,
        .has_colour = wants_colour(colour, is_terminal),
        .has_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
    };
}

const char *screen_tone_on(const struct screen *screen, enum screen_tone tone)
{
    return screen->has_colour ? tones[tone] : "";
}

const char *screen_tone_off(const struct screen *screen, enum screen_tone tone)
{
    return screen->has_colour && tone != SCREEN_PLAIN ? "\x1b[0m" : "";
}

static bool can_show(uint32_t character, const void *userdata)
{
    const struct screen *screen = userdata;

    return screen->has_utf8 && wcwidth((wchar_t)character) >= 0;
}

/* Takes a step in a text from screen_text(). An escape is one step. */
static struct step take_step(const char *text)
{
    uint32_t character = 0;
    size_t bytes;

    switch (*text == '\\' ? text[1] : '\0') {
    case '\\':
        return (struct step){2, 2};
    case 'x':
        return (struct step){4, 4};
    case 'u':
        return (struct step){6, 6};
    case 'U':
        return (struct step){10, 10};
    default:
        bytes = utf8_decode(text, strlen(text), &character);
        return (struct step){bytes, (size_t)wcwidth((wchar_t)character)};
    }
}

char *screen_text(const struct screen *screen, const char *text)
{
    char *copy = malloc(strlen(text) * PRINTABLE_GROWTH + 1);

    if (copy)
        (void)printable_write(text, copy, can_show, screen);
    return copy;
}

size_t screen_width(const char *text)
{
    size_t columns = 0;

    while (*text) {
        struct step step = take_step(text);

        columns += step.columns;
        text += step.bytes;
    }
    return columns;
}

/* Returns how many bytes of the text fit into that many columns from the left. */
static size_t head_bytes(const char *text, size_t columns)
{
    size_t bytes = 0;

    while (text[bytes]) {
        struct step step = take_step(text + bytes);

        if (step.columns > columns)
            break;
        columns -= step.columns;
        bytes += step.bytes;
    }
    return bytes;
}

/* Returns the longest end of the text that fits into that many columns. */
static const char *tail(const char *text, size_t columns)
{
    size_t width = screen_width(text);

    while (width > columns) {
        struct step step = take_step(text);

        width -= step.columns;
        text += step.bytes;
    }
    return text;
}

char *screen_shorten(const struct screen *screen, const char *text, size_t columns)
{
    const char *gap = screen->has_utf8 ? "\xe2\x80\xa6" : "~"; /* U+2026 */
    char *copy;

    if (screen_width(text) <= columns)
        return strdup(text);
    if (asprintf(&copy, "%.*s%s%s", (int)head_bytes(text, columns / 2), text, gap,
                 tail(text, columns - 1 - columns / 2)) < 0)
        return NULL;
    return copy;
}

const char *screen_bar_cell(const struct screen *screen, bool is_filled)
{
    if (screen->has_utf8)
        return is_filled ? "\xe2\x96\x88" : "\xe2\x96\x91"; /* U+2588, U+2591 */
    return is_filled ? "#" : "-";
}
