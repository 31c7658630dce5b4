/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/manager.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "system/cleanup.h"
#include "system/clock.h"
#include "system/notify.h"

/* When to send WATCHDOG=1 again, if it was not delivered. */
#define RETRY_USEC (100 * USEC_PER_MSEC)

struct manager {
    struct journal *journal;
    sd_event_source *watchdog; /* NULL: there is no watchdog */
    uint64_t watchdog_usec;
    uint64_t reload_usec; /* when the reload began that was not reported yet; 0: none */
    const char *state;    /* the state that was not delivered yet, or "" */
};

/* Returns whether the error is temporary: the notification should be sent again. */
static bool is_passing(int error)
{
    return error == -EAGAIN || error == -EINTR || error == -EMFILE || error == -ENFILE ||
           error == -ENOBUFS || error == -ENOMEM;
}

static void complain(const struct manager *manager, int error)
{
    journal_log(manager->journal, is_passing(error) ? LOG_WARNING : LOG_NOTICE,
                "cannot notify the service manager: %s", strerror(-error));
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
    const struct manager *manager = userdata;
    bool again = is_passing(notify("WATCHDOG=1"));

    (void)usec;
    sd_event_source_set_time_relative(source, again ? RETRY_USEC : manager->watchdog_usec);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

/* As sd_event_set_watchdog(3), but never waits for a manager that does not read. */
static int add_watchdog(struct manager *manager, sd_event *event)
{
    uint64_t usec;
    int r = sd_watchdog_enabled(0, &usec);

    if (r <= 0)
        return r;
    manager->watchdog_usec = usec / 2;
    return sd_event_add_time_relative(event, &manager->watchdog, CLOCK_MONOTONIC, 0, 0, on_watchdog,
                                      manager);
}

void manager_free(struct manager *manager)
{
    if (manager)
        sd_event_source_disable_unref(manager->watchdog);
    free(manager);
}

DEFINE_FREEP(manager)

int manager_new(sd_event *event, struct journal *journal, struct manager **ret)
{
    _cleanup_(manager_freep) struct manager *manager = calloc(1, sizeof(*manager));
    int r;

    if (!manager)
        return -ENOMEM;
    manager->journal = journal;
    manager->state = "";
    r = add_watchdog(manager, event);
    if (r < 0)
        return r;
    *ret = steal_pointer(&manager);
    return 0;
}

/* Reports that a reload has begun, unless that was done. Returns 0 or a negative errno. */
static int tell_reload(struct manager *manager)
{
    int r = 0;

    if (manager->reload_usec > 0)
        r = notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, manager->reload_usec);
    if (!is_passing(r))
        manager->reload_usec = 0;
    return r < 0 ? r : 0;
}

bool manager_tell(struct manager *manager, const char *state, const char *status)
{
    int r = tell_reload(manager);

    if (state[0] != '\0')
        manager->state = state;
    if (r == 0)
        r = notify("%sSTATUS=%s", manager->state, status);
    if (r < 0 && state[0] != '\0')
        complain(manager, r);
    if (!is_passing(r))
        manager->state = ""; /* delivered, or cannot be */
    return manager->state[0] == '\0' && manager->reload_usec == 0;
}

void manager_tell_reload(struct manager *manager)
{
    int r;

    manager->reload_usec = clock_usec(CLOCK_MONOTONIC);
    r = tell_reload(manager);
    if (r < 0)
        complain(manager, r);
}
