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


def parse(printed: str) -> dict[str, float]:
    """Returns the numbers in the line that the load has printed, by name."""
    return {name: float(value)
            for name, value in (word.split('=') for word in printed.split())}


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

    def _finish(self, load: subprocess.Popen, end_of_input: Optional[str]) -> dict[str, float]:
        try:
            printed, shown = load.communicate(end_of_input, PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            load.kill()
            raise CannotMeasure(f'the load does not end: {self._questions.name}') from None
        if load.returncode != 0:
            raise CannotMeasure(f'not every answer was right: {printed.strip()}\n{shown.strip()}')
        numbers = parse(printed)
        if numbers['queries'] == 0:
            raise CannotMeasure(f'no question was answered: {self._questions.name}')
        return numbers
