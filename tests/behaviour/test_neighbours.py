# SPDX-License-Identifier: GPL-2.0-or-later
"""What those do to the service who control a mailbox, or who send mail to one, and that nobody else
notices: honest clients get all their answers beside it, and whoever made room has it.

The numbers of the tests, and of mailboxes, folders and messages, are those of the list of cases
that the service was judged by; the short form has fewer where more is only more of the same.
"""

import contextlib
import os
import signal
import time
import unittest
from concurrent import futures
from pathlib import Path
from typing import Callable, Iterable, Iterator

from beside import BesideTestCase, held_kib, running
from clock import Clock, needs_clock
from daemon import Daemon, has_reply, is_long, read_all, send_and_be_read
from hangfs import HangFs, needs_hangfs
from mailboxes import LINKS_MAX, make_chain, make_maildir, write_maildirsize

# Holds a write lease on a file, or lets it go to take it again, all the time.
LEASE = '''
import contextlib, fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('ready', flush=True)
while True:
    time.sleep(0.001)
    if sys.argv[2] == 'again':
        for lease in fcntl.F_UNLCK, fcntl.F_WRLCK:
            with contextlib.suppress(BlockingIOError):  # somebody waits for it at this moment
                fcntl.fcntl(file, fcntl.F_SETLEASE, lease)
'''

# Whoever changed a limit waits no longer.
LIMITS_SECONDS = 20

takes_long = unittest.skipUnless(is_long(), 'takes long')


def either(short: int, long: int) -> int:
    """Returns how many there are of something in this form of the tests."""
    return long if is_long() else short


def add_messages(mailbox: Path, count: int, tag: str = '') -> None:
    """Adds so many messages of one byte, with this at the end of their names."""
    for number in range(count):
        if number % 50000 == 0:  # most file systems allow a file 65000 names
            first = mailbox / 'cur' / f'{number}.host{tag}'
            first.write_bytes(b'x')
        else:
            os.link(first, f'{mailbox}/cur/{number}.host{tag}')


class FoldersTest(BesideTestCase):
    """Mailboxes that take long to count, about which somebody asks all the time."""

    in_memory = True
    FOLDERS = 20000
    MESSAGES = 40000

    def compare_with(self, owners: int, make: Callable[[Path], None]) -> None:
        """Shows what others get beside as many mailboxes that are made so."""
        evil = [self.root / f'evil-{number}' for number in range(owners)]
        for mailbox in evil:
            make(make_maildir(mailbox))
        daemon = self.start()
        self.compare(f'row 2, {make.__name__} of {owners}', daemon,
                     self.asking(daemon, evil, 2 * owners))

    def links_to_one_folder(self, mailbox: Path) -> None:
        """Makes folders that are links to one folder of many messages."""
        common = self.root / 'common'
        if not common.exists():
            add_messages(make_maildir(common), self.MESSAGES, ',S=1')
        for number in range(self.FOLDERS):
            os.symlink('../common', f'{mailbox}/.{number}')

    def links_to_slow_folders(self, mailbox: Path) -> None:
        """Makes folders that are links to as many folders, which all are a long way to go to."""
        way = self.root / 'way'
        folders = either(4000, self.FOLDERS)
        if not way.exists():
            make_chain(way, LINKS_MAX - 2)
            for number in range(folders):
                make_maildir(way / 'end' / f'{number}')
        for number in range(folders):
            os.symlink(f'../way/0/{number}', f'{mailbox}/.{number}')

    def untagged_messages(self, mailbox: Path) -> None:
        """Makes messages whose names do not tell their size."""
        add_messages(mailbox, either(200000, 1000000))

    @takes_long
    def test_row_2_two_owners(self):
        self.compare_with(2, self.links_to_one_folder)

    def test_row_2_more_owners_than_threads(self):
        self.compare_with(8, self.links_to_one_folder)

    @takes_long
    def test_row_2_slow_folders(self):
        self.compare_with(2, self.links_to_slow_folders)

    def test_row_2_slow_folders_of_more_owners_than_threads(self):
        self.compare_with(8, self.links_to_slow_folders)

    def test_row_2_untagged_messages(self):
        self.compare_with(1, self.untagged_messages)


