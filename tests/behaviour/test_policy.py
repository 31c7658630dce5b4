# SPDX-License-Identifier: GPL-2.0-or-later
"""Postfix's policy protocol: what is replied, and connections that stay."""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Iterable, Optional

from daemon import (PATIENCE_SECONDS, Daemon, DaemonTestCase, has_reply, is_long, open_files,
                    open_files_but_roots, passing, read_all, send_and_be_read, wait_for)
from mailboxes import make_maildir, make_slow_maildir, write_maildirsize
from policy import DUNNO, OVER, TOO_LARGE, Policy, policy_request

REQUESTS = 10_000
IDLE_CLIENTS = 200
LONG_IDLE_SECONDS = 600

# The longest request, with its empty line.
REQUEST_BYTES_MAX = 65536

MINIMAL = b'request=smtpd_access_policy\n'


def padded(length: int) -> bytes:
    """Returns a request about full@example.org of that length."""
    head = MINIMAL + b'recipient=full@example.org\nsender='
    return head + b'x' * (length - len(head) - 2) + b'\n\n'


class PolicyTestCase(DaemonTestCase):
    """Mailboxes of addresses, a socket for Exim, and one for Postfix."""

    def setUp(self) -> None:
        super().setUp()
        self.mail = self.root / 'example.org'
        self.mail.mkdir()
        make_maildir(self.mail / 'joe', [100])
        make_maildir(self.mail / 'full', [600, 600])
        self.line = self.listen(self.folder / 'line', backlog=4096)
        self.policy = self.listen(self.folder / 'policy', backlog=4096)

    def start_policy(self, *options: str, **how) -> Daemon:
        """Starts a service with both sockets."""
        return self.start_with([self.line, self.policy], f'--mailbox={self.root}/%d/%n',
                               '--default-quota=1000', *options, names=['query', 'policy'], **how)

    def client(self) -> Policy:
        """Connects as Postfix does, until the test is over."""
        return Policy(self.connect(self.folder / 'policy'))

    def make_slow(self, slowness: int) -> None:
        """Makes a mailbox that is over its quota, and takes long to count."""
        make_slow_maildir(self.mail / 'slow', self.root / 'beside', slowness)
        (self.mail / 'slow/cur/large.host,S=2000:2,S').touch()


