# SPDX-License-Identifier: GPL-2.0-or-later
"""What every measurement has at hand: how much is to be measured, the programs, a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Protocol, Sequence, TypeVar

import mail
import server
from figures import Sample
from load import Load, questions_file

Measured = TypeVar('Measured')

# What a server is asked before each time that it is measured.
WARM_QUESTIONS = 500


class Running(Protocol):
    """Something that answers: its process as it is numbered here, and where it listens."""

    pid: int
    address: Path


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    seconds: float  # of load on one server at a time
    spread: Sequence[int]  # numbers of mailboxes
    cached: int  # mailboxes that need counting
    folders: Sequence[str]  # in each of them
    watched: int  # mailboxes of each kind
    million: int  # messages in the mailbox that gets more
    strace_questions: int
    scan_options: Sequence[str]
    starts: int  # of a service that is not running


FULL = Plan(rounds=7, seconds=1.0, spread=(1, 5000, 100000), cached=10000,
            folders=mail.FOLDERS, watched=1000, million=1000000, strace_questions=5000,
            scan_options=('--rounds=3', '--million'), starts=30)
QUICK = Plan(rounds=3, seconds=0.2, spread=(1, 1000, 10000), cached=2000, folders=(),
             watched=100, million=20000, strace_questions=1000,
             scan_options=('--rounds=1', '--messages=20000'), starts=5)


@dataclass(frozen=True)
class Bench:
    """One run."""

    plan: Plan
    programs: Path  # the folder of the build
    daemon: Path    # the exim-quotad that is measured
    folder: Path    # where everything is made that is gone afterwards
    cores: int

    @property
    def root(self) -> Path:
        """Where the mailboxes are."""
        return self.folder / 'mail'

    @property
    def limits(self) -> Path:
        """The file of limits."""
        return self.folder / 'limits'

    def make_plain(self, count: int) -> list[mail.Mailbox]:
        """Makes so many mailboxes that need no counting, and the file of limits for them."""
        mailboxes = mail.group(self.root, mail.PLAIN, count)
        mail.make_summed(mailboxes)
        mail.write_limits(self.limits, mailboxes)
        return mailboxes

    def load(self, name: str, answers: Sequence[tuple[str, str]], *options: str) -> Load:
        """Returns a load of these questions, which are kept under the name, with options of it."""
        file = self.folder / f'{name}.questions'
        file.write_text(questions_file(answers), 'utf-8')
        return Load([str(self.programs / 'tests/bench/load'), *options], file, len(answers))

    def sample(self, running: Running, load: Load, clients: int) -> Sample:
        """Returns what a stretch of load on the server shows, once it has got used to it."""
        load.ask(running.address, clients, WARM_QUESTIONS)
        return load.sample(running.pid, running.address, clients, self.plan.seconds)

    def start_bare(self, threads: int) -> server.Server:
        """Starts the bare server."""
        return server.start_bare(self.programs / 'tests/bench/bare', self.folder, threads)

    def start_quotad(self, name: str = 'quotad') -> server.Server:
        """Starts exim-quotad as README.md sets it up; two at a time need names."""
        return server.start_quotad(
            self.daemon, self.folder, self.root,
            (f'--mailbox={self.root}/{mail.TEMPLATE}', f'--limits={self.limits}'), name)


def in_turn(rounds: int, contestants: dict[str, Callable[[], Measured]]
            ) -> dict[str, list[Measured]]:
    """Measures all contestants in each round, and returns what each showed, round by round.

    Each round begins with another of them.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(contestants[name]())
    return measured
