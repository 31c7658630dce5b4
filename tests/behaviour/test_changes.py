# SPDX-License-Identifier: GPL-2.0-or-later
"""A mailbox that changes while it is asked about: never is more answered than was there."""

import ctypes
import multiprocessing
import os
import random
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Sequence

from beside import running
from daemon import Daemon, DaemonTestCase, needs_root, wait_for
from mailboxes import make_maildir

WRITERS = 8
READERS = 8
TICKS = 100  # pairs of changes within a tick
QUESTIONS = 300  # of each reader
MESSAGES = 150  # that each writer begins with
MESSAGE_BYTES = 7
FOLDERS = ('.', '.a', '.b')

PROCESSES = multiprocessing.get_context('fork')


class Events(NamedTuple):
    """How often something was done to messages, counted before and after it is done."""

    delivering: int
    delivered: int
    moving: int
    moved: int
    deleting: int
    deleted: int


class Ledger:
    """What the writers did, for all processes to see."""

    def __init__(self):
        self._counts = PROCESSES.RawArray(ctypes.c_int64, WRITERS * len(Events._fields))

    def add(self, writer: int, event: str) -> None:
        """Counts an event of a writer."""
        self._counts[writer * len(Events._fields) + Events._fields.index(event)] += 1

    def sums(self) -> Events:
        """Returns how often all writers together have done what."""
        return Events(*(sum(self._counts[event::len(Events._fields)])
                        for event in range(len(Events._fields))))


class Questions:
    """What had been done when the questions began that wait for their answer.

    Who asks while another waits may be told what that one's count finds, which began earlier.
    """

    def __init__(self):
        size = 1 + len(Events._fields)
        self._slots = [PROCESSES.RawArray(ctypes.c_int64, size) for _ in range(READERS)]

    def begin(self, reader: int, now: Events) -> Events:
        """Says that a reader asks now. Returns what had been done before the earliest question."""
        self._slots[reader][1:] = now
        self._slots[reader][0] = 1
        waiting = [slot[1:] for slot in self._slots if slot[0]]
        return Events(*map(min, zip(*waiting)))

    def end(self, reader: int) -> None:
        """Says that the reader was answered."""
        self._slots[reader][0] = 0


class Answer(NamedTuple):
    """What was answered, and between which numbers of messages that should be."""

    messages: int
    least: int  # those that were there all the time, and did not move
    most: int  # those that were there at any time

    @classmethod
    def of(cls, messages: int, before: Events, after: Events) -> 'Answer':
        """Returns what was answered between the two."""
        return cls(messages,
                   before.delivered - after.deleting - (after.moving - before.moved),
                   after.delivering - before.deleted)


class Writer:
    """Delivers, moves and deletes messages, at random."""

    def __init__(self, number: int, mailbox: Path, ledger: Ledger, seed: int):
        self.number = number
        self.mailbox = mailbox
        self.ledger = ledger
        self.chance = random.Random(seed + number)
        self.new: list[Path] = []
        self.seen: list[Path] = []
        self.sequence = 0

    def deliver(self) -> None:
        """Puts a message into `new`, as a delivery agent does."""
        self.sequence += 1
        tag = self.chance.choice(['', f',S={MESSAGE_BYTES}'])
        folder = self.mailbox / self.chance.choice(FOLDERS)
        file = folder / 'tmp' / f'{self.sequence}.W{self.number}{tag}'
        file.write_bytes(bytes(100 if tag else MESSAGE_BYTES))
        self.ledger.add(self.number, 'delivering')
        self.new.append(file.rename(folder / 'new' / file.name))
        self.ledger.add(self.number, 'delivered')

    def move(self) -> None:
        """Moves a message to `cur`, as a mail reader does."""
        file = self.take(self.new)
        self.ledger.add(self.number, 'moving')
        self.seen.append(file.rename(file.parent.parent / 'cur' / f'{file.name}:2,S'))
        self.ledger.add(self.number, 'moved')

    def delete(self) -> None:
        """Deletes a message."""
        file = self.take(self.seen if self.seen else self.new)
        self.ledger.add(self.number, 'deleting')
        file.unlink()
        self.ledger.add(self.number, 'deleted')

    def take(self, files: list[Path]) -> Path:
        """Takes one out of the list."""
        return files.pop(self.chance.randrange(len(files)))

    def run(self, quiet) -> None:
        """Works until it is quiet, with as many messages as at the beginning, about."""
        while not quiet.value:
            living = len(self.new) + len(self.seen)
            doing = self.chance.random() * (1.5 if living > MESSAGES else 1)
            if doing < 0.4 or not living:
                self.deliver()
            elif doing < 0.7 and self.new:
                self.move()
            else:
                self.delete()
            time.sleep(0.002)


def read(number: int, daemon: Daemon, mailbox: Path, ledger: Ledger, questions: Questions,
         answers: Sequence[int]) -> None:
    """Asks, and writes down what was answered, and between which numbers that should be."""
    for index in range(QUESTIONS):
        before = questions.begin(number, ledger.sums())
        reply = daemon.usage(mailbox)
        after = ledger.sums()
        questions.end(number)
        if int(reply['bytes']) != MESSAGE_BYTES * int(reply['messages']):
            raise AssertionError(f'messages that are not as large as all are: {reply}')
        at = len(Answer._fields) * (number * QUESTIONS + index)
        answers[at:at + len(Answer._fields)] = Answer.of(int(reply['messages']), before, after)


