/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A query from its target to its verdict, in one synchronous call, with a record of everything that
 * was found on the way. exim-quotactl --direct answers queries with it, and `explain` explains
 * verdicts with it.
 *
 *     explanation_begin()
 *     explanation_answer()
 *     explanation_examine(), for what the answer did not need
 *     explanation_deinit()
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quota/target.h"

/* If there are more candidates than this, the first ones and the last one are kept. */
#define EXPLANATION_TRIES_MAX 16

/* If there are more folders than this, the largest are kept. */
#define EXPLANATION_FOLDERS_MAX 50

/* Room for what is wrong with the roots and templates. */
#define EXPLANATION_REMARKS_MAX 8

/* A candidate, and what was found there. */
struct explanation_try {
    const char *template; /* the settings' own; NULL: the target is a path */
    char *path;
    int error; /* 0 or a negative errno */
    enum mailbox_kind kind;
};

enum explanation_folder_state {
    EXPLANATION_FOLDER_COUNTED,
    EXPLANATION_FOLDER_EXCLUDED,   /* by a pattern */
    EXPLANATION_FOLDER_STRAY,      /* one of the layout fs in a Maildir++ mailbox */
    EXPLANATION_FOLDER_UNFOLLOWED, /* it is, or has, a link that leads outside or to nothing */
};

struct explanation_folder {
    char *path;              /* from the mailbox on; "": the mailbox itself */
    const char *excluded_by; /* the pattern, the settings' own; NULL: none */
    enum explanation_folder_state state;
    uint64_t bytes;
    uint64_t messages;
};

struct explanation_folders {
    struct explanation_folder largest[EXPLANATION_FOLDERS_MAX]; /* the largest comes first */
    size_t count;
    size_t more; /* the other folders, and their sums */
    uint64_t more_bytes;
    uint64_t more_messages;
};

/* A count that the answer did not need, or the one that it did. */
enum explanation_count {
    EXPLANATION_NOT_COUNTED, /* there is no Maildir, or it could not be read */
    EXPLANATION_COUNTED,     /* for the answer */
    EXPLANATION_COMPARED,    /* for comparison only */
    EXPLANATION_GIVEN_UP,    /* for comparison, but it would have cost too much */
    EXPLANATION_FAILED,      /* for comparison; count_error says why */
};

struct explanation {
    struct target target;
    char *text;         /* the target as it was given, or the normalised path */
    bool limits_unread; /* there is a limits file, but it could not be read */
    bool has_owner;     /* the target is a path that stands for an address: */
    struct address owner;
    uint64_t now_usec; /* since the epoch */

    struct explanation_try tries[EXPLANATION_TRIES_MAX];
    size_t tries_count; /* of all of them */

    /* The answer. */
    enum reason reason; /* REASON_NONE: there is one */
    const char *why;    /* else for people; the explanation's, or constant */
    int error;          /* the negative errno that the reason stands for, or 0 */
    char *path;         /* of the mailbox, the explanation's own; NULL: not that far */
    struct mailbox mailbox;
    struct usage usage;
    struct target_decision decision;

    /* A count of the messages or files. */
    enum explanation_count counted;
    int count_error;
    struct usage fresh; /* by that count */
    enum verdict fresh_verdict;
    int folders_error; /* negative errno: the folders could not be read */
    struct explanation_folders folders;

    /* What is wrong with the roots and the templates, checked if nothing was found. */
    char *remarks[EXPLANATION_REMARKS_MAX];
    size_t remarks_count; /* of all of them */

    /* What the service has cached of the mailbox: explanation_note_cached(). */
    bool has_cached;
    uint64_t cached_bytes;
    uint64_t cached_messages;
    uint64_t cached_age_usec;

    /* Private. */
    struct maildir_cache *listed; /* the folders, by the last count */
    char expanded[PATH_MAX];
};

/* All zeroes, except for descriptors that explanation_deinit() must not close. */
#define EXPLANATION_NULL                                                                           \
    {                                                                                              \
        .mailbox = MAILBOX_NULL                                                                    \
    }

/*
 * Begins with the target that text names, as target_begin(). Looks up limits, which are not needed
 * afterwards (NULL: there are none). Returns 0, also where *ret holds a reason; or -ENOMEM. *ret
 * must not be copied, and is released with explanation_deinit() in any case.
 */
int explanation_begin(struct explanation *ret, const struct quota_settings *settings,
                      const struct limits *limits, const struct target_terms *terms,
                      const char *text);

/*
 * Probes the candidates up to the first mailbox that exists, counts it if need be, and decides, or
 * finds the reason why that cannot be done. Nothing happens if there is a reason already. May wait.
 * budget (NULL: no bound) is that of a count, and is started here.
 */
void explanation_answer(struct explanation *explanation, const struct quota_settings *settings,
                        struct budget *budget);

/*
 * Finds out what the answer did not need: what a count of the messages gives, if they were not
 * counted; what each folder holds, excluded ones too; and if there is no mailbox, what is wrong
 * with the roots and templates. May wait, and lacks what there is no memory for.
 *
 * A count for comparison is given up if it would cost more than a modest budget. If the verdict is
 * a refusal, or with recount, it may cost as much as a count for the verdict.
 */
void explanation_examine(struct explanation *explanation, const struct quota_settings *settings,
                         bool recount, struct budget *budget);

/* Returns how many of the tries are kept. */
size_t explanation_tries_kept(const struct explanation *explanation);

/* Notes what is cached of the mailbox. */
void explanation_note_cached(struct explanation *explanation, const struct cache *cache);

/* Releases what the explanation owns. */
void explanation_deinit(struct explanation *explanation);
