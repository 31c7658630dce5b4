/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what was asked about to the path of a mailbox. The input has three lines: a template, as for
 * --mailbox; delimiters, as for --recipient-delimiter; and the target, an address or a path.
 */
#include "fuzz.h"

#include <limits.h>

#include "config/quota_options.h"
#include "quota/target.h"

/* Reads the two options as a command line has them. Returns whether both are accepted. */
static bool read_options(const char *template, const char *delimiters,
                         struct quota_settings *settings)
{
    struct option_group group = quota_options_group(settings);
    char error[OPTIONS_ERROR_BYTES_MAX] = "";
    char *mailbox = NULL, *delimiter = NULL, program[] = "fuzz";
    bool some = *delimiters != '\0';
    int r;

    require(asprintf(&mailbox, "--mailbox=%s", template) > 0);
    require(asprintf(&delimiter, "--recipient-delimiter=%s", delimiters) > 0);
    r = options_table_read(&group, 1, some ? 3 : 2, (char *[]){program, mailbox, delimiter, NULL},
                           error);
    require(r >= 0 || (error[0] != '\0' && memchr(error, '\0', sizeof(error))));
    free(mailbox);
    free(delimiter);
    return r >= 0;
}

/* Whether nothing in the path leads up, or could be written shorter. */
static bool is_plain_path(const char *path)
{
    if (path[0] != '/')
        return false;
    if (path[1] == '\0')
        return true;
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        size_t length = strcspn(slash + 1, "/");

        if (length == 0 || (length == 1 && slash[1] == '.') ||
            (length == 2 && slash[1] == '.' && slash[2] == '.'))
            return false;
    }
    return true;
}

/* Returns the number of components that are not a lone dot. */
static size_t components(const char *path)
{
    size_t count = 0;

    while (*path) {
        size_t length;

        path += strspn(path, "/");
        length = strcspn(path, "/");
        count += length > 1 || (length == 1 && *path != '.');
        path += length;
    }
    return count;
}

/* Writes the path of a mailbox by the template, component by component. */
static char *expect_path(const char *template, const struct address *address)
{
    char *path = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&path, &size);

    require(file);
    for (; *template; template ++) {
        bool is_slash = *template == '/';

        if (is_slash && (template[1] == '/' || template[1] == '\0'))
            continue;
        if (is_slash && strspn(template + 1, ".") == 1 &&
            (template[2] == '/' || template[2] == '\0')) {
            template ++;
            continue;
        }
        if (*template != '%') {
            fputc(*template, file);
            continue;
        }
        template ++;
        if (*template == '%')
            fputc('%', file);
        if (*template == 'u' || *template == 'n')
            fwrite(address->text, 1, address->local_length, file);
        if (*template == 'u')
            fputc('@', file);
        if (*template == 'u' || *template == 'd')
            fputs(address_domain(address), file);
    }
    require(fclose(file) == 0);
    if (size == 0) {
        free(path);
        path = strdup("/");
        require(path);
    }
    return path;
}

/* An address that was accepted is as strict as the header says, and is accepted again. */
static void check_address(const struct address *address, const char *delimiters)
{
    size_t length = strlen(address->text), base = strcspn(address->text, delimiters);
    const char *domain = address_domain(address), *why;
    struct address again;

    require(length == address->local_length + 1 + address->domain_length);
    require(address->local_length >= 1 && address->local_length <= ADDRESS_LOCAL_MAX);
    require(address->domain_length >= 1 && address->domain_length <= ADDRESS_DOMAIN_MAX);
    require(domain[-1] == '@' && !strchr(domain, '@') && domain[0] != '.');
    require(address->text[0] != '.' && !strchr(address->text, '/') && !strstr(address->text, ".."));
    require(domain[address->domain_length - 1] != '.' && !strpbrk(domain, " \"(),;<>\\*"));
    for (const char *c = address->text; *c; c++)
        require((unsigned char)*c >= ' ' && *c != 0x7f && !(*c >= 'A' && *c <= 'Z'));
    if (base == 0 || base > address->local_length)
        base = address->local_length;
    require(address->base_length == base);
    if (address->text[0] == '"' || memchr(address->text, '@', address->local_length))
        return; /* only quotes tell that it is one */
    require(address_parse(address->text, length, delimiters, &again, &why) == 0);
    require(strcmp(again.text, address->text) == 0);
}

