# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a client may take, and how many there may be: none keeps another from its answer."""

import contextlib
import os
import resource
import select
import socket
import subprocess
import time

from daemon import (FULL, PATIENCE_SECONDS, Daemon, DaemonTestCase, has_reply,
                    open_files_but_roots, parse_pairs, read_all, send_and_be_read, wait_for)
from mailboxes import make_maildir, make_slow_maildir, write_maildirsize

FULL_LINE = b'%d\n' % FULL


class TimeoutTest(DaemonTestCase):
    """--timeout holds for the whole of a request."""

    def start_hasty(self, *options: str) -> Daemon:
        """Starts a daemon that soon gives up."""
        return self.start('--timeout=1000', '--on-error=defer', *options)

    def send_in_time(self, daemon: Daemon, data: bytes) -> socket.socket:
        """Connects and sends, before the time begins that the client has."""
        daemon.process.pause()
        client = self.connect(daemon)
        client.sendall(data)
        daemon.process.resume()
        return client

    def test_silent_client(self):
        daemon = self.start_hasty()
        client = self.connect(daemon)
        self.assertEqual(read_all(client), FULL_LINE)
        [warning] = daemon.warnings()
        self.assertIn('--timeout', warning)

    def test_part_of_a_request(self):
        daemon = self.start_hasty()
        daemon.process.pause()
        clients = {part: self.connect(daemon) for part in (b'/joe', b'usage /j', b'usage ')}
        for part, client in clients.items():
            client.sendall(part)
        daemon.process.resume()
        self.assertEqual(read_all(clients.pop(b'/joe')), FULL_LINE)
        for client in clients.values():
            reply = parse_pairs(read_all(client))
            self.assertEqual((reply['status'], reply['reason']), ('error', 'timeout'))
        self.assertEqual(daemon.stats()['errors'], 3)
        self.assertEqual(len(daemon.warnings_about('"/joe"')), 1)

    def test_client_that_goes_on_and_on(self):
        # There is no gap as long as the time-out, and no end of the request either.
        daemon = self.start_hasty()
        client = self.send_in_time(daemon, b'/')
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not select.select([client], [], [], 0.1)[0]:
            self.assertLess(time.monotonic(), deadline, 'it is never cut off')
            with contextlib.suppress(BrokenPipeError):  # cut off just now
                client.sendall(b'x')
        self.assertEqual(read_all(client), FULL_LINE)
        [warning] = daemon.warnings()
        self.assertRegex(warning, '^"/x*": .*--timeout')

    def test_each_client_has_its_own_deadline(self):
        daemon = self.start_hasty()
        clients = []
        for _ in range(20):
            clients.append(self.send_in_time(daemon, b'/x'))
            self.assertEqual(read_all(self.send_in_time(daemon, b'ping\n'))[:9], b'status=ok')
        for client in clients:
            self.assertEqual(read_all(client), FULL_LINE)
        self.assertEqual(daemon.stats()['timeouts'], 0, 'those are of counts')

    def test_client_that_takes_no_end(self):
        # It has its answer, and a request so long that the rest of it is waited for; not for ever.
        daemon = self.start_hasty('--max-connections=1')
        client = self.send_in_time(daemon, bytes(10_000))
        self.assertEqual(client.recv(100), FULL_LINE)
        self.assertEqual(client.recv(100), b'')
        wait_for(lambda: self.is_closed(client), 'the connection is closed')

    def test_request_in_time(self):
        daemon = self.start('--timeout=86400000')
        client = self.connect(daemon)
        send_and_be_read(client, b'usage /')
        client.sendall(b'x\n')
        self.assertIn(b'reason=outside-root', read_all(client))

    def test_count_takes_longer_than_a_client_may(self):
        # The time-out is for the client's part, not for ours.
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 200)
        daemon = self.start('--timeout=1', '--scan-timeout=60000')
        client = self.send_in_time(daemon, bytes(self.root / 'slow') + b'\n')
        self.assertEqual(read_all(client), b'%d\n' % bytes_)

    def is_closed(self, client: socket.socket) -> bool:
        """Says whether the other end is gone, by sending it a byte."""
        try:
            client.sendall(b'x')
        except OSError:
            return True
        return False


