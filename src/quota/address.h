/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses, `local@domain`, as strangers send them, and the paths of the mailboxes that they stand
 * for.
 *
 * Everything here works in buffers that the caller supplies; nothing is allocated. What
 * address_parse() has accepted can stand in a path: neither part is empty, holds a `/` or `..`, or
 * begins with a dot, so that no template expands to a component more than it was written with, or
 * to one that leads elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The longest parts, in bytes: what a file system takes as a name (NAME_MAX), and RFC 5321,
 * 4.5.3.1.2. That RFC's 64 bytes for a local part bound nothing: Exim delivers to longer ones.
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
 * A local part that begins with a double quote is a quoted string (RFC 5321, 4.1.2) and is kept
 * without quotes and backslashes; within it an `@` is an ordinary character, so that the last `@`
 * separates. Any other local part is taken as it is, blanks, quotes and backslashes included:
 * Exim's $local_part comes unquoted. Either way, bad are parts that are empty or too long, hold a
 * `/`, a control character or `..`, begin with a dot, or are not UTF-8 (RFC 6531). A domain is a
 * name or an address literal in brackets, without blanks and without the special characters of RFC
 * 5322. One dot at the end of a domain is dropped: it names the same domain, which has one mailbox
 * and one limit.
 *
 * ASCII letters become lower case, no others. Where the local part holds one of the characters of
 * delimiters ("": there are none), it and all behind it are an extension, unless nothing would be
 * left (as Postfix's recipient_delimiter). A local part that is too long only with its extension
 * comes without it: no mailbox can have the whole name.
 *
 * Returns 0, or -EINVAL for a bad address: *ret_why is then a constant string that says what is
 * wrong with it, and *ret holds nothing of use.
 */
int address_parse(const char *text, size_t length, const char *delimiters, struct address *ret,
                  const char **ret_why);

/* Takes the extension off the address. Returns false, the address unchanged, if it has none. */
bool address_drop_extension(struct address *address);

/*
 * Return what forbids text[0..length) to be the local part, without quotes, or the domain, without
 * a dot at its end, of an address: a constant string that can follow "in the address:". NULL if
 * nothing does.
 */
const char *address_local_fault(const char *local, size_t length);
const char *address_domain_fault(const char *domain, size_t length);

/* Returns the domain, which ends with a NUL. It is the address's own. */
const char *address_domain(const struct address *address);

/*
 * Checks a template for mailboxes: an absolute path with %u for the address, %n for the local part,
 * %d for the domain and %% for a percent sign. Returns 0, or -EINVAL for any other sequence, a path
 * that is not absolute, or one that holds a `..` component: *ret_why is then a constant string that
 * says so.
 */
int address_template_check(const char *template, const char **ret_why);

/*
 * Expands a template that address_template_check() has accepted into buffer[0..size), with a NUL.
 * Returns 0, or -ENAMETOOLONG if it does not fit; the buffer then holds nothing of use.
 */
int address_template_expand(const char *template, const struct address *address, char *buffer,
                            size_t size);

/*
 * The inverse of address_template_expand(): finds the address, in the form that address_parse()
 * gives it, whose expansion is path once both are normalised, as path must be (no `//`, no `/./`,
 * no slash at the end). Without a domain in the template there is none, nor for a name longer than
 * NAME_MAX, which no file has. Where several addresses expand to the path (`%n-%d`), the one with
 * the shortest parts from the left is found.
 * Returns whether there is one, and it, without an extension, in *ret.
 */
bool address_from_path(const char *template, const char *path, struct address *ret);
