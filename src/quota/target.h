/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a question is about, from the text that names it to the verdict: an absolute path is the
 * mailbox itself; an address stands for the first of several mailboxes that exists. These are those
 * that the templates name for the whole local part, one after the other, and then those for the
 * local part without its extension. Looking into them is the caller's part, who may have to do it
 * without waiting.
 *
 * The limits file has a limit for the address whose mailbox it is. Where that is the one without
 * the extension, a line about the whole address outranks its own line. A path that a template can
 * have made stands for that address; so does a path below it whose last component begins with a
 * dot, a folder.
 *
 *     target_begin()
 *     target_path(0), look into it; while target_goes_on(): the next one
 *     target_judge()
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "quota/address.h"
#include "quota/limits.h"
#include "quota/mailbox.h"
#include "quota/reason.h"
#include "quota/settings.h"
#include "quota/usage.h"
#include "quota/verdict.h"

/* What the limits file says. */
struct target_limit {
    bool is_found;
    struct quota_limit limit;
};

struct target {
    struct mailbox_policy policy;
    struct address address;         /* as it is spelled now; local_length is 0 for a path */
    bool had_extension;             /* the address, so that there are two spellings */
    struct target_limit base_limit; /* of the address without its extension */
    size_t candidate;               /* which of the address's mailboxes is looked at */
};

/* What a question brings beside its target. */
struct target_question {
    uint64_t size_bytes; /* of the message that is to fit; 0: unknown */
    bool verdict_alone;  /* what is wanted is the verdict */
    bool have_limit;     /* whether it brings a limit, which then outranks every other */
    struct quota_limit limit;
};

/* What came of it. */
struct target_judgement {
    enum verdict verdict;
    const struct usage *usage;
    enum usage_rule rule;         /* the usage's, or USAGE_RULE_STALE_LIMIT */
    struct quota_limit limit;     /* the one that counts */
    enum limit_source limit_from; /* where it comes from */
    uint64_t percent;
    uint64_t size_bytes; /* of the message that is to fit; 0: unknown */
    const char *mailbox; /* its path: the one that was looked at, or first */
    char first[PATH_MAX];
};

/*
 * Makes the target that text names. limits may be NULL: there are none. A path is normalised in
 * place: text is then the path of the one mailbox that is meant.
 * Returns REASON_NONE; else the reason, and in *ret_why a constant text for people.
 */
enum reason target_begin(struct target *target, const struct quota_settings *settings,
                         const struct limits *limits, const struct target_question *question,
                         char *text, const char **ret_why);

/* Returns whether the target is a path. */
bool target_is_path(const struct target *target);

/*
 * Turns to target->candidate, one of the mailboxes of an address, which never becomes less: writes
 * its path, and lets the policy have its limit. One whose path is too long is passed over unless it
 * is the last. Returns REASON_NONE; else the reason, and in *ret_why a constant text for people.
 */
enum reason target_path(struct target *target, const struct quota_settings *settings,
                        char path[PATH_MAX], const char **ret_why);

/*
 * Returns whether a mailbox that is not there is to be looked for elsewhere. One whose path leads
 * through a file is not there either (error is -ENOTDIR): where /var/mail/joe is an mbox there is
 * no /var/mail/joe/Maildir. Nor is one with a name that no file can have (-ENAMETOOLONG). error is
 * what the look returned, source what it found where that is 0.
 */
bool target_goes_on(const struct target *target, const struct quota_settings *settings, int error,
                    enum usage_source source);

/*
 * Returns why a look that failed with error, a negative errno, is no answer, and in *ret_why a
 * constant text for people. That a path is too long is the fault of the address that it is made of.
 */
enum reason target_reason(const struct target *target, int error, const char **ret_why);

/*
 * Decides on what was found at path, where the search ended. A limit that only an old maildirsize
 * gives refuses nothing. path and usage are the caller's and must outlive *ret, which must stay
 * where it is.
 */
void target_judge(const struct target *target, const struct quota_settings *settings,
                  const char *path, const struct usage *usage, struct target_judgement *ret);
