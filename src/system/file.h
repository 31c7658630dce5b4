/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a whole file of an administrator, which may be any file by mistake.
 */
#pragma once

#include <stddef.h>

/* Room for why a file was not read. */
#define FILE_ERROR_BYTES_MAX 128

/*
 * Reads a regular file of at most bytes_max bytes; nothing else is waited for. Returns 0 and its
 * text[0..length), allocated, with room for two bytes more, which the caller releases; -EINVAL if
 * it is not a regular file, -EFBIG if it is too large, -EAGAIN if it changed its size meanwhile, or
 * the negative errno of a system call; and then in error why, for people.
 */
int file_read(const char *path, size_t bytes_max, char **ret_text, size_t *ret_length,
              char error[static FILE_ERROR_BYTES_MAX]);
