# SPDX-License-Identifier: GPL-2.0-or-later
"""Watched mailboxes: what is answered from memory is true, and who is watched."""

import bisect
import contextlib
import ctypes
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import time
import unittest
from collections import Counter
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Sequence

import kernel_calls
from clock import Clock, needs_clock
from daemon import (Daemon, DaemonTestCase, Request, is_long, needs_root, open_files, parse_pairs,
                    read_all, settle, wait_for)
from faults import SLOW, SLOW_SECONDS, Fault, make_faults, needs_faults, preload
from hangfs import HangFs, needs_hangfs
from mailboxes import make_maildir, write_maildirsize
from watch_store import DOMAINS, KINDS, SIZES, WatchStore, skip_unless_watched

# Files are always that old to the service, so that it counts where sums say "over".
AHEAD_SECONDS = 1000

# That time goes on makes no query late.
PATIENT = ('--scan-timeout=60000', '--timeout=86400000')

# After that a mailbox is tried again that has changed, or that could not be watched.
CHANGED_SECONDS, UNWATCHABLE_SECONDS = 3, 61

QUERIES, QUERIES_LONG = 4000, 100_000
QUERIES_A_STORE = 1000
IMAGE_BYTES = 32 << 20
SIZE_MAX = (1 << 63) - 1
ROUNDS_MAX = 2  # of questions between changes

# What may differ between an answer from memory and any other one.
HOW = ('source', 'rule', 'text')


class Way(NamedTuple):
    """Options of the services that are compared."""

    options: tuple[str, ...]  # of both
    watching: tuple[str, ...]  # of the one that watches
    grows: bool  # it sees messages that grow
    hits: bool  # much is answered from memory


NO_CACHE = ('--cache-size=0',)

WAYS = (
    Way((), NO_CACHE, True, True),
    Way((), (), False, True),
    Way(('--size-tag=W',), (), False, True),
    Way(('--exclude-folder=Trash', '--exclude-folder=a.*'), NO_CACHE, True, True),
    Way(('--maildirsize=ignore',), (), False, True),
    Way(('--layout=fs',), NO_CACHE, True, False),
    Way(('--default-quota=4000', '--grace=100'), (), False, True),
)


class Pair:
    """A service that watches, and one that neither watches nor remembers anything."""

    def __init__(self, watching: Daemon, reading: Daemon, way: Way, store: WatchStore):
        self.watching = watching
        self._reading = reading
        self._way = way
        self._store = store
        self.queries = 0
        self.replies: Counter[str] = Counter()
        self.history: list[str] = []

    def note(self, what: str) -> None:
        """Notes what was done, for whoever reads of a difference."""
        self.history.append(what)

    def pass_time(self, clock: Clock, seconds: int) -> None:
        """Lets time go on, while neither does anything that might take too long then."""
        for daemon in (self.watching, self._reading):
            settle(daemon.pid)
        clock.advance(seconds)

    def ask(self, request: str) -> None:
        """Asks both the same, and raises AssertionError if they disagree."""
        self.queries += 1
        watched, read = self.watching.ask(request), self._reading.ask(request)
        if self._agree(request, watched, read):
            return
        done = '\n'.join(self.history[-int(os.environ.get('HISTORY', 40)):])
        raise AssertionError(f'{request}\n{watched!r}, but it is\n{read!r}\n'
                             f'{self._way}\nafter\n{done}')

    def _agree(self, request: str, watched: bytes, read: bytes) -> bool:
        mine, other = (self._parse(each) for each in (watched, read))
        if mine == other:
            return True
        # Who takes another one's name goes unnoticed until it matters.
        return (self._store.replaces and request.startswith('check ')
                and mine.get('status') == other.get('status') == 'ok'
                and int(mine['bytes']) >= int(other['bytes'])
                and int(mine['messages']) >= int(other['messages']))

    def _parse(self, reply: bytes) -> dict[str, str]:
        pairs = {name: value for name, value in re.findall(r'([a-z_]+)=(\S+)', reply.decode())}
        if not pairs:
            return {'number': reply.decode()}
        self.replies[f'{pairs["status"]} {pairs.get("reason", pairs.get("source"))}'] += 1
        return {name: value for name, value in pairs.items() if name not in HOW}


