# SPDX-License-Identifier: GPL-2.0-or-later
"""What the whole test command prints, and the count of what passed, failed and was skipped."""

import contextlib
import sys
import textwrap
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, TextIO

PASSED = 'passed'
FAILED = 'failed'
SKIPPED = 'skipped'

# How much of a failure is printed once more at the end: the last lines say why.
SHOWN_AGAIN_LINES = 60


class Failure(Exception):
    """A check that failed; its text, which may have many lines, says why."""


class Skip(Exception):
    """A check that cannot be made here; its text says why."""


@dataclass
class Result:
    """One test: its name, PASSED, FAILED or SKIPPED, and what there is to read about it."""

    name: str
    status: str
    seconds: Optional[float] = None  # None if nobody knows
    output: str = ''  # what it printed
    why: str = ''     # why it failed or was skipped


class Report:
    """Prints each result as it comes, from any thread, never one amid another."""

    def __init__(self, stream: TextIO = sys.stdout):
        self._stream = stream
        self._lock = threading.Lock()
        self._counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self._failed: list[tuple[str, str]] = []  # names, and what was printed of them
        self._start = time.monotonic()

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Prints at the end of a step how long it took.

        An exception that leaves the step counts as a failure and goes no further: the steps after
        it still run.
        """
        start = time.monotonic()
        try:
            yield
        except Exception:
            self.add(Result(title, FAILED, time.monotonic() - start, why=traceback.format_exc()))
        self._print(f'--- {title}: {time.monotonic() - start:.1f} s')

    def check(self, name: str, function: Callable, *arguments: Any) -> bool:
        """Calls the function as a test of that name and says whether it passed.

        What the function returns, if it is text, is shown. Any exception but Skip is a failure.
        """
        start = time.monotonic()
        output, why, status = '', '', PASSED
        try:
            returned = function(*arguments)
            output = returned if isinstance(returned, str) else ''
        except Skip as skip:
            status, why = SKIPPED, str(skip)
        except Failure as failure:
            status, why = FAILED, str(failure)
        except Exception:
            status, why = FAILED, traceback.format_exc()
        self.add(Result(name, status, time.monotonic() - start, output, why))
        return status == PASSED

    def add(self, result: Result) -> None:
        """Counts and prints one result."""
        seconds = f'{result.seconds:7.2f} s' if result.seconds is not None else ''
        lines = [f'{result.status:8}{seconds:9}  {result.name}']
        for text in (result.output, result.why):
            if text.strip():
                lines.append(textwrap.indent(text.rstrip('\n'), ' ' * 8 + '| ', lambda _: True))
        text = '\n'.join(lines)
        with self._lock:
            self._counts[result.status] += 1
            if result.status == FAILED:
                self._failed.append((result.name, text))
            print(text, file=self._stream, flush=True)

    def close(self) -> int:
        """Prints what failed, once more, and the counts, and returns the exit status of it all.

        Whoever has only the end of a long output can read there why. Nothing run at all is a
        failure too: it can only be a mistake.
        """
        for _, text in self._failed:
            self._print('\n' + '\n'.join(text.splitlines()[-SHOWN_AGAIN_LINES:]))
        self._print(f'\n=== All: {time.monotonic() - self._start:.1f} s ===')
        for name, _ in self._failed:
            self._print(f'failed: {name}')
        passed, failed, skipped = (self._counts[each] for each in (PASSED, FAILED, SKIPPED))
        self._print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else
                                                           ''))
        return 1 if failed or not passed else 0

    def _print(self, line: str) -> None:
        with self._lock:
            print(line, file=self._stream, flush=True)
