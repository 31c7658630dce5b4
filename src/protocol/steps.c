/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/steps.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "protocol/words.h"
#include "system/clock.h"
#include "system/utf8.h"

/* How much of a text is shown that nobody bounds, and of a path: together they fit into a line. */
#define TEXT_BYTES_MAX 1024
#define PATH_BYTES_MAX PATH_MAX

/* What the last line, and the step that says how many are left out, may take. */
#define END_BYTES (REPLY_BYTES_MAX + 64)

static void begin(struct reply *line, const char *step)
{
    reply_init(line);
    reply_add_text(line, "step", step);
}

/* Adds a line for which room was left. */
static void add_line(struct steps *steps, const struct reply *line)
{
    memcpy(steps->bytes + steps->length, line->bytes, line->length);
    steps->length += line->length;
}

/* Ends the line and adds it, if there is room for it. */
static void end(struct steps *steps, struct reply *line)
{
    reply_end(line);
    if (line->length > STEPS_BYTES_MAX - END_BYTES - steps->length) {
        steps->left_out++;
        return;
    }
    add_line(steps, line);
}

/* Adds a text, or the beginning of a longer one. */
static void add_beginning(struct reply *line, const char *key, const char *value, size_t bytes_max)
{
    char text[PATH_BYTES_MAX + 1];

    (void)snprintf(text, sizeof(text), "%.*s", (int)utf8_prefix(value, strlen(value), bytes_max),
                   value);
    reply_add_text(line, key, text);
}

static void add_sums(struct reply *line, uint64_t bytes, uint64_t messages)
{
    reply_add_number(line, "bytes", bytes);
    reply_add_number(line, "messages", messages);
}

static void add_limit(struct reply *line, struct quota_limit limit)
{
    reply_add_number(line, "limit", limit.bytes);
    reply_add_number(line, "message_limit", limit.messages);
}

/* Adds the reason of an error, with the text, or with that of the error if it is empty. */
static void add_reason(struct reply *line, int error, const char *text)
{
    if (error == -ETIME)
        error = -ETIMEDOUT; /* what the budget says */
    reply_add_text(line, "reason", reason_to_string(reason_from_errno(error)));
    reply_add_text(line, "text", *text != '\0' ? text : reason_text_from_errno(error));
}

static void write_target(struct steps *steps, struct reply *line,
                         const struct explanation *explanation)
{
    const struct target *target = &explanation->target;
    const struct mailbox_policy *policy = &target->policy;

    begin(line, "target");
    if (explanation->reason == REASON_NONE || explanation->tries_count > 0) {
        if (!target_is_path(target))
            reply_add_text(line, "address", target->address.text);
        else if (explanation->has_owner)
            reply_add_text(line, "address", explanation->owner.text);
        reply_add_text(line, "extension",
                       !target->had_extension                                       ? "none"
                       : target->address.local_length > target->address.base_length ? "kept"
                                                                                    : "dropped");
    }
    if (policy->size_bytes > 0) {
        reply_add_number(line, "size", policy->size_bytes);
        reply_add_number(line, "grace", policy->grace.bytes);
        reply_add_number(line, "grace_percent", policy->grace.percent);
    }
    end(steps, line);
}

static const char *kind_word(enum mailbox_kind kind)
{
    static const char *const words[] = {
        [MAILBOX_NONE] = "nothing",
        [MAILBOX_MAILDIR] = "maildir",
        [MAILBOX_MBOX] = "mbox",
    };

    return words[kind];
}

static void write_tries(struct steps *steps, struct reply *line,
                        const struct explanation *explanation)
{
    size_t kept = explanation_tries_kept(explanation);

    for (size_t i = 0; i < kept; i++) {
        const struct explanation_try *try = &explanation->tries[i];

        begin(line, "tried");
        add_beginning(line, "path", try->path, PATH_BYTES_MAX);
        if (try->template)
            add_beginning(line, "template", try->template, TEXT_BYTES_MAX);
        reply_add_text(line, "found", try->error < 0 ? "error" : kind_word(try->kind));
        if (try->error < 0)
            add_reason(line, try->error, i + 1 == kept ? explanation->mailbox.detail : "");
        end(steps, line);
    }
    for (size_t i = 0; i < explanation->remarks_count && i < EXPLANATION_REMARKS_MAX; i++) {
        if (!explanation->remarks[i])
            continue;
        begin(line, "remark");
        add_beginning(line, "text", explanation->remarks[i], TEXT_BYTES_MAX);
        end(steps, line);
    }
}