class SizeTest(BesideTestCase):
    """A remote sender announces messages that are larger than any mailbox may be."""

    in_memory = True
    MAILBOXES, MESSAGES = 40, 60000
    SIZE = 10 ** 12

    def test_row_3_size_beyond_every_limit(self):
        mailboxes = [make_maildir(self.root / f'large-{number}')
                     for number in range(self.MAILBOXES)]
        for mailbox in mailboxes if is_long() else mailboxes[:1]:
            add_messages(mailbox, self.MESSAGES, ',S=1')
        if not is_long():  # the others have the same messages
            for mailbox in mailboxes[1:]:
                (mailbox / 'cur').rmdir()
                (mailbox / 'cur').symlink_to(f'../{mailboxes[0].name}/cur')
        daemon = self.start('--default-quota=1G')
        asked = [f'check size={self.SIZE} {mailbox}' for mailbox in mailboxes]
        counts = self.counts(daemon)
        for request in asked:
            reply = daemon.pairs(request)
            self.assertEqual((reply['status'], reply['limit']), ('toolarge', str(2 ** 30)))
        self.assertEqual(self.counts(daemon), counts)
        self.compare('row 3, SIZE= beyond every limit', daemon,
                     self.asking(daemon, asked, len(asked)))

    def counts(self, daemon) -> tuple[int, int]:
        """Returns how many mailboxes were counted so far, and how many of them from memory."""
        stats = daemon.stats()
        return stats['scans'], stats['cache_hits']


@needs_hangfs
class HangingTest(BesideTestCase):
    """Many file systems that hang, or folders of healthy mailboxes that lead into one."""

    TIMEOUT_SECONDS = 3

    def setUp(self) -> None:
        super().setUp()
        self.limits = self.folder / 'limits'
        self.limits.write_text('*: 1K\n')
        self.hanging: list[HangFs] = []

    def mount_hangfs(self, place: Path, names: Iterable[str]) -> list[Path]:
        """Mounts a file system of mailboxes of 7 bytes that say that they hold 150 of 100."""
        source = self.folder / f'source-{len(self.hanging)}'
        for name in names:
            write_maildirsize(make_maildir(source / name, [7]), '100S', '75 1', '75 1')
        place.mkdir(parents=True)
        hangfs = HangFs(source, place)
        self.addCleanup(hangfs.stop)
        self.hanging.append(hangfs)
        return [place / name for name in names]

    @contextlib.contextmanager
    def hang(self, daemon: Daemon, mailboxes: list[Path], told: list[bytes]) -> Iterator[None]:
        """Lets all hang, and somebody ask about these mailboxes; told gets the first replies."""
        requests = [f'check size=10 quota=100 {mailbox}' for mailbox in mailboxes]
        clients = [self.connect(daemon) for _ in requests]
        for hangfs in self.hanging:
            hangfs.say('hang look')
        try:
            for client, request in zip(clients, requests):
                client.sendall(f'{request}\n'.encode())
            with self.asking(daemon, requests, 2 * len(requests)):
                yield
                told += [read_all(client) for client in clients]
        finally:
            for hangfs in self.hanging:
                hangfs.say('wake')

    def reload(self, daemon: Daemon) -> list[str]:
        """Changes the limits: they are in force soon. Returns complaints."""
        deadline = time.monotonic() + LIMITS_SECONDS
        self.limits.write_text('*: 2K\n')
        daemon.process.send(signal.SIGHUP)
        while daemon.usage('summed-0@example.org').get('limit') != '2048':
            if time.monotonic() > deadline:
                return [f'the limits are not read again within {LIMITS_SECONDS} s']
            time.sleep(0.01)
        return []

    def compare_with(self, what: str, mailboxes: list[Path], *options: str) -> None:
        """Shows what others get while these mailboxes hang, and that nobody is told "over"."""
        told: list[bytes] = []
        daemon = self.start(f'--scan-timeout={self.TIMEOUT_SECONDS * 1000}',
                            f'--limits={self.limits}', f'--mailbox={self.root}/honest/%n',
                            *options)
        self.compare(f'row 4, {what}', daemon, self.hang(daemon, mailboxes, told),
                     lambda: self.reload(daemon))
        for reply in told:
            self.assertRegex(reply, b'^status=error ')

    def compare_with_mounts(self, count: int) -> None:
        """Has two mailboxes on each of so many file systems that hang."""
        mailboxes = []
        for number in range(count):
            mailboxes += self.mount_hangfs(self.root / f'far-{number}', ('0', '1'))
        self.compare_with(f'{count} file systems hang', mailboxes)

    @takes_long
    def test_row_4_two_mounts(self):
        self.compare_with_mounts(2)

    @takes_long
    def test_row_4_four_mounts(self):
        self.compare_with_mounts(4)

    def test_row_4_eight_mounts(self):
        self.compare_with_mounts(8)

    def compare_with_links(self, place: Path, *options: str) -> None:
        """Has healthy mailboxes with a folder that is a link to what hangs."""
        mailboxes = []
        for number, folder in enumerate(self.mount_hangfs(place, '01234567')):
            mailboxes.append(make_maildir(self.root / f'healthy-{number}', [60, 60]))
            (mailboxes[-1] / '.far').symlink_to(
                folder if options else os.path.relpath(folder, mailboxes[-1]))
        self.compare_with('folders are links to one that hangs', mailboxes, *options)

    def test_row_4_links_into_a_mount(self):
        self.compare_with_links(self.root / 'far')

    def test_row_4_links_into_a_mount_beneath_another_root(self):
        other = self.folder / 'other'
        other.mkdir()
        self.compare_with_links(other / 'far', f'--root={other}')


