# SPDX-License-Identifier: GPL-2.0-or-later
"""The fuzz targets: each reads its seeds, then what libFuzzer makes of them, for a while.

What was learnt stays below the build folder, and is where the next run goes on; nothing is
written to the sources. An input that makes a target crash is kept, and printed.
"""

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Optional, Sequence

import builds
from report import Failure, Report, Skip
from side_by_side import Jobs

SECONDS = 5
LONG_SECONDS = 20 * 60

# More than the longest request, and than the largest maildirsize that is read.
INPUT_BYTES_MAX = 9216

# A single input that takes so long hangs, and a target that takes so much leaks.
HANG_SECONDS = 60
MEMORY_MB = 2048

# What a target that does not end by itself is given beyond its time.
PATIENCE_SECONDS = 5 * 60

SHOWN_BYTES = 4096
SOURCES = Path('tests') / 'fuzz'


def names(root: Path, only: Optional[str]) -> list[str]:
    """Returns the names of the targets which the regular expression finds."""
    found = sorted(folder.name for folder in (root / SOURCES / 'corpus').iterdir())
    return [name for name in found if only is None or re.search(only, f'fuzz-{name}')]


def require_fuzzer() -> None:
    """Raises Skip where there is no libFuzzer."""
    compiler = shutil.which(builds.FUZZ.compiler)
    if not compiler:
        raise Skip('there is no clang')
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            [compiler, '-fsanitize=fuzzer,address,undefined', '-x', 'c', '-o', f'{folder}/probe',
             '-'], input='int LLVMFuzzerTestOneInput(const char *, unsigned long);\n'
            'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }\n',
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if tried.returncode != 0:
        raise Skip(f'clang has no libFuzzer here:\n{tried.stdout}')


def add_jobs(jobs: Jobs, report: Report, root: Path, only: Optional[str], long: bool) -> None:
    """Adds a job for each target."""
    seconds = LONG_SECONDS if long else SECONDS
    for name in names(root, only):
        jobs.add(f'fuzz-{name}', lambda name=name: report.check(f'fuzz-{name}', _fuzz, root, name,
                                                                seconds))


def _fuzz(root: Path, name: str, seconds: int) -> str:
    """Runs one target. Returns how far it came, or raises Failure with the input."""
    build = builds.FUZZ.folder(root)
    learnt, found = build / 'learnt' / name, build / 'found' / name
    for folder in (learnt, found):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        ran = subprocess.run(
            ['setpriv', '--pdeathsig', 'TERM', *builds.FUZZ.wrapper,
             str(build / SOURCES / f'fuzz-{name}'),
             f'-max_total_time={seconds}', f'-max_len={INPUT_BYTES_MAX}',
             f'-timeout={HANG_SECONDS}', f'-report_slow_units={HANG_SECONDS}',
             f'-rss_limit_mb={MEMORY_MB}',
             f'-dict={root / SOURCES / name}.dict', f'-artifact_prefix={found}/',
             '-print_final_stats=1', str(learnt), str(root / SOURCES / 'corpus' / name)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=seconds + PATIENCE_SECONDS, check=False,
            env={**os.environ, **builds.FUZZ.environment, 'TMPDIR': temporary})
    printed = ran.stdout.decode(errors='replace')
    inputs = sorted(set(found.iterdir()) - before)
    if ran.returncode != 0 or inputs:
        raise Failure('\n'.join([f'status {ran.returncode}:', printed[-8000:],
                                 *map(_show_input, inputs)]))
    return _summary(printed, time.monotonic() - start)


def _show_input(path: Path) -> str:
    """Describes an input so that it can be taken from a log."""
    data = path.read_bytes()
    shown = data[:SHOWN_BYTES]
    left_out = f' (its first {SHOWN_BYTES} bytes)' if len(data) > SHOWN_BYTES else ''
    return (f'kept as {path}: {len(data)} bytes{left_out}\nas Python has it: {shown!r}\n'
            f'in base64: {base64.b64encode(shown).decode()}')


def _summary(printed: str, seconds: float) -> str:
    """Returns one line about a run that found nothing."""
    executed = _last_number(r'^stat::number_of_executed_units:\s+(\d+)', printed)
    learnt = _last_number(r'^stat::new_units_added:\s+(\d+)', printed)
    edges = _last_number(r'\bcov: (\d+)', printed)
    return (f'{executed:,} executions in {seconds:.0f} s, {executed / seconds:,.0f} a second; '
            f'{edges:,} edges covered; {learnt:,} inputs learnt')


def _last_number(pattern: str, text: str) -> int:
    found: Sequence[str] = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise Failure(f'there is no {pattern} in what the target printed:\n{text[-8000:]}')
    return int(found[-1])
