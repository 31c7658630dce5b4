# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals: the end, which finishes what was accepted, and the log file that is opened again."""

import os
import signal

from daemon import (DaemonTestCase, connect, has_reply, needs_root, parse_pairs, read_all,
                    send_and_be_read, wait_for)
from mailboxes import make_maildir, make_slow_maildir


class EndTest(DaemonTestCase):
    """SIGTERM and SIGINT."""

    def setUp(self) -> None:
        super().setUp()
        self.path = bytes(make_maildir(self.root / 'joe', [123]))
        if os.geteuid() == 0:  # the daemon becomes mail, and has to remove its socket
            os.chown(self.folder, 8, 8)

    def wait_until_no_one_can_connect(self, daemon) -> None:
        """Returns when the daemon has begun to end."""
        wait_for(lambda: not daemon.address.exists(), 'the socket file is removed')
        with self.assertRaises(OSError):
            connect(daemon.address)

    def test_idle(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                daemon = self.start()
                daemon.ask(self.path)
                daemon.process.send(number)
                self.assert_ended_well(daemon)
                self.assertFalse(daemon.address.exists())
                self.assertRegex(daemon.entries()[-1].text, 'stopped after 1 queries')

    def test_half_a_request(self):
        daemon = self.start('--timeout=86400000')
        client = self.connect(daemon)
        send_and_be_read(client, self.path[:10])
        daemon.process.send(signal.SIGTERM)
        self.wait_until_no_one_can_connect(daemon)
        send_and_be_read(client, self.path[10:])
        self.assertFalse(has_reply(client))
        client.sendall(b'\n')
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_half_a_request_that_stays_one(self):
        daemon = self.start('--timeout=300')
        daemon.process.pause()
        client = self.connect(daemon)
        client.sendall(b'usage ')
        daemon.process.resume()
        daemon.process.send(signal.SIGTERM)
        self.assertEqual(parse_pairs(read_all(client))['reason'], 'timeout')
        self.assert_ended_well(daemon)

    def test_twice(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            daemon = self.start('--timeout=86400000')
            client = self.connect(daemon)
            send_and_be_read(client, self.path)
            daemon.process.send(first)
            self.wait_until_no_one_can_connect(daemon)
            daemon.process.send(second)
            wait_for(lambda: any('again' in entry.text for entry in daemon.entries()),
                     'the second signal is told')
            client.sendall(b'\n')
            self.assertEqual(read_all(client), b'123\n')
            self.assert_ended_well(daemon)

    def test_backlog(self):
        # Nobody else would answer them: the queue is gone when the daemon is.
        daemon = self.start('--timeout=86400000')
        daemon.process.pause()
        clients = [self.connect(daemon) for _ in range(100)]
        for client in clients[:-1]:
            client.sendall(self.path + b'\n')
        daemon.process.send(signal.SIGTERM)
        daemon.process.resume()
        for client in clients[:-1]:
            self.assertEqual(read_all(client), b'123\n')
        clients[-1].sendall(self.path + b'\n')
        self.assertEqual(read_all(clients[-1]), b'123\n')
        self.assert_ended_well(daemon)

    def test_backlog_that_needs_room(self):
        daemon = self.start('--max-connections=2', '--timeout=86400000', '--scan-timeout=60000')
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        waiting = [self.connect(daemon) for _ in range(2)]
        for client in waiting:
            send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
        clients = [self.connect(daemon) for _ in range(50)]
        for client in clients:
            client.sendall(self.path + b'\n')
        daemon.process.send(signal.SIGTERM)
        for client in waiting:
            self.assertEqual(read_all(client), b'%d\n' % bytes_)
        for client in clients:
            self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_count_that_is_waited_for(self):
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start('--scan-timeout=60000')
        client = self.connect(daemon)
        send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
        daemon.process.send(signal.SIGTERM)
        self.assertEqual(read_all(client), b'%d\n' % bytes_)
        self.assert_ended_well(daemon)

    def test_count_that_nobody_waits_for(self):
        make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start()
        client = self.connect(daemon)
        send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
        client.close()
        self.stop(daemon)

    def test_many_times(self):
        # Whenever the signal comes, whoever could connect is answered.
        for _ in range(20):
            daemon = self.start()
            client = self.connect(daemon)
            client.sendall(self.path + b'\n')
            daemon.process.send(signal.SIGTERM)
            self.assertEqual(read_all(client), b'123\n')
            self.assert_ended_well(daemon)

    def test_during_the_start(self):
        # It leaves nothing behind, whenever the signal comes.
        for number in range(40):
            path = self.folder / 'socket'
            daemon = self.spawn(f'--socket={path}', '--foreground', f'--pidfile={path}.pid')
            daemon.process.wait(number / 4000)
            daemon.process.send(signal.SIGTERM)
            self.assertIn(daemon.process.wait(), (0, -signal.SIGTERM))
            daemon.process.status = 0  # one that did not come so far as to take care is fine
            self.assertEqual(list(self.folder.glob('socket*')), [])

    def test_other_signals(self):
        daemon = self.start()
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGWINCH, signal.SIGHUP):
            daemon.process.send(number)
        self.assertEqual(daemon.number(self.path), 123)


class LogFileTest(DaemonTestCase):
    """SIGHUP, after which a new log file is written."""

    def test_file_that_was_moved_away(self):
        daemon = self.start()
        moved = daemon.folder / 'log.1'
        daemon.ask('/first')
        daemon.log.rename(moved)
        daemon.ask('/second')
        daemon.process.send(signal.SIGHUP)
        wait_for(daemon.log.exists, 'the log file is made again')
        daemon.ask('/third')
        self.assertEqual([text.split(':')[0] for text in daemon.warnings()], ['/third'])
        self.assertIn('/first: ', moved.read_text())
        self.assertIn('/second: ', moved.read_text())
        self.assertNotIn('/third: ', moved.read_text())

    @needs_root
    def test_file_that_was_not_moved_away(self):
        # The daemon is another user by now, and the file is root's: it stays open.
        daemon = self.start()
        for _ in range(3):
            daemon.process.send(signal.SIGHUP)
            daemon.ask('ping')
        daemon.ask('/after')
        self.assertEqual([text.split(':')[0] for text in daemon.warnings()], ['/after'])

    def test_file_that_cannot_be_made_again(self):
        logs = self.folder / 'logs'
        logs.mkdir()
        logs.chmod(0o777)
        daemon = self.start(log=logs / 'log')
        daemon.log = logs.rename(self.folder / 'moved') / 'log'
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: daemon.entries('error'), 'it is told')
        [entry] = daemon.entries('error')
        self.assertIn('cannot reopen the log file', entry.text)
        daemon.ask('/after')
        self.assertEqual(len(daemon.warnings_about('/after')), 1)

    @needs_root
    def test_file_that_another_user_may_not_open(self):
        # It is opened before the daemon becomes another user, and stays open.
        logs = self.folder / 'logs'
        logs.mkdir(mode=0o700)
        (logs / 'deep').mkdir()
        daemon = self.start(log=logs / 'deep' / 'log')
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: daemon.entries('error'), 'it is told')
        daemon.ask('/after')
        self.assertEqual(len(daemon.warnings_about('/after')), 1)

    def test_signal_without_a_log_file(self):
        daemon = self.start(log=None)
        daemon.process.send(signal.SIGHUP)
        daemon.ask('/after')
        self.assertIn('/after: ', daemon.stderr())
