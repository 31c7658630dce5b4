/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "config.h"
#include "server/connections.h"
#include "server/descriptors.h"
#include "server/listener.h"
#include "server/manager.h"
#include "server/paths_report.h"
#include "server/query.h"
#include "server/reread.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine.h"

/* How soon STATUS= is updated. */
#define STATUS_USEC USEC_PER_SEC

/* How soon notifications, and the loop without memory, are tried again. */
#define RETRY_USEC (100 * USEC_PER_MSEC)

struct server {
    const struct settings *settings;
    struct sockets *sockets;
    struct journal *journal;
    sd_event *event;
    struct query_service *service;
    struct connections *connections;
    struct listeners *listeners;
    struct paths_report *paths_report;
    struct reread *reread;
    struct manager *manager;
    sd_event_source *status;
    sd_event_source *idle;
    sd_event_source *mounts; /* watches mounts; NULL: there is no /proc */
    uint64_t active_usec;    /* when a connection was last closed, or came to rest */
    unsigned int stuck;      /* counts that hung at the last STATUS= */
    bool started;            /* all sockets were taken */
    bool reloading;
    bool rereading; /* the options are being read again */
    bool leaving;   /* idle for long enough, if the limits file can still be read */
    bool let_go;    /* of the roots, once there are no connections */
    bool must_go;  /* a root is one that our Landlock does not allow, or the options have changed */
    bool outdated; /* the options are not those that the service was started with */
    bool broken;   /* the options could not be read again */
    bool stopping;
};

