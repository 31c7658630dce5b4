# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile clients of Exim's group, and limits that are reached, with the units as they are shipped.

What the service is not given, descriptors, threads, a journal, it does without: honest clients that
ask meanwhile are answered.
"""

import contextlib
import itertools
import os
import random
import signal
import socket
import statistics
import subprocess
from typing import Iterator

from harness.container import wait_until
from harness.project import SOURCES_INSIDE
from harness.scenario import Scenario, is_long
from harness.service import SERVICE, SOCKET, SOCKET_PATH, Service

HOSTILE_PROGRAM = '/var/tmp/hostile'
USER = 'Debian-exim'

COUNTED, SUMMED = 100, 100
MESSAGE_BYTES = 4321
CLIENTS = 8
ROUNDS, LONG_ROUNDS = 2, 9
QUESTIONS, LONG_QUESTIONS = 1000, 10000
BACKLOG = 4096  # of the unit, and of the kernel

# As in the behaviour tests.
ALLOWED_KIB = 3 * 1024


class Hostile(Scenario):
    """A container with mailboxes, half of which have to be counted, and the service's socket."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        counted = [f'/var/mail/vhosts/counted{number}' for number in range(COUNTED)]
        summed = [f'/var/mail/vhosts/summed{number}' for number in range(SUMMED)]
        cls.service.make_maildirs(counted + summed, MESSAGE_BYTES)
        for number, path in enumerate(summed):
            cls.container.put_file(f'{path}/maildirsize', f'0S\n{number} 1\n')
        cls.answers = {**{path: str(MESSAGE_BYTES) for path in counted},
                       **{path: str(number) for number, path in enumerate(summed)}}
        cls.container.run(['gcc', '-O2', '-D_GNU_SOURCE', '-o', HOSTILE_PROGRAM,
                           f'{SOURCES_INSIDE}/tests/hostile/hostile.c'])

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)
        self.service.start()

    def load(self) -> int:
        """Honest clients ask: all answers are right. Returns their p99 in microseconds."""
        questions = LONG_QUESTIONS if is_long() else QUESTIONS
        with self.service.load(self.answers, CLIENTS, count=questions) as load:
            return self.assert_flawless(load.wait())

    def assert_flawless(self, seen: dict[str, float]) -> int:
        """Fails unless all answers were right. Returns their p99 in microseconds."""
        self.assertGreater(seen['queries'], 0)
        self.assertEqual((seen['wrong'], seen['failed']), (0, 0))
        return int(seen['p99_usec'])

    @contextlib.contextmanager
    def attack(self, pattern: str, count: int) -> Iterator[None]:
        """Lets hostile clients of Exim's own user do what they do."""
        question = f'usage {next(iter(self.answers))}'
        with self.container.popen(
                [HOSTILE_PROGRAM, SOCKET_PATH, pattern, str(count), question], user=USER,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            self.assertEqual(process.stdout.readline(), 'ready\n')
            yield
            printed, _ = process.communicate()
            self.assertEqual(process.returncode, 0)
            print(f'{pattern}: {printed.strip()}')

    def resist(self, pattern: str, count: int) -> None:
        """Shows what honest clients get beside so many hostile ones, and what is left after it."""
        self.load()
        pid = self.service.main_pid()
        descriptors, kib = self.service.descriptors_at_rest(), self.service.memory_kib()
        alone, beside = [], []
        for _ in range(LONG_ROUNDS if is_long() else ROUNDS):
            alone.append(self.load())
            with self.attack(pattern, count):
                beside.append(self.load())
        wait_until(lambda: self.service.descriptors() == descriptors,
                   'as many descriptors as before')
        left = self.service.memory_kib()
        quiet = [statistics.median(alone), statistics.median(beside)]
        print(f'{pattern}, {count} connections at a time: 0 failures, p99 {quiet[0]:.0f} us alone, '
              f'{quiet[1]:.0f} us beside, {quiet[1] / quiet[0]:.1f} times as long; {kib} KiB '
              f'before, {left} KiB after; {descriptors} descriptors, and after')
        self.assertEqual(self.service.main_pid(), pid)
        self.assertLessEqual(left - kib, ALLOWED_KIB)

    def signal_unit(self, unit: str, number: int) -> None:
        """Sends a signal to the main process of a unit, by nobody's leave but the kernel's."""
        pid = int(self.container.unit(unit, 'MainPID')['MainPID'])
        os.kill(self.container.pid_outside(pid), number)

    def test_silent(self):
        self.resist('silent', 10000 if is_long() else 2000)

    def test_one_byte_a_second(self):
        self.resist('trickle', 10000 if is_long() else 2000)

    def test_garbage(self):
        # Each line of it is another, and has its entry in the journal.
        self.resist('garbage', 16)

    def test_journal_is_full(self):
        # Nobody reads journald's socket: it is full after a few entries.
        self.load()
        self.signal_unit('systemd-journald.service', signal.SIGSTOP)
        try:
            with self.attack('garbage', 4):
                beside = self.load()
            after = self.load()
        finally:
            self.signal_unit('systemd-journald.service', signal.SIGCONT)
        print(f'journald stopped: 0 failures, p99 {beside} us beside garbage, {after} us after it')
        # What it had no room for has waited, or else is told to be lost (test_journal.DeafJournal).
        strangers = itertools.count()
        wait_until(lambda: self.is_taken(f'/nowhere/{next(strangers)}'),
                   'entries reach the journal again')

    def is_taken(self, stranger: str) -> bool:
        """Asks for what is refused; says whether any such entry has reached the journal."""
        self.service.ask(stranger)
        return ' /nowhere/' in self.journal('-t', 'exim-quotad')

    def test_backlog_is_full(self):
        # The service does nothing while the queue of its socket fills to the brim.
        self.load()
        self.signal_unit(SERVICE, signal.SIGSTOP)
        try:
            with self.attack('silent', BACKLOG + 1):
                with self.assertRaises(BlockingIOError):
                    self.container.call(_connect_now)
                with self.service.load(self.answers, CLIENTS, count=QUESTIONS) as load:
                    self.signal_unit(SERVICE, signal.SIGCONT)
                    self.assert_flawless(load.wait())
        finally:
            self.signal_unit(SERVICE, signal.SIGCONT)
        self.assertEqual(self.container.unit(SOCKET, 'ActiveState', 'Result'),
                         {'ActiveState': 'active', 'Result': 'success'})

    def test_descriptors_run_out(self):
        self.service.change('[Service]\nLimitNOFILE=320\n')
        self.load()
        with self.attack('silent', 1000):
            self.load()
            held = self.service.descriptors()
        self.load()
        warning = self.journal('-t', 'exim-quotad', '-o', 'cat', '--grep', 'LimitNOFILE')
        print(f'LimitNOFILE=320: 0 failures, {held} descriptors held\n{warning}')
        self.assertIn('--max-connections=12000 needs', warning)

    def test_no_thread_can_be_made(self):
        # A user whom the kernel allows one process, one thread, that is. No mailbox is looked into,
        # since that might take time; the answer is that for errors, and never "full".
        number = random.SystemRandom().randrange(50000, 60000)  # nobody else's on this machine
        self.container.run(['systemd-sysusers', '-'], input=f'u single {number} - -\n')
        self.service.change('[Service]\nUser=single\nLimitNPROC=1\n')
        self.assert_answers_without_threads()
        self.service.change()
        self.load()

    def test_no_task_is_left(self):
        # As above, for the reason that the unit may give; and all is well as soon as it does not.
        self.service.change('[Service]\nTasksMax=1\n')
        self.assertEqual(self.service.ask('ping')[:9], 'status=ok')
        pid = self.service.main_pid()
        if self.container.unit(SERVICE, 'TasksCurrent')['TasksCurrent'] == '[not set]':
            self.skipTest('systemd may not limit the number of tasks here')
        self.assert_answers_without_threads()
        self.container.run(['systemctl', 'set-property', '--runtime', SERVICE, 'TasksMax=80'])
        self.load()
        self.assertEqual(self.service.main_pid(), pid)

    def assert_answers_without_threads(self) -> None:
        """Every question has an answer, beside silent clients, too, and none is wrong."""
        with self.attack('silent', 500):
            self.assertEqual(self.service.ask('ping')[:9], 'status=ok')
            for path in self.answers:
                self.assertIn(self.service.ask(path), ('0', self.answers[path]))
            reply = self.service.ask('usage /var/mail/vhosts/counted2')
            print(reply)
            self.assertRegex(reply, '^status=error reason=overloaded ')


def _connect_now() -> None:
    """Connects, and does not wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        client.connect(SOCKET_PATH)
