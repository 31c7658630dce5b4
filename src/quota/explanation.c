/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/explanation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quota/budget.h"
#include "quota/folders.h"
#include "quota/paths.h"
#include "system/cleanup.h"
#include "system/clock.h"

/* What a count may cost that is made for comparison alone. */
static const struct budget modest_budget = {
    .entries_max = 200000,
    .cpu_usec_max = 500 * USEC_PER_MSEC,
    .folders_bytes_max = BUDGET_FOLDERS_BYTES_MAX,
};

int explanation_begin(struct explanation *ret, const struct quota_settings *settings,
                      const struct limits *limits, const struct target_terms *terms,
                      const char *text)
{
    *ret = (struct explanation)EXPLANATION_NULL;
    ret->text = strdup(text);
    if (!ret->text)
        return -ENOMEM;
    ret->now_usec = clock_usec(CLOCK_REALTIME);
    ret->limits_unread = settings->limits_path && !limits;
    ret->reason = target_begin(&ret->target, settings, limits, terms, ret->text, &ret->why);
    if (ret->reason == REASON_NONE && target_is_path(&ret->target))
        ret->has_owner = target_owner(settings, ret->text, &ret->owner);
    return 0;
}

/* Notes what was found at path, and returns error; or -ENOMEM. */
static int note_try(struct explanation *explanation, const struct quota_settings *settings,
                    const char *path, int error)
{
    size_t i = explanation->tries_count++;
    bool is_path = target_is_path(&explanation->target);
    struct explanation_try *try;

    if (i >= EXPLANATION_TRIES_MAX)
        i = EXPLANATION_TRIES_MAX - 1;
    try = &explanation->tries[i];
    free(try->path);
    *try = (struct explanation_try){
        .template =
            is_path
                ? NULL
                : settings->templates[explanation->target.candidate % settings->templates_count],
        .path = strdup(path),
        .error = error,
        .kind = explanation->mailbox.kind,
    };
    if (try->path)
        return error;
    explanation->tries_count = i; /* it is not there, nor will there be another */
    return -ENOMEM;
}

/* Notes that the count of what was found last ended with an error: it may not be what it seemed. */
static void correct_try(struct explanation *explanation, int error)
{
    explanation->tries[explanation_tries_kept(explanation) - 1].error = error;
}

/* Finds the usage of the mailbox at explanation->path, which it shortens to the mailbox's own. */
static int find_usage(struct explanation *explanation, const struct quota_settings *settings,
                      const struct mailbox_settings *mailbox_settings)
{
    struct mailbox *mailbox = &explanation->mailbox;
    const struct mailbox_policy *policy = &explanation->target.policy;
    int r;

    explanation->usage = (struct usage){};
    explanation->counted = EXPLANATION_NOT_COUNTED;
    maildir_cache_free(steal_pointer(&explanation->listed));
    mailbox_close(mailbox);
    r = mailbox_probe(mailbox_settings, policy, NULL, explanation->path, explanation->now_usec,
                      mailbox);
    if (note_try(explanation, settings, explanation->path, r < 0 ? r : 0) == -ENOMEM)
        return -ENOMEM;
    if (r < 0)
        return r;
    explanation->path[mailbox->path_length] = '\0';
    explanation->usage = mailbox->usage;
    if (r == MAILBOX_ANSWERED)
        return 0;
    r = mailbox_count(mailbox, explanation->path, mailbox_settings, policy, explanation->now_usec,
                      &explanation->listed, &explanation->usage);
    if (r == 0)
        explanation->counted = EXPLANATION_COUNTED;
    else
        correct_try(explanation, r);
    return r == -ETIME ? -ETIMEDOUT : r;
}

void explanation_answer(struct explanation *explanation, const struct quota_settings *settings,
                        struct budget *budget)
{
    struct mailbox_settings mailbox_settings = settings->mailbox;
    struct target *target = &explanation->target;
    int r;

    if (explanation->reason != REASON_NONE)
        return;
    mailbox_settings.maildir.budget = budget;
    if (budget)
        budget_start(budget);
    explanation->path = target_is_path(target) ? explanation->text : explanation->expanded;
    for (;; target->candidate++) {
        if (!target_is_path(target))
            explanation->reason =
                target_path(target, settings, explanation->expanded, &explanation->why);
        if (explanation->reason != REASON_NONE)
            return;
        r = find_usage(explanation, settings, &mailbox_settings);
        if (!target_goes_on(target, settings, r, explanation->usage.source))
            break;
    }
    if (r < 0) {
        explanation->error = r;
        explanation->reason = target_reason(target, r, &explanation->why);
        if (explanation->mailbox.detail[0] != '\0')
            explanation->why = explanation->mailbox.detail;
        return;
    }
    target_decide(target, settings, explanation->path, &explanation->usage, &explanation->decision);
}