static void set_timer(sd_event_source *timer, uint64_t after_usec)
{
    sd_event_source_set_time_relative(timer, after_usec);
    sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* Whether the next process could not start: our options, or limits, are the last good ones. */
static bool keeps_old(const struct server *server)
{
    return server->broken ||
           (limits_store_is_old(query_limits(server->service)) && !server->outdated);
}

/* Notifies the service manager of the state, and of what could not be sent before. */
static void tell_status(struct server *server, const char *state)
{
    unsigned int stuck = query_stuck(server->service);
    char status[QUERY_STATUS_BYTES_MAX];

    if (stuck > server->stuck)
        journal_event(server->journal, JOURNAL_SCAN_STUCK, NULL,
                      "%u counts take longer than --scan-timeout and still wait for a file system",
                      stuck);
    server->stuck = stuck;
    query_status(server->service, status);
    if (keeps_old(server))
        snprintf(status + strlen(status), sizeof(status) - strlen(status),
                 "; the configuration or limits file cannot be used: the old options and limits "
                 "are in force");
    else if (server->outdated)
        snprintf(status + strlen(status), sizeof(status) - strlen(status),
                 "; the options have changed");
    if (!manager_tell(server->manager, state, status))
        set_timer(server->status, RETRY_USEC);
}

/* Updates STATUS= soon. */
static void status_changed(struct server *server)
{
    int enabled = SD_EVENT_OFF;

    sd_event_source_get_enabled(server->status, &enabled);
    if (enabled == SD_EVENT_OFF)
        set_timer(server->status, STATUS_USEC);
}

/* Ends the loop if there is nothing left to accept or to answer. */
static void finish_if_done(struct server *server)
{
    if (server->started && !listeners_active(server->listeners) &&
        connections_count(server->connections) == 0)
        sd_event_exit(server->event, 0);
}

/* A connection was closed, or is at rest. */
static void on_connection_idle(void *userdata)
{
    struct server *server = userdata;

    sd_event_now(server->event, CLOCK_MONOTONIC, &server->active_usec);
    if (!server->listeners)
        return; /* being released */
    listeners_resume(server->listeners);
    status_changed(server);
    if (server->let_go && connections_busy(server->connections) == 0) {
        server->let_go = false;
        (void)query_release_roots(server->service);
    }
    finish_if_done(server);
}

static void on_drained(void *userdata)
{
    finish_if_done(userdata);
}

static void stop(struct server *server)
{
    server->stopping = true;
    tell_status(server, "STOPPING=1\n");
    if (server->sockets->origin == SOCKETS_OWN) {
        /* Nobody else will serve the queue. */
        sockets_unlink(server->sockets);
        listeners_drain(server->listeners, on_drained, server);
    } else {
        /* systemd keeps the queue for the next process. */
        listeners_stop(server->listeners);
    }
    connections_end(server->connections);
    finish_if_done(server);
}

/* Whether ending would do harm. */
static bool must_stay(const struct server *server)
{
    /* A process that hangs in a file system may not end, and delays the next one. */
    return query_stuck(server->service) > 0 || keeps_old(server);
}

/* Whether the roots are used by more than one connection, and the options are right. */
static bool uses_roots(const struct server *server)
{
    return sockets_listen(server->sockets) && !server->settings->misconfigured;
}

/*
 * Checks where the names of the roots lead now, and releases the roots if there are no connections,
 * so that they can be unmounted. Landlock allows this process the directories that it began with,
 * so if systemd starts another one, it ends. Returns whether it released any.
 */
static bool check_roots(struct server *server)
{
    struct confine *confine = server->settings->quota.mailbox.confine;
    bool systemd = server->sockets->origin == SOCKETS_SYSTEMD;
    bool idle = connections_busy(server->connections) == 0, moved = false;
    const char *root;

    while ((root = confine_moved(confine))) {
        journal_log(server->journal, LOG_NOTICE,
                    "%s is another directory now (something was mounted, unmounted or renamed); %s",
                    root,
                    systemd ? "ending: the next query starts a process that may read it"
                            : "it is read from now on");
        moved = true;
    }
    server->must_go |= moved && systemd;
    if (!server->must_go) {
        server->let_go = !idle;
        return (idle || moved) && query_release_roots(server->service);
    }
    if (!server->stopping && !must_stay(server))
        stop(server);
    return false;
}

static int on_mounts(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct server *server = userdata;

    (void)source;
    (void)fd;
    (void)events;
    (void)check_roots(server);
    status_changed(server); /* and check the roots again, if that could not tell */
    return 0;
}

static int on_status(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct server *server = userdata;
    bool held = uses_roots(server) && check_roots(server);

    (void)usec;
    if (held || connections_busy(server->connections) > 0 || query_stuck(server->service) > 0)
        set_timer(source, STATUS_USEC);
    tell_status(server, "");
    return 0;
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info,
                        void *userdata)
{
    struct server *server = userdata;

    (void)source;
    if (server->stopping)
        journal_log(server->journal, LOG_INFO, "%s again; still answering %zu connections",
                    strsignal((int)info->ssi_signo), connections_count(server->connections));
    else
        stop(server);
    return 0;
}

static bool is_needed(const struct server *server)
{
    return connections_busy(server->connections) > 0 || query_is_busy(server->service) ||
           query_stuck(server->service) > 0;
}

/* Returns whether the service has been idle for long enough. If not, on_idle() is called later. */
static bool is_idle(struct server *server)
{
    uint64_t now_usec, due_usec;

    if (server->settings->misconfigured)
        return true; /* the options may have been corrected */
    sd_event_now(server->event, CLOCK_MONOTONIC, &now_usec);
    due_usec = size_add(is_needed(server) ? now_usec : server->active_usec,
                        server->settings->exit_idle_usec);
    if (now_usec >= due_usec)
        return true;
    sd_event_source_set_time(server->idle, due_usec);
    sd_event_source_set_enabled(server->idle, SD_EVENT_ONESHOT);
    return false;
}

/* Stays, although it is idle, since the next process could not start; tries again later. */
static void stay(struct server *server)
{
    server->leaving = false;
    set_timer(server->idle, server->settings->exit_idle_usec);
}

/* Tells the service manager that everything was read again, unless more is to be read. */
static void finish_reload(struct server *server)
{
    if (!server->reloading || server->rereading)
        return;
    tell_status(server, "READY=1\n");
    server->reloading = false;
}

/* The limits file was read: again, or to find out whether it can be, or both. */
static void on_limits_read(void *userdata)
{
    struct server *server = userdata;
    bool again = server->settings->misconfigured && server->reloading;
    bool leaving = (server->leaving || again) && !server->stopping;

    finish_reload(server);
    server->leaving = false;
    if (!leaving || !is_idle(server))
        return;
    if (keeps_old(server)) {
        stay(server);
        return;
    }
    journal_log(server->journal, LOG_INFO,
                server->settings->misconfigured
                    ? "ending: the next query starts a process that reads the options again"
                    : "idle (--exit-idle-time)");
    stop(server);
}

/*
 * The options were read again. If they have changed, Landlock, threads and the cache cannot be
 * changed in a running process: where systemd starts another one, this one makes room for it.
 */
static void on_reread(int result, const char *error, void *userdata)
{
    struct server *server = userdata;
    bool systemd = server->sockets->origin == SOCKETS_SYSTEMD;
    bool leaves = result > 0 && systemd && server->reloading;
    bool is_news = server->reloading || !server->broken;

    server->rereading = false;
    server->outdated = result > 0;
    server->broken = result < 0;
    server->must_go |= leaves;
    if (result < 0 && is_news)
        journal_log(server->journal, LOG_ERR, "%s; the old options and limits stay in force",
                    error);
    else if (result > 0 && server->reloading)
        journal_log(server->journal, systemd ? LOG_NOTICE : LOG_WARNING,
                    "the options in the configuration file have changed; %s",
                    systemd ? "ending: the next query starts a process that has them"
                            : "they take effect after a restart");
    if (result < 0 && server->leaving)
        stay(server);
    if (result < 0 || leaves)
        finish_reload(server);
    else if (!server->reloading)
        limits_store_probe(query_limits(server->service), on_limits_read, server);
    else
        limits_store_reload(query_limits(server->service), on_limits_read, server);
    if (leaves)
        (void)check_roots(server); /* it makes it end, before anybody else connects */
}

/* Reads the options, and then the limits: to have them, or to find out whether they can be read. */
static void read_again(struct server *server)
{
    server->rereading = !server->settings->misconfigured;
    if (server->rereading)
        reread_start(server->reread);
    else
        on_limits_read(server);
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    struct server *server = userdata;

    (void)source;
    (void)info;
    manager_tell_reload(server->manager);
    journal_reopen(server->journal);
    server->reloading = true;
    read_again(server);
    return 0;
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct server *server = userdata;

    (void)source;
    (void)usec;
    server->leaving = !server->stopping && is_idle(server);
    if (server->leaving)
        read_again(server); /* so that the next process can start */
    return 0;
}

/* Signals come before queries: one after a reload is answered with what was reloaded. */
static int add_signal(struct server *server, int number, sd_event_signal_handler_t handler)
{
    sd_event_source *source;
    int r = sd_event_add_signal(server->event, &source, number, handler, server);

    if (r < 0)
        return r;
    r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
    if (r < 0)
        return r;
    r = sd_event_source_set_floating(source, true);
    sd_event_source_unref(source);
    return r < 0 ? r : 0;
}

static int add_signals(struct server *server)
{
    int r = add_signal(server, SIGTERM, on_terminate);

    if (r == 0)
        r = add_signal(server, SIGINT, on_terminate);
    if (r == 0)
        r = add_signal(server, SIGHUP, on_hangup);
    return r;
}

static void check_paths(struct server *server)
{
    int r;

    if (!uses_roots(server))
        return;
    r = paths_report_new(query_pool(server->service), &server->settings->quota, server->journal,
                         &server->paths_report);
    if (r < 0)
        journal_log(server->journal, LOG_WARNING, "cannot check the roots and templates: %s",
                    strerror(-r));
}

static int add_timers(struct server *server)
{
    int r;

    r = sd_event_add_time_relative(server->event, &server->status, CLOCK_MONOTONIC, STATUS_USEC, 0,
                                   on_status, server);
    if (r < 0 || server->settings->exit_idle_usec == UINT64_MAX)
        return r;
    /* Only systemd would start it again. */
    if (server->sockets->origin != SOCKETS_SYSTEMD)
        return 0;
    return sd_event_add_time_relative(server->event, &server->idle, CLOCK_MONOTONIC,
                                      server->settings->exit_idle_usec, 0, on_idle, server);
}

/* Watches mounts. Without /proc, the roots are only checked after queries. */
static int watch_mounts(struct server *server)
{
    _cleanup_(closep) int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0)
        return 0;
    r = sd_event_add_io(server->event, &server->mounts, fd, EPOLLPRI, on_mounts, server);
    if (r >= 0)
        r = sd_event_source_set_io_fd_own(server->mounts, true);
    if (r < 0)
        return r;
    (void)steal_fd(&fd);
    /* Before queries: one after a mount is answered with what was mounted. */
    r = sd_event_source_set_priority(server->mounts, SD_EVENT_PRIORITY_IMPORTANT);
    return r < 0 ? r : 0;
}

