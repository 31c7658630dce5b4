/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "quota/mailbox.h"
#include "quota/reason.h"
#include "system/cleanup.h"
#include "system/confine.h"

struct checker {
    const struct quota_settings *settings;
    void (*say)(const char *line, void *userdata);
    void *userdata;
};

__attribute__((format(printf, 4, 5))) static void say_fault(const struct checker *checker,
                                                            const char *option, const char *value,
                                                            const char *format, ...)
{
    char line[2 * PATH_MAX + 256];
    va_list arguments;
    int used = snprintf(line, sizeof(line), "%s=%.*s: ", option, PATH_MAX, value);

    va_start(arguments, format);
    (void)vsnprintf(line + used, sizeof(line) - (size_t)used, format, arguments);
    va_end(arguments);
    checker->say(line, checker->userdata);
}

/*
 * Writes the directory of all paths of the template, normalised, and the constant part, which goes
 * on with the beginning of a name. Returns whether they fit.
 */
static bool constant_parts(const char *template, char directory[PATH_MAX], char prefix[PATH_MAX])
{
    size_t length = 0;
    char *name;

    for (const char *c = template; *c != '\0' && (*c != '%' || c[1] == '%'); c++) {
        if (length + 1 == PATH_MAX)
            return false;
        prefix[length++] = *c;
        c += *c == '%';
    }
    prefix[length] = '\0';
    name = strrchr(prefix, '/');
    (void)snprintf(directory, PATH_MAX, "%.*s", (int)(name - prefix + 1), prefix);
    mailbox_normalise_path(directory);
    length = strcmp(directory, "/") == 0 ? 0 : strlen(directory);
    memmove(prefix + length, name, strlen(name) + 1);
    memcpy(prefix, directory, length);
    return true;
}

bool paths_is_in(const char *path, const char *directory)
{
    size_t length = strcmp(directory, "/") == 0 ? 0 : strlen(directory);

    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Returns whether path begins so, and goes on. */
static bool goes_on(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(path, prefix, length) == 0 && path[length] != '\0';
}

/* Returns whether the directory is empty or unreadable. */
static bool is_empty(int fd)
{
    int list_fd = confine_open_name(fd, ".", O_RDONLY | O_DIRECTORY, CONFINE_ANYWHERE);
    DIR *list = list_fd < 0 ? NULL : fdopendir(list_fd);
    bool found = false;

    if (!list) {
        closep(&list_fd);
        return list_fd == -EACCES;
    }
    for (const struct dirent *entry; !found && (entry = readdir(list));)
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    (void)closedir(list);
    return !found;
}

/* Returns whether the directory is one that systemd puts in place of another. */
static bool is_hidden(int fd)
{
    struct statx st;
    struct statfs filesystem;

    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) == 0 &&
           (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) && fstatfs(fd, &filesystem) == 0 &&
           filesystem.f_type == TMPFS_MAGIC && is_empty(fd);
}

static void check_directory(const struct checker *checker, const char *option, const char *value,
                            const char *path)
{
    _cleanup_(closep) int fd =
        confine_open(checker->settings->mailbox.confine, path, O_PATH | O_DIRECTORY);

    if (fd < 0)
        say_fault(checker, option, value, "%s: %s", path, reason_text_from_errno(fd));
    else if (is_hidden(fd))
        say_fault(checker, option, value,
                  "%s is an empty tmpfs; ProtectHome= or InaccessiblePaths= of the unit may hide "
                  "the real directory",
                  path);
}

static void check_template(const struct checker *checker, const char *template)
{
    const struct quota_settings *settings = checker->settings;
    char path[PATH_MAX], prefix[PATH_MAX], root[PATH_MAX];
    bool is_reachable = settings->roots_count == 0, is_inside = is_reachable;

    if (!constant_parts(template, path, prefix))
        return;
    for (size_t i = 0; i < settings->roots_count; i++) {
        (void)snprintf(root, sizeof(root), "%s", settings->roots[i]);
        mailbox_normalise_path(root);
        if (strcmp(path, root) == 0)
            return; /* it was checked as a root */
        is_inside |= paths_is_in(path, root);
        is_reachable |= is_inside || goes_on(root, prefix);
    }
    if (!is_reachable)
        say_fault(checker, "--mailbox", template, "is not below any --root");
    else if (is_inside)
        check_directory(checker, "--mailbox", template, path);
}

void paths_check(const struct quota_settings *settings,
                 void (*say)(const char *line, void *userdata), void *userdata)
{
    const struct checker checker = {settings, say, userdata};

    for (size_t i = 0; i < settings->roots_count; i++)
        check_directory(&checker, "--root", settings->roots[i], settings->roots[i]);
    for (size_t i = 0; i < settings->templates_count; i++)
        check_template(&checker, settings->templates[i]);
}