/*
 * Adds the age of a file, unless its time lies in the future, or before the epoch (0). It may have
 * been written after the explanation began.
 */
static void add_age(struct reply *line, const struct explanation *explanation, uint64_t usec)
{
    uint64_t now_usec = explanation->now_usec;

    if (usec > 0 && usec <= now_usec + 60 * USEC_PER_SEC)
        reply_add_number(line, "age", usec < now_usec ? (now_usec - usec) / USEC_PER_SEC : 0);
}

static void write_mailbox(struct steps *steps, struct reply *line,
                          const struct explanation *explanation)
{
    const struct mailbox *mailbox = &explanation->mailbox;
    const struct maildirsize *maildirsize = &mailbox->maildirsize;
    const char *tried;

    if (explanation->reason != REASON_NONE)
        return;
    tried = explanation->tries[explanation_tries_kept(explanation) - 1].path;
    begin(line, "mailbox");
    reply_add_text(line, "path", explanation->decision.mailbox);
    reply_add_text(line, "kind", kind_word(mailbox->kind));
    if (strlen(explanation->path) < strlen(tried))
        add_beginning(line, "folder", strrchr(tried, '/') + 1, TEXT_BYTES_MAX);
    end(steps, line);
    if (mailbox->kind != MAILBOX_MAILDIR)
        return;
    begin(line, "maildirsize");
    reply_add_text(line, "state",
                   explanation->usage.rule == USAGE_RULE_IGNORED ||
                           explanation->usage.rule == USAGE_RULE_EVERYTHING
                       ? "ignored"
                   : mailbox->maildirsize_state == USAGE_RULE_TRUSTED
                       ? "valid"
                       : usage_rule_to_string(mailbox->maildirsize_state));
    add_age(line, explanation, mailbox->maildirsize_mtime_usec);
    if (mailbox->maildirsize_state == USAGE_RULE_TRUSTED) {
        reply_add_number(line, "lines", (uint64_t)maildirsize->entries + 1);
        add_sums(line, maildirsize->bytes, maildirsize->messages);
        reply_add_text(line, "kept", mailbox->is_unkept ? "no" : "yes");
    }
    end(steps, line);
}

/* Writes where a limit of the limits file comes from. */
static void add_file(struct reply *line, const struct explanation *explanation,
                     const struct quota_settings *settings)
{
    const struct limits_entry *entry = &explanation->target.file_limit.entry;
    const struct address *address =
        explanation->has_owner ? &explanation->owner : &explanation->target.address;
    char any[sizeof("*@") + ADDRESS_DOMAIN_MAX];
    const char *key = "*";

    if (entry->key == LIMITS_KEY_ADDRESS)
        key = address->text;
    if (entry->key == LIMITS_KEY_DOMAIN)
        key = address_domain(address);
    if (entry->key == LIMITS_KEY_ANY) {
        (void)snprintf(any, sizeof(any), "*@%s", address_domain(address));
        key = any;
    }
    add_beginning(line, "file", settings->limits_path, TEXT_BYTES_MAX);
    reply_add_number(line, "line", entry->line);
    reply_add_text(line, "key", key);
}

/* Whether a limit from there counts: for bytes, or for messages where it gives none for bytes. */
static bool is_used(const struct explanation *explanation, enum limit_source from,
                    struct quota_limit limit)
{
    const struct target_decision *decision = &explanation->decision;
    const struct mailbox_policy *policy = &explanation->target.policy;

    if (explanation->reason != REASON_NONE)
        return false;
    return decision->limit_from == from || (!policy->have_limit && limit.messages > 0 &&
                                            limit.messages == decision->limit.messages);
}

