# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting exim-quotad as those start it who use it, asking it, and seeing to it that it ends well.

The binary is the one that the environment variable EXIM_QUOTAD names. A test fails if the daemon
that it started ends with another status than 0, does not end, or leaves a sanitizer's report.
"""

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import tempfile
import termios
import time
import unittest
from pathlib import Path
from typing import Callable, Iterable, Mapping, NamedTuple, Optional, Sequence, TypeVar, Union

from mailboxes import make_maildir

# How long anything may take before it counts as never happening. Nothing is asserted about less.
PATIENCE_SECONDS = 60

# What every comparison reads as full: the answer of --on-error=defer.
FULL = 9223372036854775807

# A file system that never makes anybody wait.
FOLDER_IN_MEMORY = '/dev/shm'

# The first descriptor that systemd passes.
LISTEN_FDS_START = 3

# Says LISTEN_PID as systemd does, which knows the number of the process before it becomes us.
SET_LISTEN_PID = ('/bin/sh', '-c', 'export LISTEN_PID=$$; exec "$0" "$@"')

# The thread that writes the log, where it has to be waited for.
LOG_THREAD = 'quotad-log'

SANITIZER_REPORT = re.compile(r'Sanitizer|runtime error:')

needs_root = unittest.skipUnless(os.geteuid() == 0, 'must be run by root')

Request = Union[str, bytes, Path]
Found = TypeVar('Found')


class Entry(NamedTuple):
    """A line of the log."""

    pid: int
    priority: str
    text: str


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


def is_long() -> bool:
    """Says whether the tests that take long, or the long form of a test, are wanted."""
    return bool(os.environ.get('EXIM_QUOTAD_LONG'))


def is_sanitized() -> bool:
    """Says whether the daemon runs under a sanitizer: it keeps what was freed, and is slow."""
    return bool(os.environ.get('ASAN_OPTIONS'))


def sample(things: Iterable[Found]) -> list[Found]:
    """Returns all of them, or under a sanitizer every fourth, unless all is wanted.

    It is for what starts a process for each, of which the plain build leaves out nothing.
    """
    return list(things)[::4 if is_sanitized() and not is_long() else 1]


def binary() -> str:
    """Returns the path of the daemon that is tested."""
    return os.environ['EXIM_QUOTAD']


def passing(sockets: Sequence, names: Sequence[str] = ()) -> dict:
    """Returns the arguments of DaemonTestCase.spawn() that pass sockets, or files, as systemd."""
    environment = {'LISTEN_FDS': str(len(sockets))}
    if names:
        environment['LISTEN_FDNAMES'] = ':'.join(names)
    return {
        'wrapper': SET_LISTEN_PID,
        'environment': environment,
        'descriptors': {LISTEN_FDS_START + i: each.fileno() for i, each in enumerate(sockets)},
    }


def wait_for(look: Callable[[], Found], what: str) -> Found:
    """Looks again and again until there is something, and returns that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f'{what}: not within {PATIENCE_SECONDS} seconds')
        time.sleep(0.005)
    return found


