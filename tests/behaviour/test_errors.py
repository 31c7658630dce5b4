# SPDX-License-Identifier: GPL-2.0-or-later
"""What is answered where there is no answer, and the one line of the log that says why."""

import os
import re
import socket
from pathlib import Path
from typing import NamedTuple, Union

from daemon import FULL, Daemon, DaemonTestCase, needs_root, parse_pairs, read_all
from mailboxes import make_maildir, make_slow_maildir


class Case(NamedTuple):
    """A request that is an error: why, and what the log says of it."""

    request: Union[bytes, str, Path]
    reason: str
    logged: str  # a regular expression


class ErrorsTest(DaemonTestCase):
    """Each kind of error, by --on-error=accept, by --on-error=defer and by a verb."""

    def assert_errors(self, cases: list[Case], *options: str) -> None:
        """Fails unless each case is answered as an error is, with one entry that says why."""
        for on_error, answer, said in (
                (None, b'0\n', '0: the mail is accepted'),
                ('accept', b'0\n', '0: the mail is accepted'),
                ('defer', b'%d\n' % FULL, 'that it is full: the mail is deferred')):
            more = [f'--on-error={on_error}'] if on_error else []
            daemon = self.start(*options, *more)
            for case in cases:
                with self.subTest(request=case.request, on_error=on_error):
                    before = len(daemon.entries())
                    self.assertEqual(daemon.ask(case.request), answer)
                    self.assert_told(daemon, before, case.logged, said)
            self.assert_counted(daemon, len(cases))
        daemon = self.start(*options)
        for case in cases:
            with self.subTest(request=case.request, verb='usage'):
                before = len(daemon.entries())
                reply = daemon.usage(case.request)
                self.assertEqual(list(reply), ['status', 'reason', 'text'])
                self.assertEqual((reply['status'], reply['reason']), ('error', case.reason))
                self.assert_told(daemon, before, case.logged, reply['text'], 'an error')
        self.assert_counted(daemon, len(cases))

    def assert_told(self, daemon: Daemon, before: int, logged: str, *said: str) -> None:
        """Fails unless there is one new entry, a warning, that says all that."""
        [entry] = daemon.entries()[before:]
        self.assertEqual(entry.priority, 'warning')
        self.assertRegex(entry.text, logged)
        for each in said:
            self.assertIn(each, entry.text)

    def assert_counted(self, daemon: Daemon, errors: int) -> None:
        """Fails unless the daemon tells of that many errors, and the log of no more."""
        self.assertEqual(daemon.stats()['errors'], errors)
        self.stop(daemon)
        told = [text for text in daemon.warnings() if '; answered ' in text]
        self.assertEqual(len(told), errors)

    def test_paths(self):
        (self.root / 'mbox').touch()
        (self.root / 'loop').symlink_to('loop')
        (self.root / 'out').symlink_to('/etc/passwd')
        os.mkfifo(self.root / 'fifo')

        def case(path: str, reason: str, text: str) -> Case:
            full = os.path.join(self.root, path)
            return Case(full, reason, f'^{re.escape(full)}: {text}')

        self.assert_errors([
            case('/etc/passwd', 'outside-root', '.*outside'),
            case('..', 'outside-root', '.*outside'),
            case('out', 'outside-root', '.*outside'),
            case('loop', 'outside-root', '.*symbolic links'),
            case('fifo', 'not-a-mailbox', '.*neither a directory nor a regular file'),
            case('mbox/deeper', 'not-a-mailbox', 'Not a directory'),
            case('x' * 300, 'too-long', 'File name too long'),
        ])

    def test_requests(self):
        for on_error, answer in ('accept', b'0\n'), ('defer', b'%d\n' % FULL):
            daemon = self.start(f'--on-error={on_error}')
            daemon.ask('ping')  # it has logged its start
            for line, logged in (
                    (b'', r'^"": .*absolute path'), (b'mail/joe', r'^"mail/joe": .*absolute path'),
                    (b'/joe\0', r'^"/joe": .*NUL'), (b'/' * 8193, r'^"/{100}": .*8192'),
                    (b'42', r'^"42": .*absolute path')):
                with self.subTest(line=line[:20], on_error=on_error):
                    before = len(daemon.entries())
                    self.assertEqual(daemon.ask(line), answer)
                    self.assert_told(daemon, before, logged)
            self.assert_counted(daemon, 5)

    def test_verbs(self):
        daemon = self.start()
        daemon.ask('ping')  # it has logged its start
        for line, reason in (
                (b'nonsense', 'bad-request'), (b'usage', 'bad-request'), (b'ping x', 'bad-request'),
                (b'usage joe', 'no-template'), (b'usage joe@example.org', 'no-template'),
                (b'check size=x /', 'bad-value'), (b'check quota=x /', 'bad-value'),
                (b'usage ' + b'/' * 8193, 'too-long'), (b'usage \0', 'bad-request')):
            with self.subTest(line=line[:20]):
                before = len(daemon.entries())
                reply = daemon.pairs(line)
                self.assertEqual((reply['status'], reply['reason']), ('error', reason))
                self.assert_told(daemon, before, '.', reply['text'])

    def test_what_goes_on_is_told_once(self):
        daemon = self.start()
        for _ in range(5):
            daemon.ask('/etc/passwd')
        daemon.ask('/etc/group')
        self.assertEqual(len(daemon.warnings()), 2)
        self.assertEqual(daemon.stats()['errors'], 6)
        self.stop(daemon)
        self.assertEqual([text for text in daemon.warnings() if 'repeated' in text],
                         ['/etc/passwd: outside the roots, repeated 4 times'])

    @needs_root
    def test_permission_denied(self):
        make_maildir(self.root / 'joe').chmod(0o700)
        jim = make_maildir(self.root / 'jim', [1])
        (jim / 'new').chmod(0)
        self.assert_errors([
            Case(path, 'permission-denied', f'^{path}: Permission denied')
            for path in (self.root / 'joe', jim)
        ], '--user=nobody')

    def test_count_that_takes_too_long(self):
        slow = self.root / 'slow'
        make_slow_maildir(slow, self.root / 'beside', 400)
        self.assert_errors([Case(slow, 'timeout', f'^{slow}: .*in time')], '--scan-timeout=1')

    def test_too_many_mailboxes_wait(self):
        # One thread, which is busy with what goes to another only once it was long enough at it;
        # and more to be asked at once than may wait for it.
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        make_maildir(self.root / 'joe', [7])
        links = [self.root / f'link-{number}' for number in range(1200)]
        for link in links:
            link.symlink_to('joe')
        slow_links = [self.root / f'slow-{number}' for number in range(14)]
        for link in slow_links:
            link.symlink_to('slow')
        daemon = self.start('--scan-threads=1', '--max-connections=2000', '--scan-timeout=60000')
        daemon.process.pause()
        slow = [self.ask_later(daemon, bytes(link)) for link in slow_links]
        clients = [self.ask_later(daemon, b'usage ' + bytes(link)) for link in links]
        daemon.process.resume()
        replies = [parse_pairs(read_all(client)) for client in clients]
        refused = [reply for reply in replies if reply['status'] == 'error']
        self.assertGreater(len(refused), 0)
        for reply in refused:
            self.assertEqual(reply['reason'], 'overloaded')
        for reply in replies:
            if reply not in refused:
                self.assertEqual(reply['bytes'], '7')
        self.assertEqual(len(daemon.warnings()), len(refused))  # all about different links
        for client in slow:
            self.assertEqual(read_all(client), b'%d\n' % bytes_)

    def ask_later(self, daemon: Daemon, request: bytes) -> socket.socket:
        """Sends a request, and leaves the reply for later."""
        client = self.connect(daemon)
        client.sendall(request + b'\n')
        return client
