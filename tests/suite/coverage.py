# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests have run of src/: lines and branches, as gcov counts them.

A line counts where the compiler made code of it; several statements in it are one line. Branches
are those of gcov --branch-probabilities: each way out of a condition is one, so that `a && b` has
four, and each case of a switch; those of a condition that was never reached were not taken. Ways
that only an exception takes do not count (C has none), and nothing in the sources is marked as not
to be counted. What is compiled into several programs, as a header is, counts once: what one of
them has run is run. What a program had run that was killed is lost.
"""

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Sequence

from builds import Build
from report import Failure

NAME = 'coverage'

LINES_PERCENT = 90
BRANCHES_PERCENT = 80

# By which programs that are confined, or end in haste, write their counts.
_COUNTS_SOURCE = Path(__file__).resolve().parent.parent / 'coverage' / 'counts.c'

# Names that the C library has for its functions beside the usual ones.
_OTHER_NAMES = {'malloc': '__libc_malloc', 'open': '__open', 'fcntl': '__fcntl',
                'close': '__close'}

# Optimisation moves code between lines. It is the plain build, which knows more of the values, that
# judges what may be cut short. Threads count, too.
_OPTIONS = ('-Dtests=true', '-Dbuildtype=debug', '-Db_coverage=true',
            '-Dc_args=-Wno-format-truncation -fprofile-update=atomic')


@dataclass
class SourceFile:
    """How often each line, each way out of it, and each function was run."""

    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)

    def add(self, described: dict) -> None:
        """Adds what gcov says about the file in one object."""
        for line in described['lines']:
            number = line['line_number']
            self.lines[number] = self.lines.get(number, 0) + line['count']
            ways = [way['count'] for way in line['branches'] if not way['throw']]
            if ways:
                key = (number, line.get('function_name', ''))
                before = self.branches.get(key, [0] * len(ways))
                self.branches[key] = [a + b for a, b in zip(before, ways, strict=True)]
        for function in described['functions']:
            name = function['name']
            self.functions[name] = self.functions.get(name, 0) + function['execution_count']

    def ways(self) -> list[int]:
        """Returns the counts of all branches."""
        return [count for ways in self.branches.values() for count in ways]

    def left(self) -> Iterator[str]:
        """Yields what was not run: functions, lines, and branches of lines that were."""
        functions = sorted(name for name, count in self.functions.items() if count == 0)
        if functions:
            yield f'functions {", ".join(functions)}'
        lines = _ranges(self.lines)
        if lines:
            yield f'lines {", ".join(lines)}'
        branches = [f'{number} ({ways.count(0)} of {len(ways)})'
                    for (number, _), ways in sorted(self.branches.items())
                    if self.lines[number] > 0 and 0 in ways]
        if branches:
            yield f'branches of lines {", ".join(branches)}'


def compile_counts(root: Path) -> None:
    """Compiles what the programs of the build are linked with. Raises Failure."""
    compiled, folder = _counts_object(root), Build(NAME).folder(root)
    if compiled.exists() and compiled.stat().st_mtime >= _COUNTS_SOURCE.stat().st_mtime:
        return
    shutil.rmtree(folder, ignore_errors=True)  # Meson does not know of what it is linked with
    folder.parent.mkdir(exist_ok=True)
    _run(['cc', '-c', '-std=gnu17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-fPIC',
          f'-DCOUNTS_FOLDER="{folder}"', '-o', str(compiled), str(_COUNTS_SOURCE)])
    # Tests put functions of their own before those of the C library, to make the program's calls
    # fail. The runtime library calls these by their other names.
    _run(['objcopy', *(f'--redefine-sym={name}={other}' for name, other in _OTHER_NAMES.items()),
          _run(['cc', '-print-file-name=libgcov.a']).strip(), str(compiled.with_suffix('.a'))])


def make_build(root: Path) -> Build:
    """Returns the build that counts, for which compile_counts() comes first."""
    compiled = _counts_object(root)
    return Build(NAME, (*_OPTIONS,
                        f"-Dc_link_args=['{compiled}', '{compiled.with_suffix('.a')}']"))


def forget(folder: Path) -> None:
    """Sets all counts in a compiled build to 0. Whoever a program becomes may count from now on."""
    for file in (_errors(folder),
                 *(notes.with_suffix('.gcda') for notes in folder.rglob('*.gcno'))):
        file.write_bytes(b'')
        file.chmod(0o666)


def check(folder: Path, root: Path) -> str:
    """Returns a table of what the tests have run of src/, and what is left.

    Raises Failure with the same text where it is less than it should be.
    """
    for counts in folder.rglob('*.gcda'):
        if counts.stat().st_size == 0:  # never run: gcov takes that for damage
            counts.unlink()
    files = _read(folder, root)
    text = '\n'.join([*_table(files), '', *_what_is_left(files)])
    if _errors(folder).stat().st_size > 0:
        text += f'\n\nsome counts could not be written: see {_errors(folder)}'
    lines, branches = _counts(list(files.values()))
    if _percent(lines) < LINES_PERCENT or _percent(branches) < BRANCHES_PERCENT:
        raise Failure(f'{text}\n\nless than {LINES_PERCENT} % of the lines or '
                      f'{BRANCHES_PERCENT} % of the branches')
    return text


def _counts_object(root: Path) -> Path:
    return Build(NAME).folder(root).with_suffix('.o')


def _errors(folder: Path) -> Path:
    return folder / 'errors'  # as counts.c has it


def _read(folder: Path, root: Path) -> dict[str, SourceFile]:
    """Returns the files of src/, by their paths below it, sorted."""
    sources = (root / 'src').resolve()
    objects = sorted(map(str, (folder / 'src').rglob('*.gcno')))
    with tempfile.TemporaryDirectory() as empty:  # gcov looks for sources around it, too
        printed = _run(['gcov', '--json-format', '--stdout', '--branch-probabilities', *objects],
                       empty)
    files: dict[str, SourceFile] = {}
    for line in printed.splitlines():
        described = json.loads(line)
        for file in described['files']:
            path = Path(described['current_working_directory'], file['file']).resolve()
            if path.is_relative_to(sources):
                files.setdefault(str(path.relative_to(sources)), SourceFile()).add(file)
    return dict(sorted(files.items()))


def _run(command: Sequence[str], folder: str = '.') -> str:
    """Runs a command that must end well, and returns what it prints."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors='replace', check=False)
    if done.returncode != 0:
        raise Failure(f'{" ".join(command)}\nended with status {done.returncode}:\n{done.stderr}')
    return done.stdout