class MaxConnectionsTest(DaemonTestCase):
    """--max-connections, its other names, and who makes room for whom."""

    def fill(self, daemon: Daemon, count: int) -> list[socket.socket]:
        """Connects so many clients, one after the other, none of which completes its request."""
        clients = []
        for _ in range(count):
            clients.append(self.connect(daemon))
            send_and_be_read(clients[-1], b'usage ')
        return clients

    def assert_evicted(self, client: socket.socket) -> None:
        """Fails unless the client is told that it had to make room."""
        reply = parse_pairs(read_all(client))
        self.assertEqual((reply['status'], reply['reason']), ('error', 'overloaded'))

    def assert_served(self, client: socket.socket) -> None:
        """Fails unless the client can still complete its request."""
        client.sendall(bytes(self.root) + b'/joe\n')
        self.assertEqual(parse_pairs(read_all(client))['status'], 'ok')

    def test_longest_waiting_client_makes_room(self):
        daemon = self.start('--max-connections=3', '--timeout=86400000')
        clients = self.fill(daemon, 3)
        self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assert_evicted(clients[0])
        self.assertFalse(has_reply(clients[1]) or has_reply(clients[2]))
        self.assert_served(clients[2])
        self.assert_served(clients[1])
        [warning] = daemon.warnings()
        self.assertIn('--max-connections', warning)

    def test_room_is_not_made_in_vain(self):
        daemon = self.start('--max-connections=3', '--timeout=86400000')
        clients = self.fill(daemon, 2)
        for _ in range(10):
            self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        for client in clients:
            self.assert_served(client)
        self.assertEqual(daemon.warnings(), [])

    def test_whoever_has_asked_makes_no_room(self):
        # The question is there, but it was not their turn yet when room was to be made.
        daemon = self.start('--max-connections=2', '--timeout=86400000')
        for _ in range(10):
            waiting = self.fill(daemon, 2)
            daemon.process.pause()
            latecomers = [self.connect(daemon) for _ in range(4)]
            for client in waiting:
                client.sendall(bytes(self.root) + b'/joe\n')
            for client in latecomers:
                client.sendall(b'ping\n')
            daemon.process.resume()
            for client in waiting + latecomers:
                self.assertEqual(parse_pairs(read_all(client))['status'], 'ok')
        self.assertEqual(daemon.warnings(), [])

    def test_idle_clients_shut_nobody_out(self):
        daemon = self.start('--max-connections=4', '--timeout=86400000')
        for _ in range(10):
            self.fill(daemon, 8)
            self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assertEqual(len(daemon.warnings_about('"usage "')), 1)

    def test_evicted_client_of_the_path_form(self):
        for on_error, answer in ('accept', b'0\n'), ('defer', FULL_LINE):
            daemon = self.start('--max-connections=1', f'--on-error={on_error}')
            client = self.connect(daemon)
            send_and_be_read(client, b'/jo')
            daemon.ask('ping')
            self.assertEqual(read_all(client), answer)

    def test_other_names(self):
        for option in ('-c1', '--max-children=1', '--max-connections=1', '--max-children=9', '-c9'):
            with self.subTest(option=option):
                daemon = self.start('--timeout=86400000', option)
                [client] = self.fill(daemon, 1)
                daemon.ask('ping')
                if option.endswith('1'):
                    self.assert_evicted(client)
                else:
                    self.assert_served(client)

    def test_default(self):
        daemon = self.start('--timeout=86400000')
        with subprocess.Popen([os.environ['HOSTILE'], daemon.address, 'silent', '12001', 'ping'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
            self.assertEqual(clients.stdout.readline(), 'ready\n')
            wait_for(lambda: daemon.stats()['errors'], 'somebody makes room')
            printed, _ = clients.communicate()
        # That of the one who was too many, and of the questions for the number, one at a time.
        self.assertEqual(printed, 'opened=12001 closed=2 sent=0\n')

    def test_all_wait_for_us(self):
        # Whoever waits for a count does not make room: the next client waits until it is done.
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start('--max-connections=2', '--scan-timeout=60000', '--timeout=86400000')
        waiting = [self.connect(daemon) for _ in range(2)]
        for client in waiting:
            send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
        latecomer = self.connect(daemon)
        latecomer.sendall(b'ping\n')
        self.assertEqual(latecomer.recv(9), b'status=ok')
        self.assertTrue(any(has_reply(client) for client in waiting), 'it went before them')
        for client in waiting:
            self.assertEqual(read_all(client), b'%d\n' % bytes_)
        self.assertEqual(daemon.warnings(), [])

    def test_all_turn_out_to_wait_for_us(self):
        # The same where the daemon learns of their questions and of the next client at once.
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start('--max-connections=2', '--scan-timeout=60000', '--timeout=86400000')
        waiting = self.fill(daemon, 2)
        daemon.process.pause()
        latecomer = self.connect(daemon)
        latecomer.sendall(b'ping\n')
        for client in waiting:
            client.sendall(bytes(self.root / 'slow') + b'\n')
        daemon.process.resume()
        self.assertEqual(latecomer.recv(9), b'status=ok')
        self.assertTrue(any(has_reply(client) for client in waiting), 'it went before them')
        for client in waiting:
            self.assertEqual(parse_pairs(read_all(client))['bytes'], str(bytes_))
        self.assertEqual(daemon.warnings(), [])

    def test_count_that_nobody_waits_for(self):
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start('--max-connections=1', '--scan-timeout=60000', '--timeout=86400000')
        for _ in range(3):
            client = self.connect(daemon)
            send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
            client.close()
            self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assertEqual(daemon.number(self.root / 'slow'), bytes_)

    def test_descriptors_are_closed(self):
        # Whatever becomes of a connection, nothing is left of it.
        mailbox = make_maildir(self.root / 'joe', [1])
        daemon = self.start('--max-connections=5', '--timeout=2000')
        daemon.number(mailbox)
        before = len(open_files_but_roots(daemon.pid))
        for client in self.fill(daemon, 10):
            client.close()
        for request in bytes(mailbox), b'/etc', b'', b'/' * 8193, b'usage', b'\0', b'ping':
            for sent in request, request + b'\n', request + b'\nmore':
                client = self.connect(daemon)
                client.sendall(sent)
                client.close()
                daemon.ask(request)
        silent = self.connect(daemon)
        self.assertEqual(read_all(silent), b'0\n')
        wait_for(lambda: len(open_files_but_roots(daemon.pid)) == before,
                 'there are as many as before')

    def test_no_descriptor_is_left(self):
        # The limit on descriptors is lower than that on connections. What is left of it is enough
        # to look into mailboxes.
        counted = make_maildir(self.root / 'counted', [5, 6])
        summed = make_maildir(self.root / 'summed')
        write_maildirsize(summed, '0S', '7 1')
        daemon = self.start('--max-connections=1000', '--timeout=86400000',
                            wrapper=('/usr/bin/prlimit', '--nofile=64:64'))
        [warning] = daemon.warnings()
        self.assertIn('--max-connections=1000', warning)
        self.assertIn('LimitNOFILE', warning)
        clients = [self.connect(daemon) for _ in range(200)]
        self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assertEqual(daemon.usage(counted)['bytes'], '11')
        self.assertEqual(daemon.usage(summed)['bytes'], '7')
        self.assertEqual(read_all(clients[0]), b'0\n')
        clients[-1].sendall(b'usage ')
        self.assert_served(clients[-1])

    def test_descriptors_are_taken_away(self):
        # accept() itself fails: whoever waits for his client makes room, and without such a client
        # the queue waits. (Only a process of our own user lets us do that without a capability.)
        daemon = self.start('--timeout=86400000', f'--user={os.geteuid()}')
        daemon.ask('ping')
        hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[1]
        silent = self.fill(daemon, 10)
        daemon.usage(self.root / 'joe')  # it holds its root as long as somebody is connected
        numbers = set(map(int, os.listdir(f'/proc/{daemon.pid}/fd')))
        self.allow_descriptors(daemon, min(set(range(1000)) - numbers), hard)
        self.assertEqual(daemon.ask('ping')[:9], b'status=ok')
        self.assert_evicted(silent.pop(0))
        for client in silent:
            self.assert_served(client)
        self.allow_descriptors(daemon, 3, hard)
        latecomer = self.connect(daemon)
        latecomer.sendall(b'ping\n')
        wait_for(lambda: [text for text in daemon.warnings() if 'cannot accept' in text],
                 'it says that it cannot accept')
        self.allow_descriptors(daemon, hard, hard)
        self.assertEqual(read_all(latecomer)[:9], b'status=ok')

    def allow_descriptors(self, daemon: Daemon, count: int, hard: int) -> None:
        """Lets the daemon open no more than so many."""
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (count, hard))
