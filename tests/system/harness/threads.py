# SPDX-License-Identifier: GPL-2.0-or-later
"""Something that goes on beside a test."""

import threading
from typing import Callable, Iterable


class Threads:
    """Calls each function in a thread of its own, in `with`. At its end, `end` is set, and all
    have returned.
    """

    def __init__(self, functions: Iterable[Callable[[], None]]):
        self.end = threading.Event()
        self._threads = [threading.Thread(target=function) for function in functions]

    def __enter__(self) -> 'Threads':
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.end.set()
        for thread in self._threads:
            thread.join()