static int add_listeners(struct server *server)
{
    const struct socket_entry *entries = server->sockets->entries;
    int r = 0;

    for (size_t i = 0; r == 0 && i < server->sockets->count; i++)
        if (entries[i].listening)
            r = listeners_add(server->listeners, entries[i].fd, entries[i].protocol);
    return r;
}

static int take_connections(struct server *server)
{
    struct socket_entry *entries = server->sockets->entries;
    int r = 0;

    for (size_t i = 0; r == 0 && i < server->sockets->count; i++)
        if (!entries[i].listening)
            r = connections_take(server->connections, steal_fd(&entries[i].fd),
                                 entries[i].protocol);
    return r;
}

/*
 * Determines how many connections of each protocol there may be: all, or half of them, so that the
 * clients of neither can take the room of the other's.
 */
static void share_out(const struct sockets *sockets, size_t connections_max,
                      size_t ret_max[static PROTOCOL_COUNT_])
{
    bool both =
        sockets_listen_for(sockets, PROTOCOL_LINE) && sockets_listen_for(sockets, PROTOCOL_POLICY);

    for (size_t i = 0; i < PROTOCOL_COUNT_; i++)
        ret_max[i] = both ? (connections_max + 1) / 2 : connections_max;
}

static int start(struct server *server, const struct server_calls *calls)
{
    const struct settings *settings = server->settings;
    size_t connections_max = settings->connections_max, max[PROTOCOL_COUNT_];
    int r;

    if (sockets_listen(server->sockets))
        connections_max = descriptors_raise_limit(settings, server->journal);
    r = sd_event_new(&server->event);
    if (r < 0)
        return r;
    r = query_service_new(server->event, settings, connections_max, sockets_listen(server->sockets),
                          server->journal, &server->service);
    if (r < 0)
        return r;
    share_out(server->sockets, connections_max, max);
    r = connections_new(server->event, server->service, max, settings->timeout_usec,
                        on_connection_idle, server, &server->connections);
    if (r < 0)
        return r;
    r = listeners_new(server->event, server->connections, server->journal, &server->listeners);
    if (r < 0)
        return r;
    r = reread_new(query_pool(server->service), calls->reread, calls->userdata, on_reread, server,
                   &server->reread);
    if (r < 0)
        return r;
    r = manager_new(server->event, server->journal, &server->manager);
    if (r < 0)
        return r;
    r = add_signals(server);
    if (r < 0)
        return r;
    r = add_timers(server);
    if (r == 0 && uses_roots(server))
        r = watch_mounts(server);
    return r;
}

