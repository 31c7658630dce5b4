# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways out of the roots: a table of paths, and directories that are swapped while they are read.

Everything outside of the root is enormous: an answer that has anything of it shows. Landlock, which
would stop most of this once more, is taken away, and the other tests have it.
"""

import contextlib
import ctypes
import itertools
import mmap
import os
import signal
import struct
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

import without_calls
from beside import BesideTestCase, running
from daemon import (FULL, PATIENCE_SECONDS, Daemon, DaemonTestCase, is_long, needs_root,
                    parse_pairs, wait_for)
from mailboxes import LINKS_MAX, make_chain, make_maildir, write_maildirsize

OUTSIDE_BYTES = 10 ** 12
INSIDE_SIZES = (1, 20, 300)
ASKERS = 2
SECONDS, LONG_SECONDS = 0.15, 10

AT_FDCWD = -100
RENAME_EXCHANGE = 2
MS_BIND = 0x1000
MNT_DETACH = 2
CLONE_NEWNS = 0x20000

RENAME_IN_A_LOOP = '''
import os, sys
print('ready', flush=True)
while True:
    os.rename(sys.argv[1], sys.argv[2])
    os.rename(sys.argv[2], sys.argv[1])
'''


class Swap(NamedTuple):
    """What is swapped with a symbolic link, below the folder of the root, and what is asked."""

    place: str
    target: str


# `box` is the mailbox, `way/box` another one in a folder.
SWAPS = (
    Swap('way', 'way/box'),
    Swap('box', 'box'),
    Swap('box/cur', 'box'),
    Swap('box/new', 'box'),
    Swap('box/.folder', 'box'),
    Swap('box/.folder/cur', 'box'),
    Swap('box/maildirsize', 'box'),
    Swap('box/cur/plain', 'box'),
    Swap('box/.folder/maildirfolder', 'box/.folder'),
    Swap('mbox', 'mbox'),
)

# Paths below the root, `{}`, that must not lead to what lies beside it. Links are made before.
ESCAPES = (
    '{}/../outside/box', '{}/box/../../outside/box', '{}//..//outside/box', '{}/./../outside/box',
    '{}/box/cur/../../../outside/box', '{}/' + '../' * 30 + 'etc/passwd', '{}/..', '{}/box/../..',
    '{}/relative', '{}/relative/', '{}/relative/.', '{}/relative/box', '{}/absolute',
    '{}/absolute/box', '{}/absolute/../outside/box', '{}/absolute-mbox', '{}/relative-mbox',
    '{}/to-root', '{}/to-root/etc/passwd', '{}/to-up/outside/box', '{}/in-and-out',
    '{}/chain', '{}/home/../outside/box', '{}/home/relative/box', '{}/home/home/absolute/box',
    '{}/home-out/box', '{}/home-chain/box', '{}/home/to-up/outside/box', '{}/home{outside}/box',
    '{}/magic-root', '{}/magic-root{outside}', '{}/magic-cwd', '{}/magic-fd',
    '/proc/self/root{outside}/box', '/proc/self/cwd', '/proc/1/root{outside}/box',
    '/proc/self/root{root}/box', '{outside}/box', '{outside}/mbox', '/etc/passwd', '/', '//', '/.',
    '{}x/box', '{root_up}', '{root_up}/outside/box', '{}/\\../outside/box',
    '{}/%2e%2e/outside/box', '{}/..%2foutside/box', '{}/\u2025/outside/box',
    '{}/' + 'x/../' * 500 + '../outside/box', '{}' + '/.' * 1500 + '/../outside/box',
    '{}/' + 'relative/../' * 100 + 'relative/box', '{}/' + 'x' * 300 + '/../../outside/box',
    '{}/box\0/../../outside/box', '{outside}/box\0{}/box', '{}/box\r/../../outside/box',
    '{}/mounted-link/box', '{}/box/cur/../../relative/box', '{}/box/.out', '{}/box/.out/cur',
)

ADDRESSES = (
    '../outside/box@x', '..@outside', 'box@..', 'box@../outside', '/box@x', 'box@/x', '.@..',
    '..@..', 'box@outside/..', '..%2foutside@x', 'box/../../outside/box@x', '"../outside/box"@x',
    'box\0/../@x', '....//outside@x', 'out@link', 'box@link',
)

BLOCKED = ('outside-root', 'not-a-mailbox', 'bad-address', 'bad-request', 'too-long', 'bad-value',
           'no-template', 'io-error')


def libc(name: str) -> Callable:
    """Returns a function of the C library; it returns whether the call went well."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    return lambda *arguments: function(*arguments) == 0