class MemoryTest(BesideTestCase):
    """Many mailboxes with many folders that have long names."""

    in_memory = True
    MAILBOXES = either(40, 560)
    THREADS = 8

    # What a daemon may hold beyond what is remembered: counts under way, and what the allocator
    # keeps of those before, in each thread.
    ALLOWED_KIB = 8 * 1024

    def make_mailboxes(self, count: int, folders: int) -> list[Path]:
        """Makes mailboxes with as many folders, which are one on the disk.

        Who asks by another path asks for another mailbox.
        """
        common = make_maildir(self.root / f'common-{folders}', [5])
        for number in range(folders):
            os.makedirs(f'{common}/.{number:x>240}/cur')
        mailboxes = [self.root / f'large-{folders}-{number}' for number in range(count)]
        for mailbox in mailboxes:
            mailbox.symlink_to(common.name)
        return mailboxes

    def ask_for_all(self, daemon: Daemon, mailboxes: list[Path]) -> list[str]:
        """Asks about each mailbox. Returns wrong answers."""
        with futures.ThreadPoolExecutor(self.THREADS) as threads:
            replies = list(threads.map(daemon.ask, mailboxes))
        return [os.fsdecode(reply) for reply in replies if reply != b'5\n']

    def check(self, cache_mib: int, *options: str) -> None:
        """Shows that a daemon with these options holds no more than it may.

        As much as there is of a mailbox with 2,690 folders was remembered, and no more; of those
        with fewer there are more.
        """
        mailboxes = (self.make_mailboxes(self.MAILBOXES, 2690) +
                     self.make_mailboxes(8 * self.MAILBOXES, 135))
        daemon = self.start('--scan-timeout=60000', *options)
        before_kib = held_kib(daemon)
        self.compare(f'row 7, {len(mailboxes)} mailboxes with many folders', daemon,
                     contextlib.nullcontext(), lambda: self.ask_for_all(daemon, mailboxes))
        after_kib, most_kib = held_kib(daemon), held_kib(daemon, 'VmHWM')
        print(f'{cache_mib} MiB may be remembered: {before_kib} KiB before, {after_kib} KiB after, '
              f'{most_kib} KiB at most, {daemon.stats()["mailboxes"]} mailboxes are remembered')
        self.assertLessEqual(most_kib - before_kib, cache_mib * 1024 + self.ALLOWED_KIB)

    @takes_long
    def test_row_7_many_folders(self):
        self.check(16)

    def test_row_7_many_folders_and_less_to_remember(self):
        self.check(4, '--cache-size=4M')


@needs_hangfs
class EmptiedMeanwhileTest(BesideTestCase):
    """Questions that come while a count runs that began before the mailbox was emptied."""

    CLIENTS = 20

    def setUp(self) -> None:
        super().setUp()
        self.mailbox = make_maildir(self.root / 'joe', [60, 60])
        self.request = f'check size=10 quota=100 {self.mailbox}'.encode() + b'\n'
        folder = self.mailbox / '.slow'  # read when `cur` has been
        make_maildir(self.folder / 'source')
        folder.mkdir()
        self.hangfs = HangFs(self.folder / 'source', folder)
        self.addCleanup(self.hangfs.stop)

    @contextlib.contextmanager
    def half_counted(self, daemon: Daemon, replies: list[bytes]) -> Iterator[None]:
        """Lets a count begin, removes all messages amid it, and asks again; at last it goes on."""
        self.hangfs.say('hang list')
        clients = [self.connect(daemon) for _ in range(1 + self.CLIENTS)]
        send_and_be_read(clients[0], self.request)
        self.hangfs.say('await 1')
        for message in (self.mailbox / 'cur').iterdir():
            message.unlink()
        for client in clients[1:]:
            send_and_be_read(client, self.request)
        yield
        self.assertFalse(any(has_reply(client) for client in clients))
        self.hangfs.say('wake')
        replies += [read_all(client) for client in clients]

    def test_row_8_emptied_during_a_count(self):
        daemon = self.start('--scan-timeout=60000')
        self.assertRegex(daemon.ask(self.request), b'^status=over bytes=120 ')
        lists_once = self.hangfs.lists()
        replies: list[bytes] = []
        self.compare('row 8, emptied during a count', daemon, self.half_counted(daemon, replies))
        lists = self.hangfs.lists() - lists_once
        full = sum(reply.startswith(b'status=over bytes=120 ') for reply in replies[1:])
        print(f'{full} of {self.CLIENTS} who asked later are told "over"; the folder that hung '
              f'was listed {lists} times, and {lists_once} times for one count')
        # Whoever asked before may be told so, or the count did not see what it was to see.
        self.assertRegex(replies[0], b'^status=over bytes=120 ')
        for reply in replies[1:]:
            self.assertRegex(reply, b'^status=ok bytes=0 ')
        # They share the next count, and do not have one each.
        self.assertLess(lists, self.CLIENTS * lists_once)


