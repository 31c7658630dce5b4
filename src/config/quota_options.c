/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/quota_options.h"

#include <errno.h>
#include <string.h>

#include "config/option_value.h"
#include "quota/address.h"

static int read_root(void *target, const char *value)
{
    struct quota_settings *settings = target;

    if (*value != '/')
        return -EINVAL;
    return option_value_list(value, &settings->roots, &settings->roots_count);
}

static int read_mailbox(void *target, const char *value)
{
    struct quota_settings *settings = target;
    const char *why;

    if (address_template_check(value, &why) < 0)
        return -EINVAL;
    return option_value_list(value, &settings->templates, &settings->templates_count);
}

static int read_recipient_delimiter(void *target, const char *value)
{
    struct quota_settings *settings = target;

    /* A letter would stand for one case of it alone, a byte beyond ASCII for part of others. */
    if (value[strspn(value, "!\"#$%&'()*+,-.0123456789:;<=>?[\\]^_`{|}~")] != '\0')
        return -EINVAL;
    return option_value_string(value, &settings->delimiters);
}

static int read_limits(void *target, const char *value)
{
    struct quota_settings *settings = target;

    return option_value_path(value, &settings->limits_path);
}

static int read_grace(void *target, const char *value)
{
    struct quota_settings *settings = target;
    struct verdict_grace grace = {};
    size_t length = strlen(value);
    int r;

    if (length > 0 && value[length - 1] == '%')
        r = size_parse_number(value, length - 1, &grace.percent);
    else
        r = size_parse(value, length, &grace.bytes);
    if (r == 0)
        settings->verdict.grace = grace;
    return r < 0 ? -EINVAL : 0;
}

static int read_warn(void *target, const char *value)
{
    struct quota_settings *settings = target;

    return option_value_range(value, 1, 1000, &settings->verdict.warn_percent);
}

static int read_default_quota(void *target, const char *value)
{
    struct quota_settings *settings = target;

    if (*value == '\0' || size_parse_limit(value, strlen(value), &settings->default_limit) < 0)
        return -EINVAL;
    return 0;
}

static int read_maildirsize(void *target, const char *value)
{
    struct quota_settings *settings = target;

    if (strcmp(value, "use") != 0 && strcmp(value, "ignore") != 0)
        return -EINVAL;
    settings->mailbox.ignore_maildirsize = *value == 'i';
    return 0;
}

static int read_count(void *target, const char *value)
{
    struct quota_settings *settings = target;

    settings->mailbox.count_everything = strcmp(value, "everything") == 0;
    return settings->mailbox.count_everything || strcmp(value, "messages") == 0 ? 0 : -EINVAL;
}

static int read_layout(void *target, const char *value)
{
    struct quota_settings *settings = target;

    if (strcmp(value, "maildir++") == 0)
        settings->mailbox.maildir.layout = MAILDIR_LAYOUT_MAILDIRPP;
    else if (strcmp(value, "fs") == 0)
        settings->mailbox.maildir.layout = MAILDIR_LAYOUT_FS;
    else
        return -EINVAL;
    return 0;
}

static int read_exclude_folder(void *target, const char *value)
{
    struct quota_settings *settings = target;
    struct maildir_options *maildir = &settings->mailbox.maildir;

    /* With either of these it would not match anything, and nobody would notice. */
    if (*value == '\0' || *value == '.' || *value == '/')
        return -EINVAL;
    return option_value_list(value, &maildir->exclude_folders, &maildir->exclude_folders_count);
}

static int read_size_tag(void *target, const char *value)
{
    struct quota_settings *settings = target;

    if (strcmp(value, "S") == 0)
        settings->mailbox.maildir.size_tag = MAILDIR_SIZE_TAG_S;
    else if (strcmp(value, "W") == 0)
        settings->mailbox.maildir.size_tag = MAILDIR_SIZE_TAG_W;
    else
        return -EINVAL;
    return 0;
}

static const struct option_spec specs[] = {
    {"root", 0, "DIR", "an absolute path",
     "answer queries about mailboxes below DIR (repeatable; default: /)", .read = read_root,
     .repeatable = true},
    {"mailbox", 0, "TEMPLATE",
     "an absolute path without `..`, with %u, %n, %d or %% and no other %",
     "where addresses' mailboxes are: %u, or %n and %d (repeatable)", .read = read_mailbox,
     .repeatable = true},
    {"recipient-delimiter", 0, "CHARS",
     "characters such as + and -, but no letter, @, slash or blank",
     "characters that may separate an extension from a local part",
     .read = read_recipient_delimiter},
    {"limits", 0, "FILE", OPTION_VALUE_PATH,
     "limits of addresses and domains, in Exim's lsearch format", .read = read_limits,
     .path_or = ""},
    {"grace", 0, "SIZE|PERCENT%",
     "a size, optionally followed by K, M, G or T, or a percentage such as 10%",
     "how far a single message may exceed the limit (default: 0)", .read = read_grace},
    {"warn", 0, "PERCENT", "a number from 1 to 1000",
     "percentage of the limit that is nearly full (default: 90)", .read = read_warn},
    {"default-quota", 0, "LIMIT", QUOTA_OPTIONS_LIMIT,
     "the limit of mailboxes without one (default: none)", .read = read_default_quota},
    {"maildirsize", 0, "use|ignore", "use or ignore",
     "whether maildirsize files are used (default: use)", .read = read_maildirsize},
    {"count", 0, "messages|everything", "messages or everything",
     "messages (default), or every file as Exim without maildirsize", .read = read_count},
    {"layout", 0, "maildir++|fs", "maildir++ or fs",
     "how folders are laid out: .A.B (default) or A/B", .read = read_layout},
    {"exclude-folder", 0, "PATTERN",
     "a folder's name without the leading dot, in which * and ? match",
     "leave the folders of this name out of counts (repeatable)", .read = read_exclude_folder,
     .repeatable = true},
    {"size-tag", 0, "S|W", "S or W", "the tag with a message's size (default: S)",
     .read = read_size_tag},
};

struct option_group quota_options_group(struct quota_settings *settings)
{
    return (struct option_group){
        .specs = specs,
        .count = sizeof(specs) / sizeof(specs[0]),
        .target = settings,
    };
}
