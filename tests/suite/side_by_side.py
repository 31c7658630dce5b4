# SPDX-License-Identifier: GPL-2.0-or-later
"""Doing several things at once, as many as keep the processors busy."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from report import Report

# More than there are processors: most tests wait for something most of the time.
WORKERS = (os.cpu_count() or 1) + 2

Job = Callable[[], object]


class Jobs:
    """Runs jobs beside each other, begun in the order in which they come, from any thread.

    `with` waits for all of them, and then runs those that must run alone, one after the other. What
    a job raises counts as a failure, and the others go on.
    """

    def __init__(self, report: Report):
        self._report = report
        self._threads = ThreadPoolExecutor(WORKERS)
        self._alone: list[tuple[str, Job]] = []

    def __enter__(self) -> 'Jobs':
        return self

    def __exit__(self, *_exception) -> None:
        self._threads.shutdown()
        for title, job in self._alone:
            self._run(title, job)

    def add(self, title: str, job: Job) -> None:
        """Runs a job beside others."""
        self._threads.submit(self._run, title, job)

    def add_alone(self, title: str, job: Job) -> None:
        """Runs a job when no other does any more."""
        self._alone.append((title, job))

    def _run(self, title: str, job: Job) -> None:
        with self._report.step(title):
            job()