@needs_root
@needs_clock
class DifferencesTest(DaemonTestCase):
    """Two services are asked the same, about mailboxes that change all the time."""

    def setUp(self) -> None:
        super().setUp()
        self.seed = int(os.environ.get('TEST_SEED') or random.randrange(1 << 32))
        print(f'TEST_SEED={self.seed}')

    def start_pair(self, number: int, clock: Clock, way: Way, store: WatchStore) -> Pair:
        """Starts two services that are to agree."""
        common = (f'--mailbox={store.root}/alt/%d/%n', f'--mailbox={store.root}/%d/%n',
                  '--user=nobody', '--max-connections=64', *PATIENT, *way.options)
        how = {'root': store.root, 'environment': clock.environment()}
        return Pair(self.start(*common, *way.watching, **how),
                    self.start(*common, '--watches=0', *NO_CACHE, **how), way, store)

    def requests(self, store: WatchStore, chance: random.Random, places: Sequence[Path]
                 ) -> list[str]:
        """Returns questions about these places."""
        requests = []
        for place in places:
            about = str(place)
            if place.parent.name in DOMAINS and chance.random() < 0.3:
                about = f'{place.name}@{place.parent.name}'
            policy = ''.join((
                chance.choice(('', f' size={chance.choice(SIZES)}', ' size=100000')),
                chance.choice(('', ' quota=0', ' quota=3000', ' quota=20000', ' quota=8C'))))
            requests.append(chance.choice((
                f'usage {about}', f'check{policy} {about}', f'check{policy} {about}',
                str(place), f'usage{policy} {about}')))
        return requests

    def run_store(self, number: int, root: Path) -> tuple[Pair, WatchStore]:
        """Compares two services for a while."""
        chance = random.Random(f'{self.seed}/{number}')
        way = WAYS[number % len(WAYS)]
        clock = Clock(self)
        clock.advance(AHEAD_SECONDS)
        store = WatchStore(root, chance, grows=way.grows, replaces=number % 3 == 2)
        self.addCleanup(store.end)
        pair = self.start_pair(number, clock, way, store)
        places = store.places()
        while pair.queries < QUERIES_A_STORE:
            if chance.random() < 0.05:
                store.mend()
                pair.note('mend')
            for _ in range(chance.choice((1, 1, 1, 2, 5))):
                what = store.change()
                changed = [str(each.relative_to(root)) for each in store.changed]
                pair.note(f'{what} {changed}')
                if chance.random() < 0.5:
                    about = [each for each in store.changed if each in places]
                    about += chance.sample(places, 2)
                    for request in self.requests(store, chance, about[:5]):
                        pair.note(request)
                        pair.ask(request)
            for _ in range(chance.randrange(1, ROUNDS_MAX + 1)):
                seconds = chance.choice((0, CHANGED_SECONDS, CHANGED_SECONDS,
                                         UNWATCHABLE_SECONDS))
                pair.pass_time(clock, seconds)
                pair.note(f'{seconds} seconds')
                some = chance.sample(places, 4)
                for request in self.requests(store, chance, [*some, *some]):
                    pair.note(request)
                    pair.ask(request)
        store.end()
        return pair, store

    def go_through(self, make_root, first: int, queries: int) -> None:
        """Compares until there were as many queries."""
        asked = hits = asked_for_hits = number = 0
        replies, done = Counter(), Counter()
        number = first
        while asked < queries:
            pair, store = self.run_store(number, make_root(number))
            stats = pair.watching.stats()
            asked += pair.queries
            if WAYS[number % len(WAYS)].hits:
                hits += stats['watch_hits']
                asked_for_hits += pair.queries
            replies += pair.replies
            done += store.done
            for daemon in self.daemons[-2:]:
                self.stop(daemon)
            print(f'store {number}: {pair.queries} queries, '
                  + ', '.join(f'{stats[each]} {each}' for each in stats if 'watch' in each))
            number += 1
        print(f'{asked} queries, {hits} of {asked_for_hits} answered from memory; '
              f'{sum(done.values())} changes of {len(done)} kinds; {dict(done)}; {dict(replies)}')
        self.assertGreater(hits, asked_for_hits / 20)
        if queries > 20_000:
            self.assertEqual(set(KINDS) - set(done), set())

    def make_root(self, number: int) -> Path:
        """Makes a root on the file system of the test's folder."""
        root = self.root / f'{number}'
        root.mkdir()
        return root

    def make_root_in_memory(self, number: int) -> Path:
        """Makes one in memory."""
        root = self.make_root(number)
        kernel_calls.mount_tmpfs(root)
        self.addCleanup(kernel_calls.unmount, root, detach=True)
        return root

    def test_on_disk(self):
        skip_unless_watched(self.folder)
        self.go_through(self.make_root, 0, (QUERIES_LONG if is_long() else QUERIES) // 2)

    def test_in_memory(self):
        self.go_through(self.make_root_in_memory, 3,
                        (QUERIES_LONG if is_long() else QUERIES) // 2)


@needs_root
@needs_clock
class WatchedTestCase(DaemonTestCase):
    """A service for which time goes on faster, so that it watches what it is asked about twice."""

    def setUp(self) -> None:
        super().setUp()
        skip_unless_watched(self.folder)

    # What others mount makes a service forget what it knows.
    wrapper: Sequence[str] = ('/usr/bin/unshare', '--mount', '--propagation=private')

    def start_watching(self, *options: str, preloaded: Optional[dict[str, str]] = None,
                       **how) -> Daemon:
        """Starts a service to which all files are old."""
        self.clock = Clock(self)
        self.clock.advance(AHEAD_SECONDS)
        environment = preload(self.clock.environment(), preloaded or {})
        return self.start(*PATIENT, *options, environment=environment, wrapper=self.wrapper,
                          **how)

    def pass_time(self, daemon: Daemon) -> None:
        """Lets so much time go on that every mailbox is tried again.

        No query is under way, which would take too long then.
        """
        settle(daemon.pid)
        self.clock.advance(UNWATCHABLE_SECONDS)

    def hits(self, daemon: Daemon, request: Request) -> tuple[dict, bool]:
        """Asks, and returns the reply, and whether it came from memory."""
        before = daemon.stats()['watch_hits']
        reply = daemon.pairs(request)
        return reply, daemon.stats()['watch_hits'] > before

    def watch(self, daemon: Daemon, path: Path, policy: str = '') -> dict:
        """Asks until it is answered from memory, and returns the reply."""
        def ask() -> Optional[dict]:
            self.pass_time(daemon)
            for _ in range(3):
                reply, hits = self.hits(daemon, request)
            return reply if hits else None

        request = f'check{policy} {path}' if policy else f'usage {path}'
        return wait_for(ask, f'{path} is watched')

    def assert_not_watched(self, daemon: Daemon, path: Path, expected: int) -> None:
        """Asks often, and fails if ever it is answered from memory, or wrong."""
        for _ in range(30):
            self.pass_time(daemon)
            reply, hits = self.hits(daemon, f'usage {path}')
            self.assertEqual((reply.get('bytes'), hits), (str(expected), False), reply)

    def sums(self, daemon: Daemon, path: Path) -> tuple[int, int]:
        """Asks for bytes and messages."""
        reply = daemon.usage(path)
        return int(reply['bytes']), int(reply['messages'])


def kernel_watches(daemon: Daemon) -> int:
    """Returns how many watches the kernel keeps for a daemon."""
    count = 0
    for file in Path(f'/proc/{daemon.pid}/fdinfo').iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += file.read_text('ascii').count('inotify wd:')
    return count


def mount_line(path: Path) -> str:
    """Returns what the kernel tells of a mount."""
    [line] = [line for line in Path('/proc/self/mountinfo').read_text('utf-8').splitlines()
              if line.split()[4] == str(path)]
    return line


class TruthTest(WatchedTestCase):
    """Single changes that are easily missed."""

    def test_name_of_another_message(self):
        # The kernel does not tell that a message has gone whose name another one takes.
        mailbox = make_maildir(self.root / 'joe', [100, 100])
        one, other = sorted((mailbox / 'cur').iterdir())
        daemon = self.start_watching()
        self.watch(daemon, mailbox, ' quota=250')
        one.rename(other)
        self.assertEqual(daemon.pairs(f'check size=140 quota=250 {mailbox}')['status'], 'ok')
        self.assertEqual(self.sums(daemon, mailbox), (100, 1))
        self.assertEqual(daemon.number(mailbox), 100)

    def test_more_bytes_than_are_counted(self):
        # By their names. The sum is the largest number that there is, with or without one of them.
        names = [f'{number},S={SIZE_MAX}' for number in range(2)]
        mailbox = make_maildir(self.root / 'joe')
        for name in names:
            (mailbox / 'new' / name).touch()
        daemon = self.start_watching()
        self.assertEqual(self.watch(daemon, mailbox, ' quota=1000')['bytes'], str(SIZE_MAX))
        (mailbox / 'new' / names[0]).unlink()
        reply = daemon.pairs(f'check quota=1000 {mailbox}')
        self.assertEqual((reply['status'], reply['bytes']), ('over', str(SIZE_MAX)))

    def test_fresh_sums_that_say_over(self):
        # Exim believes them, whatever was counted before, while new and cur do not change.
        for limits in (50, 50), (1000, 50):
            with self.subTest(limits=limits):
                mailbox = make_maildir(self.root / f'joe-{limits[0]}', [100])
                write_maildirsize(mailbox, '', '200 2')
                daemon = self.start_watching()
                self.assertEqual(self.watch(daemon, mailbox, ' quota=50')['bytes'], '100')
                file = write_maildirsize(mailbox, '', '200 2', age_seconds=-self.clock.ahead())
                for limit in limits:
                    for reply in (daemon.pairs(f'check quota={limit} {mailbox}'),
                                  daemon.pairs(f'check quota=50 {mailbox}'),
                                  self.watch(daemon, mailbox, f' quota={limits[0]}')):
                        self.assertEqual((reply['bytes'], reply['rule']), ('200', 'trusted'))
                (mailbox / 'new' / 'one,S=7').touch()
                os.utime(mailbox / 'new', (file.stat().st_mtime + 1,) * 2)
                reply = daemon.pairs(f'check quota=50 {mailbox}')
                self.assertEqual((reply['bytes'], reply['rule']), ('107', 'over'))

    def test_no_mailbox_any_more(self):
        # It was first asked about a message that never fits, for which nothing is counted.
        mailbox = make_maildir(self.root / 'joe', [100])
        (mailbox / 'other').touch()
        daemon = self.start_watching()
        reply = self.watch(daemon, mailbox, ' size=200 quota=100')
        self.assertEqual(reply['status'], 'toolarge')
        for leaf in ('new', 'cur'):
            shutil.rmtree(mailbox / leaf)
        reply = daemon.pairs(f'check size=200 quota=100 {mailbox}')
        self.assertEqual((reply['status'], reply.get('reason')), ('error', 'not-a-mailbox'))

    def test_folder_whose_parent_becomes_a_mailbox(self):
        parent = self.root / 'joe'
        folder = make_maildir(parent / '.Sent', [100])
        (folder / 'maildirfolder').touch()
        write_maildirsize(folder, '0S', '100 1')
        daemon = self.start_watching()
        for _ in range(10):
            self.pass_time(daemon)
            self.assertEqual(self.sums(daemon, folder), (100, 1))
        make_maildir(parent, [7])
        self.assertEqual(self.sums(daemon, folder), (107, 2))

    def test_empty_mailbox_that_gets_folders(self):
        mailbox = make_maildir(self.root / 'joe')
        daemon = self.start_watching()
        self.watch(daemon, mailbox)
        (mailbox / '.a').mkdir()
        self.assertEqual(self.sums(daemon, mailbox), (0, 0))
        self.watch(daemon, mailbox)
        (mailbox / '.a' / 'new').mkdir()
        (mailbox / '.a' / 'new' / '1,S=5').touch()
        self.assertEqual(self.sums(daemon, mailbox), (5, 1))
        self.watch(daemon, mailbox)
        (mailbox / '.a').rename(mailbox / 'a')
        self.assertEqual(self.sums(daemon, mailbox), (0, 0))

    def test_second_place_of_a_mailbox(self):
        mailbox, other = make_maildir(self.root / 'joe', [100]), self.root / 'other'
        other.mkdir()
        kernel_calls.bind(mailbox, other)
        self.addCleanup(kernel_calls.unmount, other, detach=True)
        daemon = self.start_watching()
        for number in range(30):
            self.pass_time(daemon)
            expected = (100 + number, 1 + number)
            for place in (other, mailbox, mailbox, other):
                self.assertEqual(self.sums(daemon, place), expected)
            (mailbox / 'new' / f'{number},S=1').touch()

    def test_mount_that_looks_like_the_one_before(self):
        # The kernel gives numbers of mounts again.
        self.wrapper = ()
        place = self.root / 'place'
        place.mkdir()
        source = make_maildir(self.folder / 'source' / 'mail' / 'joe', [100]).parent
        kernel_calls.bind(source, place)
        self.addCleanup(kernel_calls.unmount, place, detach=True)
        daemon = self.start_watching()
        self.watch(daemon, place / 'joe')
        before = mount_line(place)
        kernel_calls.unmount(place, detach=True)
        (self.folder / 'source').rename(self.folder / 'away')
        make_maildir(source / 'joe', [7])
        kernel_calls.bind(source, place)
        print('the same line' if mount_line(place) == before else 'another line')
        self.assertEqual(self.sums(daemon, place / 'joe'), (7, 1))

    def test_mailbox_that_a_key_uncovers(self):
        # The kernel tells of no names that can be read from then on.
        image, home = self.folder / 'image', self.root / 'home'
        try:
            with open(image, 'wb') as file:
                file.truncate(IMAGE_BYTES)
            subprocess.run(('mkfs.ext4', '-q', '-O', 'encrypt', image), check=True)
            subprocess.run(('mount', '-o', 'loop', image, self.root), check=True)
        except (FileNotFoundError, subprocess.CalledProcessError):
            self.skipTest('there is no such file system')
        self.addCleanup(kernel_calls.unmount, self.root, detach=True)
        home.mkdir()
        try:
            key = kernel_calls.add_key(self.root)
            kernel_calls.encrypt(home, key)
        except OSError:
            self.skipTest('the kernel cannot encrypt')
        mailbox = make_maildir(home / 'joe', [100])
        os.sync()
        kernel_calls.remove_key(self.root, key)
        daemon = self.start_watching()
        for _ in range(10):
            self.pass_time(daemon)
            for _ in range(3):
                self.assertEqual(self.sums(daemon, mailbox), (0, 0))
        kernel_calls.add_key(self.root)
        self.assertEqual(self.sums(daemon, mailbox), (100, 1))

    def test_second_name_of_an_mbox(self):
        one, other = self.root / 'one', self.root / 'other'
        one.write_bytes(bytes(10))
        os.link(one, other)
        daemon = self.start_watching()
        self.watch(daemon, one)
        for number in range(30):
            self.pass_time(daemon)
            for place in (other, one, one, other):
                self.assertEqual(daemon.number(place), 10 + number)
            with open(one if number % 2 else other, 'ab') as file:
                file.write(b'x')

    def test_maildirsize_of_two(self):
        one, other = make_maildir(self.root / 'one'), make_maildir(self.root / 'other')
        file = write_maildirsize(one, '0S', '10 1')
        os.link(file, other / 'maildirsize')
        daemon = self.start_watching()
        self.watch(daemon, one)
        for number in range(30):
            self.pass_time(daemon)
            for place in (other, one, one, other):
                self.assertEqual(self.sums(daemon, place), (10 + number, 1 + number))
            with open((one if number % 2 else other) / 'maildirsize', 'ab') as written:
                written.write(b'1 1\n')

    def test_changes_without_a_name(self):
        # As an NFS server makes them.
        summed, counted = make_maildir(self.root / 'summed'), make_maildir(self.root / 'counted')
        sums = write_maildirsize(summed, '0S', '10 1')
        mbox = self.root / 'mbox'
        mbox.write_bytes(bytes(10))
        handles = [kernel_calls.handle_of(each) for each in (sums, mbox, counted / 'new')]
        if None in handles:
            self.skipTest('the file system has no handles')
        daemon = self.start_watching()
        for place in (summed, mbox, counted):
            self.watch(daemon, place)
        handles[0].append(b'1 1\n')
        self.assertEqual(self.sums(daemon, summed), (11, 2))
        handles[1].append(b'x')
        self.assertEqual(daemon.number(mbox), 11)
        folder = handles[2].open(os.O_RDONLY | os.O_DIRECTORY)
        os.close(os.open('1,S=5', os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        self.assertEqual(self.sums(daemon, counted), (5, 1))
        os.unlink('1,S=5', dir_fd=folder)
        os.close(folder)
        self.assertEqual(self.sums(daemon, counted), (0, 0))
        for handle in handles:
            handle.close()

    def test_renamed_ancestors(self):
        way = self.root / 'a' / 'b' / 'c'
        mailbox = make_maildir(way / 'joe', [100])
        other = make_maildir(self.root / 'x' / 'b' / 'c' / 'joe', [7]).parent.parent.parent
        daemon = self.start_watching()
        for place in (self.root / 'a', self.root / 'a' / 'b', way, mailbox):
            self.assertEqual(self.watch(daemon, mailbox)['bytes'], '100')
            there = other / place.relative_to(self.root / 'a')
            kernel_calls.exchange(place, there)
            self.assertEqual(self.sums(daemon, mailbox), (7, 1))
            self.assertEqual(self.watch(daemon, mailbox)['bytes'], '7')
            kernel_calls.exchange(place, there)
            self.assertEqual(self.sums(daemon, mailbox), (100, 1))
            self.watch(daemon, mailbox)
            place.rename(self.root / 'away')
            self.assertEqual(self.sums(daemon, mailbox), (0, 0))
            self.watch(daemon, mailbox)
            (self.root / 'away').rename(place)
            self.assertEqual(self.sums(daemon, mailbox), (100, 1))

    def test_root_that_is_replaced(self):
        mailbox = make_maildir(self.root / 'joe', [100])
        daemon = self.start_watching()
        self.assertEqual(self.watch(daemon, mailbox)['bytes'], '100')
        self.root.rename(self.folder / 'away')
        make_maildir(mailbox, [7])
        wait_for(lambda: daemon.usage(mailbox).get('bytes') == '7', 'the new root is seen')
        self.assertEqual(self.watch(daemon, mailbox)['bytes'], '7')

    def test_root_that_is_replaced_while_nobody_asks(self):
        mailbox = make_maildir(self.root / 'joe', [100])
        daemon = self.start_watching()
        for expected in (100, 7):
            self.assertEqual(int(self.watch(daemon, mailbox)['bytes']), expected)
            wait_for(lambda: str(self.root) not in open_files(daemon.pid), 'the root is let go of')
            # The same root again, and nothing is forgotten.
            reply, hits = self.hits(daemon, f'usage {mailbox}')
            self.assertEqual((int(reply['bytes']), hits), (expected, True))
            wait_for(lambda: str(self.root) not in open_files(daemon.pid), 'the root is let go of')
            if expected == 100:
                self.root.rename(self.folder / 'away')
                make_maildir(mailbox, [7])
                self.assertEqual(self.sums(daemon, mailbox), (7, 1))

    def test_root_that_is_unmounted_while_nobody_asks(self):
        self.wrapper = ()
        kernel_calls.mount_tmpfs(self.root)
        mailbox = make_maildir(self.root / 'joe', [100])
        daemon = self.start_watching()
        self.watch(daemon, mailbox)
        wait_for(lambda: str(self.root) not in open_files(daemon.pid), 'the root is let go of')
        kernel_calls.unmount(self.root)
        self.assertEqual(self.sums(daemon, mailbox), (0, 0))
        make_maildir(mailbox, [7])
        self.assertEqual(self.sums(daemon, mailbox), (7, 1))

    def test_more_events_than_the_kernel_keeps(self):
        mailbox = make_maildir(self.root / 'joe', [100])
        most = int(Path('/proc/sys/fs/inotify/max_queued_events').read_text('ascii'))
        daemon = self.start_watching()
        self.watch(daemon, mailbox)
        before = daemon.stats()['watch_overflows']
        for number in range(most // 2 + 100):
            file = mailbox / 'new' / f'{number},S=1'
            file.touch()
            file.unlink()
        (mailbox / 'new' / 'last,S=5').touch()
        self.assertEqual(self.sums(daemon, mailbox), (105, 2))
        self.assertGreater(daemon.stats()['watch_overflows'], before)
        self.assertEqual(self.watch(daemon, mailbox)['bytes'], '105')


@needs_faults
class MeanwhileTest(WatchedTestCase):
    """What happens between two calls of the service, one of which takes its time."""

    def start_busy(self, *options: str) -> Daemon:
        """Starts a service with a client that keeps it from closing its roots."""
        self.faults = make_faults(self)
        daemon = self.start_watching(*options, preloaded=self.faults.environment())
        self.connect(daemon).sendall(b'usage ')
        return daemon

    @contextlib.contextmanager
    def slow(self, daemon: Daemon, function: str) -> Iterator[None]:
        """Makes every call of a function slow until what was begun with that is over."""
        self.faults.fail(Fault(function, 1, SLOW), times=100)
        yield
        wait_for(lambda: not self.is_slow(), f'{function} is over')
        self.faults.stop()
        settle(daemon.pid, threads=True)

    def is_slow(self) -> bool:
        """Says whether a call was slow a moment ago."""
        before = self.faults.injected()
        time.sleep(2 * SLOW_SECONDS)
        return self.faults.injected() > before

    def test_mailbox_that_appears_while_it_comes_to_be_watched(self):
        # Its directory is watched already, for another mailbox.
        daemon = self.start_busy()
        self.watch(daemon, make_maildir(self.root / 'joe'))
        mbox = self.root / 'mbox'
        self.assertEqual(self.sums(daemon, mbox), (0, 0))
        self.pass_time(daemon)
        with self.slow(daemon, 'poll'):
            self.assertEqual(self.sums(daemon, mbox), (0, 0))
            time.sleep(SLOW_SECONDS / 2)  # the thread has found nothing by then
            mbox.write_bytes(b'x' * 7)
        self.assertGreater(self.faults.injected(), 0)
        self.assertEqual(daemon.usage(mbox)['bytes'], '7')

    def test_message_that_grows_while_its_mailbox_comes_to_be_watched(self):
        # It was counted before, but its directory is not watched yet, and does not change.
        mailbox = make_maildir(self.root / 'joe')
        (mailbox / 'cur' / 'untagged').write_bytes(b'x' * 500)
        daemon = self.start_busy('--cache-size=0')
        daemon.usage(mailbox)
        self.pass_time(daemon)
        with self.slow(daemon, 'inotify_add_watch'):
            daemon.usage(mailbox)
            wait_for(lambda: self.faults.injected() >= 3, 'the way to cur is watched')
            with open(mailbox / 'cur' / 'untagged', 'ab') as message:
                message.write(b'x' * 7)
        self.assertEqual(self.sums(daemon, mailbox), (507, 1))

    def test_mount_that_comes_and_goes_while_a_mailbox_comes_to_be_watched(self):
        # What is mounted is the same as before then, but the thread has seen the other mailbox.
        self.wrapper = ()
        mailbox = make_maildir(self.root / 'joe', [100])
        other = make_maildir(self.folder / 'other', [7])
        daemon = self.start_busy()
        daemon.usage(mailbox)
        self.pass_time(daemon)
        with self.slow(daemon, 'inotify_add_watch'):
            daemon.usage(mailbox)
            kernel_calls.bind(other, mailbox)
            time.sleep(2 * SLOW_SECONDS)  # until its way and it are watched
            kernel_calls.unmount(mailbox, detach=True)
        self.assertGreater(self.faults.injected(), 0)
        self.assertEqual(self.sums(daemon, mailbox), (100, 1))

    def test_mount_that_comes_and_goes_while_an_mbox_is_read_again(self):
        self.wrapper = ()
        mbox, other = self.root / 'mbox', self.folder / 'other'
        mbox.write_bytes(b'x' * 100)
        other.write_bytes(b'x' * 7)
        daemon = self.start_busy()
        self.watch(daemon, mbox)
        with self.slow(daemon, 'openat2'):
            mbox.write_bytes(b'x' * 50)
            client = self.connect(daemon)
            client.sendall(b'usage %b\n' % bytes(mbox))
            wait_for(self.faults.injected, 'it is about to be opened')
            kernel_calls.bind(other, mbox)
            self.assertIn(parse_pairs(read_all(client))['bytes'], ('50', '7'))
            kernel_calls.unmount(mbox, detach=True)
        self.assertEqual(daemon.usage(mbox)['bytes'], '50')


class WhoIsWatchedTest(WatchedTestCase):
    """How many mailboxes are watched, and which of them."""

    def test_none(self):
        mailbox = make_maildir(self.root / 'joe', [100])
        daemon = self.start_watching('--watches=0')
        self.assert_not_watched(daemon, mailbox, 100)
        stats = daemon.stats()
        self.assertEqual([stats[each] for each in stats if 'watch' in each], [0, 0, 0, 0])
        self.assertEqual(kernel_watches(daemon), 0)
        self.assertEqual([each for each in open_files(daemon.pid) if 'inotify' in each], [])

    def test_as_many_as_the_kernel_says(self):
        daemon = self.start_watching()
        for number in range(10):
            self.watch(daemon, make_maildir(self.root / f'{number}', [number]))
        # The root, and three directories of each.
        self.assertEqual(daemon.stats()['watches'], 31)
        self.assertEqual(kernel_watches(daemon), 31)
        for number in range(10):
            shutil.rmtree(self.root / f'{number}')
        self.assertEqual(self.sums(daemon, self.root / '0'), (0, 0))
        self.assertEqual(daemon.stats()['watches'], 0)
        self.assertEqual(kernel_watches(daemon), 0)

    def test_bound(self):
        mailboxes = [make_maildir(self.root / f'{number}', [number]) for number in range(20)]
        daemon = self.start_watching('--watches=20')
        for mailbox in mailboxes:
            self.watch(daemon, mailbox)
            self.assertLessEqual(daemon.stats()['watches'], 20)
            self.assertLessEqual(kernel_watches(daemon), 20)
        # The last one is, the first ones made room.
        self.assertTrue(self.hits(daemon, f'usage {mailboxes[-1]}')[1])
        self.assertFalse(self.hits(daemon, f'usage {mailboxes[0]}')[1])

    def test_who_is_asked_about_stays(self):
        mailboxes = [make_maildir(self.root / f'{number}', [number]) for number in range(20)]
        daemon = self.start_watching('--watches=20')
        self.watch(daemon, mailboxes[0])
        for mailbox in mailboxes[1:]:
            self.watch(daemon, mailbox)
            # The usage would be counted again, of which a quarter of an hour has gone by.
            self.assertTrue(self.hits(daemon, f'check {mailboxes[0]}')[1])

    def test_many_who_are_asked_about_once(self):
        mailboxes = [make_maildir(self.root / 'a.example' / f'{number}', [number])
                     for number in range(5)]
        daemon = self.start_watching(f'--mailbox={self.root}/%d/%n', '--watches=200')
        for mailbox in mailboxes:
            self.watch(daemon, mailbox)
        before = daemon.stats()
        for number in range(5_000):
            reply = daemon.ask(f'check nobody-{number}@a.example')
            self.assertTrue(reply.startswith(b'status=ok bytes=0 '), reply)
        for number, mailbox in enumerate(mailboxes):
            reply, hits = self.hits(daemon, f'usage {mailbox}')
            self.assertEqual((int(reply['bytes']), hits), (number, True))
        self.assertEqual(daemon.stats()['watches'], before['watches'])

    def test_symbolic_links(self):
        mailbox = make_maildir(self.root / 'real' / 'joe', [100])
        (self.root / 'way').symlink_to('real')
        (self.root / 'joe').symlink_to('real/joe')
        outer = make_maildir(self.root / 'outer', [1])
        (outer / '.link').symlink_to('../real/joe')
        leaves = make_maildir(self.root / 'leaves', [1])
        (leaves / 'new').rmdir()
        (leaves / 'new').symlink_to('../real/joe/cur')
        daemon = self.start_watching()
        self.assert_not_watched(daemon, self.root / 'way' / 'joe', 100)
        self.assert_not_watched(daemon, self.root / 'joe', 100)
        self.assert_not_watched(daemon, outer, 101)
        self.assert_not_watched(daemon, leaves, 101)
        (mailbox / 'new' / '1,S=5').touch()
        self.assertEqual(self.sums(daemon, self.root / 'way' / 'joe'), (105, 2))
        self.assertEqual(self.sums(daemon, outer), (106, 3))

    @needs_hangfs
    def test_file_system_of_another_kind(self):
        source = self.folder / 'source'
        make_maildir(source / 'joe', [100])
        far = self.root / 'far'
        far.mkdir()
        hangfs = HangFs(source, far)
        self.addCleanup(hangfs.stop)
        daemon = self.start_watching()
        self.assert_not_watched(daemon, far / 'joe', 100)


class State(NamedTuple):
    """What a mailbox held, at the earliest from when, and at the latest until when."""

    begin: float
    end: float
    sums: tuple[int, int]


class Busy:
    """A process that changes one mailbox all the time, and notes what it holds."""

    BYTES = 10  # of a message; others are larger

    def __init__(self, mailbox: Path, seed: str):
        self.mailbox = mailbox
        self.chance = random.Random(seed)
        self.states: list[State] = []
        self.sums = (0, 0)
        self.begin = time.monotonic()
        self.number = 0
        self.mail: list[Path] = []

    def note(self, began: float, bytes_: int, messages: int) -> None:
        """Notes what the mailbox holds after a change that began then."""
        ended = time.monotonic()
        self.states.append(State(self.begin, ended, self.sums))
        self.begin = began
        self.sums = (self.sums[0] + bytes_, self.sums[1] + messages)

    def step(self) -> None:
        """Changes something."""
        raise NotImplementedError

    def run(self, quiet, pipe) -> None:
        """Changes one thing after the other, with pauses, until it is quiet. Tells what was."""
        while not quiet.value:
            for _ in range(self.chance.choice((1, 1, 2, 10))):
                self.step()
            time.sleep(self.chance.choice((0, 0.0002, 0.002, 0.01)))
        self.states.append(State(self.begin, float('inf'), self.sums))
        pipe.send(self.states)
        pipe.close()


class BusyMaildir(Busy):
    """Messages that come, go, and are moved all the time."""

    tags: Sequence[str] = (',S=10',)

    def step(self) -> None:
        """Does one of these."""
        doing = self.chance.random()
        began = time.monotonic()
        if doing < 0.15 and len(self.mail) < 50 or not self.mail:
            self.number += 1
            folder = self.mailbox / self.chance.choice(('', '.a', '.b'))
            file = folder / 'tmp' / f'{self.number}.host{self.chance.choice(self.tags)}'
            file.write_bytes(bytes(self.BYTES))
            began = time.monotonic()
            self.mail.append(file.rename(folder / 'new' / file.name))
            self.note(began, self.BYTES, 1)
        elif doing < 0.3:
            self.mail.pop(self.chance.randrange(len(self.mail))).unlink()
            self.note(began, -self.BYTES, -1)
        else:
            file = self.mail.pop(self.chance.randrange(len(self.mail)))
            base = file.name.partition(':')[0]
            target = self.mailbox / self.chance.choice(('', '.a', '.b')) / 'cur' / (
                f'{base}:2,{self.chance.choice(("", "S", "RS"))}')
            self.mail.append(file.rename(target))


class BusyMixed(BusyMaildir):
    """The same with messages that do not tell their sizes."""

    tags = (',S=10', ',S=10', ',S=10', '')


class BusyQuota(Busy):
    """A maildirsize that grows, shrinks, and is written anew."""

    def step(self) -> None:
        """Does one of these."""
        file = self.mailbox / 'maildirsize'
        if file.exists() and self.chance.random() < 0.95:
            adds = self.sums[1] == 0 or self.chance.random() < 0.6
            began = time.monotonic()
            with open(file, 'a', encoding='ascii') as written:
                written.write('10 1\n' if adds else '-10 -1\n')
            self.note(began, 10 if adds else -10, 1 if adds else -1)
        else:
            new = self.mailbox / 'tmp' / 'maildirsize'
            new.write_text(f'0S\n{self.sums[0]} {self.sums[1]}\n', 'ascii')
            new.rename(file)


class BusyMbox(Busy):
    """An mbox."""

    def step(self) -> None:
        """Appends, or removes everything."""
        began = time.monotonic()
        if self.sums[0] < 10_000:
            with open(self.mailbox, 'ab') as file:
                file.write(bytes(10))
            self.note(began, 10, 0)
        else:
            os.truncate(self.mailbox, 0)
            self.note(began, -self.sums[0], 0)


class Answer(NamedTuple):
    """What was answered about the mailbox of that number, and when."""

    number: int
    begin: float
    end: float
    sums: tuple[int, int]
    source: str


def ask_all_the_time(daemon: Daemon, paths: Sequence[tuple[int, Path]], quiet, pipe) -> None:
    """Asks, and tells what was answered in the end."""
    answers = []
    while not quiet.value:
        for number, path in paths:
            request = f'check quota=1G {path}' if len(answers) % 3 else f'usage {path}'
            begin = time.monotonic()
            reply = daemon.pairs(request)
            answers.append(Answer(number, begin, time.monotonic(),
                                  (int(reply['bytes']), int(reply['messages'])), reply['source']))
    pipe.send(answers)
    pipe.close()


class BusyTest(WatchedTestCase):
    """Mailboxes that change all the time while others ask about them."""

    READERS = 2
    SECONDS, SECONDS_LONG = 5, 120
    QUIET_SECONDS = 0.02  # now and then, to be watched again

    def test_each_answer_was_true_meanwhile(self):
        seed = os.environ.get('TEST_SEED') or random.randrange(1 << 32)
        print(f'TEST_SEED={seed}')
        kinds = (BusyMaildir, BusyMixed, BusyQuota, BusyMbox)
        busy = []
        for number, kind in enumerate(kinds * 2):
            path = self.root / f'{kind.__name__}-{number}'
            if kind is BusyMbox:
                path.touch()
            else:
                for folder in ('', '.a', '.b'):
                    make_maildir(path / folder)
            if kind is BusyQuota:
                write_maildirsize(path, '0S', '0 0')
            busy.append(kind(path, f'{seed}/{number}'))
        daemon = self.start_watching()
        states, answers = self.run_all(daemon, busy)
        self.judge(busy, states, answers)
        stats = daemon.stats()
        print(f'{sum(map(len, states))} changes, {len(answers)} answers, '
              + ', '.join(f'{stats[each]} {each}' for each in stats if 'watch' in each))
        self.assertGreater(stats['watch_hits'], 0)
        for one, known in zip(busy, states):
            self.assertEqual(self.sums(daemon, one.mailbox), known[-1].sums)

    def run_all(self, daemon: Daemon, busy: Sequence[Busy]) -> tuple[list, list]:
        """Runs them for a while. Returns the states of each, and the answers."""
        processes = multiprocessing.get_context('fork')
        # Two who ask about the same one may share a count that began before one of them asked.
        places = [(number, one.mailbox) for number, one in enumerate(busy)]
        quiet = processes.RawValue(ctypes.c_bool, False)
        changing, asking = [], []
        for target, arguments, ends in (
                *((one.run, (), changing) for one in busy),
                *((ask_all_the_time, (daemon, places[first::self.READERS]), asking)
                  for first in range(self.READERS))):
            ours, theirs = processes.Pipe(duplex=False)
            process = processes.Process(target=target, args=(*arguments, quiet, theirs))
            process.start()
            theirs.close()
            self.addCleanup(process.kill)
            ends.append(ours)
        deadline = time.monotonic() + (self.SECONDS_LONG if is_long() else self.SECONDS)
        while time.monotonic() < deadline:
            time.sleep(self.QUIET_SECONDS)
            self.clock.advance(CHANGED_SECONDS)
        quiet.value = True
        answers = [answer for pipe in asking for answer in pipe.recv()]
        return [pipe.recv() for pipe in changing], answers

    def judge(self, busy: Sequence[Busy], states: list, answers: list) -> None:
        """Fails if an answer was true at no moment between the question and the reply.

        A count is none of it: messages that are moved meanwhile it may miss, or meet twice.
        """
        for answer in answers:
            if answer.source == 'scan':
                continue
            known = states[answer.number]
            # The first state that ended after the question, and all that began before the reply.
            at = bisect.bisect_left(known, answer.begin, key=lambda state: state.end)
            possible = []
            while at < len(known) and known[at].begin <= answer.end:
                possible.append(known[at].sums)
                at += 1
            self.assertIn(answer.sums, possible, (busy[answer.number].mailbox, answer))


class QuietTest(WatchedTestCase):
    """What changes while nobody asks."""

    EVENTS = 1000

    def switches(self, daemon: Daemon) -> int:
        """Returns how often the threads of a daemon were woken."""
        return sum(int(re.search(r'\nvoluntary_ctxt_switches:\s*(\d+)', text)[1])
                   for text in (each.read_text('ascii', 'replace') for each in
                                Path(f'/proc/{daemon.pid}/task').glob('*/status')))

    def test_nothing_wakes_it(self):
        mailbox = make_maildir(self.root / 'joe')
        daemon = self.start_watching()

        def is_left_alone() -> bool:
            self.watch(daemon, mailbox)
            wait_for(lambda: str(self.root) not in open_files(daemon.pid), 'it is at rest')
            before = -1
            while before != self.switches(daemon):
                before = self.switches(daemon)
                time.sleep(1.2)
            for number in range(self.EVENTS):
                (mailbox / 'new' / f'{number},S=1').touch()
            woken = self.switches(daemon) - before
            self.assertEqual(self.sums(daemon, mailbox), (self.EVENTS, self.EVENTS))
            for file in (mailbox / 'new').iterdir():
                file.unlink()
            print(f'{self.EVENTS} events, woken {woken} times')
            # Timers go on.
            return woken < self.EVENTS / 100

        wait_for(is_left_alone, 'it sleeps')


class LargeTest(WatchedTestCase):
    """A mailbox of many messages, whose names tell their sizes."""

    MESSAGES, MESSAGES_LONG = 100_000, 1_000_000

    def test_delivery_costs_no_count(self):
        kernel_calls.mount_tmpfs(self.root, 'mode=755,nr_inodes=0')
        self.addCleanup(kernel_calls.unmount, self.root, detach=True)
        mailbox = make_maildir(self.root / 'joe')
        count = self.MESSAGES_LONG if is_long() else self.MESSAGES
        for number in range(count):
            os.close(os.open(f'{mailbox}/cur/{number}.host,S=10:2,S', os.O_CREAT | os.O_WRONLY))
        daemon = self.start_watching()
        wait_for(lambda: daemon.usage(mailbox).get('source') == 'cache', 'it is counted')
        self.watch(daemon, mailbox, ' quota=1G')
        before = daemon.stats()
        for number in range(100):
            (mailbox / 'new' / f'{number}.new,S=1').touch()
            reply, hits = self.hits(daemon, f'check quota=1G {mailbox}')
            self.assertTrue(hits)
            self.assertEqual((int(reply['bytes']), int(reply['messages'])),
                             (10 * count + number + 1, count + number + 1))
        self.assertEqual(daemon.stats()['scans'], before['scans'])


if __name__ == '__main__':
    unittest.main()