static bool is_larger(const struct explanation_folder *a, const struct explanation_folder *b)
{
    return a->bytes != b->bytes ? a->bytes > b->bytes : a->messages > b->messages;
}

/* Counts a folder among those that are not named. */
static void leave_unnamed(struct explanation_folders *folders,
                          const struct explanation_folder *folder)
{
    folders->more++;
    folders->more_bytes = size_add(folders->more_bytes, folder->bytes);
    folders->more_messages = size_add(folders->more_messages, folder->messages);
}

/* Adds a folder at path, which is copied, if it is one of the largest. */
static void add_folder(struct explanation_folders *folders, struct explanation_folder *folder,
                       const char *path)
{
    struct explanation_folder *largest = folders->largest;
    size_t i = folders->count;

    while (i > 0 && is_larger(folder, &largest[i - 1]))
        i--;
    folder->path = i < EXPLANATION_FOLDERS_MAX ? strdup(path) : NULL;
    if (!folder->path) {
        leave_unnamed(folders, folder);
        return;
    }
    if (folders->count == EXPLANATION_FOLDERS_MAX) {
        leave_unnamed(folders, &largest[--folders->count]);
        free(largest[folders->count].path);
    }
    memmove(&largest[i + 1], &largest[i], (folders->count - i) * sizeof(*largest));
    largest[i] = *folder;
    folders->count++;
}

/* Returns whether there is a link that was not followed in the place of a directory. */
static bool is_unfollowed(const struct maildir_directory *directories, bool linked)
{
    bool was_opened = false;

    for (int part = 0; part < MAILDIR_PARTS; part++) {
        const struct maildir_directory *directory = &directories[part];

        if (directory->state == MAILDIR_ABSENT && directory->linked)
            return true;
        was_opened |= directory->state != MAILDIR_UNKNOWN || directory->stamp.inode != 0;
    }
    return linked && !was_opened;
}

/* Adds the sums that a new count has cached of a folder, or of the mailbox itself (path is ""). */
static void note_folder(struct explanation *explanation, const struct maildir_options *options,
                        enum folder_kind kind, const char *path,
                        const struct maildir_directory *directories)
{
    struct explanation_folder folder = {};
    bool is_there = false;

    if (kind == FOLDER_PLAIN || kind == FOLDER_PLAIN_LINKED)
        return;
    for (int part = 0; part < MAILDIR_PARTS; part++) {
        is_there |= directories[part].state != MAILDIR_ABSENT || directories[part].linked;
        folder.bytes = size_add(folder.bytes, directories[part].bytes);
        folder.messages = size_add(folder.messages, directories[part].messages);
    }
    if (!is_there)
        return;
    folder.excluded_by = *path != '\0' ? folder_excluded_by(options, path) : NULL;
    if (folder.excluded_by)
        folder.state = EXPLANATION_FOLDER_EXCLUDED;
    else if (kind == FOLDER_STRAY)
        folder.state = EXPLANATION_FOLDER_STRAY;
    else if (is_unfollowed(directories, kind == FOLDER_COUNTED_LINKED))
        folder.state = EXPLANATION_FOLDER_UNFOLLOWED;
    add_folder(&explanation->folders, &folder, path);
}

/* Whether the last count left out what a folder holds, or knows of no folders. */
static bool lists_all(const struct explanation *explanation)
{
    const char *entry;

    if (!explanation->listed)
        return false;
    entry = maildir_cache_entries(explanation->listed);
    for (size_t i = 0; i < explanation->listed->folders; i++, entry += folder_entry_size(entry))
        if (folder_entry_kind(entry) == FOLDER_EXCLUDED ||
            folder_entry_kind(entry) == FOLDER_EXCLUDED_LINKED)
            return false;
    return true;
}

/* Whether a folder of the other layout counts, since every file does. */
static bool is_counted_after_all(const struct mailbox_settings *settings, const char *entry)
{
    return settings->count_everything && folder_entry_kind(entry) == FOLDER_STRAY;
}