class Hammer:
    """A process that does one thing again and again; `count` says how often it was done."""

    def __init__(self, once: Callable[[], bool], prepare: Callable[[], None] = lambda: None):
        self._shared = mmap.mmap(-1, 8)
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                prepare()
                count = 0
                while True:
                    count += once()
                    self._shared[:] = struct.pack('Q', count)
            os._exit(1)

    @property
    def count(self) -> int:
        """How often it was done so far."""
        return struct.unpack('Q', self._shared[:])[0]

    def stop(self) -> None:
        """Ends it. Fails if it had ended before."""
        os.kill(self._pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status != -signal.SIGKILL:
            raise AssertionError('what was to race has ended by itself')


class EscapeTest(DaemonTestCase):
    """A root with a mailbox, and beside it the same, enormous, as nobody may see it."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = self.folder / 'outside'
        self.make(self.root, lambda size: size)
        self.make(self.outside, lambda size: size + OUTSIDE_BYTES)
        self.questions = 0

    def make(self, folder: Path, size_of: Callable[[int], int]) -> None:
        """Makes the mailboxes: sizes in names, of files, in maildirsize, and of an mbox."""
        for path in folder / 'box', folder / 'way' / 'box':
            make_maildir(path, map(size_of, INSIDE_SIZES))
            make_maildir(path / '.folder', map(size_of, INSIDE_SIZES))
            (path / '.folder' / 'maildirfolder').touch()
            self.make_file(path / 'cur' / 'plain', size_of(4000))
        self.make_file(folder / 'mbox', size_of(50000))

    def make_file(self, path: Path, size: int) -> None:
        """Makes a file that is so large, and takes no room."""
        path.touch()
        os.truncate(path, size)

    def start_without_landlock(self, *options: str, wrapper: tuple = ()) -> Daemon:
        """Starts a daemon that has nothing but openat2 to keep it below its root."""
        command = without_calls.command(without_calls.LANDLOCK_CREATE_RULESET)
        daemon = self.start('--on-error=defer', '--user=0', '--scan-timeout=60000', *options,
                            wrapper=(*wrapper, *command))
        self.assertIn('Landlock is unavailable', str(daemon.entries()))
        return daemon

    def assert_inside(self, daemon: Daemon, question: bytes) -> str:
        """Asks; the answer has nothing of what lies outside. Returns its reason, or 'ok'."""
        self.questions += 1
        reply = daemon.ask(question)
        if reply[:1].isdigit():
            number = int(reply)
            self.assertTrue(number < OUTSIDE_BYTES or number == FULL, (question, reply))
            return 'outside-root' if number == FULL else 'ok'
        pairs = parse_pairs(reply)
        if pairs['status'] == 'error':
            self.assertIn(pairs['reason'], BLOCKED, question)
            return pairs['reason']
        self.assertLess(int(pairs['bytes']), OUTSIDE_BYTES, (question, reply))
        self.assertLess(int(pairs['messages']), 3 * len(INSIDE_SIZES), (question, reply))
        return 'ok'


class PathsTest(EscapeTest):
    """The table: nothing changes while it is asked."""

    def setUp(self) -> None:
        super().setUp()
        for name, target in {
                'relative': '../outside', 'absolute': self.outside, 'to-root': '/', 'to-up': '..',
                'relative-mbox': '../outside/mbox', 'absolute-mbox': self.outside / 'mbox',
                'in-and-out': 'box/../../outside/box', 'chain': 'relative', 'link': '../outside',
                'magic-root': '/proc/self/root', 'magic-cwd': '/proc/self/cwd',
                'magic-fd': '/proc/self/fd/3', 'mounted-link': 'to-up/outside',
                'home': self.root, 'home-out': f'{self.root}/../outside',
                'home-chain': f'{self.root}/home/relative',
                'box/.out': '../../outside/box'}.items():
            (self.root / name).symlink_to(target)

    def test_paths(self):
        tried = blocked = 0
        daemon = self.start_without_landlock(f'--mailbox={self.root}/%d/%n',
                                             f'--mailbox={self.root}/%n')
        paths = [form.replace('{}', '{root}').format(
            root=self.root, outside=self.outside, root_up=self.folder) for form in ESCAPES]
        for target in *paths, *ADDRESSES:
            for question in (target, f'usage {target}', f'check size=1 {target}'):
                if target in ADDRESSES and question == target:
                    continue
                with self.subTest(question=question):
                    tried += 1
                    self.assert_inside(daemon, os.fsencode(question))
                    blocked += 1
        # What the mailbox holds, its folder that leads out left out of it.
        self.assertEqual(daemon.number(self.root / 'box'), 4000 + 2 * sum(INSIDE_SIZES))
        print(f'Path escapes tried {tried}, blocked {blocked}')
        self.assertEqual(blocked, tried)


class RacesTest(EscapeTest):
    """Each part of a path is swapped with a symbolic link out of the root, as fast as can be."""

    def race(self, daemon: Daemon, hammer: Hammer, target: Path) -> dict[str, int]:
        """Asks while the hammer goes on, and returns how often there was which answer.

        It goes on for a while, and until there was an answer of the mailbox and a blow.
        """
        outcomes: dict[str, int] = {}
        errors: list[BaseException] = []
        start = time.monotonic()
        end, last = start + (LONG_SECONDS if is_long() else SECONDS), start + PATIENCE_SECONDS

        def ask() -> None:
            try:
                while not errors and time.monotonic() < (
                        end if 'ok' in outcomes and hammer.count > 0 else last):
                    for question in bytes(target), b'usage ' + bytes(target):
                        outcome = self.assert_inside(daemon, question)
                        outcomes[outcome] = outcomes.get(outcome, 0) + 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(ASKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hammer.stop()
        for error in errors:
            raise error
        return outcomes

    def swap(self, place: str, absolute: bool) -> Iterator[Hammer]:
        """Swaps it with a symbolic link to the same outside."""
        here, there = self.root / place, self.folder / 'swapped'
        target = self.outside / place
        there.symlink_to(target if absolute else os.path.relpath(target, here.parent))
        if place == 'box/maildirsize':
            write_maildirsize(self.root / 'box', '0S', '5 1')
            write_maildirsize(self.outside / 'box', '0S', f'{OUTSIDE_BYTES} 1')
        rename, one, other = libc('renameat2'), os.fsencode(here), os.fsencode(there)
        hammer = Hammer(lambda: rename(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE))
        try:
            yield hammer
        finally:
            if here.is_symlink():
                rename(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
            there.unlink()

    def test_swaps(self):
        swaps = 0
        (self.root / 'home').symlink_to(self.root)
        daemon = self.start_without_landlock('--cache-size=0')
        for place, target in SWAPS:
            # By the path itself, and through an absolute link to the root.
            for way, absolute in itertools.product((self.root, self.root / 'home'), (False, True)):
                with self.subTest(place=place, way=way, absolute=absolute):
                    with contextlib.contextmanager(self.swap)(place, absolute) as hammer:
                        outcomes = self.race(daemon, hammer, way / target)
                    print(f'{way.name}/{place}, {"absolute" if absolute else "relative"}: '
                          f'{hammer.count} swaps, {outcomes}')
                    self.assertGreater(hammer.count, 0)
                    swaps += hammer.count
                    # Some answers were of the mailbox, unless its parts alone were swapped.
                    self.assertGreater(outcomes.get('ok', 0), 0)
        (self.root / 'box' / 'maildirsize').unlink()
        self.assertEqual(daemon.number(self.root / 'box'), 4000 + 2 * sum(INSIDE_SIZES))
        print(f'Races: swaps {swaps}, questions {self.questions}, escapes 0')

    def test_comes_and_goes(self):
        # Removed and made anew, renamed and back: an answer of either state, or that nothing is
        # there.
        daemon = self.start_without_landlock()
        box, away = self.root / 'box', self.root / 'away'

        def once() -> bool:
            box.rename(away)
            away.rename(box)
            (box / 'cur' / 'plain').unlink()
            (box / '.folder').rename(box / '.other')
            (box / '.other').rename(box / '.folder')
            self.make_file(box / 'cur' / 'plain', 4000)
            (box / 'new').rmdir()
            (box / 'new').mkdir()
            return True

        hammer = Hammer(once)
        outcomes = self.race(daemon, hammer, box)
        print(f'{hammer.count} times renamed, removed and made; {outcomes}')
        self.assertEqual(set(outcomes), {'ok'})

    @needs_root
    def test_remounted(self):
        # Other files are mounted over the mailbox, and lazily unmounted: what is there at the time
        # is answered, the one or the other. The kernel takes for outside what was unmounted between
        # the look for it and the end of the path: an error, and nothing else.
        mounted = self.folder / 'mounted'
        make_maildir(mounted, [70000])
        daemon = self.start_without_landlock(
            wrapper=('/usr/bin/unshare', '--mount', '--propagation=private', '--'))
        box = self.root / 'way' / 'box'
        answers = {4000 + 2 * sum(INSIDE_SIZES), 70000}
        seen: dict[int, int] = {}
        mount, umount, setns = libc('mount'), libc('umount2'), libc('setns')

        def enter(pid: int = daemon.pid) -> None:
            root = os.open(f'/proc/{pid}/root', os.O_PATH | os.O_DIRECTORY)
            with open(f'/proc/{pid}/ns/mnt', 'rb') as namespace:
                if not setns(namespace.fileno(), CLONE_NEWNS):
                    os._exit(2)
            # Joining leads to the root of the mounts, out of a chroot.
            os.fchdir(root)
            os.chroot('.')

        def once() -> bool:
            return (mount(os.fsencode(mounted), os.fsencode(box), None, MS_BIND, None) and
                    umount(os.fsencode(box), MNT_DETACH))

        hammer = Hammer(once, enter)
        wait_for(lambda: hammer.count > 0, 'it is mounted over')
        end = time.monotonic() + (LONG_SECONDS if is_long() else 8 * SECONDS)
        while time.monotonic() < end:
            self.questions += 1
            number = daemon.number(box)
            seen[number] = seen.get(number, 0) + 1
        hammer.stop()
        print(f'{hammer.count} times mounted over and unmounted, '
              f'{self.questions} questions, answers {seen}')
        self.assertGreater(hammer.count, 0)
        self.assertLessEqual(set(seen), {*answers, FULL})
        self.assertLessEqual(daemon.warnings_about(box), [
            f'{box}: leads outside the roots; answered that it is full: the mail is deferred'])


class RenamingOwnerTest(BesideTestCase):
    """An owner controls a link on the path of his mailbox, and renames a file all the time.

    As in test_neighbours.py, honest clients get all their answers.
    """

    CLIENTS, PAUSE_MSEC = 512, 400

    def test_links_on_the_path(self):
        evil = self.root / 'evil'
        make_chain(evil, LINKS_MAX - 1)
        make_maildir(evil / 'end', [1])
        (evil / 'x').touch()
        daemon = self.start()
        asked = [evil / f'{number}' for number in range(8)]
        with running(RENAME_IN_A_LOOP, evil / 'x', evil / 'y'):
            self.compare('links on the path', daemon,
                         self.asking(daemon, asked, self.CLIENTS, self.PAUSE_MSEC))
