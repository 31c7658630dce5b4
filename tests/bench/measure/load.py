# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading a server: tests/bench/load asks and checks every answer, this measures what it costs."""

import subprocess
import time
from pathlib import Path
from typing import Callable, Iterable, Optional, Sequence

import process
from figures import CannotMeasure, Sample

# How long a load may take beyond what it is given.
PATIENCE_SECONDS = 120

# If the service answers no more from memory after so long than before, it never will: what has just
# changed is not watched yet, but tried again after two seconds.
STAGNATION_SECONDS = 5


def parse(printed: str) -> dict[str, float]:
    """Returns the numbers in the line that the load has printed, by name."""
    return {name: float(value)
            for name, value in (word.split('=') for word in printed.split())}


def watch_hits(stats: str) -> Optional[int]:
    """Returns how many queries were answered from memory; None if nothing is watched."""
    pairs = dict(pair.split('=', 1) for pair in stats.split(' ') if '=' in pair)
    return int(pairs['watch_hits']) if 'watch_hits' in pairs else None


def questions_file(answers: Iterable[tuple[str, str]]) -> str:
    """Returns what is in a file of these questions with their answers."""
    return ''.join(f'{question}\t{answer}\n' for question, answer in answers)


class Load:
    """A way to load: the program, and questions with their answers, kept in a file.

    The command is the program with its options, popen what starts it: subprocess.Popen, or what
    works like it.
    """

    def __init__(self, command: Sequence[str], file: Path, count: int,
                 popen: Callable[..., subprocess.Popen] = subprocess.Popen):
        self._command = command
        self._questions = file
        self._count = count
        self._popen = popen

    def ask(self, address: Path, clients: int, count: int) -> dict[str, float]:
        """Asks so many questions, and returns what the load says of it."""
        with self._start(address, clients, count) as load:
            return self._finish(load, None)

    def ask_all(self, address: Path, clients: int) -> dict[str, float]:
        """Asks each question once."""
        return self.ask(address, clients, self._count)

    def warm_up(self, address: Path, clients: int, stats: Callable[[], str]) -> float:
        """Asks each question until the service answers as many from memory as it ever will.

        Meanwhile answers need not be right: the first may come from elsewhere than later ones.
        Stats asks the service for them. Returns the part that is answered from memory; 0 for a
        server that has no watches.
        """
        best, until = 0.0, time.monotonic() + STAGNATION_SECONDS
        while True:
            before = watch_hits(stats())
            with self._start(address, clients, self._count) as load:
                self._finish(load, None, strict=False)
            after = watch_hits(stats())
            if before is None or after is None:
                return 0.0
            share = (after - before) / self._count
            if share > best + 0.002:
                best, until = share, time.monotonic() + STAGNATION_SECONDS
            if best > 0.998 or time.monotonic() > until:
                return best

    def sample(self, pid: int, address: Path, clients: int, seconds: float) -> Sample:
        """Lets clients ask for so long, and returns what that showed of the server, process pid."""
        before = process.used(pid)
        with self._start(address, clients, 0) as load:
            time.sleep(seconds)
            numbers = self._finish(load, '')
        used = process.used(pid).since(before)
        queries = numbers['queries']
        return Sample(numbers['rate'], numbers['p50_usec'], numbers['p99_usec'],
                      numbers['p999_usec'], numbers['max_usec'], used.processor_usec / queries,
                      used.switches / queries)

    def _start(self, address: Path, clients: int, count: int) -> subprocess.Popen:
        command = [*self._command, str(address), str(self._questions), str(clients), str(count)]
        return self._popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, errors='replace')

    def _finish(self, load: subprocess.Popen, end_of_input: Optional[str],
                strict: bool = True) -> dict[str, float]:
        try:
            printed, shown = load.communicate(end_of_input, PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            load.kill()
            raise CannotMeasure(f'the load does not end: {self._questions.name}') from None
        if load.returncode != 0 and (strict or parse(printed)['failed'] > 0):
            raise CannotMeasure(f'not every answer was right: {printed.strip()}\n{shown.strip()}')
        numbers = parse(printed)
        if strict and numbers['queries'] == 0:
            raise CannotMeasure(f'no question was answered: {self._questions.name}')
        return numbers
