# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting time go on for one process: tests/faults/clock.c, which the variable CLOCK names."""

import os
import struct
import unittest
from pathlib import Path

from faults import allow_preloading

needs_clock = unittest.skipUnless(Path(os.environ.get('CLOCK', '')).is_file(),
                                  'the library that lets time go on was not built')


class Clock:
    """The time of a process, which is the usual one at first."""

    def __init__(self, test: unittest.TestCase):
        """Makes the file that is shared with the process, for the time of the test."""
        allow_preloading(test)
        self._path = test.folder / 'clock'
        self._ahead_seconds = 0
        self.advance(0)

    def environment(self) -> dict[str, str]:
        """Returns what the environment of the process must hold."""
        return {'LD_PRELOAD': os.environ['CLOCK'], 'CLOCK': str(self._path)}

    def ahead(self) -> int:
        """Returns how many seconds it is ahead."""
        return self._ahead_seconds

    def advance(self, seconds: int) -> None:
        """Lets so much more time have gone by."""
        self._ahead_seconds += seconds
        with open(self._path, 'r+b' if self._path.exists() else 'wb') as file:
            file.write(struct.pack('=q', self._ahead_seconds))
