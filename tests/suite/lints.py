# SPDX-License-Identifier: GPL-2.0-or-later
"""What is checked without running it: the C and Python files, and the man pages."""

import shutil
import subprocess
from pathlib import Path
from typing import Callable, Iterator, Sequence

from report import Failure, Skip


# The version whose layout the sources have: others disagree with it in details.
CLANG_FORMAT = 'clang-format-14'

CPPCHECK_LIBRARY = Path(__file__).with_name('cppcheck.cfg')


def checks(root: Path, compiled: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yields the name and the function of each check. compiled is a folder that was built."""
    sources = sorted(file for folder in ('src', 'tests') for ending in ('c', 'h')
                     for file in (root / folder).rglob(f'*.{ending}'))
    yield 'clang-format', lambda: _clang_format(sources)
    yield 'cppcheck', lambda: _cppcheck(root, compiled)
    yield 'flake8', lambda: _must_be_silent(
        ['flake8', '--isolated', '--max-line-length=100', str(root / 'tests')])
    for page in sorted((root / 'man').glob('*.[1-9]')):
        yield f'mandoc {page.name}', lambda page=page: _mandoc(page)


def _clang_format(sources: Sequence[Path]) -> None:
    if not shutil.which(CLANG_FORMAT):
        raise Skip(f'{CLANG_FORMAT} is not to be had here')
    _must_be_silent([CLANG_FORMAT, '--dry-run', '-Werror', *map(str, sources)])


def _cppcheck(root: Path, compiled: Path) -> None:
    """Checks what is shipped, but for what it takes for a fault and is none.

    It knows no clean-up by scope (the sanitizer does), and an array in a struct that is not
    initialised is to it a pointer that is not.
    """
    _must_be_silent([
        'cppcheck', '--quiet', '--enable=warning,performance,portability', '--error-exitcode=1',
        '--suppress=memleak', '--suppress=resourceLeak', '--suppress=ctuuninitvar',
        '--suppress=normalCheckLevelMaxBranches', '--inline-suppr',
        f'--library={CPPCHECK_LIBRARY}', '-D_GNU_SOURCE', f'-I{root / "src"}',
        f'-I{compiled}', f'--relative-paths={root}',
        *map(str, sorted((root / 'src').rglob('*.c')))])


def _mandoc(page: Path) -> None:
    _must_be_silent(['mandoc', '-T', 'lint', '-W', 'warning', str(page)])


def _must_be_silent(command: Sequence[str]) -> None:
    """Runs a command that has nothing to say, and status 0, where all is well."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', check=False)
    if done.returncode != 0 or done.stdout.strip():
        raise Failure(f'{command[0]} ended with status {done.returncode}:\n{done.stdout}')
