/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "box.h"

#include "protocol/steps.h"
#include "quota/budget.h"
#include "quota/cache.h"
#include "quota/explanation.h"
#include "system/cleanup.h"

static const struct target_terms terms = {.verdict_alone = true};

static struct quota_settings settings_of(const struct box *box)
{
    return (struct quota_settings){
        .mailbox.confine = box->confine,
        .verdict.warn_percent = 90,
    };
}

/* Explains, within the budget. */
static void explain(struct explanation *explanation, const struct quota_settings *settings,
                    const char *text, bool recount, struct budget *budget)
{
    assert_int_equal(explanation_begin(explanation, settings, NULL, &terms, text), 0);
    explanation_answer(explanation, settings, budget);
    explanation_examine(explanation, settings, recount, budget);
}

static const struct explanation_folder *find(const struct explanation *explanation,
                                             const char *path)
{
    for (size_t i = 0; i < explanation->folders.count; i++)
        if (strcmp(explanation->folders.largest[i].path, path) == 0)
            return &explanation->folders.largest[i];
    fail_msg("no folder %s", path);
    return NULL;
}

static void the_largest_folders_are_kept(void **state)
{
    enum { FOLDERS = EXPLANATION_FOLDERS_MAX + 30 };
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    struct explanation_folders *folders = &explanation.folders;
    struct quota_settings settings;
    struct box box;
    char name[64];

    (void)state;
    box_init_maildir(&box);
    box_put(&box, "cur/a,S=7", 0);
    for (int i = 1; i <= FOLDERS; i++) {
        (void)snprintf(name, sizeof(name), ".%d", i);
        box_folder(&box, name);
        (void)snprintf(name, sizeof(name), ".%d/cur/a,S=%d", i, i * 37 % (FOLDERS + 3) + 10);
        box_put(&box, name, 0);
    }
    settings = settings_of(&box);
    explain(&explanation, &settings, box.path, false, NULL);
    assert_int_equal(explanation.counted, EXPLANATION_COUNTED);
    assert_int_equal(folders->count, EXPLANATION_FOLDERS_MAX);
    assert_int_equal(folders->more, FOLDERS + 1 - EXPLANATION_FOLDERS_MAX);
    assert_int_equal(folders->more_messages, folders->more);
    for (size_t i = 1; i < folders->count; i++) {
        assert_true(folders->largest[i - 1].bytes >= folders->largest[i].bytes);
        folders->more_bytes += folders->largest[i].bytes;
    }
    assert_int_equal(folders->more_bytes + folders->largest[0].bytes, explanation.usage.bytes);
    box_done(&box);
}

static void folders_have_a_state(void **state)
{
    static char trash[] = "Trash*";
    static char *excluded[] = {trash};
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    struct quota_settings settings;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_folder(&box, ".Trash.old");
    box_put(&box, ".Trash.old/new/a,S=100", 0);
    box_folder(&box, "Stray");
    box_put(&box, "Stray/new/a,S=200", 0);
    box_link(&box, "/nowhere", ".Outside");
    box_mkdir(&box, ".Part");
    box_link(&box, "nowhere", ".Part/cur");
    box_mkdir(&box, ".None");
    box_put(&box, "new/a,S=1", 0);
    settings = settings_of(&box);
    settings.mailbox.maildir.exclude_folders = excluded;
    settings.mailbox.maildir.exclude_folders_count = 1;
    explain(&explanation, &settings, box.path, false, NULL);
    assert_int_equal(explanation.usage.bytes, 1);
    assert_int_equal(explanation.folders.count, 5);
    assert_int_equal(find(&explanation, "")->state, EXPLANATION_FOLDER_COUNTED);
    assert_int_equal(find(&explanation, ".Trash.old")->state, EXPLANATION_FOLDER_EXCLUDED);
    assert_int_equal(find(&explanation, ".Trash.old")->bytes, 100);
    assert_string_equal(find(&explanation, ".Trash.old")->excluded_by, "Trash*");
    assert_int_equal(find(&explanation, "Stray")->state, EXPLANATION_FOLDER_STRAY);
    assert_int_equal(find(&explanation, "Stray")->bytes, 200);
    assert_int_equal(find(&explanation, ".Outside")->state, EXPLANATION_FOLDER_UNFOLLOWED);
    assert_int_equal(find(&explanation, ".Part")->state, EXPLANATION_FOLDER_UNFOLLOWED);
    box_done(&box);
}

/* What the answer does not need is given up where it is dear, and the answer stays. */
static void a_count_has_a_budget(void **state)
{
    struct budget small = {.entries_max = 5, .cpu_usec_max = UINT64_MAX};
    struct quota_settings settings;
    struct box box;
    char name[64];

    (void)state;
    box_init_maildir(&box);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof(name), "cur/%d,S=5", i);
        box_put(&box, name, 0);
    }
    settings = settings_of(&box);
    for (int sums = 0; sums < 2; sums++) {
        _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
        _cleanup_(explanation_deinit) struct explanation modest = EXPLANATION_NULL;

        explain(&explanation, &settings, box.path, true, &small);
        if (sums == 0) {
            FILE *file;
            char path[PATH_MAX];

            assert_int_equal(explanation.reason, REASON_TIMEOUT);
            file = fopen(box_path(&box, "maildirsize", path), "w");
            assert_non_null(file);
            (void)fputs("1000S\n100 20\n", file);
            assert_int_equal(fclose(file), 0);
            continue;
        }
        assert_int_equal(explanation.reason, REASON_NONE);
        assert_int_equal(explanation.usage.source, USAGE_MAILDIRSIZE);
        assert_int_equal(explanation.counted, EXPLANATION_GIVEN_UP);
        assert_int_equal(explanation.folders.count, 0);
        /* Without recount it is the modest budget that counts. */
        explain(&modest, &settings, box.path, false, &small);
        assert_int_equal(modest.counted, EXPLANATION_COMPARED);
        assert_int_equal(modest.fresh.bytes, 100);
        assert_int_equal(modest.fresh_verdict, VERDICT_OK);
        assert_int_equal(find(&modest, "")->messages, 20);
    }
    box_done(&box);
}

