/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/report_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "quota/entries.h"
#include "quota/mailbox.h"
#include "quota/paths.h"
#include "system/cleanup.h"
#include "system/confine.h"

#define MBOX_BEGIN "From "

struct walker {
    const struct report_walk *walk;
    const char *domain; /* what %d stands for; NULL: for any name */
    size_t template;
    bool has_stopped;
    size_t length;
    char path[PATH_MAX]; /* normalised; empty for the root directory */
};

static const char *path_of(const struct walker *walker)
{
    return walker->length == 0 ? "/" : walker->path;
}

static void emit(struct walker *walker)
{
    const struct report_walk *walk = walker->walk;

    if (!walk->found(walk->userdata, path_of(walker), walker->template))
        walker->has_stopped = true;
}

static void fail(struct walker *walker, int error)
{
    const struct report_walk *walk = walker->walk;

    if (!walk->failed(walk->userdata, path_of(walker), error))
        walker->has_stopped = true;
}

static bool push(struct walker *walker, const char *text, size_t length)
{
    if (length >= sizeof(walker->path) - walker->length) {
        fail(walker, -ENAMETOOLONG);
        return false;
    }
    memcpy(walker->path + walker->length, text, length);
    walker->length += length;
    walker->path[walker->length] = '\0';
    return true;
}

static bool push_name(struct walker *walker, const char *name)
{
    return push(walker, "/", 1) && push(walker, name, strlen(name));
}

static void cut(struct walker *walker, size_t length)
{
    walker->length = length;
    walker->path[length] = '\0';
}

/* Opens the directory at the path to list it. Returns a descriptor or a negative errno. */
static int open_directory(const struct walker *walker)
{
    return confine_open(walker->walk->settings->mailbox.confine, path_of(walker),
                        O_RDONLY | O_DIRECTORY);
}

static bool is_gone(int error)
{
    return error == -ENOENT || error == -ENOTDIR;
}

/* Whether the directory at the path may hold a wanted mailbox, or lead to one. */
static bool is_on_the_way(const struct walker *walker)
{
    const struct report_scope *scope = walker->walk->scope;
    const char *path = path_of(walker);

    for (size_t i = 0; i < scope->count; i++)
        if (scope->words[i][0] != '/' || paths_is_in(path, scope->words[i]) ||
            paths_is_in(scope->words[i], path))
            return true;
    return scope->count == 0;
}

/* Templates. */

/* Whether a component of a template stands for several names. */
static bool is_open(const struct walker *walker, const char *component, size_t length)
{
    for (size_t i = 0; i + 1 < length; i++)
        if (component[i] == '%') {
            char letter = component[++i];

            if (letter != '%' && (letter != 'd' || !walker->domain))
                return true;
        }
    return false;
}

/* Adds a component of a template that stands for one name, behind a slash. */
static bool push_component(struct walker *walker, const char *component, size_t length)
{
    bool fits = push(walker, "/", 1);

    for (size_t i = 0; fits && i < length; i++) {
        if (component[i] != '%')
            fits = push(walker, component + i, 1);
        else if (component[++i] == 'd')
            fits = push(walker, walker->domain, strlen(walker->domain));
        else
            fits = push(walker, "%", 1);
    }
    return fits;
}

/* Whether the entry may be what a component of a template, which is not the last, stands for. */
static bool may_lead_on(const struct dirent64 *entry, int fd)
{
    int type = entries_type(entry, fd);

    return type == DT_DIR || type == DT_LNK;
}

static void walk_template(struct walker *walker, const char *template, bool is_sure);

/* Goes on with each name for the component that the template begins with, behind its slash. */
static void walk_names(struct walker *walker, const char *component, size_t length, bool is_sure)
{
    _cleanup_(entries_done) struct entries entries = {};
    _cleanup_(closep) int fd = open_directory(walker);
    const char *rest = component + length;
    size_t begin = walker->length;
    const struct dirent64 *entry;

    if (fd < 0) {
        if (is_sure || !is_gone(fd))
            fail(walker, fd);
        return;
    }
    while (!walker->has_stopped && (entry = entries_next(&entries, fd))) {
        /* No part of an address begins with a dot. */
        if (entry->d_name[0] == '.' && (component[0] != '.' || strspn(entry->d_name, ".") > 1))
            continue;
        if (*rest != '\0' && !may_lead_on(entry, fd))
            continue;
        if (push_name(walker, entry->d_name))
            walk_template(walker, rest, false);
        cut(walker, begin);
    }
    if (entries.error < 0 && entries.error != -ENOENT)
        fail(walker, entries.error);
}

/* Walks the rest of a normalised template, which is at a slash or at its end. */
static void walk_template(struct walker *walker, const char *template, bool is_sure)
{
    while (*template == '/') {
        const char *component = template + 1;
        size_t length = strcspn(component, "/");

        if (is_open(walker, component, length)) {
            if (is_on_the_way(walker))
                walk_names(walker, component, length, is_sure);
            return;
        }
        if (!push_component(walker, component, length))
            return;
        template = component + length;
    }
    emit(walker);
}

static bool has_directory(const struct report_scope *scope)
{
    for (size_t i = 0; i < scope->count; i++)
        if (scope->words[i][0] == '/')
            return true;
    return false;
}

