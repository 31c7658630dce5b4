# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system that hangs on demand: tests/fuse/hangfs.c, which the variable HANGFS names."""

import os
import subprocess
import unittest
from pathlib import Path

needs_hangfs = unittest.skipUnless(
    os.geteuid() == 0 and Path(os.environ.get('HANGFS', '')).is_file()
    and Path('/dev/fuse').exists(), 'needs root, /dev/fuse, and libfuse when it was built')


class HangFs:
    """What lies in one directory, shown at another by a server that can be told to hang."""

    def __init__(self, source: Path, mount_point: Path):
        """Mounts it."""
        self._process = subprocess.Popen([os.environ['HANGFS'], source, mount_point], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._process.stdout.readline() != 'ready\n':
            raise AssertionError('hangfs does not start')

    def say(self, line: str) -> None:
        """Tells it something, and returns when it has obeyed."""
        self._tell(line)

    def lists(self) -> int:
        """Returns how many questions about what a directory holds have come so far."""
        return int(self._tell('count').split()[1])

    def _tell(self, line: str) -> str:
        self._process.stdin.write(f'{line}\n')
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer.startswith('ok'):
            raise AssertionError(f'hangfs: {line}: {answer!r}')
        return answer[len('ok'):]

    def stop(self) -> None:
        """Unmounts it. What still hangs fails."""
        self._process.stdin.close()
        status = self._process.wait()
        self._process.stdout.close()
        if status != 0:
            raise AssertionError(f'hangfs ended with status {status}')