static void the_first_tries_and_the_last_are_kept(void **state)
{
    enum { TEMPLATES = EXPLANATION_TRIES_MAX + 5 };
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    static char texts[TEMPLATES][96];
    char *templates[TEMPLATES];
    struct quota_settings settings;
    struct box box;
    char path[96];

    (void)state;
    box_init_maildir(&box);
    for (size_t i = 0; i < TEMPLATES; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%s/%zu/%%n", box.root, i);
        templates[i] = texts[i];
    }
    settings = settings_of(&box);
    settings.templates = templates;
    settings.templates_count = TEMPLATES;
    explain(&explanation, &settings, "joe@example.org", false, NULL);
    assert_int_equal(explanation.tries_count, TEMPLATES);
    assert_int_equal(explanation_tries_kept(&explanation), EXPLANATION_TRIES_MAX);
    (void)snprintf(path, sizeof(path), "%s/0/joe", box.root);
    assert_string_equal(explanation.tries[0].path, path);
    (void)snprintf(path, sizeof(path), "%s/%d/joe", box.root, TEMPLATES - 1);
    assert_string_equal(explanation.tries[EXPLANATION_TRIES_MAX - 1].path, path);
    box_done(&box);
}

static void what_is_cached_is_noted(void **state)
{
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    _cleanup_(cache_freep) struct cache *cache = NULL;
    struct maildir_cache *cached = NULL;
    struct quota_settings settings;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    box_folder(&box, ".Sent");
    box_folder(&box, "Stray");
    box_put(&box, "new/a,S=1", 0);
    box_put(&box, ".Sent/new/a,S=10", 0);
    box_put(&box, "Stray/new/a,S=100", 0);
    settings = settings_of(&box);
    assert_int_equal(cache_new(1 << 20, &cache), 0);
    explain(&explanation, &settings, box.path, false, NULL);
    explanation_note_cached(&explanation, cache);
    assert_false(explanation.has_cached);
    box_count(&box, &cached);
    cache_put(cache, CACHE_COUNT, box.path, cached, maildir_cache_bytes(cached));
    explanation_note_cached(&explanation, cache);
    assert_true(explanation.has_cached);
    assert_int_equal(explanation.cached_bytes, 11);
    assert_int_equal(explanation.cached_messages, 2);
    box_done(&box);
}

/* Lines of whatever strangers and administrators write fit into the reply, or are cut off. */
static void nothing_is_too_long(void **state)
{
    static struct steps steps;
    static char path[8192], template[PATH_MAX];
    static char *templates[EXPLANATION_TRIES_MAX];
    struct quota_settings settings;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    memset(path, '\x01', sizeof(path) - 1);
    path[0] = '/';
    memset(template, '\x01', sizeof(template) - 8);
    template[0] = '/';
    (void)strcpy(template + sizeof(template) - 8, "%n");
    for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
        templates[i] = template;
    settings = settings_of(&box);
    settings.templates = templates;
    settings.templates_count = ARRAY_SIZE(templates);
    settings.limits_path = path;
    for (int i = 0; i < 2; i++) {
        _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
        const char *last;

        explain(&explanation, &settings, i == 0 ? path : "joe@example.org", false, NULL);
        steps_write(&steps, &explanation, &settings);
        assert_in_range(steps.length, 1, STEPS_BYTES_MAX);
        assert_int_equal(steps.bytes[steps.length - 1], '\n');
        last = memrchr(steps.bytes, '\n', steps.length - 1);
        assert_int_equal(strncmp(last + 1, "status=error ", 13), 0);
    }
    box_done(&box);
}

/* However much of it the steps take, there is room for the end of a reply. */
static void the_last_line_always_fits(void **state)
{
    _cleanup_(explanation_deinit) struct explanation explanation = EXPLANATION_NULL;
    static struct steps steps;
    struct quota_settings settings;
    size_t whole = 0, cut = 0;
    struct box box;

    (void)state;
    box_init_maildir(&box);
    settings = settings_of(&box);
    explain(&explanation, &settings, box.path, false, NULL);
    assert_int_equal(explanation.folders.count, 1);
    for (size_t length = 1; length < 1024; length += 3) {
        for (size_t i = 0; i < EXPLANATION_FOLDERS_MAX; i++) {
            char **path = &explanation.folders.largest[i].path;

            free(*path);
            *path = calloc(1, length + 1);
            assert_non_null(*path);
            memset(*path, i % 2 ? 'x' : '\x01', length);
        }
        explanation.folders.count = EXPLANATION_FOLDERS_MAX;
        steps_write(&steps, &explanation, &settings);
        assert_in_range(steps.length, 1, STEPS_BYTES_MAX);
        assert_non_null(memmem(steps.bytes, steps.length, "\nstatus=ok ", 11));
        if (steps.left_out == 0)
            whole++;
        else
            cut += memmem(steps.bytes, steps.length, "\nstep=left-out ", 15) != NULL;
    }
    assert_true(whole > 50 && cut > 50);
    box_done(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_folders_are_kept),
        cmocka_unit_test(folders_have_a_state),
        cmocka_unit_test(a_count_has_a_budget),
        cmocka_unit_test(the_first_tries_and_the_last_are_kept),
        cmocka_unit_test(what_is_cached_is_noted),
        cmocka_unit_test(nothing_is_too_long),
        cmocka_unit_test(the_last_line_always_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
