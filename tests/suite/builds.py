# SPDX-License-Identifier: GPL-2.0-or-later
"""The builds, each in its folder below build/, and the unit tests in them."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Optional, Sequence

from harness import image, project
from report import FAILED, PASSED, SKIPPED, Failure, Report, Result, Skip
from side_by_side import WORKERS

# cmocka prints a line for each of a program's tests when it is asked for this format.
_TAP_LINE = re.compile(r'^(not )?ok \d+ - (.*?)( # SKIP.*)?$', re.MULTILINE)

# The sanitizers lay out memory in ways that too random an address space breaks.
_FIXED_ADDRESSES = ('setarch', '-R')


@dataclass
class Build:
    """One way to build the project."""

    name: str
    options: tuple[str, ...] = ('-Dtests=true',)
    environment: dict[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()  # what compilers and tests are run by
    suite: Optional[str] = None  # the only suite of unit tests to run
    compiler: str = ''  # the usual one, if empty
    is_foreign: bool = False  # what helps the tests must be of this build as well
    left_out: tuple[str, ...] = ()  # files of the behaviour tests
    long_only: tuple[str, ...] = ()  # further ones, which --long runs

    def folder(self, root: Path) -> Path:
        """Returns where it is built."""
        return root / 'build' / self.name


# These take long, and a sanitizer takes nothing from what they assert.
PLAIN = Build('plain', long_only=('test_changes.py', 'test_hanging.py', 'test_model.py',
                                  'test_mounts.py'))
ASAN = Build(
    'asan', ('-Dtests=true', '-Db_sanitize=address,undefined', '-Doptimization=1'),
    {'ASAN_OPTIONS': 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1',
     'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1'},
    # About how long others wait, and how much is held, of which a sanitizer knows nothing.
    _FIXED_ADDRESSES, left_out=('test_neighbours.py',),
    long_only=('test_hostile.py', 'test_races.py'))
TSAN = Build(
    'tsan', ('-Dtests=true', '-Db_sanitize=thread'),
    {'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1'},
    _FIXED_ADDRESSES, suite='threads')
FUZZ = Build(
    'fuzz', ('-Dfuzz=true', '-Db_lundef=false', '-Db_sanitize=address,undefined'),
    ASAN.environment, _FIXED_ADDRESSES, compiler='clang')
I386 = Build(
    'i386',
    wrapper=('unshare', '--mount', '--propagation=private',
             str(Path(__file__).with_name('in-image')), str(image.path_of(image.I386))),
    is_foreign=True,
    # These take long, and are about time, load and calls that fail, which is the same everywhere.
    left_out=('test_changes.py', 'test_faults.py', 'test_hanging.py', 'test_hostile.py',
              'test_mounts.py', 'test_neighbours.py', 'test_races.py', 'test_watch_faults.py',
              'test_watches.py'))


def make_i386_image() -> None:
    """Makes the image that the i386 build is compiled in. Raises Skip where it cannot run."""
    if subprocess.run(['arch-test', '-n', 'i386'], stdout=subprocess.DEVNULL,
                      check=False).returncode != 0:
        raise Skip('this processor does not run programs of i386')
    image.make(image.I386)


def compile_all(build: Build, root: Path) -> None:
    """Configures and compiles, warnings being errors. Raises Failure with what was printed."""
    folder = build.folder(root)
    if project.setup_is_due(folder):
        shutil.rmtree(folder, ignore_errors=True)
        _run([*build.wrapper, 'meson', 'setup', '--werror', *build.options, str(folder),
              str(root)], {**os.environ, 'CC': build.compiler} if build.compiler else None)
    # It may be of before a change.
    _run([*build.wrapper, 'ninja', '-C', str(folder), 'build.ninja'])
    # Of a suite, its programs and what they are handed: NUMBER@@NAME@exe.
    targets = {each.partition('@@')[2].rpartition('@')[0]
               for test in _tests_of(folder, build.suite) for each in test['depends']
               } if build.suite else ()
    _run([*build.wrapper, 'meson', 'compile', '-C', str(folder), *sorted(targets)])


def _run(command: Sequence[str], environment: Optional[Mapping[str, str]] = None) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', check=False,
                          env=environment)
    if done.returncode != 0:
        raise Failure(f'{" ".join(command)}\nended with status {done.returncode}:\n'
                      f'{done.stdout[-16000:]}')


def unit_tests(folder: Path, suite: Optional[str], only: Optional[str]) -> list[str]:
    """Returns the names of the unit-test programs in a build folder.

    Of them, those of the suite (all, if it is None) whose name the regular expression finds.
    """
    return [test['name'] for test in _tests_of(folder, suite)
            if only is None or re.search(only, test['name'])]


def _tests_of(folder: Path, suite: Optional[str]) -> list[dict]:
    """Returns what Meson says about the tests of the suite, or about all."""
    listed = json.loads((folder / 'meson-info' / 'intro-tests.json').read_text('utf-8'))
    return [test for test in listed
            if suite is None or any(each.rpartition(':')[2] == suite for each in test['suite'])]


def run_unit_tests(report: Report, build: Build, root: Path, names: list[str]) -> None:
    """Runs the named programs and reports each test in them."""
    folder = build.folder(root)
    log = folder / 'meson-logs' / 'testlog.json'
    log.unlink(missing_ok=True)
    ran = subprocess.run(
        [*build.wrapper, 'meson', 'test', '-C', str(folder), '--no-rebuild',
         f'--num-processes={WORKERS}', *names],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors='replace', check=False,
        env={**os.environ, **build.environment, 'CMOCKA_MESSAGE_OUTPUT': 'TAP'})
    if not log.exists():
        raise Failure(f'meson test ended with status {ran.returncode}:\n{ran.stdout}')
    for line in log.read_text('utf-8').splitlines():
        for result in _results(json.loads(line)):
            result.name = f'{build.name}: {result.name}'
            report.add(result)


def _results(program: dict) -> list[Result]:
    """Returns the results of one program's entry in Meson's log, its duration with the last."""
    name, seconds = program['name'].rpartition(' / ')[2], program['duration']
    printed = program.get('stdout', '') + program.get('stderr', '')
    why = f'{program["result"]}, status {program["returncode"]}:\n{printed}'
    results = []
    for line in _TAP_LINE.finditer(program.get('stdout', '')):
        status = FAILED if line[1] else SKIPPED if line[3] else PASSED
        results.append(Result(f'{name}: {line[2]}', status,
                              why={FAILED: why, SKIPPED: line[3] or '', PASSED: ''}[status]))
    if program['result'] == 'SKIP':
        results.append(Result(name, SKIPPED, why=printed))
    elif program['result'] != 'OK' and all(result.status != FAILED for result in results):
        results.append(Result(f'{name}, the program', FAILED, why=why))
    elif not results:
        results.append(Result(name, PASSED))
    results[-1].seconds = seconds
    return results
