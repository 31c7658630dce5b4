# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that may ask and mean harm: honest ones get their answers, and nothing is left behind."""

import contextlib
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Iterator

from daemon import (Daemon, DaemonTestCase, is_long, is_sanitized, open_files_but_roots, passing,
                    wait_for)
from mailboxes import make_maildir, make_questions
from policy import DUNNO, OVER, Policy

MAILBOXES = 200
CLIENTS = 8
ROUNDS, LONG_ROUNDS = 2, 9
QUESTIONS, LONG_QUESTIONS = 1000, 10000

# What the unit allows.
LIMIT_NOFILE = 16384

# How much more may be resident after an attack than before the first: what the allocator keeps of
# the largest number of connections, and the journal's memory of what it has told.
ALLOWED_KIB = 3 * 1024

# A process that has nothing to do: it wakes for its STATUS= line, and to look at the watchdog.
IDLE_SECONDS = 1
IDLE_WAKEUPS_MAX = 50
IDLE_CPU_SECONDS_MAX = 0.5


class Held:
    """What a process holds at one time."""

    def __init__(self, pid: int):
        self.descriptors = len(open_files_but_roots(pid))
        self.kib = int(status_of(pid, 'VmRSS').split()[0])


def held_at_rest(pid: int) -> Held:
    """Returns what a process holds when nothing changes any more: clients have just left it."""
    held = [Held(pid)]
    while len(held) < 4 or len({each.descriptors for each in held[-4:]}) > 1:
        time.sleep(0.1)
        held.append(Held(pid))
    return held[-1]


def status_of(pid: int, name: str) -> str:
    """Returns what /proc says of a process."""
    text = Path(f'/proc/{pid}/status').read_text('ascii', 'replace')
    return text.partition(f'\n{name}:')[2].partition('\n')[0].strip()


def wakeups(pid: int) -> int:
    """Returns how often a process has waited for something so far."""
    return int(status_of(pid, 'voluntary_ctxt_switches'))


