# SPDX-License-Identifier: GPL-2.0-or-later
"""Mailboxes on a file system that hangs stand in the way of no others, and are answered in time."""

import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from daemon import (FULL, PATIENCE_SECONDS, Daemon, DaemonTestCase, connect, parse_pairs, read_all,
                    wait_for)
from hangfs import HangFs, needs_hangfs
from mailboxes import make_maildir, make_questions, write_maildirsize

NEAR = 100  # mailboxes of each kind on the disk, which are asked about in turn
QUESTIONS = 2000
CLIENTS = 8
FAR = 32  # mailboxes on the file system that hangs
SCAN_TIMEOUT_SECONDS = 3


@needs_hangfs
class LimitsTest(DaemonTestCase):
    """Limits on a file system that hangs."""

    def test_reload_that_is_asked_for_again(self):
        source, shown = self.folder / 'source', self.folder / 'shown'
        source.mkdir()
        shown.mkdir()
        (source / 'limits').write_text('*: 1K\n')
        path = make_maildir(self.root / 'joe')
        hangfs = HangFs(source, shown)
        self.addCleanup(hangfs.stop)
        notify = self.listen_for_notifications()
        notify.settimeout(PATIENCE_SECONDS)
        daemon = self.start(f'--limits={shown}/limits', environment=self.notify_environment())

        def wait_for_message(wanted: bytes) -> None:
            while wanted not in notify.recv(65536).split(b'\n'):
                pass

        wait_for_message(b'READY=1')
        loaded = len(self.told(daemon))
        hangfs.say('hang look')
        for _ in range(3):  # the first is amid its work when the others come
            daemon.process.send(signal.SIGHUP)
            wait_for_message(b'RELOADING=1')
            hangfs.say('await 1')
        self.assertEqual(daemon.usage(path)['limit'], '1024')
        (source / 'limits').write_text('*: 2K\n')
        hangfs.say('wake')
        wait_for_message(b'READY=1')
        self.assertEqual(daemon.usage(path)['limit'], '2048')
        # Once, or twice if the options were read for the last one when the file was read already.
        self.assertIn(len(self.told(daemon)), (loaded + 1, loaded + 2))

    def told(self, daemon: Daemon) -> list[str]:
        """Returns what the log says of limits that were loaded."""
        return [entry.text for entry in daemon.entries() if 'limits loaded' in entry.text]


