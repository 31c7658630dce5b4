# SPDX-License-Identifier: GPL-2.0-or-later
"""What counting a mailbox costs: the figures of tests/bench/scan.c."""

import re
import subprocess

from bench import Bench
from figures import CannotMeasure
from results import Results, Section

SECONDS = 600

# A row: what, the median, the least and the most of the time, the processor's; ratios, and of what.
_ROW = re.compile(r'(\S.*?) {2,}([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)'
                  r'(?: +([\d.]+) +([\d.]+)  (.*))?$')


def measure(bench: Bench, results: Results) -> None:
    """Adds a section."""
    command = [str(bench.programs / 'tests/bench/bench-scan'), f'--where={bench.folder}',
               *bench.plan.scan_options]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors='replace', check=False,
                              timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f'bench-scan has not ended after {SECONDS} s') from None
    if done.returncode != 0:
        raise CannotMeasure(f'bench-scan ended with status {done.returncode}: '
                            f'{done.stderr.strip()}')
    results.sections.append(parse(done.stdout))


def parse(printed: str) -> Section:
    """Returns the section that says what bench-scan has printed."""
    lines = [line for line in printed.splitlines() if line.strip()]
    section = Section(f'Counting a Maildir: {"".join(lines[:1])}', (
        'what', 'median', 'least', 'most', 'CPU', 'ratio', 'of CPU', 'of'))
    for line in lines[2:]:  # behind the head
        found = _ROW.match(line)
        if found:
            section.rows.append([cell or '' for cell in found.groups()])
        else:
            section.notes.append(line)
    if not section.rows:
        raise CannotMeasure(f'bench-scan prints another table than it did:\n{printed}')
    return section
