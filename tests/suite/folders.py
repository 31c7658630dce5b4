# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the unittest files of a folder in a process of their own: see child.py."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Mapping, Optional, Sequence

from harness import scenario
from report import FAILED, Report, Result

CHILD = Path(__file__).with_name('child.py')
FOLDER_SECONDS = 45 * 60
LONG_FOLDER_SECONDS = 4 * 60 * 60


def has_tests(folder: Path, only: Optional[str]) -> bool:
    """Says whether the folder holds a test whose name the regular expression finds."""
    if not folder.is_dir():
        return False
    if only is None:
        return any(folder.glob('test_*.py'))
    listed = subprocess.run(_command(folder, only, '--list'), stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, check=False)
    return bool(listed.stdout)


def run(report: Report, folder: Path, only: Optional[str], prefix: str,
        environment: Mapping[str, str], wrapper: Sequence[str] = ()) -> None:
    """Runs the folder's tests with more in their environment, their names after the prefix.

    The wrapper is a command that runs the command in its arguments.
    """
    with tempfile.TemporaryFile() as printed:
        # The death of this process, however sudden, takes the child with it.
        child = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'TERM', *wrapper, *_command(folder, only)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=printed, text=True,
            env={**os.environ, **environment})
        # SIGABRT makes Python print where it hangs, and ends it.
        seconds = LONG_FOLDER_SECONDS if environment.get(scenario.LONG_VARIABLE) else FOLDER_SECONDS
        too_long = threading.Timer(seconds, child.send_signal, [signal.SIGABRT])
        too_long.start()
        try:
            with child:
                for line in child.stdout:
                    result = Result(**json.loads(line))
                    result.name = prefix + result.name
                    report.add(result)
        finally:
            too_long.cancel()
            child.kill()
        if child.returncode != 0:
            size = os.fstat(printed.fileno()).st_size
            last = os.pread(printed.fileno(), 8192, max(0, size - 8192)).decode(errors='replace')
            report.add(Result(f'{prefix}the tests of {folder.name}, all of them', FAILED,
                              why=f'their process ended with status {child.returncode}:\n{last}'))


def _command(folder: Path, only: Optional[str], *options: str) -> list[str]:
    return [sys.executable, str(CHILD), str(folder), *options,
            *(['--only', only] if only is not None else [])]