@needs_hangfs
class HangingTest(DaemonTestCase):
    """Mailboxes on the disk, and others on a file system that hangs."""

    def setUp(self) -> None:
        super().setUp()
        self.prepare_root()
        make_questions(self.folder / 'questions', self.root, NEAR)
        self.make_far()
        self.notify = self.listen_for_notifications()

    def prepare_root(self) -> None:
        """Does what has to be done with the root before there are mailboxes in it."""

    def make_far(self) -> None:
        """Makes those that hang: each holds 7 bytes, and says that it holds 150 of 100."""
        for number in range(FAR):
            mailbox = make_maildir(self.folder / 'source' / str(number), [7])
            write_maildirsize(mailbox, '100S', '75 1', '75 1')
        self.far = self.root / 'far'
        self.far.mkdir()
        self.hangfs = HangFs(self.folder / 'source', self.far)
        self.addCleanup(self.hangfs.stop)

    def start_daemon(self) -> Daemon:
        """Starts a daemon that remembers nothing, so that each count reads directories."""
        daemon = self.start('--cache-size=0', '--on-error=defer',
                            f'--scan-timeout={SCAN_TIMEOUT_SECONDS * 1000}',
                            environment=self.notify_environment())
        wait_for(daemon.answers, 'it answers')
        return daemon

    def begin_load(self, daemon: Daemon) -> subprocess.Popen:
        """Begins to ask about the mailboxes on the disk."""
        return subprocess.Popen([os.environ['LOAD'], daemon.address, self.folder / 'questions',
                                 str(CLIENTS), str(QUESTIONS)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end_load(self, load: subprocess.Popen) -> float:
        """Waits until all are answered, right, and returns the p99 in microseconds."""
        stdout, stderr = load.communicate()
        self.assertEqual((load.returncode, stderr), (0, ''), stdout)
        return float(dict(pair.split('=') for pair in stdout.split())['p99_usec'])

    def check(self, kind: str, way: str, sums: bool = False) -> None:
        """Lets questions of this kind hang, and asks for mailboxes by the directory way.

        sums says whether the daemon may come to know what maildirsize says: it answers those then
        who have room for that, while others, who have not, wait for a count.
        """
        daemon = self.start_daemon()
        alone = [self.end_load(self.begin_load(daemon)) for _ in range(3)]
        self.hangfs.say(f'hang {kind}')
        began = time.monotonic()
        clients = [self.ask_far(daemon, b'usage ' * (number % 2), way, number)
                   for number in range(FAR)]
        self.hangfs.say('await 1')
        if sums:
            clients += [self.ask_far(daemon, b'usage quota=1M ', way, number)
                        for number in range(FAR)]
        load = self.begin_load(daemon)
        took = self.wait_for_replies(clients, began)
        beside = [self.end_load(load), self.end_load(self.begin_load(daemon))]
        print(f'{QUESTIONS} questions, half of which need counting: p99 {min(alone)} us alone, '
              f'{min(beside)} us beside a file system that hangs, '
              f'{min(beside) / min(alone):.1f} times as long; {len(clients)} questions for '
              f'mailboxes there: answered after {min(took):.3f} to {max(took):.3f} s, '
              f'--scan-timeout={SCAN_TIMEOUT_SECONDS * 1000}')
        # It hangs still.
        self.assert_late(daemon, [read_all(client) for client in clients], sums)
        self.assert_told(daemon)
        self.hangfs.say('wake')
        wait_for(lambda: daemon.stats()['stuck'] == 0, 'all counts end')
        for number in range(FAR):
            reply = daemon.usage(self.root / way / str(number))
            self.assertEqual((reply['bytes'], reply['source']), ('7', 'scan'))

    def ask_far(self, daemon: Daemon, verb: bytes, way: str, number: int) -> socket.socket:
        """Asks for one of the mailboxes that hang."""
        client = connect(daemon.address)
        client.sendall(b'%s%s/%s/%d\n' % (verb, bytes(self.root), way.encode(), number))
        return client

    def wait_for_replies(self, clients: list[socket.socket], began: float) -> list[float]:
        """Waits until there is something to read for all, and returns when, since began."""
        waiting, took = set(clients), []
        while waiting:
            ready = select.select(waiting, [], [], PATIENCE_SECONDS)[0]
            self.assertTrue(ready, f'{len(waiting)} are not answered')
            waiting -= set(ready)
            took += [time.monotonic() - began] * len(ready)
        return took

    def assert_late(self, daemon: Daemon, replies: list[bytes], sums: bool) -> None:
        """Fails unless the replies are errors or, where these are known, maildirsize's sums."""
        answered = 0
        for reply in replies:
            pairs = parse_pairs(reply) if reply.startswith(b'status=') else {}
            told = pairs.get('source') == 'maildirsize'
            if told:
                self.assertEqual((pairs['bytes'], pairs['limit']), ('150', '1048576'))
            else:
                self.assertTrue(reply == b'%d\n' % FULL or pairs.get('reason') == 'timeout', reply)
            answered += told
        self.assertEqual(answered > 0, sums)
        # The log tells of each mailbox once a minute, and so of these questions or of others.
        self.assertEqual([text for text in daemon.warnings()
                          if 'in time' not in text and 'longer than' not in text], [])

    def assert_told(self, daemon: Daemon) -> None:
        """Fails unless stats, STATUS= and the log tell that counts hang."""
        self.assertGreater(daemon.stats()['stuck'], 0)
        hang = re.compile(r'; [1-9]\d* counts hang in a file system\Z')
        wait_for(lambda: hang.search(self.notify.recv(65536).decode()), 'STATUS= tells it')
        self.assertTrue(any('counts take longer than --scan-timeout and still wait' in text
                            for text in daemon.warnings()))


class KindsTest(HangingTest):
    """A mount below the root: everything on it hangs, or some of it."""

    def test_names(self):
        self.check('look', 'far')

    def test_maildirsize(self):
        self.check('read', 'far')

    def test_directories(self):
        self.check('list', 'far', sums=True)


class LinkTest(HangingTest):
    """Mailboxes that a link leads to, in a root of which the kernel may not tell where it leads."""

    def prepare_root(self) -> None:
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', self.root], check=True)
        self.addCleanup(subprocess.run, ['umount', self.root], check=True)

    def test_names(self):
        (self.root / 'link').symlink_to('far')
        self.check('look', 'link')


@needs_hangfs
class MountedTest(DaemonTestCase):
    """A file system that hangs comes to where another one was."""

    def setUp(self) -> None:
        super().setUp()
        self.near = make_maildir(self.root / 'near', [123])
        self.far = self.root / 'far'
        self.source = make_maildir(self.folder / 'source', [7])
        write_maildirsize(self.source, '100S', '7 1')

    def mount_hangfs(self, where: Path) -> HangFs:
        """Shows the mailbox of 7 bytes there, until the test is over."""
        hangfs = HangFs(self.source, where)
        self.addCleanup(hangfs.stop)
        return hangfs

    def mount_tmpfs(self) -> int:
        """Mounts a file system with a mailbox of 5 bytes, and returns its device number."""
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', self.far], check=True)
        make_maildir(self.far, [5])
        write_maildirsize(self.far, '100S', '5 1')
        return os.stat(self.far).st_dev

    def unmount(self) -> bool:
        """Unmounts what is mounted there, unless it is busy."""
        return subprocess.run(['umount', self.far], stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    def assert_others_are_answered(self, daemon: Daemon, hangfs: HangFs) -> None:
        """Fails unless the mailbox that hangs is late, and the one beside it is not."""
        hangfs.say('hang look list read')
        began = time.monotonic()
        clients = [connect(daemon.address) for _ in range(8)]
        for number, client in enumerate(clients):
            with_verb = b'usage ' * (number % 2)
            client.sendall(with_verb + bytes(self.far) + b'\n')
        hangfs.say('await 1')
        for _ in range(100):
            self.assertEqual(daemon.number(self.near), 123)
        took = time.monotonic() - began
        print(f'100 queries beside it: {took:.3f} s')
        self.assertLess(took, PATIENCE_SECONDS)
        for number, client in enumerate(clients):
            reply = read_all(client)
            self.assertTrue(b' reason=timeout ' in reply if number % 2 else reply == b'0\n', reply)
        hangfs.say('wake')
        wait_for(lambda: daemon.stats()['stuck'] == 0, 'all counts end')
        self.assertEqual(daemon.usage(self.far)['bytes'], '7')

    def test_with_the_device_number_of_one_in_memory(self):
        self.far.mkdir()
        daemon = self.start(f'--scan-timeout={SCAN_TIMEOUT_SECONDS * 1000}', '--user=0')
        for _ in range(20):
            number = self.mount_tmpfs()
            for _ in range(3):  # the first tells that it may be read at once
                self.assertEqual(daemon.number(self.far), 5)
            wait_for(self.unmount, 'it is unmounted')
            hangfs = HangFs(self.source, self.far)
            if os.stat(self.far).st_dev == number:
                break
            hangfs.stop()
        else:
            self.skipTest('device numbers are not given again')
        self.addCleanup(hangfs.stop)
        print(f'device number {number:#x} of a tmpfs is that of a FUSE now')
        self.assert_others_are_answered(daemon, hangfs)

    def test_upon_a_name_in_a_mailbox(self):
        for place, tmpfs in ('disk', False), ('memory', True):
            with self.subTest(place):
                self.far = self.root / place
                self.far.mkdir()
                if tmpfs:
                    self.mount_tmpfs()
                    self.addCleanup(wait_for, self.unmount, 'it is unmounted')
                else:
                    make_maildir(self.far, [5])
                    write_maildirsize(self.far, '100S', '5 1')
                daemon = self.start(f'--scan-timeout={SCAN_TIMEOUT_SECONDS * 1000}', '--user=0')
                for _ in range(3):
                    self.assertEqual(daemon.number(self.far), 5)
                (self.far / 'maildirsize').unlink()
                (self.far / 'maildirsize').mkdir()
                hangfs = HangFs(self.source, self.far / 'maildirsize')
                self.addCleanup(hangfs.stop)
                self.assertEqual(daemon.number(self.far), 5)
                hangfs.say('hang look list read')
                clients = [connect(daemon.address) for _ in range(4)]
                for client in clients:
                    client.sendall(bytes(self.far) + b'\n')
                hangfs.say('await 1')
                for _ in range(100):
                    self.assertEqual(daemon.number(self.near), 123)
                hangfs.say('wake')
                for client in clients:
                    read_all(client)