def _counts(files: Sequence[SourceFile]) -> tuple[list[int], list[int]]:
    """Returns how often each line and each branch of the files was run."""
    return ([count for file in files for count in file.lines.values()],
            [count for file in files for count in file.ways()])


def _percent(counts: Sequence[int]) -> float:
    return 100 * sum(count > 0 for count in counts) / len(counts) if counts else 100.0


def _table(files: dict[str, SourceFile]) -> Iterator[str]:
    for path, file in files.items():
        yield _row(f'src/{path}', [file])
    yield _row('all', list(files.values()))


def _row(name: str, files: Sequence[SourceFile]) -> str:
    columns = [f'{sum(count > 0 for count in counts):5} of {len(counts):5} {what} '
               f'{_percent(counts):5.1f} %'
               for what, counts in zip(('lines', 'branches'), _counts(files))]
    return f'{name:28} {"   ".join(columns)}'


def _what_is_left(files: dict[str, SourceFile]) -> Iterator[str]:
    for path, file in files.items():
        for what in file.left():
            yield f'left: src/{path}: {what}'


def _ranges(lines: dict[int, int]) -> list[str]:
    """Returns the lines that were not run, those that follow each other as FIRST-LAST.

    What lies between two of them and is no code separates them no more.
    """
    ranges: list[list[int]] = []
    open_range = False
    for number, count in sorted(lines.items()):
        if count > 0:
            open_range = False
        elif open_range:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
            open_range = True
    return [str(first) if first == last else f'{first}-{last}' for first, last in ranges]
