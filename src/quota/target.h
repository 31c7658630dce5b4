/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the target of a query to its verdict. An absolute path is the mailbox itself. An address
 * stands for the first mailbox that exists of several candidates: those that the templates make of
 * the whole local part, in order, and then those of the local part without its extension. The
 * caller probes them.
 *
 * The limit is that of the address whose mailbox it is; if that is the address without the
 * extension, a line of the limits file about the whole address outranks its line. A path that a
 * template can have made stands for that address, and so does a folder of it: a path below it whose
 * last component begins with a dot.
 *
 *     target_begin()
 *     target_path(), probe it; while target_goes_on(): the next candidate
 *     target_decide()
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
    enum limits_answer answer;
    struct limits_entry entry; /* unless that is LIMITS_NONE */
};

struct target {
    struct mailbox_policy policy;
    struct address address;         /* as it is spelled now; local_length is 0 for a path */
    bool had_extension;             /* the address, so that there are two spellings */
    struct target_limit file_limit; /* of the address as it is spelled now, or for a path */
    struct target_limit base_limit; /* of the address without its extension */
    size_t candidate;               /* which of the address's mailboxes is looked at */
};

/* What a query brings beside its target. */
struct target_terms {
    uint64_t size_bytes; /* of the message that is to fit; 0: unknown */
    bool verdict_alone;  /* what is wanted is the verdict */
    bool have_limit;     /* whether it brings a limit, which then outranks every other */
    struct quota_limit limit;
    bool internal_address; /* the target is an address in Postfix's internal form, never a path */
};

/* What came of it. */
struct target_decision {
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
 * Makes the target that text names. limits NULL: there are none. A path is normalised in place, and
 * text is then that of the one mailbox that is meant.
 * Returns REASON_NONE; else the reason, and in *ret_why a constant text for people.
 */
enum reason target_begin(struct target *target, const struct quota_settings *settings,
                         const struct limits *limits, const struct target_terms *terms, char *text,
                         const char **ret_why);

/*
 * Finds the address that a normalised path stands for: the one whose mailbox it is, or may be a
 * folder of. The path is the same again afterwards. Returns whether there is one.
 */
bool target_owner(const struct quota_settings *settings, char *path, struct address *ret);

/* Returns whether the target is a path. */
bool target_is_path(const struct target *target);

/*
 * Writes the path of target->candidate, which never decreases, and sets its limit in the policy. A
 * candidate whose path is too long is skipped unless it is the last. Returns REASON_NONE; else the
 * reason, and in *ret_why a constant text for people.
 */
enum reason target_path(struct target *target, const struct quota_settings *settings,
                        char path[PATH_MAX], const char **ret_why);

/*
 * Returns whether the next candidate must be probed, because there is no mailbox at this one. error
 * is the result of the probe, and source what it found if that is 0. A path that leads through a
 * file (-ENOTDIR), as /var/mail/joe/Maildir where /var/mail/joe is an mbox, and a name that no file
 * can have (-ENAMETOOLONG) mean that there is none.
 */
bool target_goes_on(const struct target *target, const struct quota_settings *settings, int error,
                    enum usage_source source);

/*
 * Returns the reason for error, the negative errno of a probe or a count, and in *ret_why a
 * constant text for people. If a path is too long, the address that it is made of is bad.
 */
enum reason target_reason(const struct target *target, int error, const char **ret_why);

/*
 * Decides on the usage of the mailbox at path, the last candidate. A limit that only an old
 * maildirsize gives refuses nothing. path and usage are the caller's and must outlive *ret, which
 * must not be copied.
 */
void target_decide(const struct target *target, const struct quota_settings *settings,
                   const char *path, const struct usage *usage, struct target_decision *ret);
