/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tree.h"
#include "quota/paths.h"
#include "system/cleanup.h"

/* Where the tests are: with directories root, root/there and root/100%, and root/file. */
static char folder[] = "/tmp/test-paths.XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) < 0 || mkdir("root", 0700) < 0 ||
        mkdir("root/there", 0700) < 0 || mkdir("root/100%", 0700) < 0 ||
        symlink("/etc", "root/out") < 0)
        return -1;
    return close(open("root/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int remove_folder(void **state)
{
    (void)state;
    return tree_remove(folder);
}

static void add_line(const char *line, void *userdata)
{
    char *text = userdata;

    strcat(text, line);
    strcat(text, "\n");
}

/* Checks one template, with one root or none. Both begin with the folder unless it is "". */
static void check(const char *root, const char *template, const char *begin, char text[8192])
{
    char root_path[PATH_MAX], *roots[] = {root_path};
    char template_path[3 * PATH_MAX], *templates[] = {template_path};
    struct quota_settings settings = {
        .roots = roots,
        .roots_count = root ? 1 : 0,
        .templates = templates,
        .templates_count = 1,
    };
    const char *failed;

    (void)snprintf(root_path, sizeof(root_path), "%s%s", begin, root ? root : "");
    (void)snprintf(template_path, sizeof(template_path), "%s%s", begin, template);
    assert_int_equal(quota_settings_open_roots(&settings, &failed), 0);
    text[0] = '\0';
    paths_check(&settings, add_line, text);
    confine_free(settings.mailbox.confine);
}

static void templates_lead_somewhere_or_not(void **state)
{
    static const struct {
        const char *root;
        const char *template;
        const char *what; /* is said of the template; NULL: nothing */
        const char *path; /* whose fault it is; NULL: none that is named */
    } cases[] = {
        {"/root", "/root/%d/%n", NULL, NULL},
        {"/root", "/root/there/%n", NULL, NULL},
        {"/root", "//root/./there//%n", NULL, NULL},
        {"//root/./", "/root/there/%n", NULL, NULL},
        {"/root", "/root/100%%/%n", NULL, NULL},
        {"/root", "/root/there/x%n", NULL, NULL},
        {"/root", "/root/%d/missing/%n", NULL, NULL},
        {"/root", "/root/constant", NULL, NULL},
        {"/root", "/root/missing/%n", "No such file or directory", "/root/missing"},
        {"/root", "/root/missing/100%%x/%n", "No such file or directory", "/root/missing/100%x"},
        {"/root", "/root/missing/constant", "No such file or directory", "/root/missing"},
        {"/root", "/root/file/%n", "Not a directory", "/root/file"},
        {"/root", "/root/out/%n", "leads outside the roots", "/root/out"},
        {"/root", "/rooted/%n", "is not below any --root", NULL},
        {"/root", "/roo/%n", "is not below any --root", NULL},
        {"/root", "/other/%d/%n", "is not below any --root", NULL},
        /* it may lead to the root, by a domain of that name */
        {"/root", "/%d/%n", NULL, NULL},
        {"/root/there", "/root/%d/%n", NULL, NULL},
        {"/root/there", "/root/%%/%n", "is not below any --root", NULL},
    };
    char text[8192], expected[8192];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        expected[0] = '\0';
        if (cases[i].path)
            (void)snprintf(expected, sizeof(expected), "--mailbox=%s%s: %s%s: %s\n", folder,
                           cases[i].template, folder, cases[i].path, cases[i].what);
        else if (cases[i].what)
            (void)snprintf(expected, sizeof(expected), "--mailbox=%s%s: %s\n", folder,
                           cases[i].template, cases[i].what);
        check(cases[i].root, cases[i].template, folder, text);
        assert_string_equal(text, expected);
    }
}

static void without_roots_everything_is_in_reach(void **state)
{
    char text[8192], template[128];

    (void)state;
    (void)snprintf(template, sizeof(template), "%s/root/%%n", folder);
    check(NULL, template, "", text);
    assert_string_equal(text, "");
    check(NULL, "/%n", "", text);
    assert_string_equal(text, "");
    check(NULL, "/no/such/folder/%n", "", text);
    assert_string_equal(
        text, "--mailbox=/no/such/folder/%n: /no/such/folder: No such file or directory\n");
    check("/", "/no/such/folder/%n", "", text);
    assert_string_equal(
        text, "--mailbox=/no/such/folder/%n: /no/such/folder: No such file or directory\n");
}

/* One that no path can come of: each address is answered so. */
static void a_template_of_any_length_is_taken(void **state)
{
    char template[2 * PATH_MAX], text[8192];

    (void)state;
    memset(template, 'x', sizeof(template));
    template[0] = '/';
    strcpy(template + sizeof(template) - 4, "/%n");
    check("/root", template, folder, text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_lead_somewhere_or_not),
        cmocka_unit_test(without_roots_everything_is_in_reach),
        cmocka_unit_test(a_template_of_any_length_is_taken),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