def settle(pid: int, threads: bool = False) -> None:
    """Waits until a daemon has written to its log what there is to be told, or hangs.

    With threads, it also waits for those that read mailboxes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:  # a thread may begin during the first look
        busy = _is_logging(pid) or threads and any(state in 'RD' for _, state in _threads(pid))
        quiet = 0 if busy else quiet + 1
        if not quiet:
            time.sleep(0.001)


def _is_logging(pid: int) -> bool:
    """Says whether the event loop is at work, or the thread that writes the log.

    That may be any thread that has not given itself a name yet.
    """
    threads = _threads(pid)
    named = [state for name, state in threads if name == LOG_THREAD]
    others = [state for _, state in threads[1:]]
    return any(state in 'RD' for state in [state for _, state in threads[:1]] + (named or others))


def count_threads(pid: int) -> int:
    """Returns how many threads a daemon has, but for the one that writes its log."""
    settle(pid)
    return len([name for name, _ in _threads(pid) if name != LOG_THREAD])


def _threads(pid: int) -> list[tuple[str, str]]:
    """Returns the names and states of the threads of a process, the main one first."""
    threads = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in sorted(Path(f'/proc/{pid}/task').iterdir(), key=lambda each: int(each.name)):
            _, name, rest = re.split(r' \(|\) ', (task / 'stat').read_text('ascii'), 2)
            threads.append((name, rest[0]))
    return threads


def open_files(pid: int) -> list[str]:
    """Returns what the descriptors of a process are open on."""
    found = []
    for each in Path(f'/proc/{pid}/fd').iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(each))
    return found


def open_files_but_roots(pid: int) -> list[str]:
    """Returns those of a daemon that come and go with its clients.

    It lets go of its roots while nobody asks, and opens inotify when it first watches something.
    """
    arguments = os.fsdecode(Path(f'/proc/{pid}/cmdline').read_bytes()).split('\0')
    roots = {os.path.realpath(each.partition('=')[2]) for each in arguments
             if each.startswith('--root=')}
    return [each for each in open_files(pid)
            if each not in roots and each != 'anon_inode:inotify']


def to_bytes(request: Request) -> bytes:
    """Returns a request, or a path, as the bytes of a line without its LF."""
    return request if isinstance(request, bytes) else os.fsencode(request)


def connect(address: Union[str, Path, tuple]) -> socket.socket:
    """Connects to a socket file, or to a host and port."""
    unix = not isinstance(address, tuple)
    client = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
    try:
        client.settimeout(PATIENCE_SECONDS)
        client.connect(str(address) if unix else address)
    except BaseException:
        client.close()
        raise
    return client


def send_and_be_read(client: socket.socket, data: bytes) -> None:
    """Sends, and returns when the other end has taken all of it out of the socket."""
    client.sendall(data)
    wait_for(lambda: not int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), 'little'),
             'what was sent is read')


def read_all(client: socket.socket) -> bytes:
    """Reads to the end of the connection, and closes it.

    A daemon that leaves bytes unread when it closes resets the connection behind its reply.
    """
    received = b''
    with client, contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            received += part
    return received


def ask(address: Union[str, Path, tuple], request: Request) -> bytes:
    """Asks as Exim does: one line, then the end of input. Returns the whole reply."""
    client = connect(address)
    client.sendall(to_bytes(request) + b'\n')
    client.shutdown(socket.SHUT_WR)
    return read_all(client)


def has_reply(client: socket.socket) -> bool:
    """Says whether there is something to read, or the end of it."""
    return bool(select.select([client], [], [], 0)[0])


def parse_pairs(reply: bytes) -> dict[str, str]:
    """Takes a reply apart that is a line of pairs, as Exim's ${extract} does."""
    pair = re.compile(r'([a-z_]+)=(?:"((?:[^"\\]|\\[0-7]{3}|\\["\\])*)"|([^ "\\]+))(?: |\n$)')
    text = os.fsdecode(reply)
    pairs, at = {}, 0
    while at < len(text):
        found = pair.match(text, at)
        if not found:
            raise AssertionError(f'no line of pairs: {reply!r}')
        name, quoted, plain = found.groups()
        pairs[name] = plain if quoted is None else re.sub(
            r'\\([0-7]{3}|.)', lambda e: e[1] if len(e[1]) == 1 else chr(int(e[1], 8)), quoted)
        at = found.end()
    if not text.endswith('\n'):
        raise AssertionError(f'no line: {reply!r}')
    return pairs


