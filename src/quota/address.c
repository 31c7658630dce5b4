/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/address.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "quota/ascii.h"
#include "system/utf8.h"

/* What no domain holds. A colon may be part of an address literal. */
static const char domain_specials[] = " \"(),;<>[]\\*";

/* The longest quoted local part that is read: no request is longer. */
#define UNQUOTED_MAX 8192

static int refuse(const char *why, const char **ret_why)
{
    *ret_why = why;
    return -EINVAL;
}

/*
 * Returns whether text[0..length) is UTF-8 without the control characters U+0080 to U+009F, which
 * no address may hold (RFC 6532, RFC 5198).
 */
static bool is_utf8(const char *text, size_t length)
{
    uint32_t character;
    size_t step;

    for (size_t i = 0; i < length; i += step) {
        step = utf8_decode(text + i, length - i, &character);
        if (step == 0 || (character >= 0x80 && character < 0xa0))
            return false;
    }
    return true;
}

static bool has_control(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (ascii_is_control(text[i]))
            return true;
    return false;
}

/* Returns why part[0..length) cannot be a component of a path, or NULL. */
static const char *part_fault(const char *part, size_t length)
{
    if (has_control(part, length))
        return "it contains a control character";
    if (memchr(part, '/', length))
        return "it contains a slash";
    if (part[0] == '.')
        return "the local part or the domain begins with a dot";
    if (memmem(part, length, "..", 2))
        return "it contains two dots in a row";
    if (!is_utf8(part, length))
        return "it is not valid UTF-8";
    return NULL;
}

/* Returns whether text[0..length) is a name, or an address literal in brackets. */
static bool is_domain(const char *text, size_t length)
{
    bool is_literal = length > 2 && text[0] == '[' && text[length - 1] == ']';

    if (is_literal) {
        text++;
        length -= 2;
    }
    for (size_t i = 0; i < length; i++)
        if (strchr(domain_specials, text[i]) || (text[i] == ':' && !is_literal))
            return false;
    return true;
}

static const char no_at[] = "it contains no @";
static const char local_too_long[] = "the local part is longer than 255 bytes";

const char *address_local_fault(const char *local, size_t length)
{
    if (length == 0)
        return "the local part is empty";
    if (length > ADDRESS_LOCAL_MAX)
        return local_too_long;
    return part_fault(local, length);
}

const char *address_domain_fault(const char *domain, size_t length)
{
    const char *fault;

    if (length == 0)
        return "the domain is empty";
    if (length > ADDRESS_DOMAIN_MAX)
        return "the domain is longer than 255 bytes";
    fault = part_fault(domain, length);
    if (fault)
        return fault;
    if (domain[length - 1] == '.')
        return "the domain ends with a dot";
    return is_domain(domain, length) ? NULL : "the domain is neither a name nor an address literal";
}

/*
 * Reads the quoted string that text[0..length) begins with. Returns its length with its quotes, or
 * 0 if it is invalid. Its content goes to buffer[0..size), as far as it fits; *ret_length is its
 * full length.
 */
static size_t unquote(const char *text, size_t length, char *buffer, size_t size,
                      size_t *ret_length)
{
    size_t used = 0;

    for (size_t i = 1; i < length; i++) {
        if (text[i] == '"') {
            *ret_length = used;
            return i + 1;
        }
        if (text[i] == '\\' && (++i == length || text[i] < ' ' || text[i] > '~'))
            return 0;
        if (used < size)
            buffer[used] = text[i];
        used++;
    }
    return 0;
}

static size_t length_of_base(const char *local, size_t length, const char *delimiters)
{
    size_t base = 0;

    while (base < length && !strchr(delimiters, local[base]))
        base++;
    return base > 0 ? base : length;
}

static int take_local(const char *local, size_t length, const char *delimiters, struct address *ret,
                      const char **ret_why)
{
    const char *fault = length > 0 ? part_fault(local, length) : "the local part is empty";
    size_t base;

    if (fault)
        return refuse(fault, ret_why);
    base = length_of_base(local, length, delimiters);
    if (base > ADDRESS_LOCAL_MAX)
        return refuse(local_too_long, ret_why);
    ret->base_length = base;
    ret->local_length = length > ADDRESS_LOCAL_MAX ? base : length;
    memcpy(ret->text, local, ret->local_length);
    return 0;
}

