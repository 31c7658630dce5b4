/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exim-quotad: tells Exim how full a mailbox is, and whether a message would fit.
 *
 * Security: below its roots it reads the names and sizes of files, and of their contents only the
 * first 5120 bytes of maildirsize. It writes nothing there. Whoever may connect to its sockets can
 * learn how full any mailbox below the roots is, and nothing else.
 *
 * Diagnostics: go to the systemd journal, or where --log says. The exit status is 0 after a clean
 * end, 1 if it could not start, and 2 for a wrong command line; with sockets from systemd it stays
 * up instead, and replies with errors. With --check-config, the status is 0 if the roots could be
 * opened and the limits file could be read, and otherwise 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "check_config.h"
#include "config.h"
#include "config/options.h"
#include "server/server.h"
#include "server/sockets.h"
#include "system/cleanup.h"
#include "system/clock.h"
#include "system/confine.h"
#include "system/daemon.h"
#include "system/journal.h"
#include "system/pidfile.h"
#include "system/printable.h"
#include "system/privileges.h"
#include "system/sandbox.h"

#define EXIT_USAGE 2

/* The default of --user, as root with --socket. */
#define DEFAULT_USER "mail"

/* How long a misconfigured service stays up. The next query starts one with the current options. */
#define MISCONFIGURED_USEC (10 * 60 * USEC_PER_SEC)

/* Everything that is released at the end. */
struct program {
    int argc;
    char **argv;
    struct options options;
    struct journal *journal;
    struct sockets sockets;
    struct pidfile *pidfile;
    struct daemon daemon;
    char why[OPTIONS_ERROR_BYTES_MAX]; /* why it cannot start, for people; empty: it can */
};