static void write_limit(struct steps *steps, struct reply *line,
                        const struct explanation *explanation,
                        const struct quota_settings *settings, enum limit_source from,
                        struct quota_limit limit)
{
    begin(line, "limit");
    reply_add_text(line, "from", limit_source_to_string(from));
    add_limit(line, limit);
    reply_add_text(line, "used", is_used(explanation, from, limit) ? "yes" : "no");
    if (from == LIMIT_SOURCE_FILE)
        add_file(line, explanation, settings);
    if (from == LIMIT_SOURCE_HEADER && explanation->usage.header.is_old)
        reply_add_text(line, "trusted", "no");
    end(steps, line);
}

/* Writes a line for each limit that there is, in the order of their precedence. */
static void write_limits(struct steps *steps, struct reply *line,
                         const struct explanation *explanation,
                         const struct quota_settings *settings)
{
    const struct mailbox_policy *policy = &explanation->target.policy;
    const struct target_limit *file = &explanation->target.file_limit;
    const struct maildirsize *header = &explanation->mailbox.maildirsize;

    if (policy->limit_from == LIMIT_SOURCE_REQUEST)
        write_limit(steps, line, explanation, settings, LIMIT_SOURCE_REQUEST, policy->limit);
    if (explanation->limits_unread || file->answer == LIMITS_UNUSABLE) {
        begin(line, "limit");
        reply_add_text(line, "from", limit_source_to_string(LIMIT_SOURCE_FILE));
        reply_add_text(line, "used", "no");
        if (explanation->limits_unread)
            add_beginning(line, "file", settings->limits_path, TEXT_BYTES_MAX);
        else
            add_file(line, explanation, settings);
        reply_add_text(line, "text",
                       explanation->limits_unread ? "the file cannot be read"
                                                  : "the value of this key is not a limit");
        end(steps, line);
    }
    if (file->answer == LIMITS_FOUND)
        write_limit(steps, line, explanation, settings, LIMIT_SOURCE_FILE, file->entry.limit);
    if (header->has_bytes || header->has_messages)
        write_limit(steps, line, explanation, settings, LIMIT_SOURCE_HEADER, header->limit);
    if (settings->default_limit.bytes > 0 || settings->default_limit.messages > 0)
        write_limit(steps, line, explanation, settings, LIMIT_SOURCE_DEFAULT,
                    settings->default_limit);
}

static void write_usage(struct steps *steps, struct reply *line,
                        const struct explanation *explanation)
{
    const struct target_decision *decision = &explanation->decision;
    const struct usage *usage = &explanation->usage;

    if (explanation->reason != REASON_NONE)
        return;
    begin(line, "usage");
    add_sums(line, usage->bytes, usage->messages);
    reply_add_text(line, "source", usage_source_to_string(usage->source));
    reply_add_text(line, "rule", usage_rule_to_string(decision->rule));
    reply_add_text(line, "text", usage_rule_text(decision->rule));
    end(steps, line);
}

static void write_count(struct steps *steps, struct reply *line,
                        const struct explanation *explanation)
{
    static const char *const words[] = {
        [EXPLANATION_COUNTED] = "counted",
        [EXPLANATION_COMPARED] = "compared",
        [EXPLANATION_GIVEN_UP] = "given-up",
        [EXPLANATION_FAILED] = "failed",
    };
    const struct maildir_count *count = &explanation->fresh.count;

    if (explanation->counted == EXPLANATION_NOT_COUNTED || explanation->reason != REASON_NONE)
        return;
    begin(line, "count");
    reply_add_text(line, "result", words[explanation->counted]);
    if (explanation->counted == EXPLANATION_FAILED)
        add_reason(line, explanation->count_error, "");
    if (explanation->counted == EXPLANATION_COUNTED ||
        explanation->counted == EXPLANATION_COMPARED) {
        add_sums(line, count->bytes, count->messages);
        reply_add_text(line, "status", verdict_to_string(explanation->fresh_verdict));
        reply_add_number(line, "directories", count->directories_read);
        reply_add_number(line, "examined", count->files_stat);
        reply_add_number(line, "left_out", count->left_out);
        if (count->left_out > 0)
            reply_add_text(line, "left_out_path", count->left_out_name);
        reply_add_number(line, "stray_folders", count->stray_folders);
        if (count->stray_folders > 0) {
            reply_add_number(line, "stray_bytes", count->stray_bytes);
            reply_add_number(line, "stray_messages", count->stray_messages);
        }
    }
    end(steps, line);
}