class ActionTest(PolicyTestCase):
    """What is replied to Postfix."""

    def test_verdicts(self):
        self.start_policy()
        client = self.client()
        for state in 'RCPT', 'DATA', 'END-OF-MESSAGE':
            self.assertEqual(client.ask('joe@example.org', 0, state), DUNNO)
            self.assertEqual(client.ask('joe@example.org', 900, state), DUNNO)
            self.assertEqual(client.ask('joe@example.org', 901, state), OVER)
            self.assertEqual(client.ask('joe@example.org', 1001, state), TOO_LARGE)
            self.assertEqual(client.ask('full@example.org', 0, state), OVER)

    def test_nearly_full_is_not_refused(self):
        make_maildir(self.mail / 'nearly', [990])
        self.start_policy()
        self.assertEqual(self.client().ask('nearly@example.org'), DUNNO)

    def test_limits_and_options_are_those_of_a_check(self):
        limits = self.folder / 'limits'
        limits.write_text('joe@example.org: 50\nfull@example.org: 1200\n')
        self.start_policy(f'--limits={limits}', '--grace=10', '--recipient-delimiter=+')
        client = self.client()
        self.assertEqual(client.ask('joe@example.org'), OVER)
        self.assertEqual(client.ask('joe+x@example.org'), OVER)
        self.assertEqual(client.ask('full@example.org', 10), DUNNO)
        self.assertEqual(client.ask('full@example.org', 11), OVER)

    def test_maildirsize_that_is_out_of_date(self):
        # It is counted before anything is refused, as for a check.
        write_maildirsize(make_maildir(self.mail / 'freed', [5]), '500S', '900 3', '1 1',
                          age_seconds=2000)
        self.start_policy()
        self.assertEqual(self.client().ask('freed@example.org'), DUNNO)

    def test_states_in_which_nothing_is_checked(self):
        daemon = self.start_policy()
        client = self.client()
        for state in 'CONNECT', 'EHLO', 'HELO', 'MAIL', 'VRFY', 'ETRN', 'rcpt', 'JUNK':
            self.assertEqual(client.ask('full@example.org', state=state), DUNNO, state)
        self.assertEqual(daemon.warnings(), [])

    def test_no_recipient(self):
        # With two recipients, none is given at the end of the message.
        daemon = self.start_policy()
        client = self.client()
        for state in 'RCPT', 'DATA', 'END-OF-MESSAGE':
            self.assertEqual(client.ask('', 5000, state), DUNNO)
        client.send(MINIMAL + b'\n')
        self.assertEqual(client.action(), DUNNO)
        self.assertEqual(daemon.warnings(), [])

    def test_attributes_in_any_order(self):
        self.start_policy()
        client = self.client()
        for lines in (b'recipient=full@example.org\n' + MINIMAL,
                      b'unknown=1\n' + MINIMAL + b'recipient=full@example.org\nnew=\nnew=2\n',
                      MINIMAL + b'recipient=joe@example.org\nrecipient=full@example.org\n',
                      MINIMAL + b'size=x\nsize=950\nrecipient=joe@example.org\n'):
            client.send(lines + b'\n')
            self.assertEqual(client.action(), OVER, lines)

    def test_recipients_in_internal_form(self):
        names = ['john doe', 'a@b', '"quoted"', '"', 'back\\slash', "o'neil", 'jürgen', 'a=b',
                 '*', 'x' * 255]
        for name in names:
            make_maildir(self.mail / name, [2000])
        make_maildir(self.root / 'bücher.example/bob', [2000])
        daemon = self.start_policy()
        client = self.client()
        for name in names:
            self.assertEqual(client.ask(f'{name}@example.org'), OVER, name)
        self.assertEqual(client.ask('bob@bücher.example'), OVER)
        self.assertEqual(client.ask('Full@Example.ORG'), OVER)
        self.assertEqual(client.ask('full@example.org.'), OVER)
        self.assertEqual(daemon.stats()['over'], len(names) + 3)

    def test_what_is_no_address_is_not_refused(self):
        make_maildir(self.root / 'path', [2000])
        daemon = self.start_policy()
        client = self.client()
        strange = [b'postmaster', b'@', b'joe@', b'@example.org', b'..@example.org', b'a/b@d',
                   bytes(self.root / 'path'), b'%s@d' % bytes(self.root / 'path'),
                   b'/@example.org', b'a\r@example.org', b'\xff@example.org', b'joe@-\x01',
                   b'\xe2\x80\xae@example.org', b'x' * 256 + b'@example.org', b'x' * 60000]
        for each in strange:
            self.assertEqual(client.ask(each), DUNNO, each[:100])
        self.assertEqual(client.ask('full@example.org'), OVER)
        self.assertEqual(len([text for text in daemon.warnings() if 'DUNNO' in text]),
                         len(strange) - 2)  # one is an address, and two begin alike
        for text in daemon.warnings():
            self.assertTrue(text.isprintable(), text)
            self.assertLess(len(text), 1000)

    def test_sender_may_hold_anything(self):
        self.start_policy()
        client = self.client()
        for sender in b'a\rb@example.net', b'\xff\x01', b'x@y\r', b'', b'===':
            client.send(MINIMAL + b'sender=' + sender + b'\nrecipient=full@example.org\n\n')
            self.assertEqual(client.action(), OVER, sender)

    def test_aliases_and_unknown_users_are_not_refused(self):
        self.start_policy()
        client = self.client()
        for size in 0, 900, 10_000:
            self.assertEqual(client.ask('alias@example.org', size), DUNNO)
            self.assertEqual(client.ask('alias@example.com', size), DUNNO)

    def test_errors_are_not_refused(self):
        (self.mail / 'home').mkdir()
        (self.mail / 'home/Mailbox').mkdir()
        (self.mail / 'away').symlink_to('/etc')
        for options in (), ('--on-error=defer',):
            daemon = self.start_policy(*options)
            client = self.client()
            for name in 'home', 'away':
                self.assertEqual(client.ask(f'{name}@example.org', 5000), DUNNO)
                [warning] = daemon.warnings_about(str(self.mail / name))
                self.assertIn('answered DUNNO', warning)
            self.stop(daemon)

    def test_late_count_is_not_refused(self):
        self.make_slow(100)
        daemon = self.start_policy('--scan-timeout=1')
        self.assertEqual(self.client().ask('slow@example.org'), DUNNO)
        [warning] = daemon.warnings()
        self.assertIn('could not be read in time', warning)

    def test_size_larger_than_anything(self):
        self.start_policy()
        client = self.client()
        for size in 2 ** 63, 2 ** 64 - 1, 10 ** 40:
            self.assertEqual(client.ask('joe@example.org', size), TOO_LARGE)

    def test_without_a_template(self):
        # It is said once, not for each recipient.
        daemon = self.start_with([self.line, self.policy], names=['query', 'policy'])
        client = self.client()
        for number in range(100):
            self.assertEqual(client.ask(f'{number}@example.org'), DUNNO)
        [warning] = daemon.warnings()
        self.assertIn('--mailbox=', warning)
        self.assertEqual(daemon.stats()['errors'], 100)

    def test_misconfigured(self):
        daemon = self.start_with([self.line, self.policy], '--nonsense', names=['query', 'policy'])
        client = self.client()
        for _ in range(3):
            self.assertEqual(client.ask('full@example.org'), DUNNO)
        self.assertEqual(daemon.stats()['errors'], 3)

    def test_what_the_log_says(self):
        # As for a check: the mailbox is full, and how often that came up again.
        daemon = self.start_policy()
        client = self.client()
        for _ in range(3):
            client.ask('full@example.org')
        [entry] = daemon.entries('notice')
        self.assertTrue(entry.text.startswith(f'{self.mail}/full: over quota: 1200 '),
                        entry.text)
        self.stop(daemon)
        self.assertIn('repeated 2 times', daemon.entries('notice')[-1].text)