/* Whether the template holds the sequence with that letter. */
static bool has_sequence(const char *template, char letter)
{
    for (const char *percent = strchr(template, '%'); percent; percent = strchr(percent + 2, '%'))
        if (percent[1] == letter)
            return true;
    return false;
}

static bool has_long_component(const char *path)
{
    for (; *path; path += strcspn(path, "/"))
        if (strcspn(++path, "/") > NAME_MAX)
            return true;
    return false;
}

/* An address that is found for a path is one of those that have it, and one is found if it is. */
static void check_owner(const char *template, const char *path, bool is_expansion)
{
    bool tells_all =
        has_sequence(template, 'u') || (has_sequence(template, 'n') && has_sequence(template, 'd'));
    struct address owner;

    if (address_from_path(template, path, &owner)) {
        char *expected = expect_path(template, &owner);

        require(tells_all && strcmp(expected, path) == 0);
        check_address(&owner, "");
        free(expected);
    } else {
        require(!is_expansion || !tells_all || has_long_component(path));
    }
}

/* Goes through the paths for the address, whole and without its extension. */
static void check_paths(struct target *target, const struct quota_settings *settings)
{
    const char *template = settings->templates[0], *why = NULL;
    size_t last = target->had_extension ? 1 : 0;

    for (bool goes_on = true; goes_on; target->candidate++) {
        char *whole = expect_path(template, &target->address), *expected;
        size_t candidate = target->candidate;
        char path[PATH_MAX];

        if (target_path(target, settings, path, &why) == REASON_NONE) {
            expected = expect_path(template, &target->address);
            require(strcmp(path, expected) == 0);
            require(is_plain_path(path));
            require(components(path) == components(template));
            require(target->candidate == candidate || strlen(whole) + strlen(template) >= PATH_MAX);
            check_owner(template, path, true);
        } else {
            expected = expect_path(template, &target->address);
            require(why && target->candidate == last);
            require(strlen(expected) + strlen(template) >= PATH_MAX);
        }
        goes_on = target_goes_on(target, settings, 0, USAGE_NONE);
        require(goes_on == (target->candidate < last));
        free(whole);
        free(expected);
    }
    require(target->address.base_length == target->address.local_length);
}

static void check_target(const struct quota_settings *settings, const char *text)
{
    const struct target_terms terms = {.size_bytes = 1};
    const char *delimiters = settings->delimiters ? settings->delimiters : "", *why = NULL;
    char *copy = fuzz_string(text, strlen(text));
    struct target target;

    if (target_begin(&target, settings, NULL, &terms, copy, &why) != REASON_NONE) {
        require(why && *why && text[0] != '/');
    } else if (target_is_path(&target)) {
        require(text[0] == '/' && copy[0] == '/' && !strstr(copy, "//") && !strstr(copy, "/./"));
        require(components(copy) == components(text));
        require(strcmp(copy, "/") == 0 || copy[strlen(copy) - 1] != '/');
        check_owner(settings->templates[0], copy, false);
    } else {
        check_address(&target.address, delimiters);
        check_paths(&target, settings);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {(const char *)data, size};
    char *template = fuzz_take(&input, '\n'), *delimiters = fuzz_take(&input, '\n');
    char *text = fuzz_take(&input, '\n');
    struct quota_settings settings = QUOTA_SETTINGS_DEFAULT;

    if (read_options(template, delimiters, &settings)) {
        require(settings.templates_count == 1);
        require(!strpbrk(delimiters, "@/ "));
        check_target(&settings, text);
    }
    quota_settings_deinit(&settings);
    free(template);
    free(delimiters);
    free(text);
    return 0;
}