class Process:
    """A process that was started and has to be waited for."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str],
                 descriptors: Mapping[int, int]):
        """Starts it. descriptors says which of ours is which of its."""
        copies = {fd: fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 100)
                  for fd, ours in descriptors.items()}
        try:
            self._adopt(os.posix_spawn(arguments[0], arguments, environment, file_actions=[
                (os.POSIX_SPAWN_DUP2, copy, fd) for fd, copy in copies.items()]))
        finally:
            for copy in copies.values():
                os.close(copy)

    def _adopt(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self.status: Optional[int] = None  # as that of subprocess: negative is a signal
        self._paused = False

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Optional[int]:
        """Waits for its end, and returns its status, or None if it goes on."""
        if self.status is None and select.select([self._pidfd], [], [], seconds)[0]:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._pidfd)
        return self.status

    def send(self, number: int) -> None:
        """Sends it a signal, if it is still there."""
        if self.wait(0) is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def pause(self) -> None:
        """Stops it, and returns when it does nothing any more."""
        self._paused = True
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PIDFD, self._pidfd, os.WSTOPPED)

    def resume(self) -> None:
        """Lets it go on, if it was stopped. Others never get this signal: it may upset LSan."""
        if self._paused:
            self._paused = False
            self.send(signal.SIGCONT)

    def end(self) -> Optional[int]:
        """Makes it end, if it has not, and returns its status, or None if it had to be killed."""
        self.send(signal.SIGTERM)
        self.resume()
        if self.wait() is None:
            self.send(signal.SIGKILL)
            self.wait()
            return None
        return self.status


class Daemon:
    """A running exim-quotad, and the files that tell what it does."""

    def __init__(self, process: Process, address: Union[Path, tuple, None], folder: Path,
                 log: Path):
        self.process = process
        self.pid = process.pid
        self.address = address
        self.folder = folder
        self.log = log

    def connect(self) -> socket.socket:
        """Connects to the socket that it answers on."""
        return connect(self.address)

    def ask(self, request: Request) -> bytes:
        """Asks as Exim does, and returns the whole reply."""
        return ask(self.address, request)

    def answers(self) -> bool:
        """Says whether it answers by now: its socket's file is there a little earlier."""
        try:
            return bool(self.ask(b'ping\n'))
        except (ConnectionRefusedError, FileNotFoundError):
            return False

    def number(self, path: Request) -> int:
        """Asks by the path form, and returns the number that is the reply."""
        reply = self.ask(path)
        if not re.fullmatch(rb'[0-9]+\n', reply):
            raise AssertionError(f'no number: {reply!r}')
        return int(reply)

    def pairs(self, request: Request) -> dict[str, str]:
        """Asks, and returns the pairs of the reply."""
        return parse_pairs(self.ask(request))

    def usage(self, path: Request) -> dict[str, str]:
        """Asks for the usage of a mailbox."""
        return self.pairs(b'usage ' + to_bytes(path))

    def stats(self) -> dict[str, int]:
        """Asks for the counters, without those that are lists."""
        return {key: int(value) for key, value in self.pairs('stats').items() if value.isdigit()}

    def stderr(self) -> str:
        """Returns what it wrote to standard error so far."""
        settle(self.pid)
        return (self.folder / 'stderr').read_text('utf-8', 'replace')

    def log_text(self) -> str:
        """Returns what its log holds so far."""
        settle(self.pid)
        return self.log.read_text('utf-8', 'surrogateescape')

    def entries(self, priority: Optional[str] = None) -> list[Entry]:
        """Returns what its log holds so far, or only the entries of that priority."""
        line = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d exim-quotad\[(\d+)\]: ([a-z]+): (.*)')
        entries = []
        for text in self.log_text().split('\n')[:-1]:
            found = line.fullmatch(text)
            if not found:
                raise AssertionError(f'no line of a log: {text!r}')
            entries.append(Entry(int(found[1]), found[2], found[3]))
        return [entry for entry in entries if priority in (None, entry.priority)]

    def warnings(self) -> list[str]:
        """Returns the texts of the entries that an operator is to read."""
        return [entry.text for entry in self.entries()
                if entry.priority not in ('notice', 'info', 'debug')]

    def warnings_about(self, subject: str) -> list[str]:
        """Returns those of them that are about this path, or about this line."""
        return [text for text in self.warnings() if text.startswith(f'{subject}: ')]


