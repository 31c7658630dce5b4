# SPDX-License-Identifier: GPL-2.0-or-later
"""Honest clients, alone and beside somebody who does harm: what they are answered, and how soon.

They are those of tests/bench/load.c, which the variable LOAD names: each question has a connection
of its own, and ten seconds for its answer.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, ContextManager, Iterable, Iterator, NamedTuple

from daemon import Daemon, DaemonTestCase, is_long, needs_root
from mailboxes import make_maildir, make_questions, write_maildirsize

MAILBOXES = 100  # half of them need counting
CLIENTS = 8
SECONDS, LONG_SECONDS = 0.8, 20  # that they ask for
ALONE_SECONDS = 0.1  # before, in the short form: it is their figures that are of interest
WARM_UP_SECONDS = 0.2
PAUSE_MSEC = 4  # of each client between its questions: nobody waits for the processor alone

# Those who remove all their mail while others do harm.
LEAVERS = 5


class Figures(NamedTuple):
    """What came of the questions of a load."""

    answered: int  # right
    wrong: int
    failed: int
    p50_usec: float
    p99_usec: float
    shown: str  # the first mistakes

    @classmethod
    def parse(cls, printed: str, shown: str) -> 'Figures':
        """Takes in what the load generator has printed."""
        numbers = dict(pair.split('=') for pair in printed.split())
        return cls(int(numbers['queries']), int(numbers['wrong']), int(numbers['failed']),
                   float(numbers['p50_usec']), float(numbers['p99_usec']), shown)


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, daemon: Daemon, questions: Path, clients: int, pause_msec: int = 0):
        self._process = subprocess.Popen(
            [os.environ['LOAD'], daemon.address, questions, str(clients), '0', str(pause_msec)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self) -> Figures:
        """Lets them ask no more, and returns what came of it when the last one has its answer."""
        return Figures.parse(*self._process.communicate())

    def kill(self) -> None:
        """Ends them, whatever they wait for."""
        self._process.kill()
        self._process.communicate()


def held_kib(daemon: Daemon, name: str = 'VmRSS') -> int:
    """Returns how much memory a daemon holds, or by the name VmHWM, has held."""
    text = Path(f'/proc/{daemon.pid}/status').read_text('ascii', 'replace')
    return int(text.partition(f'\n{name}:')[2].split()[0])


@contextlib.contextmanager
def running(program: str, *arguments) -> Iterator[None]:
    """Runs a program in Python that says when it is at work and does not end, and ends it.

    It dies with us, however sudden that is.
    """
    with subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', sys.executable, '-c', program,
                           *map(str, arguments)], stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout.readline() != 'ready\n':
                raise AssertionError('it does not start')
            yield
        finally:
            process.kill()


@needs_root
class BesideTestCase(DaemonTestCase):
    """A test with honest mailboxes, to which others can be compared."""

    in_memory = False  # more is made than what takes long on a disk

    def setUp(self) -> None:
        super().setUp()
        if self.in_memory and not is_long():
            self.mount('-t', 'tmpfs', 'tmpfs', self.root)
        self.questions = self.folder / 'questions'
        make_questions(self.questions, self.root / 'honest', MAILBOXES // 2)
        self.leavers = [self.make_leaver(number) for number in range(LEAVERS)]

    def make_leaver(self, number: int) -> Path:
        """Makes a mailbox of 120 of 100 bytes, as its maildirsize says too."""
        mailbox = make_maildir(self.root / f'leaver-{number}', [60, 60])
        write_maildirsize(mailbox, '100S', '60 1', '60 1')
        return mailbox

    def mount(self, *arguments) -> None:
        """Mounts something at the place that comes last, until the test is over."""
        subprocess.run(['mount', *arguments], check=True)
        self.addCleanup(subprocess.run, ['umount', arguments[-1]], check=True)

    def ask_honestly(self, daemon: Daemon, seconds: float,
                     meanwhile: Callable[[], list] = list) -> tuple:
        """Lets the honest ones ask for so long, and as long as something else takes.

        Returns what came of it, and what that has returned.
        """
        load = Load(daemon, self.questions, CLIENTS, PAUSE_MSEC)
        try:
            deadline = time.monotonic() + seconds
            returned = meanwhile()
            time.sleep(max(0, deadline - time.monotonic()))
        finally:
            figures = load.end()
        return figures, returned

    @contextlib.contextmanager
    def asking(self, daemon: Daemon, requests: Iterable, clients: int,
               pause_msec: int = 0) -> Iterator[None]:
        """Lets as many clients ask again and again; what they are answered is all the same."""
        file = self.folder / 'requests'
        file.write_bytes(b''.join(b'%s\t-\n' % os.fsencode(request) for request in requests))
        load = Load(daemon, file, clients, pause_msec)
        try:
            yield
        finally:
            load.kill()

    def compare(self, what: str, daemon: Daemon, harm: ContextManager,
                meanwhile: Callable[[], list] = list) -> None:
        """Shows what the honest ones get while somebody does harm, and that it is all of it.

        Meanwhile those make room who leave, and what else is to be done is done: it returns what it
        complains of.
        """
        seconds = LONG_SECONDS if is_long() else SECONDS
        self.ask_honestly(daemon, WARM_UP_SECONDS)
        alone, _ = self.ask_honestly(daemon, seconds if is_long() else ALONE_SECONDS)
        before_kib = held_kib(daemon)
        with harm:
            beside, complaints = self.ask_honestly(
                daemon, seconds, lambda: meanwhile() + self.leave(daemon))
            after_kib = held_kib(daemon)
        print(f'{what}: {beside.failed} failures, {beside.wrong} wrong answers of '
              f'{sum(beside[:3])}; p50 {alone.p50_usec:.0f} us alone, {beside.p50_usec:.0f} us '
              f'beside; p99 {alone.p99_usec:.0f} us alone, {beside.p99_usec:.0f} us beside, '
              f'{beside.p99_usec / max(alone.p99_usec, 1):.1f} times as long; '
              f'{before_kib} KiB before, {after_kib} KiB after')
        self.assertEqual((alone.failed, alone.wrong), (0, 0), alone.shown)
        self.assertEqual(complaints, [])
        self.assertEqual((beside.failed, beside.wrong), (0, 0), beside.shown)

    def leave(self, daemon: Daemon) -> list[str]:
        """Removes all mail of one after the other: there is room for more, and the reply says so.

        Returns the replies that do not.
        """
        complaints, began = [], time.monotonic()
        for mailbox in self.leavers:
            for message in (mailbox / 'cur').iterdir():
                message.unlink()
            try:
                reply = daemon.ask(f'check size=10 quota=100 {mailbox}')
            except TimeoutError:
                complaints.append('no reply')
                break
            if not reply.startswith(b'status=ok bytes=0 '):
                complaints.append(os.fsdecode(reply))
        print(f'{len(complaints)} of {len(self.leavers)} who made room are not told so, within '
              f'{time.monotonic() - began:.3f} s')
        return complaints
