# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the unittest files of a folder, each in a process of its own: see child.py."""

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
from side_by_side import Jobs

CHILD = Path(__file__).with_name('child.py')
FILE_SECONDS = 45 * 60
LONG_FILE_SECONDS = 4 * 60 * 60

# What renames without a pause. The kernel has one lock for that, so that whoever opens a path with
# many `..` in it, anywhere on the machine, has to try again and again, and gives up in the end.
ALONE = ('test_races.py',)

# What takes longest, and therefore begins first, in this order.
FIRST = ('test_package.py', 'test_faults.py', 'test_neighbours.py', 'test_recipes.py',
         'test_service.py', 'test_misconfigured.py', 'test_soak.py', 'test_hostile.py',
         'test_answers.py', 'test_mounts.py', 'test_counting.py', 'test_model.py',
         'test_hanging.py', 'test_matrix.py')


def has_tests(folder: Path, only: Optional[str]) -> bool:
    """Says whether the folder holds a test whose name the regular expression finds."""
    return bool(_files(folder, only))


def add_jobs(jobs: Jobs, report: Report, folder: Path, only: Optional[str], prefix: str,
             environment: Mapping[str, str], wrapper: Sequence[str] = (),
             left_out: Sequence[str] = ()) -> None:
    """Adds a job for each file that is not left out, which runs the tests in it.

    They run with more in their environment, their names after the prefix. The wrapper is a command
    that runs the command in its arguments.
    """
    for file in _files(folder, only):
        if file.name not in left_out:
            (jobs.add_alone if file.name in ALONE else jobs.add)(
                prefix + file.name,
                lambda file=file: _run_file(report, file, only, prefix, environment, wrapper))


def _files(folder: Path, only: Optional[str]) -> list[Path]:
    """Returns the files with tests whose name the regular expression finds, the longest first."""
    files = sorted(folder.glob('test_*.py'), key=lambda file: (
        FIRST.index(file.name) if file.name in FIRST else len(FIRST), -file.stat().st_size))
    if only is None or not files:
        return files
    listed = subprocess.run(_command(files, only, '--list'), stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, check=False)
    return [file for file in files if file.name in listed.stdout.splitlines()]


def _run_file(report: Report, file: Path, only: Optional[str], prefix: str,
              environment: Mapping[str, str], wrapper: Sequence[str]) -> None:
    with tempfile.TemporaryFile() as printed:
        # The death of this process, however sudden, takes the child with it.
        child = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'TERM', *wrapper, *_command([file], only)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=printed, text=True,
            env={**os.environ, **environment})
        # SIGABRT makes Python print where it hangs, and ends it.
        seconds = LONG_FILE_SECONDS if environment.get(scenario.LONG_VARIABLE) else FILE_SECONDS
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
            report.add(Result(f'{prefix}the tests in {file.name}, all of them', FAILED,
                              why=f'their process ended with status {child.returncode}:\n{last}'))


def _command(files: Sequence[Path], only: Optional[str], *options: str) -> list[str]:
    return [sys.executable, str(CHILD), *map(str, files), *options,
            *(['--only', only] if only is not None else [])]