class InvalidTest(PolicyTestCase):
    """A client that does not speak the protocol gets no reply."""

    INVALID = (b'\n', b'\r\n', b'ping\n\n', b'/var/mail\n\n', b'recipient=full@example.org\n\n',
               b'request=junk\n\n', MINIMAL + b'junk\n\n', MINIMAL + b'=\n\n',
               MINIMAL + b'size=-1\n\n', MINIMAL + b'size=1K\n\n', MINIMAL + b'a=\0\n\n',
               MINIMAL.replace(b'\n', b'\r\n') + b'\r\n', b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')

    def test_no_reply(self):
        daemon = self.start_policy()
        beside = self.client()
        for request in self.INVALID:
            client = self.client()
            self.assertEqual(client.ask('joe@example.org'), DUNNO)
            client.send(request)
            self.assertIsNone(client.action(), request)
            self.assertEqual(beside.ask('full@example.org'), OVER)
        # One entry, not one for each; the first says what was wrong.
        [warning] = daemon.warnings_about('a policy client')
        self.assertIn('request=smtpd_access_policy is required', warning)
        self.assertIn('answered nothing', warning)
        self.stop(daemon)
        self.assertIn(f'repeated {len(self.INVALID) - 1} times',
                      daemon.warnings_about('a policy client')[-1])

    def test_valid_requests_before_it_are_answered(self):
        self.start_policy()
        client = self.client()
        client.send(policy_request('full@example.org') + policy_request('joe@example.org') +
                    b'junk\n\n' + policy_request('joe@example.org'))
        self.assertEqual([client.action() for _ in range(3)], [OVER, DUNNO, None])

    def test_each_reason(self):
        for request, why in ((b'a=\0\n\n', 'NUL'), (b'size=x\n\n', 'size= takes'),
                             (b'\r\n', 'CR'), (b'junk\n\n', 'name=value')):
            daemon = self.start_policy()
            client = self.client()
            client.send(MINIMAL + request)
            self.assertIsNone(client.action())
            [warning] = daemon.warnings()
            self.assertIn(why, warning)
            self.stop(daemon)

    def test_longest_request(self):
        daemon = self.start_policy()
        client = self.client()
        client.send(padded(REQUEST_BYTES_MAX))
        self.assertEqual(client.action(), OVER)
        client.send(padded(REQUEST_BYTES_MAX) + policy_request('joe@example.org'))
        self.assertEqual((client.action(), client.action()), (OVER, DUNNO))
        with contextlib.suppress(ConnectionError):
            client.send(padded(REQUEST_BYTES_MAX + 1))
        self.assertIsNone(client.action())
        [warning] = daemon.warnings_about('a policy client')
        self.assertIn('65536', warning)

    def test_request_without_an_end(self):
        self.start_policy()
        for part in b'x', b'a=b\n':
            client = self.client()
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    client.send(part * 65536)
            self.assertIsNone(client.action())

    def test_end_within_a_request(self):
        daemon = self.start_policy()
        client = self.client()
        client.send(policy_request('joe@example.org')[:-1])
        client.connection.shutdown(socket.SHUT_WR)
        self.assertIsNone(client.action())
        [warning] = daemon.warnings()
        self.assertIn('not complete', warning)
        # A client that just goes is none that is complained of.
        self.assertEqual(self.client().ask('joe@example.org'), DUNNO)
        self.assertEqual(len(daemon.warnings()), 1)

    def test_as_much_as_possible_is_said_of_no_client(self):
        # Whatever it sends, one client cannot fill the log.
        daemon = self.start_policy()
        for number in range(100):
            client = self.client()
            client.send(b'junk %d\n\n' % number)
            self.assertIsNone(client.action())
        self.assertEqual(len(daemon.warnings()), 1)


class StreamTest(PolicyTestCase):
    """Many requests on one connection, however they are cut."""

    def test_many_requests(self):
        daemon = self.start_policy()
        client = self.client()
        for number in range(REQUESTS):
            if number % 100:
                self.assertEqual(client.ask('joe@example.org', 900), DUNNO)
            else:
                self.assertEqual(client.ask('full@example.org'), OVER)
        stats = daemon.stats()
        self.assertEqual((stats['queries'], stats['connections']), (REQUESTS + 1, 2))
        self.assertEqual((stats['over'], stats['errors']), (REQUESTS // 100, 0))

    def test_at_every_split(self):
        self.start_policy()
        client = self.client()
        requests = MINIMAL + b'recipient=full@example.org\n\n' + MINIMAL + b'\n'
        for at in range(1, len(requests)):
            send_and_be_read(client.connection, requests[:at])
            client.send(requests[at:])
            self.assertEqual((client.action(), client.action()), (OVER, DUNNO), at)

    def test_byte_by_byte(self):
        daemon = self.start_policy()
        client = self.client()
        for byte in policy_request('full@example.org') + policy_request('joe@example.org'):
            client.send(bytes([byte]))
        self.assertEqual((client.action(), client.action()), (OVER, DUNNO))
        self.assertEqual(daemon.stats()['queries'], 3)

    def test_pipelined_requests_are_answered_in_order(self):
        # One is counted by a thread meanwhile, and those after it are not answered before it.
        self.make_slow(50)
        daemon = self.start_policy()
        client = self.client()
        names = ['slow', 'joe', 'full', 'nobody'] * 50
        client.send(b''.join(policy_request(f'{name}@example.org', number % 2)
                             for number, name in enumerate(names)))
        for name in names:
            self.assertEqual(client.action(), DUNNO if name in ('joe', 'nobody') else OVER)
        self.assertEqual(daemon.stats()['queries'], len(names) + 1)

    def test_pipelined_and_then_the_end(self):
        self.start_policy()
        for count in 1, 2, 100:
            client = self.client()
            client.send(policy_request('full@example.org') * count)
            client.connection.shutdown(socket.SHUT_WR)
            self.assertEqual([client.action() for _ in range(count + 1)], [OVER] * count + [None])

    def test_many_at_once_do_not_keep_others_waiting(self):
        # One request of each connection at a time: whoever comes later is not behind them all.
        daemon = self.start_policy()
        daemon.process.pause()
        client = self.client()
        count = 65536 // len(MINIMAL + b'\n')
        client.send((MINIMAL + b'\n') * count)
        others = [self.client() for _ in range(10)]
        for other in others:
            other.send(policy_request('full@example.org'))
        daemon.process.resume()
        for other in others:
            self.assertEqual(other.action(), OVER)
        self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        for _ in range(count):
            self.assertEqual(client.action(), DUNNO)

    def test_client_that_goes_while_it_is_counted(self):
        self.make_slow(300)
        daemon = self.start_policy('--scan-timeout=60000')
        for _ in range(5):
            client = self.client()
            send_and_be_read(client.connection, policy_request('slow@example.org') * 2)
            client.connection.close()
        self.assertEqual(self.client().ask('slow@example.org'), OVER)
        # The two that listen, and the last client.
        wait_for(lambda: len([each for each in open_files_but_roots(daemon.pid)
                              if each.startswith('socket:')]) == 3, 'they are gone')

    def test_client_that_does_not_read(self):
        # What it sends is not read on, its connection is closed in the end, and others are served.
        daemon = self.start_policy('--timeout=1000')
        client = self.client()
        client.connection.setblocking(False)
        sent, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                try:
                    sent += client.connection.send((MINIMAL + b'\n') * 1000)
                except BlockingIOError:
                    self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
                    time.sleep(0.01)
        self.assertLess(time.monotonic(), deadline, 'it is never cut off')
        self.assertLess(sent, 32 * 1024 * 1024, 'it was read without an end')
        self.assertEqual(daemon.warnings(), [])

    def test_slow_reader_gets_everything(self):
        self.start_policy()
        client = self.client()
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        count = 20_000
        with contextlib.ExitStack() as stack:
            sender = os.fork()
            if sender == 0:
                try:
                    for _ in range(count // 100):  # each may take as long as anything
                        client.connection.sendall(policy_request('full@example.org') * 100)
                finally:
                    os._exit(0)
            stack.callback(os.waitpid, sender, 0)
            for _ in range(count):
                self.assertEqual(client.action(), OVER)

    def test_over_tcp(self):
        listener = self.listen(('127.0.0.1', 0))
        self.start_with([listener], f'--mailbox={self.root}/%d/%n', '--default-quota=1000',
                        names=['policy'])
        client = Policy(self.connect(listener.getsockname()))
        for _ in range(100):
            self.assertEqual(client.ask('full@example.org'), OVER)

    def test_alone(self):
        daemon = self.start_with([self.policy], f'--mailbox={self.root}/%d/%n',
                                 '--default-quota=1000', names=['policy'])
        client = self.client()
        self.assertEqual(client.ask('full@example.org'), OVER)
        client.send(b'ping\n\n')
        self.assertIsNone(client.action())
        self.stop(daemon)

    def test_connection_that_is_passed(self):
        # An instance for each connection: it ends when the client does.
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.settimeout(PATIENCE_SECONDS)
        daemon = self.spawn(f'--mailbox={self.root}/%d/%n', '--default-quota=1000',
                            **passing([theirs], ['policy']))
        theirs.close()
        client = Policy(ours)
        for _ in range(10):
            self.assertEqual(client.ask('full@example.org'), OVER)
        self.assertIsNone(daemon.process.wait(0))
        ours.close()
        self.assert_ended_well(daemon)


class RestTest(PolicyTestCase):
    """Connections between two requests, and how many there may be."""

    def test_idle_clients(self):
        # They are past every deadline, which one that has begun a request shows.
        daemon = self.start_policy(f'--timeout={1000 if is_long() else 100}')
        clients = [self.client() for _ in range(IDLE_CLIENTS)]
        for client in clients[::2]:
            self.assertEqual(client.ask('joe@example.org'), DUNNO)
        if is_long():
            time.sleep(LONG_IDLE_SECONDS)
        for _ in range(2):
            late = self.client()
            late.send(MINIMAL)
            self.assertIsNone(late.action())
        for client in clients:
            self.assertFalse(has_reply(client.connection))
            self.assertEqual(client.ask('full@example.org'), OVER)
        [warning] = daemon.warnings_about('a policy client')
        self.assertIn('--timeout', warning)
        self.stop(daemon)
        self.assertEqual(daemon.warnings_about('a policy client')[-1],
                         'a policy client: timed out, repeated 1 times')

    def test_deadline_of_each_request(self):
        daemon = self.start_policy('--timeout=300')
        client = self.client()
        for _ in range(3):
            self.assertEqual(client.ask('joe@example.org'), DUNNO)
        deadline = time.monotonic() + PATIENCE_SECONDS
        with contextlib.suppress(ConnectionError):
            client.send(policy_request('joe@example.org') + MINIMAL)
            while time.monotonic() < deadline:
                client.send(b'a=b\n')
                time.sleep(0.05)
        self.assertLess(time.monotonic(), deadline, 'it is never cut off')
        self.assertEqual(client.action(), DUNNO)
        self.assertIsNone(client.action())
        self.assertEqual(len(daemon.warnings()), 1)

    def test_count_takes_longer_than_a_client_may(self):
        self.make_slow(200)
        self.start_policy('--timeout=1', '--scan-timeout=60000')
        client = self.client()
        for _ in range(2):  # not both at once: the turn between them has a millisecond, too
            self.assertEqual(client.ask('slow@example.org'), OVER)

    def test_neither_makes_room_for_the_other(self):
        # Each has half of the connections.
        daemon = self.start_policy('--max-connections=5', '--timeout=86400000')
        clients = [self.client() for _ in range(2)]
        for client in clients:
            self.assertEqual(client.ask('joe@example.org'), DUNNO)
        begun = self.client()
        send_and_be_read(begun.connection, MINIMAL)
        lines = [self.connect(daemon) for _ in range(3)]
        for line in lines:
            send_and_be_read(line, b'usage ')
        for _ in range(20):
            self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assertFalse(has_reply(begun.connection))
        self.assertIn(b'reason=overloaded', read_all(lines[0]))
        self.assertFalse(has_reply(lines[1]))
        begun.send(b'recipient=full@example.org\n\n')
        self.assertEqual(begun.action(), OVER)
        for client in clients:
            self.assertEqual(client.ask('full@example.org'), OVER)
        # All three are at rest: the next waits until one is closed.
        late = self.client()
        late.send(policy_request('full@example.org'))
        for _ in range(20):
            self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assertFalse(has_reply(late.connection))
        clients[0].connection.close()
        self.assertEqual(late.action(), OVER)
        for client in clients[1], begun:
            self.assertEqual(client.ask('joe@example.org'), DUNNO)

    def test_one_that_has_begun_makes_no_room(self):
        daemon = self.start_policy('--max-connections=2', '--timeout=86400000')
        begun = self.client()
        send_and_be_read(begun.connection, MINIMAL)
        late = self.client()
        late.send(policy_request('full@example.org'))
        self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        begun.send(b'recipient=full@example.org\n\n')
        self.assertEqual(begun.action(), OVER)
        self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assertFalse(has_reply(late.connection))
        begun.connection.close()
        self.assertEqual(late.action(), OVER)

    def test_alone_it_may_have_all_connections(self):
        self.start_with([self.policy], f'--mailbox={self.root}/%d/%n', '--max-connections=4',
                        names=['policy'])
        clients = [self.client() for _ in range(4)]
        for client in clients * 2:
            self.assertEqual(client.ask('joe@example.org'), DUNNO)

    def test_memory_of_what_is_not_complete(self):
        # An idle connection has no buffer, and one that has begun only what has come.
        daemon = self.start_policy('--timeout=86400000')
        clients = [self.client() for _ in range(500)]
        for client in clients:
            client.ask('joe@example.org')
        idle = resident_kib(daemon)
        for client in clients[:100]:
            send_and_be_read(client.connection, MINIMAL + b'sender=' + b'x' * 60_000)
        full = resident_kib(daemon)
        for client in clients[:100]:
            client.send(b'\nrecipient=full@example.org\n\n')
            self.assertEqual(client.action(), OVER)
        print(f'{len(clients)} idle connections: {idle} KiB; 100 with 60 KB each: {full} KiB')
        if 'ASAN_OPTIONS' not in os.environ or not os.environ['EXIM_QUOTAD'].count('asan'):
            self.assertLess(idle, 16 * 1024)
            self.assertLess(full - idle, 100 * 64 * 2)


def resident_kib(daemon: Daemon) -> int:
    """Returns how much memory a service takes."""
    status = Path(f'/proc/{daemon.pid}/status').read_text('ascii')
    return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1])


class EndTest(PolicyTestCase):
    """The service ends while Postfix keeps its connections."""

    def settled(self, clients: Iterable[Policy]) -> list[Optional[str]]:
        """Returns what each of them reads next."""
        return [client.action() for client in clients]

    def test_idle_connections_are_closed(self):
        for number in signal.SIGTERM, signal.SIGINT:
            daemon = self.start_policy('--timeout=86400000')
            clients = [self.client() for _ in range(50)]
            for client in clients[::2]:
                client.ask('joe@example.org')
            daemon.process.send(number)
            self.assertEqual(set(self.settled(clients)), {None})
            self.assert_ended_well(daemon)

    def test_request_in_hand_is_answered(self):
        self.make_slow(300)
        daemon = self.start_policy('--scan-timeout=60000')
        clients = [self.client() for _ in range(3)]
        idle = self.client()
        for client in clients:
            send_and_be_read(client.connection, policy_request('slow@example.org'))
        daemon.process.send(signal.SIGTERM)
        self.assertIsNone(idle.action())
        self.assertEqual(self.settled(clients), [OVER] * 3)
        self.assertEqual(self.settled(clients), [None] * 3)
        self.assert_ended_well(daemon)

    def test_request_that_has_just_come_is_answered(self):
        daemon = self.start_policy()
        clients = [self.client() for _ in range(20)]
        for client in clients:
            client.ask('joe@example.org')
        daemon.process.pause()
        for client in clients:
            client.send(policy_request('full@example.org'))
        daemon.process.send(signal.SIGTERM)
        daemon.process.resume()
        self.assertEqual(self.settled(clients), [OVER] * 20)
        self.assertEqual(self.settled(clients), [None] * 20)
        self.assert_ended_well(daemon)

    def test_half_a_request(self):
        daemon = self.start_policy('--timeout=86400000')
        client, idle = self.client(), self.client()
        idle.ask('joe@example.org')
        send_and_be_read(client.connection, MINIMAL)
        daemon.process.send(signal.SIGTERM)
        self.assertIsNone(idle.action())
        client.send(b'recipient=full@example.org\n\n')
        self.assertEqual(self.settled([client, client]), [OVER, None])
        self.assert_ended_well(daemon)

    def test_half_a_request_that_stays_half(self):
        daemon = self.start_policy('--timeout=300')
        client = self.client()
        send_and_be_read(client.connection, MINIMAL)
        daemon.process.send(signal.SIGTERM)
        self.assertIsNone(client.action())
        self.assert_ended_well(daemon)

    def test_next_service_goes_on(self):
        # Postfix connects again: what it sends before the next service starts waits in the queue.
        for _ in range(5):
            daemon = self.start_policy()
            client = self.client()
            client.ask('joe@example.org')
            daemon.process.send(signal.SIGTERM)
            self.assertIsNone(client.action())
            client = self.client()
            client.send(policy_request('full@example.org'))
            self.assert_ended_well(daemon)
            daemon = self.start_policy()
            self.assertEqual(client.action(), OVER)
            self.stop(daemon)

    def test_idle_exit_with_an_open_connection(self):
        clients = [self.client() for _ in range(3)]
        for client in clients:  # before it could be idle
            client.send(policy_request('joe@example.org'))
        daemon = self.start_policy('--exit-idle-time=200ms', '--timeout=86400000')
        for client in clients:
            self.assertEqual(client.action(), DUNNO)
        self.assertEqual(set(self.settled(clients)), {None})
        self.assert_ended_well(daemon)
        self.assertTrue(any('--exit-idle-time' in entry.text for entry in daemon.entries()))

    def test_no_idle_exit_while_a_request_is_in_hand(self):
        client = self.client()
        client.send(MINIMAL)
        daemon = self.start_policy('--exit-idle-time=200ms', '--timeout=86400000')
        self.assertIsNone(daemon.process.wait(0.7))
        client.send(b'recipient=full@example.org\n\n')
        self.assertEqual(self.settled([client, client]), [OVER, None])
        self.assert_ended_well(daemon)

    def test_reload_that_ends_the_process(self):
        config = self.folder / 'config'
        config.write_text('grace = 1\n')
        self.make_slow(100)
        daemon = self.start_policy(f'--config={config}', '--scan-timeout=60000')
        client, idle = self.client(), self.client()
        idle.ask('joe@example.org')
        send_and_be_read(client.connection, policy_request('slow@example.org'))
        config.write_text('grace = 2\n')
        daemon.process.send(signal.SIGHUP)
        self.assertIsNone(idle.action())
        self.assertEqual(self.settled([client, client]), [OVER, None])
        self.assert_ended_well(daemon)
        self.start_policy(f'--config={config}')
        client = self.client()
        self.assertEqual(client.ask('joe@example.org', 902), DUNNO)
        self.assertEqual(client.ask('joe@example.org', 903), OVER)

    def test_reload_that_keeps_the_process(self):
        limits = self.folder / 'limits'
        limits.write_text('*: 1000\n')
        daemon = self.start_policy(f'--limits={limits}')
        client = self.client()
        self.assertEqual(client.ask('joe@example.org'), DUNNO)
        limits.write_text('*: 50\n')
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: client.ask('joe@example.org') == OVER, 'the limits are in force')

    def test_connection_at_rest_keeps_no_root(self):
        # So that it can be unmounted.
        daemon = self.start_policy()
        client = self.client()
        for _ in range(3):
            self.assertEqual(client.ask('joe@example.org'), DUNNO)
            wait_for(lambda: str(self.root) not in open_files(daemon.pid), 'the root is released')