def cpu_seconds(pid: int) -> float:
    """Returns how much time all threads of a process took so far."""
    fields = Path(f'/proc/{pid}/stat').read_text('ascii', 'replace').rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class HostileTestCase(DaemonTestCase):
    """Honest clients beside others, by turns with and without them."""

    def setUp(self) -> None:
        super().setUp()
        self.questions = self.folder / 'questions'
        make_questions(self.questions, self.root, MAILBOXES // 2)

    crowded = False  # there are fewer places than clients
    failures = 0  # honest questions without an answer

    def start_as_unit(self, *options: str) -> Daemon:
        """Starts a daemon that may open as many files as the unit lets it."""
        return self.start(*options, wrapper=('/usr/bin/prlimit',
                                             f'--nofile={LIMIT_NOFILE}:{LIMIT_NOFILE}'))

    def victim(self, daemon: Daemon) -> tuple[str, str]:
        """Returns which socket hostile clients connect to, and what makes sense there."""
        return daemon.address, f'usage {self.root}/counted-1'

    def load(self, daemon: Daemon) -> int:
        """Honest clients ask: all answers are right. Returns their p99 in microseconds.

        Where there are fewer places than clients, one that has connected may have to make room
        before it has asked: those are counted, and no answer is wrong.
        """
        load = subprocess.run(
            [os.environ['LOAD'], daemon.address, self.questions, str(CLIENTS),
             str(LONG_QUESTIONS if is_long() else QUESTIONS)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        numbers = dict(pair.split('=') for pair in load.stdout.split())
        self.failures += int(numbers['failed'])
        self.assertEqual(numbers['wrong'], '0', load.stderr)
        if not self.crowded:
            self.assertEqual((load.returncode, load.stderr), (0, ''), load.stdout)
        return int(float(numbers['p99_usec']))

    @contextlib.contextmanager
    def attack(self, daemon: Daemon, pattern: str, count: int) -> Iterator[dict]:
        """Lets hostile clients do what they do; afterwards their numbers are in what is yielded."""
        seen: dict[str, int] = {}
        address, question = self.victim(daemon)
        with subprocess.Popen([os.environ['HOSTILE'], address, pattern, str(count), question],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:
            self.assertEqual(process.stdout.readline(), 'ready\n')
            yield seen
            printed, _ = process.communicate()
            self.assertEqual(process.returncode, 0)
        seen.update((name, int(value)) for name, value in
                    (pair.split('=') for pair in printed.split()))

    def resist(self, pattern: str, count: int, *options: str) -> dict[str, int]:
        """Shows what honest clients get beside so many hostile ones, and what is left after it."""
        daemon = self.start_as_unit(*options)
        self.load(daemon)
        before = held_at_rest(daemon.pid)
        alone, beside, seen = [], [], {}
        for _ in range(LONG_ROUNDS if is_long() else 1 if is_sanitized() else ROUNDS):
            alone.append(self.load(daemon))
            with self.attack(daemon, pattern, count) as seen:
                beside.append(self.load(daemon))
        wait_for(lambda: Held(daemon.pid).descriptors == before.descriptors,
                 'as many descriptors as before')
        after = Held(daemon.pid)
        quiet = [statistics.median(alone), statistics.median(beside)]
        print(f'{pattern}, {count} connections at a time, {seen["opened"]} in the last round: '
              f'{self.failures} failures, p99 {quiet[0]:.0f} us alone, {quiet[1]:.0f} us beside, '
              f'{quiet[1] / quiet[0]:.1f} times as long; {before.kib} KiB before, {after.kib} KiB '
              f'after; {before.descriptors} descriptors, and after')
        if not is_sanitized():
            self.assertLessEqual(after.kib - before.kib, ALLOWED_KIB)
        self.assert_idle(daemon)
        return seen

    def assert_idle(self, daemon: Daemon) -> None:
        """Nobody asks: it hardly wakes, and takes no time."""
        woken, took = wakeups(daemon.pid), cpu_seconds(daemon.pid)
        time.sleep(IDLE_SECONDS)
        woken, took = wakeups(daemon.pid) - woken, cpu_seconds(daemon.pid) - took
        print(f'{IDLE_SECONDS} s later: {woken} wake-ups, {took:.2f} s of CPU time')
        self.assertLessEqual(woken, IDLE_WAKEUPS_MAX)
        self.assertLessEqual(took, IDLE_CPU_SECONDS_MAX)

    def many(self) -> int:
        """Returns how many connections there are where they do little but exist."""
        return 10000 if is_long() else 1000

    def few(self) -> int:
        """Returns how many there are where each does what it can."""
        return 16


class HostileTest(HostileTestCase):
    """Hostile clients that pretend to be Exim."""

    def test_silent(self):
        self.resist('silent', self.many())

    def test_silent_and_always_back(self):
        self.resist('restless', self.few())

    def test_silent_by_the_thousand_and_always_back(self):
        self.resist('restless', self.many())

    def test_more_than_there_is_room_for(self):
        # Each that has to make room is back at once, and all wait in one queue.
        self.crowded = True
        self.resist('restless', 128, '--max-connections=64')

    def test_one_byte_a_second(self):
        self.resist('trickle', self.many())

    def test_request_without_an_end(self):
        self.resist('endless', self.many())

    def test_garbage(self):
        self.resist('garbage', self.few())

    def test_100_megabytes(self):
        self.resist('huge', self.few())

    def test_answer_that_is_never_read(self):
        self.resist('deaf', self.many())

    def test_gone_at_every_stage(self):
        self.resist('leaver', self.few())


class HostilePolicyTest(HostileTestCase):
    """Hostile clients that pretend to be Postfix, beside an honest one and clients of Exim."""

    REQUESTS, LONG_REQUESTS = 300, 10_000

    def setUp(self) -> None:
        super().setUp()
        make_maildir(self.root / 'example.org/joe', [10])
        make_maildir(self.root / 'example.org/full', [2000])
        self.listeners = [self.listen(self.folder / name, backlog=4096)
                          for name in ('line', 'policy')]

    def start_as_unit(self, *options: str) -> Daemon:
        how = passing(self.listeners, ['query', 'policy'])
        limit = ('/usr/bin/prlimit', f'--nofile={LIMIT_NOFILE}:{LIMIT_NOFILE}')
        return self._start((f'--mailbox={self.root}/%d/%n', '--default-quota=1000', *options),
                           self.listeners[0].getsockname(), None,
                           **{**how, 'wrapper': (*limit, *how['wrapper'])})

    def victim(self, daemon: Daemon) -> tuple[str, str]:
        return self.listeners[1].getsockname(), (
            'request=smtpd_access_policy\nrecipient=joe@example.org\n')

    def load(self, daemon: Daemon) -> int:
        client = Policy(self.connect(self.listeners[1].getsockname()))
        for _ in range((self.LONG_REQUESTS if is_long() else self.REQUESTS) // 2):
            self.assertEqual(client.ask('joe@example.org'), DUNNO)
            self.assertEqual(client.ask('full@example.org'), OVER)
        client.connection.close()
        return super().load(daemon)

    def test_silent(self):
        self.resist('silent', self.many())

    def test_one_byte_a_second(self):
        self.resist('trickle', self.many())

    def test_request_without_an_end(self):
        self.resist('endless', self.many())

    def test_garbage(self):
        self.resist('garbage', self.few(), '--timeout=1000')

    def test_100_megabytes(self):
        self.resist('huge', self.few())

    def test_replies_that_are_never_read(self):
        self.resist('flood', self.few(), '--timeout=1000')

    def test_gone_at_every_stage(self):
        self.resist('leaver', self.few())
