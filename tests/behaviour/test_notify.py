# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service manager is told: sd_notify(3), and that it is told in time."""

import os
import select
import signal
import socket
import time
from pathlib import Path

from daemon import (PATIENCE_SECONDS, Daemon, DaemonTestCase, passing, read_all,
                    send_and_be_read)
from mailboxes import make_maildir


class NotifyTest(DaemonTestCase):
    """A socket that stands for the service manager's."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])
        self.notify = self.listen_for_notifications()

    def start_and_listen(self, *options: str, **more: str) -> Daemon:
        """Starts a daemon that tells us what it does, and waits for nothing.

        more is what else is in its environment.
        """
        return self.start(*options, environment={**self.notify_environment(), **more})

    def wait_for_message(self, *wanted: str) -> list[str]:
        """Waits for a message with all these lines, or beginnings of lines. Returns its lines."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if select.select([self.notify], [], [], 0.1)[0]:
                lines = self.notify.recv(65536).decode().split('\n')
                if all(any(line.startswith(each) for line in lines) for each in wanted):
                    return lines
        raise AssertionError(f'no {wanted} was told')

    def test_ready(self):
        daemon = self.start_and_listen()
        lines = self.wait_for_message('READY=1', 'STATUS=')
        self.assertIn('READY=1', lines)
        self.assertEqual(daemon.number(self.path), 123)

    def test_not_ready_before_it_answers(self):
        self.run_to_end(f'--socket={self.folder}/missing/socket', '--foreground',
                        environment=self.notify_environment())
        self.assertFalse(select.select([self.notify], [], [], 0)[0])

    def test_status(self):
        daemon = self.start_and_listen('--default-quota=100')
        self.wait_for_message('READY=1', 'STATUS=0 queries, 0 over quota, 0 errors')
        daemon.number(self.path)
        daemon.ask('/etc')
        self.wait_for_message('STATUS=2 queries, 1 over quota, 1 errors')
        daemon.ask('ping')
        self.wait_for_message('STATUS=3 queries, 1 over quota, 1 errors')
        for _ in range(1231):
            daemon.ask(b'ping\n')
        self.wait_for_message('STATUS=1234 queries, 1 over quota, 1 errors')

    def test_stopping(self):
        daemon = self.start_and_listen('--timeout=86400000')
        self.wait_for_message('READY=1')
        client = self.connect(daemon)
        send_and_be_read(client, bytes(self.path))
        daemon.process.send(signal.SIGTERM)
        self.wait_for_message('STOPPING=1', 'STATUS=')
        client.sendall(b'\n')
        self.assertEqual(read_all(client), b'123\n')
        self.assert_ended_well(daemon)

    def test_stopping_when_idle(self):
        listener = self.listen(self.folder / 'a')
        how = passing([listener])
        how['environment'] |= self.notify_environment()
        self.spawn('--exit-idle-time=50ms', **how)
        self.wait_for_message('STOPPING=1')

    def test_reloading(self):
        daemon = self.start_and_listen()
        self.wait_for_message('READY=1')
        for _ in range(3):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            daemon.process.send(signal.SIGHUP)
            lines = self.wait_for_message('RELOADING=1', 'MONOTONIC_USEC=')
            after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            [usec] = [line[len('MONOTONIC_USEC='):] for line in lines
                      if line.startswith('MONOTONIC_USEC=')]
            self.assertTrue(before <= int(usec) <= after)
            self.wait_for_message('READY=1')

    def start_with_limits(self, limits: Path) -> Daemon:
        """Starts a daemon that knows addresses, and waits until it has read the limits."""
        daemon = self.start_and_listen(f'--mailbox={self.root}/%n', f'--limits={limits}')
        self.wait_for_message('READY=1')
        return daemon

    def reload(self, daemon: Daemon) -> None:
        """Lets it read the limits again, and waits until it has."""
        daemon.process.send(signal.SIGHUP)
        self.wait_for_message('READY=1')

    def test_reloading_limits(self):
        limits = self.folder / 'limits'
        limits.write_text('*: 1K\n')
        daemon = self.start_with_limits(limits)
        for text, limit in (('*: 2K\n', '2048'), ('*: 3K\n', '3072'), ('*: 4Q\n', '0'),
                            ('d: 4Q\n\n*\n', '0'), ('*: 5K\n', '5120')):
            with self.subTest(text=text):
                limits.write_text(text)
                self.reload(daemon)
                self.assertEqual(daemon.usage('joe@example.org')['limit'], limit)
        limits.unlink()
        self.reload(daemon)
        self.assertEqual(daemon.usage('joe@example.org')['limit'], '5120')
        [error] = [entry.text for entry in daemon.entries('error')]
        self.assertEqual(error, f'{limits}: cannot be opened: No such file or directory; the old '
                                'limits stay in force')
        faults = [entry.text for entry in daemon.entries('warning')]
        self.assertEqual([text.split(' ')[0] for text in faults],
                         [f'{limits}:1:', f'{limits}:1:', f'{limits}:3:'])
        self.assertIn('"4Q" is not a limit; write a size', faults[0])
        loaded = [entry.text for entry in daemon.entries('info') if 'loaded' in entry.text]
        self.assertEqual(loaded, [f'{limits}: {rest}' for rest in (
            '1 limits loaded', '1 limits loaded', '1 limits loaded',
            '0 limits loaded, 1 unusable', '0 limits loaded, 2 unusable', '1 limits loaded')])

    def test_limits_that_cannot_be_read_at_the_start(self):
        limits = self.folder / 'limits'
        daemon = self.start_with_limits(limits)
        self.assertEqual(daemon.usage('joe@example.org')['limit'], '0')
        self.reload(daemon)
        limits.write_text('*: 5K\n')
        self.reload(daemon)
        self.assertEqual(daemon.usage('joe@example.org')['limit'], '5120')
        self.assertEqual([entry.text for entry in daemon.entries('error')],
                         [f'{limits}: cannot be opened: No such file or directory; there are no '
                          'limits until a reload can read it'] * 2)

    def test_limits_of_which_many_are_wrong(self):
        limits = self.folder / 'limits'
        good = [f'joe{number}@example.org: {number + 1}\n' for number in range(100_000)]
        lines = [line.replace(': ', ': x') if number % 100 == 50 else line
                 for number, line in enumerate(good)]
        limits.write_text(''.join(lines) + '*: 1K\n')
        daemon = self.start_with_limits(limits)
        for _ in range(2):
            about = [entry for entry in daemon.entries() if str(limits) in entry.text]
            self.assertLessEqual(len(about), 21)
            self.assertEqual(about[0].text.split(' ')[0], f'{limits}:51:')
            self.assertEqual(about[-2].text, f'{limits}: and 981 more')
            self.assertEqual(about[-1].text, f'{limits}: 99001 limits loaded, 1000 unusable')
            self.assertEqual([entry.priority for entry in about], ['warning'] * 20 + ['info'])
            for number in (*range(0, 100_000, 97), *range(50, 100_000, 1000)):
                limit = '0' if number % 100 == 50 else str(number + 1)
                self.assertEqual(daemon.usage(f'joe{number}@example.org')['limit'], limit)
            self.assertEqual(daemon.usage('jim@example.org')['limit'], '1024')
            limits.write_text(limits.read_text() + '# changed\n')
            daemon.log.rename(daemon.folder / 'log.1')
            self.reload(daemon)

    def test_reloading_limits_through_a_link(self):
        for name in 'links', 'limits':
            (self.folder / name).mkdir()
        (self.folder / 'limits' / 'first').write_text('*: 1K\n')
        (self.folder / 'limits' / 'second').write_text('*: 2K\n')
        link = self.folder / 'links' / 'limits'
        link.symlink_to('../limits/first')
        daemon = self.start_and_listen(f'--limits={link}')
        self.wait_for_message('READY=1')
        link.unlink()
        link.symlink_to('../limits/second')
        daemon.process.send(signal.SIGHUP)
        self.wait_for_message('READY=1')
        self.assertEqual(daemon.usage(self.path)['limit'], '2048')

    def test_watchdog(self):
        daemon = self.start_and_listen(WATCHDOG_USEC='200000')
        self.wait_for_message('READY=1')
        for _ in range(3):
            self.wait_for_message('WATCHDOG=1')
        self.assertEqual(daemon.number(self.path), 123)

    def test_abstract_socket(self):
        # As a container's service manager has it: within reach from within the sandbox, too.
        name = f'exim-quotad-test-{os.getpid()}'
        self.notify.close()
        self.notify = self.listen(f'\0{name}', socket.SOCK_DGRAM)
        daemon = self.start_and_listen(NOTIFY_SOCKET=f'@{name}')
        self.wait_for_message('READY=1')
        daemon.process.send(signal.SIGTERM)
        self.wait_for_message('STOPPING=1')
