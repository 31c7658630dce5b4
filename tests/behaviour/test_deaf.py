# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever takes the log, or listens for notifications, stops reading: answers go on."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from typing import Callable

from daemon import PATIENCE_SECONDS, Daemon, DaemonTestCase, needs_root, wait_for
from hangfs import HangFs, needs_hangfs
from mailboxes import make_maildir

# Entries about so many paths are more than what any queue holds.
MANY = 4000

LOST = re.compile(r'([0-9]+) entries were lost: the log was unavailable, full or too slow')


class DeafTestCase(DaemonTestCase):
    """A mailbox, and questions each of which is worth an entry."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])

    def ask_many(self, daemon: Daemon, count: int = MANY) -> None:
        """Asks questions that are answered, and reported, as errors."""
        for number in range(count):
            self.assertEqual(daemon.number(f'/etc/{number}'), 0)
        self.assertEqual(daemon.number(self.path), 123)

    def check(self, text: str, count: int = MANY, torn: int = 0) -> None:
        """Fails unless these lines have the entries in order, and say how many are missing.

        At most torn lines may be cut off.
        """
        whole = re.compile(r'(\S+ \S+ )?exim-quotad\[\d+\]: [a-z]+: [^\[\]]+')
        broken = [line for line in text.splitlines() if not whole.fullmatch(line)]
        self.assertLessEqual(len(broken), torn, broken)
        numbers = [int(found) for found in
                   re.findall(r': /etc/([0-9]+): leads .* the mail is accepted\n', text)]
        self.assertEqual(numbers, sorted(numbers))
        lost = sum(int(found) for found in LOST.findall(text))
        self.assertGreater(lost, 0)
        self.assertEqual(len(numbers) + lost, count)

    def assert_ends_soon(self, daemon: Daemon) -> None:
        """Fails unless it ends well although its log hangs."""
        before = time.monotonic()
        self.stop(daemon)
        self.assertLess(time.monotonic() - before, PATIENCE_SECONDS / 3)


class PipeTest(DeafTestCase):
    """Standard error, or the log file, is a pipe that nobody reads."""

    def read_until_told(self, fd: int, already: str = '') -> str:
        """Reads until it was told how much was lost."""
        text = already
        while not LOST.search(text) or not text.endswith('\n'):
            self.assertTrue(select.select([fd], [], [], PATIENCE_SECONDS)[0], text[-1000:])
            text += os.read(fd, 65536).decode()
        return text

    def test_standard_error(self):
        pipe, end = os.pipe()
        self.addCleanup(os.close, pipe)
        with open(end, 'wb', closefd=True):
            daemon = self.start(log=None, descriptors={2: end})
        self.ask_many(daemon)
        self.check(self.read_until_told(pipe))
        self.ask_many(daemon)
        self.assert_ends_soon(daemon)

    def test_log_file(self):
        fifo = self.folder / 'fifo'
        os.mkfifo(fifo, 0o666)
        pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, pipe)
        daemon = self.start(log=fifo)
        self.ask_many(daemon)
        self.check(self.read_until_told(pipe))
        self.ask_many(daemon)
        self.assert_ends_soon(daemon)


@needs_root
class FullDiskTest(DeafTestCase):
    """The log lies on a disk that is full."""

    def test_full_disk(self):
        place = self.folder / 'disk'
        place.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k,mode=1777', 'none', place],
                       check=True)
        self.addCleanup(subprocess.run, ['umount', '-l', place], check=True)
        daemon = self.start(log=place / 'log')
        wait_for(lambda: 'answers on' in daemon.log_text(), 'it has told of its start')
        with contextlib.suppress(OSError), open(place / 'filler', 'wb', buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        self.ask_many(daemon, 300)
        (place / 'filler').unlink()
        daemon.number('/etc/300')
        wait_for(lambda: LOST.search(daemon.log_text()), 'it is told')
        self.check(daemon.log_text(), 301, torn=1)  # the one for which there was half a place

    def test_disk_that_stays_full(self):
        daemon = self.start(log='/dev/full')
        self.ask_many(daemon)
        self.stop(daemon)


@needs_hangfs
class HangingDiskTest(DeafTestCase):
    """The log lies on a file system that hangs when the log is opened again."""

    def test_reload(self):
        source, shown = self.folder / 'source', self.folder / 'shown'
        logs = self.folder / 'logs'
        for path in source, shown, logs:
            path.mkdir()
        logs.chmod(0o777)  # the daemon becomes another user
        log = logs / 'log'
        (source / 'log').symlink_to(log)
        hangfs = HangFs(source, shown)
        self.addCleanup(hangfs.stop)
        notify = self.listen_for_notifications()
        notify.settimeout(PATIENCE_SECONDS)
        daemon = self.start(log=shown / 'log', environment=self.notify_environment())

        def wait_until_ready() -> None:
            while b'READY=1' not in notify.recv(65536).split(b'\n'):
                pass

        wait_until_ready()
        self.ask_many(daemon, 10)
        old = log.rename(logs / 'log.1')
        hangfs.say('hang look')
        daemon.process.send(signal.SIGHUP)
        wait_until_ready()
        hangfs.say('await 1')
        self.ask_many(daemon, MANY)
        hangfs.say('wake')
        wait_for(lambda: log.exists() and LOST.search(log.read_text()), 'it is told')
        self.check(log.read_text(), MANY - 10)
        self.assertEqual(len(re.findall(': /etc/', old.read_text())), 10)


@needs_root
class SyslogTest(DeafTestCase):
    """The syslog daemon does not read, or is started anew."""

    def setUp(self) -> None:
        super().setUp()
        self.dev = self.folder / 'dev'
        self.dev.mkdir()
        for name in 'null', 'urandom':
            (self.dev / name).touch()
        self.syslog = self.listen_for_datagrams(self.dev / 'log')

    def start_there(self) -> Daemon:
        """Starts a daemon whose /dev/log is ours."""
        return self.start('--log=syslog', log=None, wrapper=(
            '/usr/bin/unshare', '--mount', '/bin/sh', '-ec',
            f'mount --bind /dev/null {self.dev}/null;'
            f'mount --bind /dev/urandom {self.dev}/urandom;'
            f'mount --rbind {self.dev} /dev; exec "$0" "$@"'))

    def read_until(self, is_last: Callable[[str], bool]) -> list[str]:
        """Returns the entries that come, up to such a one."""
        entries = []
        while not entries or not is_last(entries[-1]):
            self.assertTrue(select.select([self.syslog], [], [], PATIENCE_SECONDS)[0], 'no entry')
            entries.append(self.syslog.recv(65536).decode())
        return entries

    def test_deaf(self):
        daemon = self.start_there()
        self.ask_many(daemon)
        entries = self.read_until(LOST.search)
        # As the lines of a file, for which there is a check.
        self.check(''.join(re.sub(r'^<[0-9]+>.{16}exim-quotad\[[0-9]+\]:',
                                  'exim-quotad[1]: warning:', entry) + '\n' for entry in entries))
        self.ask_many(daemon)
        self.assert_ends_soon(daemon)

    def test_started_anew(self):
        daemon = self.start_there()
        self.syslog.close()
        (self.dev / 'log').unlink()
        self.ask_many(daemon, 5)
        self.syslog = self.listen_for_datagrams(self.dev / 'log')
        daemon.number('/etc/heard')
        entries = self.read_until(LOST.search)
        self.assertIn(': /etc/heard: leads outside', entries[0])
        self.assertEqual(LOST.search(entries[1])[1], '5')


class NotifyTest(DeafTestCase):
    """The service manager does not read what it is told."""

    def setUp(self) -> None:
        super().setUp()
        self.notify = self.listen_for_notifications()

    def fill(self) -> None:
        """Sends it what others tell it, until it takes no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b'STATUS=other', str(self.folder / 'notify'))

    def hear(self, *wanted: bytes) -> list[bytes]:
        """Reads until these lines were told, and returns all that were, but those of others."""
        lines: list[bytes] = []
        while not set(wanted) <= set(lines):
            self.assertTrue(select.select([self.notify], [], [], PATIENCE_SECONDS)[0], lines)
            lines += self.notify.recv(65536).split(b'\n')
        return [line for line in lines if line != b'STATUS=other']

    def test_deaf(self):
        self.fill()
        path = self.folder / 'socket-0'
        daemon = self.spawn(f'--socket={path}', '--foreground', address=path, environment={
            **self.notify_environment(), 'WATCHDOG_USEC': '100000'})
        wait_for(daemon.answers, 'it answers')
        until = time.monotonic() + 1
        while time.monotonic() < until:  # the watchdog is due, and again
            self.assertEqual(daemon.number(self.path), 123)
        self.hear(b'READY=1', b'WATCHDOG=1')

        self.fill()
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: any('notify the service manager' in text for text in daemon.warnings()),
                 'it cannot be told')
        self.assertEqual(daemon.number(self.path), 123)
        lines = self.hear(b'RELOADING=1', b'READY=1')
        self.assertLess(lines.index(b'RELOADING=1'), lines.index(b'READY=1'))

        self.fill()
        self.assertEqual(daemon.number(self.path), 123)
        self.assert_ends_soon(daemon)

    def test_told_that_it_stops(self):
        daemon = self.start('--timeout=86400000', environment=self.notify_environment())
        self.hear(b'READY=1')
        with daemon.connect() as client:
            wait_for(lambda: daemon.stats()['connections'] >= 1, 'it is accepted')
            self.fill()
            daemon.process.send(signal.SIGTERM)
            wait_for(lambda: any('notify the service manager' in text
                                 for text in daemon.warnings()), 'it cannot be told')
            self.hear(b'STOPPING=1')
            client.sendall(bytes(self.path) + b'\n')
            self.assertEqual(client.recv(100), b'123\n')
        self.assert_ended_well(daemon)
