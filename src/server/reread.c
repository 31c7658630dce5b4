/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/reread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/cleanup.h"

struct reread {
    struct pool *pool;
    reread_fn read;
    void *read_userdata;
    reread_done_fn done;
    void *done_userdata;

    struct pool_job job; /* while it is in the pool, the next two are the thread's */
    int result;
    char error[REREAD_ERROR_BYTES_MAX];

    bool reading;
    bool again; /* asked for once more while it was being read */
};

int reread_new(struct pool *pool, reread_fn read, void *read_userdata, reread_done_fn done,
               void *done_userdata, struct reread **ret)
{
    struct reread *reread = calloc(1, sizeof(*reread));

    if (!reread)
        return -ENOMEM;
    reread->pool = pool;
    reread->read = read;
    reread->read_userdata = read_userdata;
    reread->done = done;
    reread->done_userdata = done_userdata;
    *ret = reread;
    return 0;
}

void reread_free(struct reread *reread)
{
    free(reread);
}

/* On a thread of the pool. */
static void on_work(struct pool_job *job)
{
    struct reread *reread = container_of(job, struct reread, job);

    reread->error[0] = '\0';
    reread->result = reread->read(reread->read_userdata, reread->error);
}

static void on_finished(struct pool_job *job)
{
    struct reread *reread = container_of(job, struct reread, job);

    reread->reading = false;
    if (reread->again)
        reread_start(reread);
    else
        reread->done(reread->result, reread->error, reread->done_userdata);
}

void reread_start(struct reread *reread)
{
    int r;

    reread->again = reread->reading;
    if (reread->reading)
        return;
    reread->job =
        (struct pool_job){.device = POOL_DEVICE_NONE, .work = on_work, .finished = on_finished};
    r = pool_submit(reread->pool, &reread->job);
    reread->reading = r == 0;
    if (r == 0)
        return;
    (void)snprintf(reread->error, sizeof(reread->error),
                   "the configuration file cannot be read now: %s", strerror(-r));
    reread->done(r, reread->error, reread->done_userdata);
}