class DaemonTestCase(unittest.TestCase):
    """A test with a folder of its own, in which daemons are started and mailboxes made."""

    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0o022))
        self.folder = Path(tempfile.mkdtemp(prefix='exim-quotad-'))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)  # for daemons that become another user
        self.root = self.folder / 'mail'
        self.root.mkdir()
        # A daemon that ends waits only a little for a log on a busy disk, and drops the rest.
        self.logs = Path(tempfile.mkdtemp(prefix='exim-quotad-', dir=FOLDER_IN_MEMORY))
        self.addCleanup(shutil.rmtree, self.logs)
        self.logs.chmod(0o755)
        self.daemons: list[Daemon] = []

    def failure_report(self) -> str:
        """Returns the log and standard error of every daemon, for whoever reads of a failure."""
        report = []
        for daemon in self.daemons:
            for file in sorted(daemon.folder.iterdir()):
                if file.is_file() and file.stat().st_size > 0:
                    report.append(f'{file}:\n' + file.read_text('utf-8', 'replace')[-8192:])
        return '\n'.join(report)

    def start(self, *options: str, root: Optional[Path] = None, **how) -> Daemon:
        """Starts a daemon with a socket of its own in the foreground, and waits until it is ready.

        root=Path() stands for no --root.
        """
        socket_path = self.folder / f'socket-{len(self.daemons)}'
        return self._start((f'--socket={socket_path}', '--foreground', *options), socket_path,
                           root, **how)

    def start_with(self, sockets: Sequence[socket.socket], *options: str,
                   names: Sequence[str] = (), root: Optional[Path] = None) -> Daemon:
        """Starts a daemon that is passed sockets as systemd does it, and waits until it is ready.

        Questions go to the first of the sockets.
        """
        return self._start(options, sockets[0].getsockname(), root, **passing(sockets, names))

    def spawn(self, *options: str, root: Optional[Path] = None, log: Union[str, Path, None] = '',
              wrapper: Sequence[str] = (), environment: Optional[Mapping[str, str]] = None,
              descriptors: Optional[Mapping[int, int]] = None,
              address: Union[Path, tuple, None] = None) -> Daemon:
        """Starts a daemon, and waits for nothing.

        log is where it logs: a file of its own if nothing is said, None to leave it to the daemon.
        """
        folder = self.logs / f'daemon-{len(self.daemons)}'
        folder.mkdir()
        folder.chmod(0o1777)
        path = folder / 'log' if log == '' or log is None else Path(log)
        if root != Path():
            options = (f'--root={root or self.root}', *options)
        if log is not None:
            options = (f'--log={path}', *options)
        with contextlib.ExitStack() as files:
            standard = {
                0: files.enter_context(open('/dev/null', 'rb')).fileno(),
                1: files.enter_context(open(folder / 'stdout', 'wb')).fileno(),
                2: files.enter_context(open(folder / 'stderr', 'wb')).fileno(),
            }
            process = Process(_command(wrapper, options), _environment(folder, environment),
                              {**standard, **(descriptors or {})})
        daemon = Daemon(process, address, folder, path)
        self.daemons.append(daemon)
        self.addCleanup(self.end_daemon, daemon)
        return daemon

    def run_to_end(self, *options: str, **how) -> Ended:
        """Runs the command, which is expected to end by itself, and returns how it did."""
        daemon = self.spawn(*options, root=Path(), log=None, **how)
        status = daemon.process.wait()
        self.assertIsNotNone(status, 'it does not end')
        daemon.process.status = 0  # an end that the test judges is none to complain about
        return Ended(status, (daemon.folder / 'stdout').read_text('utf-8', 'replace'),
                     daemon.stderr())

    def run_to_failure(self, status: int, *options: str, **how) -> str:
        """Runs the command, which is expected to end with that status and one line: returns it."""
        ended = self.run_to_end(*options, **how)
        self.assertEqual(ended.status, status)
        self.assertEqual(ended.stdout, '')
        self.assertRegex(ended.stderr, r'\Aexim-quotad: .+\n\Z')
        return ended.stderr

    def survivor_of(self, two: Sequence[Daemon], said: str) -> Daemon:
        """Waits until one of two has given up for that reason, and returns the other one."""
        wait_for(lambda: any(each.process.wait(0) is not None for each in two), 'one gives up')
        [winner] = [each for each in two if each.process.status is None]
        [loser] = [each for each in two if each.process.status is not None]
        self.assertEqual(loser.process.status, 1)
        self.assertIn(said, loser.stderr())
        loser.process.status = 0  # this end was meant to be
        return winner

    def kill(self, daemon: Daemon) -> None:
        """Ends a daemon by SIGKILL."""
        daemon.process.send(signal.SIGKILL)
        daemon.process.wait()
        daemon.process.status = 0  # this is no end that it could help

    def connect(self, address: Union[Daemon, Path, str, tuple]) -> socket.socket:
        """Connects, until the test is over."""
        client = connect(address.address if isinstance(address, Daemon) else address)
        self.addCleanup(client.close)
        return client

    def listen(self, address: Union[Path, str, tuple], kind: int = socket.SOCK_STREAM,
               backlog: int = 128) -> socket.socket:
        """Makes a socket as a service manager does, until the test is over."""
        unix = not isinstance(address, tuple)
        listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, kind)
        self.addCleanup(listener.close)
        listener.bind(str(address) if unix else address)
        if kind == socket.SOCK_STREAM:
            listener.listen(backlog)
        return listener

    def listen_for_datagrams(self, path: Path) -> socket.socket:
        """Makes a socket that any user may send to, until the test is over."""
        listener = self.listen(path, socket.SOCK_DGRAM)
        path.chmod(0o777)
        return listener

    def listen_for_notifications(self) -> socket.socket:
        """Makes a socket that stands for the service manager's, until the test is over."""
        return self.listen_for_datagrams(self.folder / 'notify')

    def notify_environment(self) -> dict[str, str]:
        """Returns what makes a daemon, in whose environment it is, tell that socket."""
        return {'NOTIFY_SOCKET': str(self.folder / 'notify')}

    def stop(self, daemon: Daemon) -> None:
        """Ends a daemon by SIGTERM, and fails unless it ends well."""
        status = daemon.process.end()
        self.assertIsNotNone(status, 'it did not end by SIGTERM and was killed')
        self.assert_ended_well(daemon)

    def end_daemon(self, daemon: Daemon) -> None:
        """Ends a daemon, unless the test has done so, and fails unless its end was good."""
        if daemon.process.wait(0) is None:
            self.stop(daemon)
        else:
            self.assert_ended_well(daemon)

    def assert_ended_well(self, daemon: Daemon) -> None:
        """Fails unless the daemon has ended, or ends now by itself, with status 0."""
        self.assertEqual(daemon.process.wait(), 0, 'the status that it ended with')
        for report in daemon.folder.glob('sanitizer*'):
            self.fail(f'the report of a sanitizer:\n{report.read_text("utf-8", "replace")}')
        self.assertNotRegex(daemon.stderr(), SANITIZER_REPORT)

    def _start(self, options: Sequence[str], address: Union[Path, tuple], root: Optional[Path],
               environment=None, **how) -> Daemon:
        path = self.folder / f'notify-{len(self.daemons)}'
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            path.chmod(0o777)
            environment = {'NOTIFY_SOCKET': str(path), **(environment or {})}
            daemon = self.spawn(*options, root=root, environment=environment, address=address,
                                **how)
            if environment['NOTIFY_SOCKET'] == str(path):
                _wait_until_ready(daemon, notify)
        return daemon


