/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a log without waiting for whoever takes it: entries wait in a queue that is bounded, a
 * thread writes them, and what does not fit is lost and counted.
 *
 * Where entries are datagrams, whoever adds one also sends it, as long as it can be sent without
 * waiting. The thread is made when it is needed first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

/* What a writer writes to. */
struct writer_target {
    int fd;                            /* a file, which may be a pipe or a terminal; or a socket */
    const struct sockaddr_un *address; /* where datagrams are sent to; NULL: fd is no socket */
    const char *path;                  /* the file's, to open it again; NULL: never */
};

/* What a writer has to say for itself, in an entry of its own. */
enum writer_note {
    WRITER_LOST,         /* how many entries were lost */
    WRITER_NOT_REOPENED, /* the errno for which the file was not opened again */
};

/* The longest such entry. */
#define WRITER_NOTE_BYTES_MAX 1024

struct writer;

/* Opens a log file, and makes it if need be. Returns the descriptor, or a negative errno. */
int writer_open_file(const char *path);

/*
 * Makes a writer. The target's fd is the writer's then, unless it is standard error; its address
 * must live as long as the writer, its path need not. note() makes an entry of at most
 * WRITER_NOTE_BYTES_MAX bytes, and returns its length; it is called on any thread. Returns 0 or
 * -ENOMEM.
 */
int writer_new(const struct writer_target *target,
               size_t (*note)(enum writer_note note, uint64_t number, char *bytes, void *userdata),
               void *userdata, struct writer **ret);

/* Lets the writer have its thread from now on. Before, entries wait in the queue. */
void writer_start(struct writer *writer);

/* Adds an entry, which is written whole, behind those that were added before. */
void writer_add(struct writer *writer, const char *bytes, size_t length);

/*
 * Opens the file again, unless it is still the one at its path. Entries that were added before are
 * in the old one. Waits until it is done, but no longer than a tenth of a second.
 */
void writer_reopen(struct writer *writer);

/*
 * Ends the writer, and closes its file. What is left is written as far as that takes no longer than
 * a tenth of a second. Returns false where a write hangs: the thread goes on until the process
 * ends, and what note() uses must not be released.
 */
bool writer_end(struct writer *writer);