/* Returns whether no thread is left. */
static bool release(struct server *server)
{
    struct listeners *listeners = server->listeners;
    bool ended = true;

    server->listeners = NULL;
    if (server->connections)
        connections_free(server->connections);
    listeners_free(listeners);
    sd_event_source_disable_unref(server->status);
    sd_event_source_disable_unref(server->idle);
    sd_event_source_disable_unref(server->mounts);
    if (server->service)
        ended = query_service_end(server->service);
    if (ended) {
        paths_report_free(server->paths_report);
        reread_free(server->reread);
    } else
        journal_log(server->journal, LOG_WARNING,
                    "exiting while a thread still waits for a file system");
    manager_free(server->manager);
    sd_event_unref(server->event);
    return ended;
}

/* Runs the loop to its end; lack of memory does not end it. Returns 0, or -errno and *error. */
static int run_loop(struct server *server, char *error)
{
    int r;

    while ((r = sd_event_loop(server->event)) == -ENOMEM) {
        journal_log(server->journal, LOG_WARNING, "out of memory; continuing");
        (void)poll(NULL, 0, RETRY_USEC / USEC_PER_MSEC);
    }
    if (r < 0)
        snprintf(error, SERVER_ERROR_BYTES_MAX, "cannot continue: %s", strerror(-r));
    return r < 0 ? r : 0;
}

int server_run(const struct settings *settings, struct sockets *sockets, struct journal *journal,
               const struct server_calls *calls, char *error)
{
    struct server server = {.settings = settings, .sockets = sockets, .journal = journal};
    struct counters counters;
    bool ended;
    int r;

    error[0] = '\0';
    r = start(&server, calls);
    if (r == 0)
        limits_store_load(query_limits(server.service), !sockets_listen(sockets));
    if (r == 0)
        r = add_listeners(&server);
    if (r == 0)
        r = calls->prepared(calls->userdata);
    if (r == 0)
        r = take_connections(&server);
    if (r < 0) {
        if (error[0] == '\0')
            snprintf(error, SERVER_ERROR_BYTES_MAX, "cannot start: %s", strerror(-r));
        (void)release(&server);
        return r;
    }
    /* An instance for one connection is no news. */
    if (uses_roots(&server))
        journal_event(journal, JOURNAL_STARTED, NULL, "exim-quotad %s answers on %zu socket%s%s",
                      PROJECT_VERSION, sockets->count, sockets->count == 1 ? "" : "s",
                      sockets->origin == SOCKETS_SYSTEMD ? " passed by systemd" : "");
    check_paths(&server);
    tell_status(&server, "READY=1\n");
    server.started = true;
    if (uses_roots(&server))
        (void)check_roots(&server); /* what was mounted since they were opened */
    finish_if_done(&server);
    r = run_loop(&server, error);
    counters = *query_counters(server.service);
    ended = release(&server);
    if (sockets_listen(sockets))
        journal_event(journal, JOURNAL_STOPPED, NULL,
                      "stopped after %" PRIu64 " queries, %" PRIu64 " over quota, %" PRIu64
                      " errors",
                      counters.queries, counters_over(&counters), counters_errors(&counters));
    return r < 0 ? r : ended ? 0 : SERVER_LEFT_THREAD;
}