static void write_cached(struct steps *steps, struct reply *line,
                         const struct explanation *explanation)
{
    if (!explanation->has_cached)
        return;
    begin(line, "cache");
    add_sums(line, explanation->cached_bytes, explanation->cached_messages);
    reply_add_number(line, "age", explanation->cached_age_usec / USEC_PER_SEC);
    end(steps, line);
}

/* Writes what exim-quotad.acl makes of the verdict. */
static void write_smtp(struct steps *steps, struct reply *line,
                       const struct explanation *explanation)
{
    enum verdict verdict = explanation->decision.verdict;
    bool is_error = explanation->reason != REASON_NONE;
    bool is_alias = !is_error && explanation->usage.source == USAGE_NONE &&
                    !target_is_path(&explanation->target);
    const char *code = is_error || is_alias ? NULL : verdict_smtp_code(verdict);
    char smtp[128];

    (void)snprintf(smtp, sizeof(smtp), "%s %s", code ? code : "250",
                   code ? verdict_text(verdict) : "Accepted");
    begin(line, "smtp");
    reply_add_text(line, "reply", smtp);
    reply_add_text(line, "logged", is_error || (!is_alias && verdict != VERDICT_OK) ? "yes" : "no");
    end(steps, line);
}

static void write_folders(struct steps *steps, struct reply *line,
                          const struct explanation *explanation)
{
    static const char *const words[] = {
        [EXPLANATION_FOLDER_COUNTED] = "counted",
        [EXPLANATION_FOLDER_EXCLUDED] = "excluded",
        [EXPLANATION_FOLDER_STRAY] = "stray",
        [EXPLANATION_FOLDER_UNFOLLOWED] = "unfollowed",
    };
    const struct explanation_folders *folders = &explanation->folders;

    if (explanation->folders_error < 0) {
        begin(line, "folders");
        add_reason(line, explanation->folders_error, "");
        end(steps, line);
    }
    for (size_t i = 0; i < folders->count; i++) {
        const struct explanation_folder *folder = &folders->largest[i];

        begin(line, "folder");
        add_beginning(line, "path", *folder->path ? folder->path : ".", TEXT_BYTES_MAX);
        add_sums(line, folder->bytes, folder->messages);
        reply_add_text(line, "state", words[folder->state]);
        if (folder->excluded_by)
            add_beginning(line, "pattern", folder->excluded_by, TEXT_BYTES_MAX);
        end(steps, line);
    }
    if (folders->more == 0)
        return;
    begin(line, "folders");
    reply_add_number(line, "more", folders->more);
    add_sums(line, folders->more_bytes, folders->more_messages);
    end(steps, line);
}

void steps_answer(struct reply *reply, const struct explanation *explanation, bool check)
{
    if (explanation->reason != REASON_NONE)
        reply_error(reply, explanation->reason, explanation->why);
    else
        reply_decision(reply, check, &explanation->decision);
}

void steps_set(struct steps *steps, const struct reply *line)
{
    steps->length = 0;
    add_line(steps, line);
}

void steps_write(struct steps *steps, const struct explanation *explanation,
                 const struct quota_settings *settings)
{
    struct reply line;

    steps->length = 0;
    steps->left_out = 0;
    write_target(steps, &line, explanation);
    write_tries(steps, &line, explanation);
    write_mailbox(steps, &line, explanation);
    write_limits(steps, &line, explanation, settings);
    write_usage(steps, &line, explanation);
    write_count(steps, &line, explanation);
    write_cached(steps, &line, explanation);
    write_smtp(steps, &line, explanation);
    write_folders(steps, &line, explanation);
    if (steps->left_out > 0) {
        begin(&line, "left-out");
        reply_add_number(&line, "steps", steps->left_out);
        reply_end(&line);
        add_line(steps, &line);
    }
    steps_answer(&line, explanation, true);
    add_line(steps, &line);
}
