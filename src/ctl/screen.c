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

#include "quota/ascii.h"
#include "quota/size.h"
#include "quota/utf8.h"

/* A terminal that does not say how wide it is. */
#define COLUMNS_DEFAULT 80
#define COLUMNS_MAX     10000

/* A character of a text: so many bytes, and so many columns. */
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

/*
 * Whether a character takes no column and may change what others around it look like: marks of
 * direction and joiners. Accents that belong to the letter before them are none of these.
 */
static bool is_invisible(uint32_t character)
{
    return (character >= 0x200b && character <= 0x200f) ||
           (character >= 0x2028 && character <= 0x202e) ||
           (character >= 0x2060 && character <= 0x206f) || character == 0xfeff;
}

/* Takes a step in any text. Where what is there cannot be shown, columns is SIZE_MAX. */
static struct step take_step(const struct screen *screen, const char *text)
{
    uint32_t character;
    size_t bytes;
    int columns;

    if ((unsigned char)*text < 0x80)
        return (struct step){1, ascii_is_control(*text) ? SIZE_MAX : 1};
    if (!screen->has_utf8)
        return (struct step){1, SIZE_MAX};
    bytes = utf8_decode(text, strlen(text), &character);
    if (bytes == 0)
        return (struct step){1, SIZE_MAX};
    columns = is_invisible(character) ? -1 : wcwidth((wchar_t)character);
    return (struct step){bytes, columns < 0 ? SIZE_MAX : (size_t)columns};
}

char *screen_text(const struct screen *screen, const char *text)
{
    static const char mark_utf8[] = "\xef\xbf\xbd"; /* U+FFFD */
    const char *mark = screen->has_utf8 ? mark_utf8 : "?";
    size_t mark_bytes = strlen(mark);
    char *copy = malloc(strlen(text) * (sizeof(mark_utf8) - 1) + 1);
    char *to = copy;

    if (!copy)
        return NULL;
    while (*text) {
        struct step step = take_step(screen, text);

        if (step.columns == SIZE_MAX)
            to = mempcpy(to, mark, mark_bytes);
        else
            to = mempcpy(to, text, step.bytes);
        text += step.bytes;
    }
    *to = '\0';
    return copy;
}

size_t screen_width(const struct screen *screen, const char *text)
{
    size_t columns = 0;

    while (*text) {
        struct step step = take_step(screen, text);

        columns += step.columns;
        text += step.bytes;
    }
    return columns;
}

/* Returns how many bytes the beginning of the text has that takes at most so many columns. */
static size_t head_bytes(const struct screen *screen, const char *text, size_t columns)
{
    size_t bytes = 0;

    while (text[bytes]) {
        struct step step = take_step(screen, text + bytes);

        if (step.columns > columns)
            break;
        columns -= step.columns;
        bytes += step.bytes;
    }
    return bytes;
}

/* Returns the end of the text that takes at most so many columns. */
static const char *tail(const struct screen *screen, const char *text, size_t columns)
{
    size_t width = screen_width(screen, text);

    while (width > columns) {
        struct step step = take_step(screen, text);

        width -= step.columns;
        text += step.bytes;
    }
    return text;
}

char *screen_shorten(const struct screen *screen, const char *text, size_t columns)
{
    const char *gap = screen->has_utf8 ? "\xe2\x80\xa6" : "~"; /* U+2026 */
    char *copy;

    if (screen_width(screen, text) <= columns)
        return strdup(text);
    if (asprintf(&copy, "%.*s%s%s", (int)head_bytes(screen, text, columns / 2), text, gap,
                 tail(screen, text, columns - 1 - columns / 2)) < 0)
        return NULL;
    return copy;
}

const char *screen_bar_cell(const struct screen *screen, bool is_filled)
{
    if (screen->has_utf8)
        return is_filled ? "\xe2\x96\x88" : "\xe2\x96\x91"; /* U+2588, U+2591 */
    return is_filled ? "#" : "-";
}
