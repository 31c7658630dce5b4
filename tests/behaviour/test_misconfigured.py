# SPDX-License-Identifier: GPL-2.0-or-later
"""A misconfigured service with sockets of systemd stays up, and says so to everybody."""

import os
import signal
import socket
import subprocess
import time
from typing import Sequence

import without_calls
from daemon import (FULL, PATIENCE_SECONDS, Daemon, DaemonTestCase, has_reply, parse_pairs, passing,
                    read_all, wait_for)
from mailboxes import make_maildir

TYPO = '--rooot=/var/mail'


class MisconfiguredTest(DaemonTestCase):
    """A mailbox, a socket to be passed, and one that stands for the service manager's."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])
        self.listener = self.listen(self.folder / 'socket')
        self.notify = self.listen_for_notifications()
        self.notify.settimeout(PATIENCE_SECONDS)

    def start_wrong(self, *options: str, log: object = '', wrapper: Sequence[str] = ()
                    ) -> Daemon:
        """Starts a daemon with options of which some are wrong, and waits until it is ready."""
        how = passing([self.listener])
        how['wrapper'] = (*wrapper, *how['wrapper'])
        how['environment'] |= self.notify_environment()
        daemon = self.spawn(*options, log=log, address=self.listener.getsockname(), **how)
        try:
            self.ready = self.notify.recv(8192).decode().split('\n')
        except TimeoutError:
            self.fail(f'it does not become ready: status {daemon.process.wait(0)}')
        self.assertIn('READY=1', self.ready)
        return daemon

    def drain_notifications(self) -> None:
        """Forgets what a daemon has told that has ended."""
        while has_reply(self.notify):
            self.notify.recv(8192)

    def assert_stays(self, daemon: Daemon, why: str, number: int = 0) -> None:
        """Fails unless every query is answered with that error, and STATUS= tells it."""
        status = [line for line in self.ready if line.startswith('STATUS=')]
        self.assertEqual(status, [f'STATUS=misconfigured: {why}'])
        for request in ('check joe@example.org', f'usage {self.path}', 'ping', 'nonsense',
                        'check size=x joe@example.org'):
            reply = daemon.pairs(request)
            self.assertEqual((reply['status'], reply['reason'], reply['text']),
                             ('error', 'misconfigured', f'misconfigured: {why}'), request)
        self.assertEqual(daemon.number(self.path), number)
        stats = daemon.stats()
        self.assertEqual((stats['queries'], stats['errors']), (7, 6))
        self.assertIsNone(daemon.process.wait(0))

    def assert_told_once(self, daemon: Daemon, why: str) -> None:
        """Fails unless the log has one entry that an operator is to read."""
        [error] = [entry for entry in daemon.entries() if entry.priority not in ('info', 'debug')]
        self.assertEqual(error.priority, 'error')
        self.assertTrue(error.text.startswith(f'misconfigured: {why}; '), error.text)
        self.assertEqual(daemon.stderr(), '')


class OptionsTest(MisconfiguredTest):
    """Options that cannot be read."""

    def test_each_kind(self):
        for options, why in (
                ([TYPO], f'there is no option {TYPO}, or more than one that begins so; '
                         '--help lists them'),
                (['--timeout=x', '--on-error=defer'],
                 '--timeout=x is not accepted: it takes milliseconds from 1 to 86400000 (a day)'),
                (['--root'], '--root needs a value: an absolute path'),
                (['--check-config'],
                 '--help, --version and --check-config are not for a service'),
                (['word'], '"word" is not an option; no other arguments are accepted; see --help'),
                ([f'--pidfile={self.folder}/pid'],
                 f'--pidfile={self.folder}/pid needs --socket: systemd tracks the process '
                 'without it'),
                (['--a\nREADY=0'], r'there is no option --a\x0aREADY=0, or more than one that '
                 'begins so; --help lists them')):
            with self.subTest(options=options):
                daemon = self.start_wrong(*options)
                self.assert_stays(daemon, why)
                # Where to log is among the options.
                told = daemon.stderr()
                self.assertEqual(told.count('\n'), 1, told)
                self.assertIn(f'error: misconfigured: {why}; ', told)
                self.stop(daemon)
                self.drain_notifications()

    def test_without_sockets_of_systemd(self):
        self.assertIn(TYPO, self.run_to_failure(2, f'--socket={self.folder}/own', TYPO))
        self.assertIn(TYPO, self.run_to_failure(2, '--check-config', TYPO))


class StartTest(MisconfiguredTest):
    """Options that can be read, and with which no start succeeds."""

    def test_root_that_is_missing(self):
        why = f'--root={self.folder}/missing: No such file or directory'
        daemon = self.start_wrong(f'--root={self.folder}/missing', '--on-error=defer')
        self.assert_stays(daemon, why, FULL)
        self.assert_told_once(daemon, why)

    def test_user_that_is_missing(self):
        daemon = self.start_wrong('--user=no-such-user')
        why = '--user=no-such-user: there is no such user'
        self.assert_stays(daemon, why)
        self.assert_told_once(daemon, why)

    def test_log_file_that_cannot_be_opened(self):
        log = self.folder / 'missing' / 'log'
        daemon = self.start_wrong(f'--log={log}', log=None)
        self.assert_stays(daemon, f'cannot open the log {log}: No such file or directory')
        self.assertIn(f'misconfigured: cannot open the log {log}', daemon.stderr())

    def test_limits_in_a_directory_that_is_missing(self):
        # As limits that cannot be read at all: it answers without them.
        daemon = self.start_wrong(f'--limits={self.folder}/missing/limits')
        self.assertEqual(daemon.number(self.path), 123)
        [error] = daemon.entries('error')
        self.assertIn('No such file or directory; there are no limits', error.text)

    def test_limits_that_are_not_known_refuse_nobody(self):
        # Those in the file may be larger than the default.
        limits = self.folder / 'limits'
        daemon = self.start_wrong(f'--limits={limits}', '--default-quota=100')
        for query in (f'check {self.path}', f'check size=1000 {self.path}'):
            reply = daemon.pairs(query)
            self.assertEqual((reply['status'], reply['limit_from']), ('ok', 'none'))
        limits.write_text('nobody@example.org: 1\n')
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: daemon.pairs(f'check {self.path}')['status'] == 'over', 'they are read')
        self.assertEqual(daemon.pairs(f'check {self.path}')['limit_from'], 'default')

    def test_openat2_that_is_unavailable(self):
        daemon = self.start_wrong(wrapper=without_calls.command(without_calls.OPENAT2))
        [status] = [line for line in self.ready if line.startswith('STATUS=')]
        why = status.partition('misconfigured: ')[2]
        self.assertTrue(why.startswith('openat2(2) is unavailable'), status)
        self.assert_stays(daemon, why)
        self.assert_told_once(daemon, why)


class LifeTest(MisconfiguredTest):
    """What becomes of it."""

    def test_reload(self):
        daemon = self.start_wrong(TYPO)
        client = self.connect(daemon)
        client.sendall(b'/var')
        self.assertEqual(daemon.stats()['connections'], 2)  # it is accepted
        daemon.process.send(signal.SIGHUP)
        said = []
        while 'STOPPING=1' not in said:
            said += self.notify.recv(8192).decode().split('\n')
        self.assertLess(said.index('RELOADING=1'), said.index('READY=1'))
        self.assertLess(said.index('READY=1'), said.index('STOPPING=1'))
        queued = self.connect(daemon)
        queued.sendall(b'%s\n' % bytes(self.path))
        client.sendall(b'/mail\n')
        self.assertEqual(read_all(client), b'0\n')
        self.assert_ended_well(daemon)
        # The next one, whose options are right, answers whom this one has left in the queue.
        self.start_with([self.listener])
        self.assertEqual(read_all(queued), b'123\n')

    def test_no_end_when_idle(self):
        daemon = self.start_wrong('--exit-idle-time=50ms', '--user=no-such-user')
        self.assertIsNone(daemon.process.wait(1))
        self.assertEqual(daemon.pairs('ping')['reason'], 'misconfigured')

    def test_watchdog(self):
        how = passing([self.listener])
        how['environment'] |= {**self.notify_environment(), 'WATCHDOG_USEC': '200000'}
        self.spawn(TYPO, **how)
        said = ''
        while said.count('WATCHDOG=1') < 3:
            said += self.notify.recv(8192).decode() + '\n'

    def test_many_clients_leave_no_entries(self):
        daemon = self.start_wrong('--user=no-such-user')
        for number in range(500):
            daemon.ask(f'check u{number}@example.org')
        self.assert_told_once(daemon, '--user=no-such-user: there is no such user')


class ConnectedTest(MisconfiguredTest):
    """A connection that systemd has accepted (Accept=yes)."""

    def serve(self, request: bytes, *options: str) -> bytes:
        """Starts an instance for a connection by which the request came. Returns the reply."""
        client, connection = socket.socketpair()
        client.settimeout(PATIENCE_SECONDS)
        client.sendall(request)
        with connection:
            daemon = self.spawn(*options, **passing([connection], ['connection']))
        reply = read_all(client)
        self.assert_ended_well(daemon)
        return reply

    def test_each_form(self):
        for options in [TYPO], [f'--root={self.folder}/missing'], ['--user=no-such-user']:
            with self.subTest(options=options):
                began = time.monotonic()
                reply = parse_pairs(self.serve(b'check joe@example.org\n', *options))
                print(f'{options}: answered in {time.monotonic() - began:.3f} s')
                self.assertEqual((reply['status'], reply['reason']), ('error', 'misconfigured'))
                self.assertEqual(self.serve(bytes(self.path) + b'\n', *options), b'0\n')

    def test_inetd_ends_as_ever(self):
        client, connection = socket.socketpair()
        with client, connection:
            ended = self.run_to_end(TYPO, descriptors={0: connection.fileno()})
        self.assertEqual(ended.status, 2)


class ControlTest(MisconfiguredTest):
    """exim-quotactl, asking such a service."""

    def test_ping(self):
        self.start_wrong(TYPO)
        done = subprocess.run([os.environ['EXIM_QUOTACTL'],
                               f'--socket={self.listener.getsockname()}', 'ping'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('misconfigured', done.stdout + done.stderr)
