# SPDX-License-Identifier: GPL-2.0-or-later
"""How a request comes: in pieces, without its end, too long, wrong; and that an answer follows."""

import contextlib
import socket

from daemon import DaemonTestCase, has_reply, read_all, send_and_be_read, wait_for

BYTES = 12345


class RequestTest(DaemonTestCase):
    """One mailbox, whose size is known, and a daemon that is asked about it."""

    def setUp(self) -> None:
        super().setUp()
        self.mailbox = self.root / 'joe'
        self.mailbox.write_bytes(bytes(BYTES))
        self.path = bytes(self.mailbox)
        self.number = b'%d\n' % BYTES
        self.daemon = self.start('--on-error=defer')
        self.full = b'9223372036854775807\n'

    def assert_serves(self) -> None:
        """Fails unless the daemon answers a new client."""
        self.assertEqual(self.daemon.ask(self.path), self.number)

    def padded(self, length: int) -> bytes:
        """Returns the mailbox's path, made that long by slashes that mean nothing."""
        return b'/' * (length - len(self.path)) + self.path

    def test_split_at_every_byte(self):
        for verb in (b'', b'usage '):
            line = verb + self.path + b'\n'
            whole = self.daemon.ask(verb + self.path)
            for at in range(1, len(line)):
                with self.subTest(verb=verb, at=at):
                    client = self.connect(self.daemon)
                    send_and_be_read(client, line[:at])
                    client.sendall(line[at:])
                    self.assertEqual(read_all(client), whole)

    def test_byte_by_byte(self):
        client = self.connect(self.daemon)
        for byte in self.path:
            send_and_be_read(client, bytes([byte]))
        self.assertFalse(has_reply(client))
        client.sendall(b'\n')
        self.assertEqual(read_all(client), self.number)

    def test_end_of_input_ends_the_request(self):
        client = self.connect(self.daemon)
        send_and_be_read(client, self.path[:10])
        send_and_be_read(client, self.path[10:])
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), self.number)

    def test_end_of_input_comes_with_the_request(self):
        client = self.connect(self.daemon)
        client.sendall(self.path)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), self.number)

    def test_client_that_does_not_half_close(self):
        client = self.connect(self.daemon)
        client.sendall(self.path + b'\n')
        self.assertEqual(read_all(client), self.number)

    def test_bytes_behind_the_line(self):
        for behind in (b'x', b'\n', b'\0', self.path + b'\n', bytes(8192), bytes(100_000)):
            with self.subTest(behind=len(behind)):
                client = self.connect(self.daemon)
                with contextlib.suppress(BrokenPipeError):  # the reply may come before its end
                    client.sendall(self.path + b'\n' + behind)
                self.assertEqual(read_all(client), self.number)
        self.assertEqual(self.daemon.warnings(), [])

    def test_8192_bytes_are_a_request(self):
        self.assertEqual(self.daemon.ask(self.padded(8192)), self.number)
        self.assertIn(b'status=ok bytes=%d ' % BYTES,
                      self.daemon.ask(b'usage ' + self.padded(8192 - len('usage '))))
        self.assertEqual(self.daemon.warnings(), [])

    def test_8192_bytes_that_end_with_the_input(self):
        client = self.connect(self.daemon)
        send_and_be_read(client, self.padded(8192))
        self.assertFalse(has_reply(client))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), self.number)

    def test_8193_bytes_are_too_long(self):
        self.assertEqual(self.daemon.ask(self.padded(8193)), self.full)
        [warning] = self.daemon.warnings()
        self.assertIn('8192', warning)

    def test_8193_bytes_are_refused_without_their_end(self):
        client = self.connect(self.daemon)
        client.sendall(self.padded(8193))
        self.assertEqual(client.recv(100), self.full)

    def test_verb_that_is_too_long(self):
        reply = self.daemon.pairs(b'usage ' + self.padded(8193 - len('usage ')))
        self.assertEqual(reply['status'], 'error')
        self.assertEqual(reply['reason'], 'too-long')

    def test_100_kilobytes(self):
        client = self.connect(self.daemon)
        client.sendall(bytes(100_000))
        self.assertEqual(client.recv(100), self.full)
        self.assertEqual(client.recv(100), b'', 'the connection ends')
        client.shutdown(socket.SHUT_WR)
        self.assert_serves()
        self.assertEqual(len(self.daemon.warnings()), 1)

    def test_10_megabytes(self):
        client = self.connect(self.daemon)
        with self.assertRaises(OSError):
            client.sendall(b'/' * 10_000_000)  # more than it is willing to throw away
        self.assertEqual(read_all(client), self.full)
        self.assert_serves()
        self.assertEqual(len(self.daemon.warnings()), 1)

    def test_nul(self):
        for line in (b'\0', self.path + b'\0', b'\0' + self.path, self.path[:5] + b'\0'):
            with self.subTest(line=line):
                self.assertEqual(self.daemon.ask(line), self.full)
        for line in (b'usage ' + self.path + b'\0', b'usage\0', b'ping\0', b'usage \0'):
            with self.subTest(line=line):
                self.assertEqual(self.daemon.pairs(line)['reason'], 'bad-request')

    def test_empty_input(self):
        client = self.connect(self.daemon)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), self.full)
        self.assertEqual(self.daemon.ask(b''), self.full)
        self.assertEqual(len(self.daemon.warnings_about('""')), 1)

    def test_lines_that_are_no_request(self):
        for line in (b'var/mail/joe', b'./joe', b'../joe', b' ' + self.path, b'~joe', b'42', b'=',
                     b'-', b'usage/joe', b'ping2', b'\xffjoe', b'%s%n', b'\t', b'"',
                     b'size=1 ' + self.path):
            with self.subTest(line=line):
                self.assertEqual(self.daemon.ask(line), self.full)
        for line in (b'joe', b'usage', b'usage ', b'check ', b'USAGE ' + self.path, b'help',
                     b'ping pong', b'stats all', b'usage sise=1 ' + self.path):
            with self.subTest(line=line):
                self.assertRegex(self.daemon.ask(line),
                                 b'^status=error reason=bad-request text=".+"\n$')
        self.assert_serves()

    def test_values_that_are_not_accepted(self):
        for pair in (b'size=x', b'size=1K', b'size=+1', b'size=0x10', b'size=1.5', b'quota=x',
                     b'quota=-1', b'quota=1,1', b'quota=1X', b'quota=,', b'quota=1C,'):
            with self.subTest(pair=pair):
                reply = self.daemon.ask(b'check ' + pair + b' ' + self.path)
                self.assertRegex(reply, b'^status=error reason=bad-value text=".+"\n$')

    def test_verdicts(self):
        for request, status in (
                (b'', 'ok'), (b'size= ', 'ok'), (b'size=-1 ', 'ok'), (b'size=999999999 ', 'ok'),
                (b'quota=0 ', 'ok'), (b'quota=20K ', 'ok'), (b'quota=12345 ', 'warn'),
                (b'quota=12344 ', 'over'), (b'size=100 quota=12444 ', 'over'),
                (b'size=100 quota=12445 ', 'warn'), (b'quota=1K size=1025 ', 'toolarge'),
                (b'size=99999999999999999999 quota=1T ', 'toolarge')):
            with self.subTest(request=request):
                reply = self.daemon.pairs(b'check ' + request + self.path)
                self.assertEqual(reply['status'], status)
                self.assertEqual(reply['bytes'], str(BYTES))
                self.assertEqual(list(reply)[-1], 'text')

    def test_address_without_a_template(self):
        for verb in (b'usage ', b'check size=1 '):
            reply = self.daemon.pairs(verb + b'joe@example.org')
            self.assertEqual((reply['status'], reply['reason']), ('error', 'no-template'))

    def test_order_of_the_pairs(self):
        self.assertEqual(
            self.daemon.ask(b'usage quota=24690,3C ' + self.path),
            b'status=ok bytes=12345 messages=0 limit=24690 message_limit=3 percent=50 source=mbox '
            b'rule=trusted limit_from=request mailbox=' + self.path + b'\n')

    def test_ping(self):
        self.assertRegex(self.daemon.ask('ping'), rb'^status=ok version=[0-9]+\.[0-9]+\.[0-9]+\n$')
        self.assertEqual(self.daemon.ask('ping '), self.daemon.ask('ping'))

    def test_stats(self):
        before = self.daemon.stats()
        self.daemon.ask(self.path)
        self.daemon.ask('ping')
        self.daemon.ask('no such verb')
        self.daemon.ask(b'check quota=1 ' + self.path)
        with self.connect(self.daemon) as silent:
            silent.shutdown(socket.SHUT_WR)
            silent.recv(1)
        after = self.daemon.stats()
        self.assertEqual(after['connections'] - before['connections'], 6)
        self.assertEqual(after['queries'] - before['queries'], 6)
        self.assertEqual(after['errors'] - before['errors'], 2)
        self.assertEqual(after['over'] - before['over'], 1)

    def test_clients_that_do_not_wait(self):
        for sent in (b'', self.path[:3], self.path + b'\n', b'usage ' + self.path + b'\n'):
            for _ in range(20):
                client = self.connect(self.daemon)
                client.sendall(sent)
                client.close()
        self.assert_serves()

    def test_many_at_once(self):
        clients = [self.connect(self.daemon) for _ in range(200)]
        for client in clients:
            client.sendall(self.path)
        for client in reversed(clients):
            client.sendall(b'\n')
        for client in clients:
            self.assertEqual(read_all(client), self.number)
        # The next client may come before the last of these is through, and counts itself.
        wait_for(lambda: self.daemon.stats()['queries'] >= 201, 'all are counted')