class OwnSocketTestCase(DaemonTestCase):
    """A test with a mailbox of 123 bytes, and a socket in a folder that any daemon may write."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])
        self.place = self.folder / 'run'
        self.place.mkdir()
        self.place.chmod(0o777)
        self.socket = self.place / 'socket'

    def start_there(self, *options: str, **how) -> Daemon:
        """Starts a daemon in the foreground whose socket is that one."""
        daemon = self.start(f'--socket={self.socket}', *options, **how)
        daemon.address = self.socket
        return daemon


def _command(wrapper: Sequence[str], options: Sequence[str]) -> list[str]:
    return [*wrapper, binary(), *options]


def _environment(folder: Path, more: Optional[Mapping[str, str]]) -> dict[str, str]:
    """Returns what the daemon's environment is: nothing of ours but what programs need to run."""
    kept = {name: os.environ[name] for name in ('PATH', 'LC_ALL', 'LANG', 'TZ')
            if name in os.environ}
    for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS', 'TSAN_OPTIONS'):
        given = os.environ.get(name)
        kept[name] = f'{given + ":" if given else ""}log_path={folder}/sanitizer'
    return {**kept, **(more or {})}


def _wait_until_ready(daemon: Daemon, notify: socket.socket) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    ready = b''
    while b'READY=1' not in ready.split(b'\n'):
        ended = daemon.process.wait(0) is not None  # and may have been ready before
        if select.select([notify], [], [], 0 if ended else 0.02)[0]:
            ready = notify.recv(8192)
        elif ended:
            raise AssertionError(f'it did not start: status {daemon.process.status}, '
                                 f'{daemon.stderr()!r}')
        elif time.monotonic() > deadline:
            raise AssertionError(f'it was not ready within {PATIENCE_SECONDS} seconds')
