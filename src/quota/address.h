/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses, `local@domain`, as strangers send them, and the paths of their mailboxes.
 *
 * Nothing here is allocated. An address that address_parse() has accepted can stand in a path:
 * neither part is empty, holds a `/` or `..`, or begins with a dot, so that no template expands to
 * more components than it was written with, or to one that leads elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The longest parts, in bytes: NAME_MAX of file systems, and RFC 5321, 4.5.3.1.2. Exim does not
 * apply that RFC's 64 bytes for a local part.
 */
#define ADDRESS_LOCAL_MAX  255
#define ADDRESS_DOMAIN_MAX 255
#define ADDRESS_MAX        (ADDRESS_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX)

/* A valid address. The local part is text[0..local_length); `@` and the domain follow. */
struct address {
    size_t local_length;
    size_t base_length; /* of the local part before its extension; local_length without one */
    size_t domain_length;
    char text[ADDRESS_MAX + 1]; /* lower case, not quoted; ends with a NUL */
};

/*
 * Reads the whole of text[0..length) as an address.
 *
 * A local part that begins with a double quote is a quoted string (RFC 5321, 4.1.2), which may hold
 * an `@`, and is kept without quotes and backslashes. Any other is taken as it is, with blanks,
 * quotes and backslashes: Exim's $local_part comes unquoted. Parts must not be empty or too long,
 * hold a `/`, a control character or `..`, begin with a dot, or be other than UTF-8 (RFC 6531). A
 * domain is a name or an address literal in brackets, without blanks and the special characters of
 * RFC 5322. One dot at its end is dropped.
 *
 * ASCII letters become lower case, no others. If the local part holds one of the characters of
 * delimiters, that and what follows is an extension, unless nothing would be left (as with
 * Postfix's recipient_delimiter). A local part that is too long only with its extension loses it:
 * no mailbox can have the whole name.
 *
 * Returns 0, or -EINVAL and in *ret_why a constant string that says what is wrong; *ret is
 * undefined then.
 */
int address_parse(const char *text, size_t length, const char *delimiters, struct address *ret,
                  const char **ret_why);

/*
 * As address_parse(), for an address in Postfix's internal form: what comes before the last `@` is
 * the local part, without quotes and backslashes of its own.
 */
int address_parse_internal(const char *text, size_t length, const char *delimiters,
                           struct address *ret, const char **ret_why);

/* Takes the extension off the address. Returns false, the address unchanged, if it has none. */
bool address_drop_extension(struct address *address);

/*
 * Return why text[0..length) cannot be the local part, without quotes, or the domain, without a dot
 * at its end, of an address: a constant string that can follow "in the address:"; or NULL.
 */
const char *address_local_fault(const char *local, size_t length);
const char *address_domain_fault(const char *domain, size_t length);

/* Returns the domain, which ends with a NUL. It is the address's own. */
const char *address_domain(const struct address *address);

/* The longest text of an address: every byte of its local part escaped, and quotes. */
#define ADDRESS_TEXT_MAX (2 * ADDRESS_LOCAL_MAX + 2 + 1 + ADDRESS_DOMAIN_MAX)

/*
 * Writes the address as a text with a NUL that address_parse() reads as this one: its local part is
 * quoted if it would be taken for another otherwise.
 */
void address_write(const struct address *address, char text[static ADDRESS_TEXT_MAX + 1]);

/*
 * Checks a template for mailboxes: an absolute path without `..`, with %u for the address, %n for
 * the local part, %d for the domain, %% for a percent sign, and no other sequence. Returns 0, or
 * -EINVAL and in *ret_why a constant string that says what is wrong.
 */
int address_template_check(const char *template, const char **ret_why);

/*
 * Expands a template that address_template_check() has accepted into buffer[0..size), with a NUL.
 * Returns 0, or -ENAMETOOLONG; the buffer is undefined then.
 */
int address_template_expand(const char *template, const struct address *address, char *buffer,
                            size_t size);

/*
 * The inverse of address_template_expand(): finds the address, in the form that address_parse()
 * gives it, whose normalised expansion is path, which must be normalised. There is none if the
 * template has no domain, or for a name longer than NAME_MAX. If several addresses expand to the
 * path (`%n-%d`), the one with the shortest parts from the left is found.
 * Returns whether there is one, and in *ret the address, without an extension.
 */
bool address_from_path(const char *template, const char *path, struct address *ret);

/* Returns whether the template, which is checked, has a sequence of one of the letters. */
bool address_template_has(const char *template, const char *letters);

/*
 * As address_from_path(), for a template that lacks the domain, the local part or both: whether it
 * leads to the path, whatever the part is that it lacks.
 */
bool address_leads_to(const char *template, const char *path);
