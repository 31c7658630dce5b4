# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole test command: builds, unit and behaviour tests, fuzzing, lints, system tests.

tests/run starts it, when everything that it needs is installed. It prints every test as it ends,
then what failed, then, as the last line, how many passed and failed.
"""

import argparse
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Optional, Sequence

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / 'system'))  # where the package harness is

import builds  # noqa: E402
import coverage  # noqa: E402
import folders  # noqa: E402
import fuzz  # noqa: E402
import lints  # noqa: E402
import system  # noqa: E402
from harness import places, scenario  # noqa: E402
from report import Report  # noqa: E402
from side_by_side import side_by_side  # noqa: E402

ROOT = places.SOURCES
BEHAVIOUR_TESTS = TESTS / 'behaviour'


def compile_fuzz(report: Report) -> bool:
    """Compiles the fuzz targets, where there is a libFuzzer, and says whether that went well."""
    with report.step('Build fuzz'):
        return report.check('libFuzzer', fuzz.require_fuzzer) and \
            report.check('build/fuzz with warnings as errors', builds.compile_all, builds.FUZZ,
                         ROOT)


def compile_build(report: Report, build: builds.Build) -> bool:
    """Compiles one build and says whether that went well."""
    if build is builds.I386 and not report.check('i386: the image', builds.make_i386_image):
        return False
    with report.step(f'Build {build.name}'):
        return report.check(f'build/{build.name} with warnings as errors',
                            builds.compile_all, build, ROOT)


def run_tests(report: Report, build: builds.Build, only: Optional[str], long: bool) -> None:
    """Runs the unit tests in a compiled build and, unless it has a suite, the behaviour tests."""
    names = builds.unit_tests(build.folder(ROOT), build.suite, only)
    unit = [lambda: builds.run_unit_tests(report, build, ROOT, names)] if names else []
    tools = (build if build.is_foreign else builds.PLAIN).folder(ROOT) / 'tests'
    beside, alone = ([], []) if build.suite is not None else folders.runs(
        report, BEHAVIOUR_TESTS, only, f'{build.name}: ', {
            **build.environment,
            'EXIM_QUOTAD': str(build.folder(ROOT) / 'src' / 'exim-quotad'),
            'EXIM_QUOTACTL': str(build.folder(ROOT) / 'src' / 'exim-quotactl'),
            # What helps, and is not tested itself.
            'HANGFS': str(tools / 'fuse' / 'hangfs'),
            'LOAD': str(tools / 'bench' / 'load'),
            'HOSTILE': str(tools / 'hostile' / 'hostile'),
            'FAULTS': str(tools / 'faults' / 'libfaults.so'),
            'CLOCK': str(tools / 'faults' / 'libclock.so'),
            scenario.LONG_VARIABLE: '1' if long else '',
        }, build.wrapper, build.left_out)
    if unit or beside or alone:
        with report.step(f'Tests, {build.name}'):
            side_by_side([*unit, *beside])
            side_by_side(alone, 1)


def run_fuzz(report: Report, only: Optional[str], long: bool) -> None:
    """Runs the fuzz targets."""
    with report.step('Fuzzing'):
        fuzz.run(report, ROOT, only, long)


def run_lints(report: Report) -> None:
    """Checks what is checked without running it."""
    with report.step('Lints'):
        for name, check in lints.checks(ROOT, builds.PLAIN.folder(ROOT)):
            report.check(name, check)


def test_coverage(report: Report, only: Optional[str], long: bool) -> None:
    """Runs the tests that need no other machine, and finds out what of src/ they run."""
    build = coverage.make_build(ROOT)
    if not (compile_build(report, builds.PLAIN)
            and report.check('tests/coverage/counts.c', coverage.compile_counts, ROOT)
            and compile_build(report, build)):
        return
    coverage.forget(build.folder(ROOT))
    run_tests(report, build, only, long)
    with report.step('Coverage'):
        report.check('coverage of src/', coverage.check, build.folder(ROOT), ROOT)


def test_here(report: Report, only: Optional[str], quick: bool, long: bool) -> None:
    """Does everything that needs no other machine than this one, or is not quick.

    One build is compiled while the tests run in those before it.
    """
    if not compile_build(report, builds.PLAIN):
        return
    plain = builds.PLAIN.folder(ROOT)
    to_do = []
    if builds.unit_tests(plain, None, only) or folders.has_tests(BEHAVIOUR_TESTS, only):
        to_do += [builds.ASAN] if quick else [builds.ASAN, builds.I386]
    if builds.unit_tests(plain, builds.TSAN.suite, only):
        to_do.append(builds.TSAN)
    with ThreadPoolExecutor(max_workers=1) as compiler:
        compiled = [compiler.submit(compile_build, report, build) for build in to_do]
        fuzz_compiled = compiler.submit(compile_fuzz, report) if fuzz.names(ROOT, only) else None
        run_tests(report, builds.PLAIN, only, long)
        for build, done in zip(to_do, compiled):
            if done.result():
                run_tests(report, build, only, long)
        if only is None:
            run_lints(report)
        if fuzz_compiled and fuzz_compiled.result():
            run_fuzz(report, only, long)


def main() -> int:
    """Does what the command line says and returns the exit status."""
    parser = argparse.ArgumentParser(prog='tests/run', description=__doc__.partition('\n')[0])
    parser.add_argument('--quick', action='store_true', help='leave out the system tests and i386')
    parser.add_argument('--long', action='store_true', help='run the tests that take long, too')
    parser.add_argument('--only', metavar='REGEX',
                        help='run only the tests whose name it finds; no lints')
    parser.add_argument('--release', choices=system.RELEASES,
                        help='run the system tests on this Debian release only')
    parser.add_argument('--coverage', action='store_true',
                        help='only find out what the unit and behaviour tests run of src/')
    arguments = parser.parse_args()

    # An interrupt ends the suite at once, whatever its threads wait for, and what it has started.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.chdir(ROOT)
    report = Report()
    if arguments.coverage:
        test_coverage(report, arguments.only, arguments.long)
        return report.close()
    releases: Sequence[str] = ()
    if not arguments.quick and folders.has_tests(places.SYSTEM_TESTS, arguments.only):
        releases = [arguments.release] if arguments.release else system.RELEASES
    with ThreadPoolExecutor(max_workers=1) as threads:
        prepared = threads.submit(system.prepare, report, releases) if releases else None
        test_here(report, arguments.only, arguments.quick, arguments.long)
        if prepared:
            system.run(report, prepared.result(), arguments.only, arguments.long)
    return report.close()


if __name__ == '__main__':
    sys.exit(main())
