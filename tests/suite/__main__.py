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
from side_by_side import Jobs  # noqa: E402

ROOT = places.SOURCES
BEHAVIOUR_TESTS = TESTS / 'behaviour'


def compile_fuzz(report: Report) -> bool:
    """Compiles the fuzz targets, where there is a libFuzzer, and says whether that went well."""
    return report.check('libFuzzer', fuzz.require_fuzzer) and \
        report.check('build/fuzz with warnings as errors', builds.compile_all, builds.FUZZ, ROOT)


def compile_build(report: Report, build: builds.Build) -> bool:
    """Compiles one build and says whether that went well."""
    if build is builds.I386 and not report.check('i386: the image', builds.make_i386_image):
        return False
    return report.check(f'build/{build.name} with warnings as errors', builds.compile_all, build,
                        ROOT)


def add_tests(jobs: Jobs, report: Report, build: builds.Build, only: Optional[str], long: bool
              ) -> None:
    """Adds the unit tests in a compiled build and, unless it has a suite, the behaviour tests."""
    names = builds.unit_tests(build.folder(ROOT), build.suite, only)
    if names:
        jobs.add(f'{build.name}: unit tests',
                 lambda: builds.run_unit_tests(report, build, ROOT, names))
    if build.suite is not None:
        return
    tools = (build if build.is_foreign else builds.PLAIN).folder(ROOT) / 'tests'
    folders.add_jobs(
        jobs, report, BEHAVIOUR_TESTS, only, f'{build.name}: ', {
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
        }, build.wrapper, build.left_out if long or only else build.left_out + build.long_only)


def run_lints(report: Report) -> None:
    """Checks what is checked without running it."""
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
    with Jobs(report) as jobs:
        add_tests(jobs, report, build, only, long)
    report.check('coverage of src/', coverage.check, build.folder(ROOT), ROOT)


def test_here(jobs: Jobs, report: Report, only: Optional[str], quick: bool, long: bool) -> None:
    """Compiles one build after the other, and adds what is to be run in it."""
    if not compile_build(report, builds.PLAIN):
        return
    add_tests(jobs, report, builds.PLAIN, only, long)
    if only is None:
        jobs.add('Lints', lambda: run_lints(report))
    plain = builds.PLAIN.folder(ROOT)
    to_do = []
    if builds.unit_tests(plain, None, only) or folders.has_tests(BEHAVIOUR_TESTS, only):
        to_do += [builds.ASAN] if quick else [builds.ASAN, builds.I386]
    if builds.unit_tests(plain, builds.TSAN.suite, only):
        to_do.append(builds.TSAN)
    for build in to_do:
        if compile_build(report, build):
            add_tests(jobs, report, build, only, long)
    if fuzz.names(ROOT, only) and compile_fuzz(report):
        fuzz.add_jobs(jobs, report, ROOT, only, long)


def test_release(jobs: Jobs, report: Report, release: str, only: Optional[str], long: bool) -> None:
    """Prepares the containers of a release, and adds what is to be run in them."""
    if system.prepare(report, release):
        system.add_jobs(jobs, report, release, only, long)


def test_all(report: Report, only: Optional[str], quick: bool, long: bool,
             releases: Sequence[str]) -> None:
    """Runs everything: what is prepared first runs first, while the rest is being prepared."""
    with Jobs(report) as jobs, ThreadPoolExecutor() as makers:
        prepared = [makers.submit(test_here, jobs, report, only, quick, long),
                    *(makers.submit(test_release, jobs, report, release, only, long)
                      for release in releases)]
        for each in prepared:
            each.result()


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
    test_all(report, arguments.only, arguments.quick, arguments.long, releases)
    return report.close()


if __name__ == '__main__':
    sys.exit(main())