/* Reads the local part that text[0..length) begins with. Returns 0 and the place of its `@`. */
static int parse_local(const char *text, size_t length, const char *delimiters, struct address *ret,
                       size_t *ret_at, const char **ret_why)
{
    char unquoted[UNQUOTED_MAX];
    const char *at;
    size_t unquoted_length;

    if (length == 0 || text[0] != '"') {
        at = memchr(text, '@', length);
        if (!at)
            return refuse(no_at, ret_why);
        *ret_at = (size_t)(at - text);
        return take_local(text, *ret_at, delimiters, ret, ret_why);
    }
    *ret_at = unquote(text, length, unquoted, sizeof(unquoted), &unquoted_length);
    if (*ret_at == 0)
        return refuse("the quoted local part has no closing quote or an invalid escape", ret_why);
    if (*ret_at == length || text[*ret_at] != '@')
        return refuse("there is no @ after the quoted local part", ret_why);
    if (unquoted_length > sizeof(unquoted))
        return refuse(local_too_long, ret_why);
    return take_local(unquoted, unquoted_length, delimiters, ret, ret_why);
}

static int parse_domain(const char *text, size_t length, struct address *ret, const char **ret_why)
{
    const char *fault;

    if (memchr(text, '@', length))
        return refuse("it contains more than one @", ret_why);
    if (length > 1 && text[length - 1] == '.')
        length--;
    fault = address_domain_fault(text, length);
    if (fault)
        return refuse(fault, ret_why);
    ret->text[ret->local_length] = '@';
    memcpy(ret->text + ret->local_length + 1, text, length);
    ret->text[ret->local_length + 1 + length] = '\0';
    ret->domain_length = length;
    return 0;
}

/* Reads the domain, which follows the `@` at text[at], when the local part has been taken. */
static int finish_parsing(const char *text, size_t length, size_t at, struct address *ret,
                          const char **ret_why)
{
    int r = parse_domain(text + at + 1, length - at - 1, ret, ret_why);

    if (r < 0)
        return r;
    ascii_lower(ret->text, ret->local_length + 1 + ret->domain_length);
    return 0;
}

int address_parse(const char *text, size_t length, const char *delimiters, struct address *ret,
                  const char **ret_why)
{
    size_t at;
    int r = parse_local(text, length, delimiters, ret, &at, ret_why);

    return r < 0 ? r : finish_parsing(text, length, at, ret, ret_why);
}

int address_parse_internal(const char *text, size_t length, const char *delimiters,
                           struct address *ret, const char **ret_why)
{
    const char *at = memrchr(text, '@', length);
    int r;

    if (!at)
        return refuse(no_at, ret_why);
    r = take_local(text, (size_t)(at - text), delimiters, ret, ret_why);
    return r < 0 ? r : finish_parsing(text, length, (size_t)(at - text), ret, ret_why);
}

const char *address_domain(const struct address *address)
{
    return address->text + address->local_length + 1;
}

bool address_drop_extension(struct address *address)
{
    if (address->base_length == address->local_length)
        return false;
    memmove(address->text + address->base_length, address->text + address->local_length,
            1 + address->domain_length + 1);
    address->local_length = address->base_length;
    return true;
}

void address_write(const struct address *address, char text[static ADDRESS_TEXT_MAX + 1])
{
    const char *local = address->text;
    bool is_quoted = local[0] == '"' || memchr(local, '@', address->local_length);
    char *to = text;

    if (is_quoted)
        *to++ = '"';
    for (size_t i = 0; i < address->local_length; i++) {
        if (is_quoted && (local[i] == '"' || local[i] == '\\'))
            *to++ = '\\';
        *to++ = local[i];
    }
    if (is_quoted)
        *to++ = '"';
    memcpy(to, address->text + address->local_length, 1 + address->domain_length + 1);
}

static bool has_parent_component(const char *path)
{
    for (const char *dots = strstr(path, "/.."); dots; dots = strstr(dots + 1, "/.."))
        if (dots[3] == '/' || dots[3] == '\0')
            return true;
    return false;
}

int address_template_check(const char *template, const char **ret_why)
{
    if (template[0] != '/')
        return refuse("a template must be an absolute path", ret_why);
    if (has_parent_component(template))
        return refuse("a template must not contain a component ..", ret_why);
    for (const char *percent = strchr(template, '%'); percent; percent = strchr(percent + 2, '%'))
        if (percent[1] == '\0' || !strchr("und%", percent[1]))
            return refuse("a % is followed by u (the address), n (the local part), d (the "
                          "domain) or % (a percent sign)",
                          ret_why);
    return 0;
}

static const char *sequence_value(char letter, const struct address *address, size_t *ret_length)
{
    switch (letter) {
    case 'u':
        *ret_length = address->local_length + 1 + address->domain_length;
        return address->text;
    case 'n':
        *ret_length = address->local_length;
        return address->text;
    case 'd':
        *ret_length = address->domain_length;
        return address_domain(address);
    default:
        *ret_length = 1;
        return "%";
    }
}

int address_template_expand(const char *template, const struct address *address, char *buffer,
                            size_t size)
{
    size_t used = 0;

    while (*template != '\0') {
        bool is_sequence = *template == '%';
        size_t length = is_sequence ? 0 : strcspn(template, "%");
        const char *value = is_sequence ? sequence_value(template[1], address, &length) : template;

        if (length >= size - used)
            return -ENAMETOOLONG;
        memcpy(buffer + used, value, length);
        used += length;
        template += is_sequence ? 2 : length;
    }
    buffer[used] = '\0';
    return 0;
}

