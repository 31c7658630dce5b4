# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets that are passed: by systemd, listening or connected, and by inetd on standard input."""

import select
import signal
import socket
import threading
import time
from typing import Optional

from daemon import (PATIENCE_SECONDS, Daemon, DaemonTestCase, ask, has_reply, passing, read_all,
                    send_and_be_read, wait_for)
from mailboxes import make_maildir, make_slow_maildir

LOCALHOST = ('127.0.0.1', 0)


class PassedTest(DaemonTestCase):
    """A mailbox, and sockets to be passed."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])
        self.line = bytes(self.path) + b'\n'

    def listen_at(self, name: str, **how) -> socket.socket:
        """Makes a listening socket in the test's folder."""
        return self.listen(self.folder / name, **how)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Returns the two ends of a connection."""
        pair = socket.socketpair()
        for end in pair:
            end.settimeout(PATIENCE_SECONDS)
            self.addCleanup(end.close)
        return pair


class ListeningTest(PassedTest):
    """Listening sockets from systemd."""

    def test_one(self):
        daemon = self.start_with([self.listen_at('a')])
        self.assertEqual(daemon.ask(self.path), b'123\n')
        self.assertIn('1 socket passed by systemd', daemon.entries('info')[-1].text)
        self.stop(daemon)
        self.assertTrue((self.folder / 'a').exists(), 'it is not ours to be removed')

    def test_several(self):
        listeners = [self.listen_at('a'), self.listen_at('b'), self.listen(LOCALHOST),
                     self.listen_at('c')]
        daemon = self.start_with(listeners, names=['query', 'query', 'tcp', 'other'])
        for listener in listeners:
            self.assertEqual(ask(listener.getsockname(), self.path), b'123\n')
        self.assertEqual(daemon.warnings(), [])

    def test_many(self):
        listeners = [self.listen_at(f'{number}') for number in range(50)]
        self.start_with(listeners)
        for listener in listeners:
            self.assertEqual(ask(listener.getsockname(), self.path), b'123\n')

    def test_tcp(self):
        daemon = self.start_with([self.listen(LOCALHOST)], '--on-error=defer')
        self.assertEqual(daemon.ask(self.path), b'123\n')
        self.assertEqual(daemon.ask('/etc'), b'9223372036854775807\n')
        self.assertEqual(daemon.ask(b'/' * 8193), b'9223372036854775807\n')
        with socket.create_connection(daemon.address, PATIENCE_SECONDS) as client:
            for byte in self.line:
                client.sendall(bytes([byte]))
            self.assertEqual(client.recv(100), b'123\n')

    def test_blocking_or_not(self):
        for blocking in True, False:
            listener = self.listen_at(f'{blocking}')
            listener.setblocking(blocking)
            daemon = self.start_with([listener])
            for _ in range(3):
                self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_datagram_socket_is_closed(self):
        datagram = self.listen_at('datagram', kind=socket.SOCK_DGRAM)
        daemon = self.start_with([self.listen_at('a'), datagram], names=['query', 'strange'])
        [warning] = daemon.warnings()
        self.assertIn('"strange"', warning)
        self.assertIn('not a stream socket', warning)
        self.assertEqual(daemon.ask(self.path), b'123\n')
        datagram.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            with self.assertRaises(ConnectionRefusedError):
                sender.connect(str(self.folder / 'datagram'))

    def test_what_else_is_no_socket(self):
        with open(self.folder / 'file', 'wb') as file:
            daemon = self.start_with([self.listen_at('a'), file], names=['query', 'a b'])
        [warning] = daemon.warnings()
        self.assertIn('not a stream socket', warning)
        self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_nothing_that_can_be_served(self):
        datagram = self.listen_at('datagram', kind=socket.SOCK_DGRAM)
        daemon = self.spawn(**passing([datagram]))
        self.assertEqual(daemon.process.wait(), 1)
        self.assertIn('no stream socket', daemon.stderr())
        self.assertEqual(len(daemon.warnings()), 1)
        daemon.process.status = 0  # this end was meant to be

    def test_sockets_of_another_process(self):
        listener = self.listen_at('a')
        environment = {'LISTEN_FDS': '1', 'LISTEN_PID': '1'}
        ended = self.run_to_end('--foreground', environment=environment,
                                descriptors={3: listener.fileno()})
        self.assertEqual(ended.status, 2)
        self.assertIn('--socket=PATH', ended.stderr)
        daemon = self.start(environment=environment, descriptors={3: listener.fileno()})
        self.assertEqual(daemon.ask(self.path), b'123\n')
        client = self.connect(self.folder / 'a')
        client.sendall(self.line)
        self.assertFalse(has_reply(client))

    def test_socket_option_is_left_alone(self):
        path = self.folder / 'socket'
        daemon = self.start_with([self.listen_at('a')], f'--socket={path}')
        [warning] = daemon.warnings()
        self.assertIn(f'--socket={path}', warning)
        self.assertFalse(path.exists())
        self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_queue_stays_for_the_next(self):
        # Whatever is in the queue when the daemon ends is answered: by it, or by the next one.
        listener = self.listen_at('a')
        for _ in range(5):
            daemon = self.start_with([listener])
            daemon.process.pause()
            clients = [self.connect(daemon) for _ in range(100)]
            for client in clients:
                client.sendall(self.line)
            daemon.process.send(signal.SIGTERM)
            daemon.process.resume()
            self.assert_ended_well(daemon)
            daemon = self.start_with([listener])
            for client in clients:
                self.assertEqual(read_all(client), b'123\n')
            self.stop(daemon)

    def test_half_a_request_at_the_end(self):
        listener = self.listen_at('a')
        daemon = self.start_with([listener], '--timeout=86400000')
        client = self.connect(daemon)
        send_and_be_read(client, self.line[:5])
        daemon.process.send(signal.SIGTERM)
        # The end has begun once it does not accept any more.
        queued = self.connect(listener.getsockname())
        queued.sendall(self.line)
        client.sendall(self.line[5:])
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)
        self.start_with([listener])
        self.assertEqual(read_all(queued), b'123\n')


class ConnectedTest(PassedTest):
    """A connection that is passed: an instance for each, and inetd."""

    def serve(self, connection: socket.socket, *options: str) -> Daemon:
        """Starts an instance for a connection that systemd has accepted."""
        daemon = self.spawn(*options, **passing([connection], ['connection']))
        connection.close()
        return daemon

    def test_request_that_is_there(self):
        client, connection = self.pair()
        client.sendall(self.line)
        daemon = self.serve(connection)
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)
        self.assertEqual(daemon.entries(), [])

    def test_request_that_comes_later(self):
        client, connection = self.pair()
        daemon = self.serve(connection)
        send_and_be_read(client, self.line[:5])
        self.assertIsNone(daemon.process.wait(0))
        client.sendall(self.line[5:])
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_error(self):
        client, connection = self.pair()
        daemon = self.serve(connection, '--on-error=defer')
        client.sendall(b'/etc\n')
        self.assertEqual(read_all(client), b'9223372036854775807\n')
        self.assert_ended_well(daemon)
        self.assertEqual(len(daemon.warnings()), 1)

    def test_silent_client(self):
        client, connection = self.pair()
        daemon = self.serve(connection, '--timeout=100')
        self.assertEqual(read_all(client), b'0\n')
        self.assert_ended_well(daemon)

    def narrow(self, *options: str) -> tuple[socket.socket, Daemon, bytes]:
        """Asks where the socket does not take the reply at once, and waits for the first of it.

        Returns the client's end, the instance, and what the reply shall be.
        """
        nothing = str(self.root) + '/\1' * 1900  # each of which the reply spells out
        expected = self.start_with([self.listen_at('wide')]).ask(f'usage {nothing}')
        client, connection = self.pair()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        client.sendall(f'usage {nothing}\n'.encode())
        daemon = self.serve(connection, *options)
        wait_for(lambda: has_reply(client), 'the first of the reply')
        return client, daemon, expected

    def test_client_that_is_slow_to_read(self):
        client, daemon, expected = self.narrow()
        received = b''
        while part := client.recv(100):
            received += part
        self.assertEqual(received, expected)
        self.assert_ended_well(daemon)

    def test_client_that_does_not_read(self):
        client, daemon, expected = self.narrow('--timeout=200')
        self.assert_ended_well(daemon)  # before anything is read
        received = read_all(client)
        self.assertLess(len(received), len(expected))
        self.assertEqual(received, expected[:len(received)])

    def test_client_that_goes_before_it_has_read(self):
        client, daemon, _ = self.narrow('--timeout=3600000')
        client.close()
        self.assert_ended_well(daemon)

    def test_client_that_is_gone(self):
        client, connection = self.pair()
        client.close()
        self.assert_ended_well(self.serve(connection))

    def test_tcp(self):
        listener = self.listen(LOCALHOST)
        client = self.connect(listener.getsockname())
        daemon = self.serve(listener.accept()[0])
        client.sendall(self.line)
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_connections_beside_listening_sockets(self):
        client, connection = self.pair()
        listener = self.listen_at('a')
        daemon = self.start_with([listener, connection])
        connection.close()
        client.sendall(self.line)
        self.assertEqual(read_all(client), b'123\n')
        self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_connection_that_is_answered_before_the_others_are_taken(self):
        client, connection = self.pair()
        other, other_connection = self.pair()
        client.sendall(b'/outside\n')
        self.spawn(**passing([connection, other_connection]))
        connection.close()
        other_connection.close()
        self.assertEqual(read_all(client), b'0\n')
        other.sendall(self.line)
        self.assertEqual(read_all(other), b'123\n')

    def inetd(self, *options: str, log: Optional[str] = None, errors: bool = True):
        """Starts an instance on a connection that is all its standard streams, as inetd does."""
        client, connection = self.pair()
        daemon = self.spawn(*options, log=log, descriptors={
            fd: connection.fileno() for fd in ((0, 1, 2) if errors else (0, 1))})
        connection.close()
        return client, daemon

    def test_inetd(self):
        client, daemon = self.inetd()
        client.sendall(self.line)
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_inetd_tells_the_client_nothing_else(self):
        for options in (), ('--debug',), ('--on-error=accept', '--debug'):
            client, daemon = self.inetd(*options)
            client.sendall(b'/etc/passwd\n')
            self.assertEqual(read_all(client), b'0\n')
            self.assert_ended_well(daemon)

    def test_inetd_that_cannot_start(self):
        for options, status in ((('--timeout=x',), 2), ((f'--root={self.folder}/missing',), 1),
                                (('--nonsense',), 2), (('--user=no-such-user',), 1)):
            with self.subTest(options=options):
                client, daemon = self.inetd(*options)
                self.assertEqual(daemon.process.wait(), status)
                self.assertEqual(read_all(client), b'')
                daemon.process.status = 0  # this end was meant to be

    def test_inetd_with_a_standard_error_of_its_own(self):
        client, daemon = self.inetd(errors=False)
        client.sendall(b'/etc/passwd\n')
        self.assertEqual(read_all(client), b'0\n')
        self.assert_ended_well(daemon)
        self.assertIn('/etc/passwd: ', daemon.stderr())

    def test_inetd_with_a_log_file(self):
        client, daemon = self.inetd(log='')
        client.sendall(b'/etc/passwd\n')
        self.assertEqual(read_all(client), b'0\n')
        self.assert_ended_well(daemon)
        self.assertEqual(len(daemon.warnings_about('/etc/passwd')), 1)

    def test_listening_socket_on_standard_input(self):
        # inetd's `wait`: the daemon accepts, and goes on.
        listener = self.listen_at('a')
        daemon = self.spawn(descriptors={0: listener.fileno()}, address=self.folder / 'a')
        for _ in range(3):
            self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_standard_input_that_is_no_stream_socket(self):
        datagram = self.listen_at('datagram', kind=socket.SOCK_DGRAM)
        with open('/etc/passwd', 'rb') as file:
            for each in datagram, file:
                ended = self.run_to_end(descriptors={0: each.fileno()})
                self.assertEqual(ended.status, 2)
                self.assertIn('--socket=PATH', ended.stderr)


class IdleTest(PassedTest):
    """--exit-idle-time: the daemon goes, and the socket stays."""

    def test_end(self):
        for value in '100ms', '1':
            listener = self.listen_at(value)
            client = self.connect(listener.getsockname())
            client.sendall(self.line)
            daemon = self.start_with([listener], f'--exit-idle-time={value}')
            self.assertEqual(read_all(client), b'123\n')
            self.assert_ended_well(daemon)
            self.assertTrue(any('--exit-idle-time' in entry.text for entry in daemon.entries()))
            client = self.connect(listener.getsockname())
            client.sendall(self.line)
            self.start_with([listener], '--exit-idle-time=infinity')
            self.assertEqual(read_all(client), b'123\n')

    def test_daemon_that_is_never_asked(self):
        self.assert_ended_well(self.start_with([self.listen_at('a')], '--exit-idle-time=50ms'))

    def test_not_while_a_client_is_connected(self):
        listener = self.listen_at('a')
        client = self.connect(listener.getsockname())
        client.sendall(self.line[:5])
        daemon = self.start_with([listener], '--exit-idle-time=200ms', '--timeout=86400000')
        self.assertIsNone(daemon.process.wait(0.7))
        client.sendall(self.line[5:])
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_not_while_it_is_asked(self):
        daemon = self.start_with([self.listen_at('a')], '--exit-idle-time=1s')
        asked = time.monotonic()
        end = asked + 1.6
        while asked < end:
            before, asked = asked, time.monotonic()
            client = self.connect(daemon)
            client.sendall(self.line)
            while not has_reply(client):
                if daemon.process.wait(0.01) is not None and not has_reply(client):
                    self.assertGreater(time.monotonic() - before, 1, 'it ended, and was not idle')
                    return  # this machine is so busy that it was
            self.assertEqual(read_all(client), b'123\n')

    def test_not_while_a_count_hangs(self):
        make_slow_maildir(self.root / 'slow', self.root / 'beside', 400)
        listener = self.listen_at('a')
        client = self.connect(listener.getsockname())  # before it could be idle
        client.sendall(bytes(self.root / 'slow') + b'\n')
        daemon = self.start_with([listener], '--exit-idle-time=50ms', '--scan-timeout=1')
        self.assertRegex(read_all(client), rb'\A[0-9]+\n\Z')
        self.assert_ended_well(daemon)
        self.assertFalse([text for text in daemon.warnings() if 'leaving' in text])

    def test_not_while_the_next_would_have_no_limits(self):
        limits = self.folder / 'limits'
        for reloads in True, False:  # whether somebody has tried to read them by then
            with self.subTest(reloads=reloads):
                limits.write_text('*: 1K\n')
                listener = self.listen_at(f'reloads-{reloads}')
                client = self.connect(listener.getsockname())  # before it could be idle
                daemon = self.start_with([listener], '--exit-idle-time=50ms', '--timeout=86400000',
                                         f'--limits={limits}')
                limits.unlink()
                if reloads:
                    daemon.process.send(signal.SIGHUP)
                    wait_for(lambda: daemon.entries('error'), 'it is logged')
                client.close()
                wait_for(lambda: daemon.entries('error'), 'it is logged')
                self.assertIsNone(daemon.process.wait(0.5))
                [error] = daemon.entries('error')
                self.assertIn('the old limits stay in force', error.text)
                self.assertEqual(daemon.usage(self.path)['limit'], '1024')
                limits.write_text('*: 2K\n')
                daemon.process.send(signal.SIGHUP)
                self.assert_ended_well(daemon)

    def test_without_limits_there_are_none_to_lose(self):
        daemon = self.start_with([self.listen_at('a')], '--exit-idle-time=50ms',
                                 f'--limits={self.folder}/missing')
        self.assert_ended_well(daemon)

    def test_amid_reloads(self):
        # Whatever is read when, and why, it is told that the reload is over, and ends.
        limits = self.folder / 'limits'
        limits.write_text('*: 1K\n' * 200_000)
        daemon = self.start_with([self.listen_at('a')], '--exit-idle-time=1ms',
                                 f'--limits={limits}')
        for _ in range(20):
            daemon.process.send(signal.SIGHUP)
            time.sleep(0.003)
        self.assert_ended_well(daemon)

    def test_not_with_a_socket_of_its_own(self):
        # Nobody would start it again.
        daemon = self.start('--exit-idle-time=50ms')
        self.assertIsNone(daemon.process.wait(0.5))
        self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_no_client_is_lost(self):
        # The daemon ends and is started again and again, as systemd would, while it is asked.
        listener = self.listen_at('a')
        enough = threading.Event()
        replies = []

        def ask_at_times():
            # With gaps of all lengths: the daemon ends in some of them, and just so in a few.
            while not enough.is_set():
                time.sleep(len(replies) * 37 % 300 / 1000)
                replies.append(ask(listener.getsockname(), self.path))

        asking = threading.Thread(target=ask_at_times)
        asking.start()
        starts = 0
        while asking.is_alive():
            if select.select([listener], [], [], 0.01)[0]:
                self.assert_ended_well(self.start_with([listener], '--exit-idle-time=20ms'))
                starts += 1
            if starts == 5:
                enough.set()
        self.assertEqual(set(replies), {b'123\n'})
        self.assertGreaterEqual(starts, 5)