static int walk_templates(struct walker *walker)
{
    const struct quota_settings *settings = walker->walk->settings;
    const struct report_scope *scope = walker->walk->scope;
    /* Only these domains need to be looked for, once for each. */
    bool by_domain = scope->count > 0 && !has_directory(scope);

    for (size_t i = 0; i < settings->templates_count; i++) {
        _cleanup_(freep) char *template = strdup(settings->templates[i]);
        bool has_passes = by_domain && template && address_template_has(template, "d");

        if (!template)
            return -ENOMEM;
        mailbox_normalise_path(template);
        walker->template = i;
        for (size_t pass = 0; pass < (has_passes ? scope->count : 1); pass++) {
            walker->domain = has_passes ? scope->words[pass] : NULL;
            cut(walker, 0);
            if (!walker->has_stopped)
                walk_template(walker, template, !has_passes);
        }
    }
    return 0;
}

/* Trees. */

/* Returns whether the directory looks like a Maildir, or a negative errno. */
static int is_maildir(int directory_fd)
{
    static const char *const names[] = {"cur", "new", "maildirsize"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        _cleanup_(closep) int fd =
            confine_open_name(directory_fd, names[i], O_PATH, CONFINE_ANYWHERE);

        if (fd != -ENOENT)
            return fd < 0 ? fd : true;
    }
    return false;
}

/* Returns whether the file begins as an mbox does, or a negative errno. Its atime stays. */
static int is_mbox(int directory_fd, const char *name)
{
    _cleanup_(closep) int fd = confine_open_name(
        directory_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOATIME, CONFINE_ANYWHERE);
    char begin[sizeof(MBOX_BEGIN) - 1];
    ssize_t n;

    if (fd < 0)
        return fd == -ENOENT ? false : fd;
    n = read(fd, begin, sizeof(begin));
    if (n < 0)
        return -errno;
    return n == sizeof(begin) && memcmp(begin, MBOX_BEGIN, sizeof(begin)) == 0;
}

static void walk_tree(struct walker *walker, unsigned int depth);

/* Looks at an entry of the directory at the path. */
static void walk_entry(struct walker *walker, const struct dirent64 *entry, int fd,
                       unsigned int depth)
{
    int type = entries_type(entry, fd), r = 0;
    size_t begin = walker->length;

    if (entry->d_name[0] == '.' || (type >= 0 && type != DT_DIR && type != DT_REG) ||
        !push_name(walker, entry->d_name))
        return cut(walker, begin);
    if (type == DT_DIR && depth < REPORT_WALK_DEPTH_MAX)
        walk_tree(walker, depth + 1);
    else if (type == DT_REG)
        r = is_mbox(fd, entry->d_name);
    else if (type < 0)
        r = type;
    if (r > 0)
        emit(walker);
    if (r < 0)
        fail(walker, r);
    cut(walker, begin);
}

/* Walks the tree below the path. */
static void walk_tree(struct walker *walker, unsigned int depth)
{
    _cleanup_(entries_done) struct entries entries = {};
    _cleanup_(closep) int fd = open_directory(walker);
    const struct dirent64 *entry;
    int r = fd < 0 ? fd : is_maildir(fd);

    if (r > 0)
        return emit(walker);
    if (r < 0) {
        if (depth == 0 || !is_gone(r))
            fail(walker, r);
        return;
    }
    while (!walker->has_stopped && (entry = entries_next(&entries, fd)))
        walk_entry(walker, entry, fd, depth);
    if (entries.error < 0 && entries.error != -ENOENT)
        fail(walker, entries.error);
}

/* Whether another of the trees holds tree i, or is the same and comes first. */
static bool is_in_another(char *const *trees, size_t count, size_t i)
{
    for (size_t other = 0; other < count; other++)
        if (other != i && paths_is_in(trees[i], trees[other]) &&
            (other < i || !paths_is_in(trees[other], trees[i])))
            return true;
    return false;
}

static void walk_trees(struct walker *walker)
{
    const struct quota_settings *settings = walker->walk->settings;
    const struct report_scope *scope = walker->walk->scope;
    char *const *trees = scope->count > 0 ? scope->words : settings->roots;
    size_t count = scope->count > 0 ? scope->count : settings->roots_count;

    for (size_t i = 0; !walker->has_stopped && i < count; i++) {
        if (is_in_another(trees, count, i))
            continue;
        cut(walker, 0);
        if (!push(walker, trees[i], strlen(trees[i])))
            continue;
        if (strcmp(trees[i], "/") == 0)
            cut(walker, 0);
        walk_tree(walker, 0);
    }
}

int report_walk(const struct report_walk *walk)
{
    struct walker walker = {.walk = walk};

    if (walk->settings->templates_count > 0)
        return walk_templates(&walker);
    walk_trees(&walker);
    return 0;
}

static bool is_wanted(const struct report_scope *scope, const char *path, const char *domain)
{
    for (size_t i = 0; i < scope->count; i++) {
        const char *word = scope->words[i];

        if (word[0] == '/' ? paths_is_in(path, word) : domain && strcmp(domain, word) == 0)
            return true;
    }
    return scope->count == 0;
}

enum report_name report_walk_name(const struct report_walk *walk, size_t template, const char *path,
                                  struct address *ret)
{
    const struct quota_settings *settings = walk->settings;
    const char *text = settings->templates_count > 0 ? settings->templates[template] : NULL;
    bool has_both = text && address_template_has(text, "nu") && address_template_has(text, "du");

    if (text && !(has_both ? address_from_path(text, path, ret) : address_leads_to(text, path)))
        return REPORT_NAME_NONE;
    if (!is_wanted(walk->scope, path, has_both ? address_domain(ret) : NULL))
        return REPORT_NAME_NONE;
    return has_both ? REPORT_NAME_ADDRESS : REPORT_NAME_PATH;
}