/* The parts of an address in a path; NULL: not known yet. */
struct parts {
    const char *local;
    size_t local_length;
    const char *domain;
    size_t domain_length;
};

/* Sets the part to value[0..length). Returns whether that agrees with a known part. */
static bool bind_part(const char **part, size_t *part_length, const char *value, size_t length)
{
    if (*part)
        return *part_length == length && memcmp(*part, value, length) == 0;
    *part = value;
    *part_length = length;
    return true;
}

/* As bind_part(), for what a sequence stands for. */
static bool bind_sequence(char letter, const char *value, size_t length, struct parts *parts)
{
    const char *at;

    if (letter == 'n')
        return bind_part(&parts->local, &parts->local_length, value, length);
    if (letter == 'd')
        return bind_part(&parts->domain, &parts->domain_length, value, length);
    at = memrchr(value, '@', length); /* a domain has none */
    return at && bind_part(&parts->local, &parts->local_length, value, (size_t)(at - value)) &&
           bind_part(&parts->domain, &parts->domain_length, at + 1,
                     length - (size_t)(at - value) - 1);
}

/* Joins the parts. Returns whether address_parse() could have made the address. */
static bool join_parts(const struct parts *parts, struct address *ret)
{
    if (!parts->local || !parts->domain || address_local_fault(parts->local, parts->local_length) ||
        address_domain_fault(parts->domain, parts->domain_length) ||
        memchr(parts->domain, '@', parts->domain_length) ||
        ascii_has_upper(parts->local, parts->local_length) ||
        ascii_has_upper(parts->domain, parts->domain_length))
        return false;
    ret->local_length = parts->local_length;
    ret->base_length = parts->local_length;
    ret->domain_length = parts->domain_length;
    memcpy(ret->text, parts->local, parts->local_length);
    ret->text[parts->local_length] = '@';
    memcpy(ret->text + parts->local_length + 1, parts->domain, parts->domain_length);
    ret->text[parts->local_length + 1 + parts->domain_length] = '\0';
    return true;
}

/* Returns the next component of the template, which is at a slash, or its end. */
static const char *next_component(const char *template)
{
    for (;;) {
        template += strspn(template, "/");
        if (template[0] != '.' || (template[1] != '/' && template[1] != '\0'))
            return template;
        template ++;
    }
}

static size_t known_length(char letter, const struct parts *parts)
{
    if (letter == 'n')
        return parts->local_length;
    if (letter == 'd')
        return parts->domain_length;
    return parts->local && parts->domain ? parts->local_length + 1 + parts->domain_length : 0;
}

static bool match_path(const char *template, const char *path, const struct parts *parts,
                       struct address *ret);

/* As match_path(), if the template begins with a sequence: tries everything that it may be. */
static bool match_sequence(const char *template, const char *path, const struct parts *parts,
                           struct address *ret)
{
    size_t known = known_length(template[1], parts);
    size_t left = strcspn(path, "/");
    size_t longest = known > 0 ? known : NAME_MAX; /* no file has a longer name */

    for (size_t length = known > 0 ? known : 1; length <= longest && length <= left; length++) {
        struct parts tried = *parts;

        if (bind_sequence(template[1], path, length, &tried) &&
            match_path(template + 2, path + length, &tried, ret))
            return true;
    }
    return false;
}

/* Matches the rest of a template with the rest of a path. */
static bool match_path(const char *template, const char *path, const struct parts *parts,
                       struct address *ret)
{
    while (*template != '\0') {
        char literal = *template;

        if (literal == '%' && template[1] != '%')
            return match_sequence(template, path, parts, ret);
        if (literal == '/') {
            template = next_component(template);
            if (*template == '\0')
                break;
        } else {
            template += literal == '%' ? 2 : 1;
        }
        if (*path++ != literal)
            return false;
    }
    return *path == '\0' && join_parts(parts, ret);
}

bool address_from_path(const char *template, const char *path, struct address *ret)
{
    return match_path(template, path, &(struct parts){}, ret);
}

bool address_template_has(const char *template, const char *letters)
{
    for (const char *percent = strchr(template, '%'); percent; percent = strchr(percent + 2, '%'))
        if (strchr(letters, percent[1]))
            return true;
    return false;
}

bool address_leads_to(const char *template, const char *path)
{
    struct parts parts = {};
    struct address address;

    if (!address_template_has(template, "nu"))
        (void)bind_part(&parts.local, &parts.local_length, "x", 1);
    if (!address_template_has(template, "du"))
        (void)bind_part(&parts.domain, &parts.domain_length, "x", 1);
    return match_path(template, path, &parts, &address);
}