/* Lists the folders with what they hold, excluded ones too, by another count if need be. */
static void list_folders(struct explanation *explanation, const struct mailbox_settings *settings)
{
    _cleanup_(maildir_cache_freep) struct maildir_cache *all = NULL;
    struct maildir_options options = settings->maildir;
    struct maildir_cache *listed;
    struct maildir_count ignored;
    const char *entry;

    options.exclude_folders_count = 0;
    if (!lists_all(explanation))
        explanation->folders_error = maildir_count(explanation->mailbox.fd, explanation->path,
                                                   settings->confine, &options, &all, &ignored);
    if (explanation->folders_error < 0)
        return;
    listed = all ? all : explanation->listed;
    if (!settings->count_everything)
        options = settings->maildir;
    entry = maildir_cache_entries(listed);
    note_folder(explanation, &options, FOLDER_COUNTED, "", listed->directories);
    for (size_t i = 0; i < listed->folders; i++, entry += folder_entry_size(entry))
        note_folder(explanation, &options,
                    is_counted_after_all(settings, entry) ? FOLDER_COUNTED
                                                          : folder_entry_kind(entry),
                    folder_entry_path(entry), maildir_cache_directories(listed, i));
}

/* Counts for comparison, since the verdict did not require a count. */
static void compare(struct explanation *explanation, const struct quota_settings *settings,
                    const struct mailbox_settings *mailbox_settings)
{
    struct target_decision decision;
    int r = mailbox_count(&explanation->mailbox, explanation->path, mailbox_settings,
                          &explanation->target.policy, explanation->now_usec, &explanation->listed,
                          &explanation->fresh);

    explanation->count_error = r;
    explanation->counted = r == 0        ? EXPLANATION_COMPARED
                           : r == -ETIME ? EXPLANATION_GIVEN_UP
                                         : EXPLANATION_FAILED;
    if (r < 0)
        return;
    target_decide(&explanation->target, settings, explanation->path, &explanation->fresh,
                  &decision);
    explanation->fresh_verdict = decision.verdict;
}

static void note_remark(const char *line, void *userdata)
{
    struct explanation *explanation = userdata;

    if (explanation->remarks_count < EXPLANATION_REMARKS_MAX)
        explanation->remarks[explanation->remarks_count] = strdup(line);
    explanation->remarks_count++;
}

/* Whether the roots and templates may be to blame. */
static bool found_nothing(const struct explanation *explanation)
{
    return explanation->reason == REASON_OUTSIDE_ROOT ||
           (explanation->reason == REASON_NONE && explanation->usage.source == USAGE_NONE);
}

void explanation_examine(struct explanation *explanation, const struct quota_settings *settings,
                         bool recount, struct budget *budget)
{
    bool is_modest = !recount && !verdict_refuses(explanation->decision.verdict);
    struct mailbox_settings mailbox_settings = settings->mailbox;
    struct budget modest = modest_budget;

    if (found_nothing(explanation))
        paths_check(settings, note_remark, explanation);
    if (explanation->reason != REASON_NONE || explanation->mailbox.kind != MAILBOX_MAILDIR)
        return;
    if (budget) {
        modest.enter_device = budget->enter_device;
        modest.userdata = budget->userdata;
    }
    mailbox_settings.maildir.budget = is_modest ? &modest : budget;
    if (mailbox_settings.maildir.budget)
        budget_start(mailbox_settings.maildir.budget);
    if (explanation->counted == EXPLANATION_COUNTED) {
        explanation->fresh = explanation->usage;
        explanation->fresh_verdict = explanation->decision.verdict;
    } else {
        compare(explanation, settings, &mailbox_settings);
    }
    if (explanation->counted != EXPLANATION_GIVEN_UP && explanation->counted != EXPLANATION_FAILED)
        list_folders(explanation, &mailbox_settings);
}

size_t explanation_tries_kept(const struct explanation *explanation)
{
    size_t count = explanation->tries_count;

    return count < EXPLANATION_TRIES_MAX ? count : EXPLANATION_TRIES_MAX;
}

void explanation_note_cached(struct explanation *explanation, const struct cache *cache)
{
    size_t tries = explanation_tries_kept(explanation);
    const char *path = tries > 0 ? explanation->tries[tries - 1].path : NULL;
    const struct maildir_cache *cached = path ? cache_find(cache, CACHE_COUNT, path) : NULL;

    if (!cached)
        return;
    explanation->has_cached = true;
    explanation->cached_age_usec = clock_usec(CLOCK_MONOTONIC) - cached->since_usec;
    maildir_cache_sums(cached, &explanation->cached_bytes, &explanation->cached_messages);
}

void explanation_deinit(struct explanation *explanation)
{
    for (size_t i = 0; i < EXPLANATION_TRIES_MAX; i++)
        free(explanation->tries[i].path);
    for (size_t i = 0; i < explanation->folders.count; i++)
        free(explanation->folders.largest[i].path);
    for (size_t i = 0; i < EXPLANATION_REMARKS_MAX; i++)
        free(explanation->remarks[i]);
    maildir_cache_free(explanation->listed);
    mailbox_close(&explanation->mailbox);
    free(explanation->text);
    *explanation = (struct explanation)EXPLANATION_NULL;
}