static bool same_file(int a, int b)
{
    struct stat sa, sb;

    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

/* Returns whether standard error is the connection to a client, as under inetd. */
static bool stderr_is_the_client(void)
{
    struct stat st;

    return fstat(STDIN_FILENO, &st) == 0 && S_ISSOCK(st.st_mode) &&
           same_file(STDIN_FILENO, STDERR_FILENO);
}

/* Returns whether standard error is the journal: systemd says which file that is. */
static bool stderr_is_the_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static enum journal_target default_target(const struct options *options)
{
    bool daemon = options->settings.socket_path && !options->foreground;

    if (stderr_is_the_journal())
        return JOURNAL_NATIVE;
    if (daemon || stderr_is_the_client())
        return access(JOURNAL_SOCKET, W_OK) == 0 ? JOURNAL_NATIVE : JOURNAL_NOWHERE;
    return JOURNAL_STDERR;
}

/* Records why the service cannot start. Only the first reason is kept. */
static void fail(struct program *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct program *program, const char *format, ...)
{
    va_list arguments;

    if (program->why[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(program->why, sizeof(program->why), format, arguments);
    va_end(arguments);
}

/* Prints why the service ends, unless standard error is a client. */
static void complain(const char *why)
{
    if (!stderr_is_the_client())
        printable_line(stderr, "exim-quotad: %s", why);
}

static int open_journal(struct program *program)
{
    const struct options *options = &program->options;
    enum journal_target target = options->log == OPTIONS_LOG_FILE     ? JOURNAL_FILE
                                 : options->log == OPTIONS_LOG_SYSLOG ? JOURNAL_SYSLOG
                                                                      : default_target(options);
    int r = journal_open(target, options->log_path, options->debug, &program->journal);

    if (r < 0)
        fail(program, "cannot open the log %s: %s", options->log_path ? options->log_path : "",
             strerror(-r));
    return r;
}

/* Creates the socket of --socket. */
static int make_socket(struct program *program)
{
    const struct settings *settings = &program->options.settings;
    int r = sockets_make(settings->socket_path, settings->socket_mode, &program->sockets);

    if (r == -EADDRINUSE)
        fail(program, "--socket=%s: another process answers there already", settings->socket_path);
    else if (r == -EEXIST)
        fail(program, "--socket=%s: there is a file that is not a socket; it was left alone",
             settings->socket_path);
    else if (r < 0)
        fail(program, "--socket=%s: %s", settings->socket_path, strerror(-r));
    return r;
}

/* Opens the sockets for requests. Returns 0, a negative errno, or EXIT_USAGE if there are none. */
static int open_sockets(struct program *program)
{
    const char *socket_path = program->options.settings.socket_path;
    int r = sockets_take_systemd(&program->sockets, program->journal);

    if (r < 0) {
        fail(program, "cannot take the sockets that systemd passes: %s", strerror(-r));
        return r;
    }
    if (r > 0) {
        if (socket_path)
            journal_log(program->journal, LOG_WARNING,
                        "--socket=%s is ignored: systemd passes the sockets", socket_path);
        if (program->sockets.count > 0)
            return 0;
        fail(program, "systemd passed no stream socket: see the warnings in the journal");
        return -ENOTSOCK;
    }
    if (socket_path)
        return make_socket(program);
    r = sockets_take_stdin(&program->sockets);
    if (r != 0)
        return r < 0 ? r : 0;
    fail(program,
         "there is no socket to answer on: start exim-quotad.socket or exim-quotad-postfix.socket "
         "with systemctl, or give --socket=PATH");
    return EXIT_USAGE;
}

static int acquire_pidfile(struct program *program)
{
    const char *path = program->options.pidfile;
    pid_t other = 0;
    int r;

    if (!path)
        return 0;
    r = pidfile_acquire(path, &program->pidfile, &other);
    if (r == -EEXIST)
        fail(program, "--pidfile=%s: another process (%d) has locked it; stop that one first", path,
             (int)other);
    else if (r < 0)
        fail(program, "--pidfile=%s: %s", path, strerror(-r));
    return r;
}

static int go_into_background(struct program *program)
{
    int r = 0;

    if (program->sockets.origin == SOCKETS_OWN && !program->options.foreground) {
        r = daemon_fork(&program->daemon);
        if (r < 0)
            fail(program, "cannot go into the background: %s", strerror(-r));
    }
    if (r == 0 && program->pidfile) {
        r = pidfile_write(program->pidfile, getpid());
        if (r < 0)
            fail(program, "--pidfile=%s: %s", program->options.pidfile, strerror(-r));
    }
    return r;
}

/* Becomes the user of --user, or by default, as root with a socket of our own, DEFAULT_USER. */
static int drop_privileges(struct program *program)
{
    const char *user = program->options.user;
    int r;

    if (!user && program->sockets.origin == SOCKETS_OWN && geteuid() == 0)
        user = DEFAULT_USER;
    if (!user)
        return 0;
    r = privileges_drop(user);
    if (r == -EINVAL) {
        journal_log(
            program->journal, LOG_WARNING,
            "--user=%s: the process stays root; any user who can read the mailboxes is enough",
            user);
        return 0;
    }
    if (r == -ESRCH)
        fail(program, "--user=%s: there is no such user", user);
    else if (r == -EPERM)
        fail(program, "--user=%s: only root can become another user", user);
    else if (r < 0)
        fail(program, "--user=%s: %s", user, strerror(-r));
    return r;
}

static int open_roots(struct program *program)
{
    struct quota_settings *settings = &program->options.settings.quota;
    const char *failed;
    int r = quota_settings_open_roots(settings, &failed);

    if (r == -ENOSYS)
        fail(program, CONFINE_UNAVAILABLE);
    else if (r < 0)
        fail(program, "--root=%s: %s", failed, strerror(-r));
    else if (settings->roots_count == 0)
        journal_log(program->journal, LOG_WARNING,
                    "no --root: clients can ask about any file on this machine");
    return r;
}

/*
 * As sandbox_allow_directory_of(), but ignores a directory that the user cannot reach or that does
 * not exist: what was opened there before privileges were dropped stays open.
 */
static int allow_directory_of(struct sandbox *sandbox, const char *path, enum sandbox_access access)
{
    int r = sandbox_allow_directory_of(sandbox, path, access);

    return r == -EACCES || r == -ENOENT ? 0 : r;
}

/*
 * As allow_directory_of(), for a file that will be opened. If its name is a symbolic link, the
 * directory to which it leads now is allowed too.
 */
static int allow_file(struct sandbox *sandbox, const char *path, enum sandbox_access access)
{
    _cleanup_(freep) char *real_path = NULL;
    int r = allow_directory_of(sandbox, path, access);

    if (r < 0)
        return r;
    real_path = realpath(path, NULL);
    if (!real_path)
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    return allow_directory_of(sandbox, real_path, access);
}

/*
 * Allows reading below a root. If the service stays running, file systems that are mounted over
 * the root later are allowed too; with sockets from systemd a new process replaces it instead.
 */
static int allow_root(const struct program *program, struct sandbox *sandbox, int root_fd)
{
    const struct sockets *sockets = &program->sockets;
    int r = sandbox_allow(sandbox, root_fd, SANDBOX_READ);

    if (r < 0 || !sockets_listen(sockets) || sockets->origin == SOCKETS_SYSTEMD)
        return r;
    r = sandbox_allow_above(sandbox, root_fd, SANDBOX_READ);
    return r == -EACCES ? 0 : r;
}

/* Allows what the options need, beside reading below the roots. */
static int fill_sandbox(const struct program *program, struct sandbox *sandbox)
{
    const struct options *options = &program->options;
    const struct settings *settings = &options->settings;
    const struct confine *confine = settings->quota.mailbox.confine;
    int r = 0;

    for (size_t i = 0; r == 0 && confine && i < confine_roots(confine); i++)
        r = allow_root(program, sandbox, confine_root_fd(confine, i));
    /* These are opened again, or removed, by name; a file of that name may be another by then. */
    if (r == 0)
        r = allow_file(sandbox, options_config_path(options), SANDBOX_READ_FILE);
    if (r == 0 && settings->quota.limits_path)
        r = allow_file(sandbox, settings->quota.limits_path, SANDBOX_READ_FILE);
    if (r == 0 && options->log_path)
        r = allow_file(sandbox, options->log_path, SANDBOX_APPEND);
    if (r == 0 && options->pidfile)
        r = allow_directory_of(sandbox, options->pidfile, SANDBOX_REMOVE);
    if (r == 0 && program->sockets.origin == SOCKETS_OWN)
        r = allow_directory_of(sandbox, settings->socket_path, SANDBOX_REMOVE);
#ifdef __SANITIZE_ADDRESS__
    /* The check for leaks at the end looks at the process from within. */
    if (r == 0)
        r = sandbox_allow_directory_of(sandbox, "/proc/self", SANDBOX_READ);
#endif
    return r;
}

static int enter_sandbox(struct program *program)
{
    const char *notify_socket = getenv("NOTIFY_SOCKET");
    _cleanup_(sandbox_freep) struct sandbox *sandbox = NULL;
    /* The start of an instance for one connection is not worth an entry. */
    bool is_news = sockets_listen(&program->sockets) && !program->options.settings.misconfigured;
    int news = is_news ? LOG_INFO : LOG_DEBUG;
    int r = sandbox_new(&sandbox);

    /* The time stamps of a log file need the time zone, which is in a file. */
    tzset();
    if (r == 0)
        r = fill_sandbox(program, sandbox);
    if (r == 0)
        r = sandbox_enter(sandbox, notify_socket && notify_socket[0] == '@');
    if (r < 0)
        fail(program, "cannot confine itself with Landlock: %s", strerror(-r));
    else if (r == 0)
        journal_log(program->journal, news == LOG_DEBUG ? LOG_DEBUG : LOG_NOTICE,
                    "Landlock is unavailable (an old kernel, or a container's filter): the process "
                    "could read whatever its user can");
    else
        journal_log(program->journal, news, "confined by Landlock %d: reads below its roots%s%s", r,
                    r >= 4 ? ", no TCP" : "", r >= 6 ? ", no signals to others" : "");
    return r < 0 ? r : 0;
}

static int prepared(void *userdata)
{
    struct program *program = userdata;
    int r = enter_sandbox(program);

    if (r < 0 && !program->options.settings.misconfigured)
        return r;
    r = daemon_ready(&program->daemon);
    if (r < 0)
        fail(program, "cannot detach from the terminal: %s", strerror(-r));
    else
        journal_start(program->journal);
    return r;
}

/* Signals are taken from the event loop, and threads inherit the mask. */
static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int reread(void *userdata, char *error)
{
    const struct program *program = userdata;

    return options_reread(program->argc, program->argv, &program->options, error);
}

static int serve(struct program *program)
{
    const struct server_calls calls = {prepared, reread, program};
    char error[SERVER_ERROR_BYTES_MAX];
    int r =
        server_run(&program->options.settings, &program->sockets, program->journal, &calls, error);

    if (r < 0 && program->why[0] == '\0')
        complain(error);
    return r;
}

static int start(struct program *program)
{
    int r = open_journal(program);

    if (r == 0)
        r = acquire_pidfile(program);
    if (r == 0)
        r = open_sockets(program);
    if (r == 0)
        r = go_into_background(program);
    if (r == 0)
        r = drop_privileges(program);
    if (r == 0)
        r = open_roots(program);
    return r == 0 ? serve(program) : r;
}

/* Returns whether the error would also occur at the next start. */
static bool is_lasting(int error)
{
    return error != -ENOMEM && error != -EMFILE && error != -ENFILE && error != -EAGAIN &&
           error != -EINTR;
}

/*
 * Takes the sockets from systemd, and opens the default log, unless that was done. Returns whether
 * there are such sockets.
 */
static bool have_systemd_sockets(struct program *program)
{
    struct options *options = &program->options;

    if (!program->journal) {
        options->log = OPTIONS_LOG_DEFAULT;
        free(options->log_path);
        options->log_path = NULL;
        if (open_journal(program) < 0)
            return false;
    }
    if (program->sockets.count == 0)
        (void)sockets_take_systemd(&program->sockets, program->journal);
    return program->sockets.count > 0 && program->sockets.origin == SOCKETS_SYSTEMD;
}

/*
 * Answers every query with an error at once, and says why. If the process ended, systemd would only
 * start it again and again, while each client waits for its timeout. No root is used.
 */
static int serve_misconfigured(struct program *program)
{
    char why[PRINTABLE_GROWTH * OPTIONS_ERROR_BYTES_MAX];
    char text[sizeof("misconfigured: ") + sizeof(why)];
    struct settings *settings = &program->options.settings;

    /* The status and replies may be shown on any terminal. The journal escapes its texts itself. */
    (void)printable_write(program->why, why, NULL, NULL);
    (void)snprintf(text, sizeof(text), "misconfigured: %s", why);
    journal_event(program->journal, JOURNAL_MISCONFIGURED, NULL,
                  "misconfigured: %s; every query gets an error until this is corrected and the "
                  "service is restarted",
                  program->why);
    quota_settings_deinit(&settings->quota);
    settings->misconfigured = text;
    settings->exit_idle_usec = MISCONFIGURED_USEC;
    return serve(program);
}

/* r is 0 if the options could be read, or the error. Returns the result of the program. */
static int run(struct program *program, int r)
{
    block_signals();
    if (r == 0)
        r = start(program);
    if (program->why[0] == '\0')
        return r;
    if (is_lasting(r) && have_systemd_sockets(program))
        return serve_misconfigured(program);
    complain(program->why);
    return r;
}

/* Releases what other processes can see. */
static void release(struct program *program)
{
    sockets_unlink(&program->sockets);
    sockets_deinit(&program->sockets);
    pidfile_release(program->pidfile);
    journal_close(program->journal);
}

/* Opens closed standard streams, so that no file that is opened later is taken for one. */
static void open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    closep(&fd);
}

int main(int argc, char **argv)
{
    struct program program = {.argc = argc, .argv = argv, .daemon = DAEMON_NULL};
    int status = EXIT_SUCCESS;
    int r;

    open_standard_streams();
    /* Threads that count allocate little: one arena for all keeps the memory small. */
    mallopt(M_ARENA_MAX, 1);
    /* Large lists of folders go back to the system when they are released. */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    r = options_parse(argc, argv, &program.options, program.why);
    if (program.options.action != OPTIONS_SERVE && sd_listen_fds(0) > 0) {
        /* An end would have systemd start it again, for as long as somebody asks. */
        program.options.action = OPTIONS_SERVE;
        (void)snprintf(program.why, sizeof(program.why),
                       "--help, --version and --check-config are not for a service");
        r = -EINVAL;
    }
    switch (program.options.action) {
    case OPTIONS_HELP:
        options_print_help();
        break;
    case OPTIONS_VERSION:
        puts("exim-quotad " PROJECT_VERSION);
        break;
    case OPTIONS_CHECK_CONFIG:
        if (r < 0)
            status = r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
        else if (check_config(&program.options, stderr_is_the_journal()) < 0)
            status = EXIT_FAILURE;
        break;
    case OPTIONS_SERVE:
        r = run(&program, r == -EINVAL ? EXIT_USAGE : r);
        release(&program);
        if (r == SERVER_LEFT_THREAD)
            _exit(EXIT_SUCCESS); /* what the thread uses must stay until the process ends */
        status = r == EXIT_USAGE ? EXIT_USAGE : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        break;
    }
    options_deinit(&program.options);
    return status;
}