def count(mailbox: Path) -> int:
    """Returns how many messages there are, counted in another way."""
    return sum(len(os.listdir(mailbox / folder / leaf)) for folder in FOLDERS
               for leaf in ('new', 'cur'))


@needs_root
class ChangesTest(DaemonTestCase):
    """A root whose stamps are as coarse as a tick of the clock.

    Newer kernels give the usual file systems finer ones.
    """

    def setUp(self) -> None:
        super().setUp()
        subprocess.run(['mount', '-t', 'ramfs', 'ramfs', self.root], check=True)
        self.addCleanup(subprocess.run, ['umount', self.root], check=True)

    def test_changes_within_a_tick_of_the_clock(self):
        mailbox = make_maildir(self.root / 'joe')
        daemon = self.start()
        changes = within = last = 0
        while within < TICKS:
            self.assertLess(changes, 1000 * TICKS, 'no two changes within a tick')
            (mailbox / 'new' / f'{changes},S=1').touch()
            changes += 1
            stamp = (mailbox / 'new').stat().st_mtime_ns
            within += stamp == last
            last = stamp
            self.assertEqual(daemon.number(mailbox), changes)
        print(f'{changes} changes, {within} of them within the same tick of the clock as another')

    def test_writers_and_readers(self):
        mailbox, ledger = self.root / 'joe', Ledger()
        for folder in FOLDERS:
            make_maildir(mailbox / folder)
        seed = random.randrange(1 << 32)
        writers = [Writer(number, mailbox, ledger, seed) for number in range(WRITERS)]
        for writer in writers:
            for _ in range(MESSAGES):
                writer.deliver()
        daemon = self.start('--scan-timeout=60000')
        answers = self.run_all(writers, daemon, mailbox, ledger)

        done = ledger.sums()
        print(f'seed {seed}: {done.delivered} messages delivered, {done.moved} moved, '
              f'{done.deleted} deleted by {WRITERS} processes; {len(answers)} answers to {READERS}'
              f', with {statistics.median(a.most - a.least for a in answers):.0f} messages between '
              f'least and most (median), {sum(a.messages < a.least for a in answers)} of them '
              f'below, {sum(a.messages > a.most for a in answers)} above; {daemon.stats()}')
        for answer in answers:
            self.assertLessEqual(answer.messages, answer.most, answer)
            self.assertGreaterEqual(answer.messages, answer.least, answer)
        self.assertEqual(count(mailbox), done.delivered - done.deleted)
        self.assertEqual(int(daemon.usage(mailbox)['messages']), count(mailbox))
        wait_for(lambda: daemon.usage(mailbox)['source'] == 'cache', 'it is remembered')
        self.assertEqual(int(daemon.usage(mailbox)['messages']), count(mailbox))
        self.assertEqual(daemon.warnings(), [])

    def run_all(self, writers: list[Writer], daemon: Daemon, mailbox: Path, ledger: Ledger
                ) -> list[Answer]:
        """Runs writers and readers beside each other; returns what was answered."""
        questions = Questions()
        quiet = PROCESSES.RawValue(ctypes.c_bool, False)
        size = len(Answer._fields)
        numbers = PROCESSES.RawArray(ctypes.c_int64, size * READERS * QUESTIONS)
        writing = [PROCESSES.Process(target=writer.run, args=(quiet,)) for writer in writers]
        reading = [PROCESSES.Process(target=read, args=(number, daemon, mailbox, ledger, questions,
                                                        numbers)) for number in range(READERS)]
        for process in writing + reading:
            process.start()
            self.addCleanup(process.kill)
        for process in reading:
            process.join()
        quiet.value = True
        for process in writing:
            process.join()
        self.assertEqual({process.exitcode for process in reading + writing}, {0})
        return [Answer(*numbers[at:at + size]) for at in range(0, len(numbers), size)]


# Gives each message another flag, one after the other, in an order by chance.
CHANGE_FLAGS = '''
import os, random, sys
folder, names = sys.argv[1], os.listdir(sys.argv[1])
print('ready', flush=True)
while True:
    random.shuffle(names)
    for i, old in enumerate(names):
        names[i] = old[:-1] if old.endswith('S') else old + 'S'
        os.rename(f'{folder}/{old}', f'{folder}/{names[i]}')
'''


class FlagsTest(DaemonTestCase):
    """Messages get other names all the time, and no other message comes."""

    MESSAGES = 10000  # of so many, a disk lists some by both names
    SECONDS = 3

    def test_none_is_counted_twice(self):
        mailbox = make_maildir(self.root / 'joe')
        for number in range(self.MESSAGES):
            (mailbox / 'cur' / f'{number}.host,S=100:2,').touch()
        limit = 100 * self.MESSAGES
        daemon = self.start('--scan-timeout=60000')
        with running(CHANGE_FLAGS, mailbox / 'cur'):
            deadline, replies = time.monotonic() + self.SECONDS, []
            while time.monotonic() < deadline:
                replies.append(daemon.pairs(f'check quota={limit} {mailbox}'))
        counted = [int(reply['bytes']) for reply in replies]
        print(f'{len(replies)} answers, {min(counted)} to {max(counted)} of {limit} bytes')
        self.assertEqual([reply['bytes'] for reply in replies if reply['status'] == 'over'], [])
        self.assertLessEqual(max(counted), limit)
