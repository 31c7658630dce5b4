# SPDX-License-Identifier: GPL-2.0-or-later
"""Roots that are mounted, unmounted or renamed while the service runs.

The mounts are made in a mount namespace of the test's own, which the daemons are started in.
"""

import socket
import subprocess
from pathlib import Path

from daemon import (SET_LISTEN_PID, Daemon, DaemonTestCase, connect, needs_root, open_files,
                    passing, read_all, send_and_be_read, wait_for)
from hangfs import HangFs, needs_hangfs
from mailboxes import make_maildir

NOTICED = 'is another directory now'
GONE = 'lies in a root that no longer exists'


def holds(daemon: Daemon, path: Path) -> bool:
    """Says whether the daemon has that directory open."""
    return str(path) in open_files(daemon.pid)


class MountsTest(DaemonTestCase):
    """A mailbox of 123 bytes, over whose root something can be mounted."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])
        self.listener = self.listen(self.folder / 'socket')
        self.prepare_mounts()
        self.keeper = subprocess.Popen(
            ('/usr/bin/unshare', '--mount', '--propagation=private', '/bin/sh', '-c',
             'echo; exec sleep infinity'), stdout=subprocess.PIPE)
        self.addCleanup(self.keeper.wait)
        self.addCleanup(self.keeper.kill)
        self.addCleanup(self.keeper.stdout.close)
        self.keeper.stdout.readline()
        self.inside = ('/usr/bin/nsenter', f'--target={self.keeper.pid}', '--mount', '--root',
                       '--wd=/')

    def prepare_mounts(self) -> None:
        """Mounts what is mounted before the namespace is made."""

    def run_inside(self, *command) -> bool:
        """Runs a command where the daemons see what it mounts, and says whether it went well."""
        return subprocess.run((*self.inside, *command), stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    def seen(self, path: Path) -> Path:
        """Returns where we find what the daemons find at a path."""
        return Path(f'/proc/{self.keeper.pid}/root{path}')

    def mount(self, path: Path) -> None:
        """Mounts a file system there in which joe has 7 bytes."""
        self.assertTrue(self.run_inside('mount', '-t', 'tmpfs', 'tmpfs', path))
        make_maildir(self.seen(path) / 'joe', [7])

    def unmount(self, path: Path) -> None:
        """Unmounts what is mounted there, as soon as it is possible."""
        wait_for(lambda: self.run_inside('umount', path), f'{path} is unmounted')

    def notices(self, daemon: Daemon, root: Path) -> int:
        """Says how often the log told that a root is another directory."""
        return sum(entry.text.startswith(f'{root} {NOTICED}') for entry in daemon.entries('notice'))

    def start_inside(self, *options: str, **how) -> Daemon:
        """Starts a daemon in the namespace, as one who may not read everything."""
        return self.start('--on-error=defer', '--user=nobody', *options, wrapper=self.inside, **how)

    def start_inside_with_socket(self, *options: str) -> Daemon:
        """Starts one that is passed the socket as systemd does it."""
        how = passing([self.listener])
        how['wrapper'] = (*self.inside, *SET_LISTEN_PID)
        return self._start(('--on-error=defer', '--user=nobody', *options),
                           self.listener.getsockname(), None, **how)


@needs_root
class OwnSocketTest(MountsTest):
    """A daemon with a socket of its own stays, and reads what is there."""

    def test_mounted_after_the_start(self):
        daemon = self.start_inside()
        self.assertEqual(daemon.number(self.path), 123)
        self.mount(self.root)
        self.assertEqual(daemon.number(self.path), 7)
        self.assertEqual(self.notices(daemon, self.root), 1)
        self.unmount(self.root)
        self.assertEqual(daemon.number(self.path), 123)
        self.assertEqual(self.notices(daemon, self.root), 2)
        self.assertEqual(daemon.warnings(), [])

    def test_mounted_again_and_again(self):
        daemon = self.start_inside()
        for number in range(5):
            self.mount(self.root)
            self.assertEqual(daemon.number(self.path), 7)
            if number % 2:
                self.assertEqual(daemon.number(self.root / 'jim'), 0)
            self.unmount(self.root)
            self.assertEqual(daemon.number(self.path), 123)

    def test_mounted_above_the_root(self):
        # Landlock allows the directory above the root, and no other: an error, and no silence.
        root = self.root / 'vhosts' / 'mail'
        path = make_maildir(root / 'joe', [5])
        daemon = self.start_inside(root=root)
        self.assertEqual(daemon.number(path), 5)
        self.assertTrue(self.run_inside('mount', '-t', 'tmpfs', 'tmpfs', self.root / 'vhosts'))
        self.assertEqual(daemon.usage(path)['text'], GONE)
        make_maildir(self.seen(path), [7])
        if any('confined by Landlock' in entry.text for entry in daemon.entries('info')):
            self.assertEqual(daemon.usage(path)['reason'], 'permission-denied')
        else:
            self.assertEqual(daemon.number(path), 7)
        self.unmount(self.root / 'vhosts')
        self.assertEqual(daemon.number(path), 5)

    def test_mounted_beneath_the_root(self):
        daemon = self.start_inside()
        domain = self.root / 'domain'
        make_maildir(domain / 'joe', [5])
        self.assertEqual(daemon.number(domain / 'joe'), 5)
        self.mount(domain)
        self.assertEqual(daemon.number(domain / 'joe'), 7)
        self.unmount(domain)
        self.assertEqual(daemon.number(domain / 'joe'), 5)
        self.assertEqual(self.notices(daemon, self.root), 0)

    def test_nothing_is_held_while_nobody_asks(self):
        self.mount(self.root)
        daemon = self.start_inside('--timeout=86400000')
        for _ in range(3):
            wait_for(lambda: not holds(daemon, self.root), 'it lets go of the root')
            self.assertEqual(daemon.number(self.path), 7)
        with daemon.connect() as client:
            client.sendall(bytes(self.path))
            # The first query may open the root just before it is let go of for the last time.
            wait_for(lambda: daemon.number(self.path) == 7 and holds(daemon, self.root),
                     'the root is held')
        self.unmount(self.root)
        self.assertEqual(daemon.number(self.path), 123)

    def test_renamed(self):
        daemon = self.start_inside('--timeout=86400000')
        moved = self.folder / 'moved'
        with daemon.connect() as client:
            send_and_be_read(client, b'/')
            self.assertEqual(daemon.number(self.path), 123)
            self.root.rename(moved)
            self.assertEqual(daemon.number(self.path), 123)  # it is held while somebody asks
        wait_for(lambda: not holds(daemon, moved), 'it lets go of the root')
        wait_for(lambda: daemon.usage(self.path).get('text') == GONE, 'the root is missed')
        make_maildir(self.path, [5])
        self.assertEqual(daemon.number(self.path), 5)
        self.assertEqual(daemon.usage(moved / 'joe')['reason'], 'outside-root')

    def test_link_of_the_root(self):
        link = self.folder / 'link'
        link.symlink_to('mail')
        daemon = self.start_inside(root=link)
        self.assertEqual(daemon.number(link / 'joe'), 123)
        self.mount(self.root)
        self.assertEqual(daemon.number(link / 'joe'), 7)


@needs_root
class PassedSocketTest(MountsTest):
    """A daemon with sockets of systemd ends, and the next one reads what is there."""

    def test_mounted_after_the_start(self):
        daemon = self.start_inside_with_socket()
        self.assertEqual(daemon.number(self.path), 123)
        self.mount(self.root)
        self.assert_ended_well(daemon)
        self.assertEqual(self.notices(daemon, self.root), 1)
        with connect(daemon.address) as client:
            client.sendall(bytes(self.path) + b'\n')
            daemon = self.start_inside_with_socket()
            self.assertEqual(read_all(client), b'7\n')
        self.unmount(self.root)
        self.assert_ended_well(daemon)
        self.assertEqual(self.start_inside_with_socket().number(self.path), 123)

    def test_mounted_before_anybody_asked(self):
        daemon = self.start_inside_with_socket()
        self.mount(self.root)
        self.assert_ended_well(daemon)

    def test_something_else_is_mounted(self):
        daemon = self.start_inside_with_socket()
        other = self.folder / 'other'
        other.mkdir()
        for place in other, self.root / 'joe' / 'tmp':
            self.mount(place)
            self.assertEqual(daemon.number(self.path), 123)
        self.assertEqual(self.notices(daemon, self.root), 0)

    def test_unmounted_while_nobody_asks(self):
        self.mount(self.root)
        daemon = self.start_inside_with_socket()
        self.assertEqual(daemon.number(self.path), 7)
        self.unmount(self.root)
        self.assert_ended_well(daemon)

    def test_renamed(self):
        daemon = self.start_inside_with_socket()
        self.root.rename(self.folder / 'moved')
        wait_for(lambda: not holds(daemon, self.folder / 'moved'), 'it lets go of the root')
        # It stays: there is nothing that another one could begin with.
        wait_for(lambda: daemon.usage(self.path).get('text') == GONE, 'the root is missed')
        make_maildir(self.path, [5])
        # It looks when it has been asked, and where the kernel cannot tell, the next time.
        wait_for(lambda: self.ends_when_asked(daemon), 'it notices the new directory')
        self.assert_ended_well(daemon)
        self.assertEqual(self.start_inside_with_socket().number(self.path), 5)

    def ends_when_asked(self, daemon: Daemon) -> bool:
        """Asks, and says whether the process has ended soon after that."""
        self.connect(daemon).sendall(b'ping\n')
        return daemon.process.wait(1.5) is not None


@needs_hangfs
class CountingTest(MountsTest):
    """Something is mounted over a root while a mailbox in it, of 55 bytes, is counted."""

    def prepare_mounts(self) -> None:
        self.far = self.root / 'far'
        self.far.mkdir()
        make_maildir(self.folder / 'source' / 'ann', [55])
        self.hangfs = HangFs(self.folder / 'source', self.far)
        self.addCleanup(self.hangfs.stop)

    def ask_for_the_count(self, daemon: Daemon) -> socket.socket:
        """Asks about the mailbox, and returns when it is being counted."""
        self.hangfs.say('hang list')
        client = self.connect(daemon)
        client.sendall(bytes(self.far / 'ann') + b'\n')
        self.hangfs.say('await 1')
        return client

    def test_own_socket(self):
        daemon = self.start_inside('--scan-timeout=60000', '--user=0')
        client = self.ask_for_the_count(daemon)
        self.mount(self.root)
        self.assertEqual(daemon.number(self.path), 7)
        self.hangfs.say('wake')
        self.assertEqual(read_all(client), b'55\n')

    def test_passed_socket(self):
        daemon = self.start_inside_with_socket('--scan-timeout=60000', '--timeout=86400000',
                                               '--user=0')
        client, late = self.ask_for_the_count(daemon), self.connect(daemon)
        wait_for(lambda: daemon.stats()['connections'] >= 3, 'both are accepted')
        self.mount(self.root)
        wait_for(lambda: self.notices(daemon, self.root), 'the mount is noticed')
        # Whom it has accepted it answers, who asks only now, too; and it accepts nobody else.
        after = self.connect(daemon)
        for each in late, after:
            each.sendall(bytes(self.path) + b'\n')
        self.assertEqual(read_all(late), b'123\n')
        self.hangfs.say('wake')
        self.assertEqual(read_all(client), b'55\n')
        self.assert_ended_well(daemon)
        self.start_inside_with_socket()
        self.assertEqual(read_all(after), b'7\n')


@needs_hangfs
class HangingTest(DaemonTestCase):
    """A root on a file system that hangs."""

    def test_root_that_is_opened_again(self):
        path = make_maildir(self.root / 'joe', [123])
        source, shown = self.folder / 'source', self.folder / 'shown'
        make_maildir(source / 'mail' / 'joe', [7])
        shown.mkdir()
        hangfs = HangFs(source, shown)
        self.addCleanup(hangfs.stop)
        daemon = self.start(f'--root={shown}/mail', '--scan-timeout=60000', '--user=0')
        self.assertEqual(daemon.number(shown / 'mail' / 'joe'), 7)
        wait_for(lambda: not holds(daemon, shown / 'mail'), 'it lets go of the root')
        hangfs.say('hang look')
        with daemon.connect() as client:
            client.sendall(bytes(shown / 'mail' / 'joe') + b'\n')
            hangfs.say('await 1')
            for _ in range(10):
                self.assertEqual(daemon.number(path), 123)
            hangfs.say('wake')
            self.assertEqual(read_all(client), b'7\n')