@needs_clock
class OldMemoryTest(BesideTestCase):
    """Mailboxes that change while their directories seem to stay as they are."""

    FIFTEEN_MINUTES = 15 * 60

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock(self)

    def check(self, what: str, mailbox: Path, make_room: Callable[[], None],
              size: int) -> None:
        """Shows that one who made room, so that he holds so much, is heard in fifteen minutes."""
        full = make_maildir(self.root / 'full', [60, 60])
        daemon = self.start(environment=self.clock.environment())
        self.clock.advance(10)  # no directory has just changed
        for each in mailbox, full:
            for source in 'scan', 'cache':
                self.assertRegex(self.ask(daemon, each),
                                 f'^status=over bytes=120 .* source={source} ')
        make_room()
        print(f'at once: {self.ask(daemon, mailbox)}')
        self.clock.advance(self.FIFTEEN_MINUTES + 1)

        def ask() -> list[str]:
            replies = [self.ask(daemon, mailbox) for _ in range(3)]
            return [reply for reply in replies if not reply.startswith(f'status=ok bytes={size} ')]

        self.compare(f'row 13, {what}', daemon, contextlib.nullcontext(), ask)
        # Who did not make room is refused by what is known by now.
        self.assertRegex(self.ask(daemon, full), '^status=over bytes=120 .* source=scan ')

    def ask(self, daemon: Daemon, mailbox: Path) -> str:
        """Returns the reply to whether a message fits into the mailbox."""
        return os.fsdecode(daemon.ask(f'check size=10 quota=100 {mailbox}')).strip()

    def test_row_13_messages_cut_short(self):
        mailbox = make_maildir(self.root / 'joe')
        messages = [mailbox / 'cur' / f'{number}.host:2,S' for number in range(2)]
        for message in messages:
            message.write_bytes(b'x' * 60)

        def make_room() -> None:
            for message in messages:
                os.truncate(message, 1)

        self.check('messages cut short', mailbox, make_room, 2)

    @needs_hangfs
    def test_row_13_directories_whose_times_stay_the_same(self):
        source = make_maildir(self.folder / 'source' / 'joe', [60, 60])
        place = self.root / 'still'
        place.mkdir()
        hangfs = HangFs(self.folder / 'source', place)
        self.addCleanup(hangfs.stop)
        hangfs.say('still')

        def make_room() -> None:
            for message in (source / 'cur').iterdir():
                message.unlink()

        self.check('directories whose times stay the same', place / 'joe', make_room, 0)


class LeaseTest(BesideTestCase):
    """An owner has a write lease on his own maildirsize, so that opening it would wait for him."""

    def check(self, how: str) -> None:
        """Shows that the mailbox is counted, and what others get beside it."""
        mailbox = make_maildir(self.root / 'lessor', [7])
        file = write_maildirsize(mailbox, '100S', '75 1', '75 1')
        daemon = self.start()
        request = f'check size=10 quota=100 {mailbox}'

        def ask() -> list[str]:
            replies = [daemon.ask(request) for _ in range(20)]
            return [os.fsdecode(reply) for reply in replies
                    if not reply.startswith(b'status=ok bytes=7 ')]

        with running(LEASE, file, how):
            self.compare(f'row 12, lease {how}', daemon, self.asking(daemon, [request], 8), ask)

    def test_row_12_lease_that_is_held(self):
        self.check('held')

    def test_row_12_lease_that_is_taken_again(self):
        self.check('again')
