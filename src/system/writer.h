/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes a log without ever making the caller wait: entries are put into a bounded queue, a thread
 * writes them, and those that do not fit are lost and counted.
 *
 * If entries are datagrams, writer_add() itself sends them, as long as that is possible without
 * waiting. The thread is started when it is first needed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

/* What a writer writes to. */
struct writer_target {
    int fd;                            /* a file, pipe, terminal or socket */
    const struct sockaddr_un *address; /* where datagrams are sent; NULL: fd is not a socket */
    const char *path;                  /* of the file, to reopen it; NULL: it is never reopened */
};

/* What a writer reports in an entry of its own. */
enum writer_note {
    WRITER_LOST,         /* how many entries were lost */
    WRITER_NOT_REOPENED, /* the errno with which reopening the file failed */
};

/* The longest such entry. */
#define WRITER_NOTE_BYTES_MAX 1024

struct writer;

/* Opens a log file, or creates it. Returns the descriptor, or a negative errno. */
int writer_open_file(const char *path);

/*
 * Makes a writer, which owns the target's fd, unless that is standard error. The target's address
 * must live as long as the writer; its path is copied. note() makes an entry of at most
 * WRITER_NOTE_BYTES_MAX bytes, and returns its length; it may be called on any thread. Returns 0 or
 * -ENOMEM.
 */
int writer_new(const struct writer_target *target,
               size_t (*note)(enum writer_note note, uint64_t number, char *bytes, void *userdata),
               void *userdata, struct writer **ret);

/* Allows the writer to start its thread. Until then, entries wait in the queue. */
void writer_start(struct writer *writer);

/* Adds an entry, which is written whole, after those that were added before. */
void writer_add(struct writer *writer, const char *bytes, size_t length);

/*
 * Reopens the file, unless it is still the one at its path. Entries that were added before go to
 * the old one. Waits until that is done, but no longer than a tenth of a second.
 */
void writer_reopen(struct writer *writer);

/*
 * Ends the writer, and closes its file. Entries in the queue are written for at most two seconds.
 * Returns false if a write hangs: the thread continues until the process ends, and what note() uses
 * must not be released.
 */
bool writer_end(struct writer *writer);
