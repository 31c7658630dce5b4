# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole test command: builds, unit and behaviour tests, fuzzing, lints, system tests.

tests/run starts it, when everything that it needs is installed. It prints every test as it ends,
then what failed, then, as the last line, how many passed and failed.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Optional

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

ROOT = places.SOURCES
BEHAVIOUR_TESTS = TESTS / 'behaviour'
BENCH_TESTS = TESTS / 'bench' / 'measure'
LOAD = builds.PLAIN.folder(ROOT) / 'tests' / 'bench' / 'load'


def build_and_fuzz(report: Report, only: Optional[str], long: bool) -> None:
    """Compiles the fuzz targets and runs them, where there is a libFuzzer."""
    compiled = False
    with report.step('Build fuzz'):
        compiled = report.check('libFuzzer', fuzz.require_fuzzer) and \
            report.check('build/fuzz with warnings as errors', builds.compile_all, builds.FUZZ,
                         ROOT)
    if compiled:
        with report.step('Fuzzing'):
            fuzz.run(report, ROOT, only, long)


def compile_build(report: Report, build: builds.Build) -> bool:
    """Compiles one build and says whether that went well."""
    with report.step(f'Build {build.name}'):
        return report.check(f'build/{build.name} with warnings as errors',
                            builds.compile_all, build, ROOT)


def run_tests(report: Report, build: builds.Build, only: Optional[str], long: bool) -> None:
    """Runs the unit tests in a compiled build and, unless it has a suite, the others."""
    names = builds.unit_tests(build.folder(ROOT), build.suite, only)
    if names:
        with report.step(f'Unit tests, {build.name}'):
            builds.run_unit_tests(report, build, ROOT, names)
    if build.suite is None and folders.has_tests(BEHAVIOUR_TESTS, only):
        with report.step(f'Behaviour tests, {build.name}'):
            folders.run(report, BEHAVIOUR_TESTS, only, f'{build.name}: ', {
                **build.environment,
                'EXIM_QUOTAD': str(build.folder(ROOT) / 'src' / 'exim-quotad'),
                'EXIM_QUOTACTL': str(build.folder(ROOT) / 'src' / 'exim-quotactl'),
                # What helps, and is not tested itself.
                'HANGFS': str(builds.PLAIN.folder(ROOT) / 'tests' / 'fuse' / 'hangfs'),
                'LOAD': str(LOAD),
                'HOSTILE': str(builds.PLAIN.folder(ROOT) / 'tests' / 'hostile' / 'hostile'),
                'FAULTS': str(builds.PLAIN.folder(ROOT) / 'tests' / 'faults' / 'libfaults.so'),
                scenario.LONG_VARIABLE: '1' if long else '',
            }, build.wrapper)


def build_and_test(report: Report, build: builds.Build, only: Optional[str], long: bool) -> None:
    """Compiles one build and runs the tests in it."""
    if compile_build(report, build):
        run_tests(report, build, only, long)


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


def test_here(report: Report, only: Optional[str], long: bool) -> None:
    """Does everything that needs no other machine than this one."""
    build_and_test(report, builds.PLAIN, only, long)
    plain = builds.PLAIN.folder(ROOT)
    if not (plain / 'meson-info' / 'intro-tests.json').exists():
        return
    if only is None or builds.unit_tests(plain, None, only) or \
            folders.has_tests(BEHAVIOUR_TESTS, only):
        build_and_test(report, builds.ASAN, only, long)
    if builds.unit_tests(plain, builds.TSAN.suite, only):
        build_and_test(report, builds.TSAN, only, long)
    if folders.has_tests(BENCH_TESTS, only):
        with report.step('Tests of the benchmark'):
            folders.run(report, BENCH_TESTS, only, 'bench: ', {'LOAD': str(LOAD)})
    if fuzz.names(ROOT, only):
        build_and_fuzz(report, only, long)
    if only is None:
        with report.step('Lints'):
            for name, check in lints.checks(ROOT, plain):
                report.check(name, check)


def main() -> int:
    """Does what the command line says and returns the exit status."""
    parser = argparse.ArgumentParser(prog='tests/run', description=__doc__.partition('\n')[0])
    parser.add_argument('--quick', action='store_true', help='leave out the system tests')
    parser.add_argument('--long', action='store_true', help='run the tests that take long, too')
    parser.add_argument('--only', metavar='REGEX',
                        help='run only the tests whose name it finds; no lints')
    parser.add_argument('--release', choices=system.RELEASES,
                        help='run the system tests on this Debian release only')
    parser.add_argument('--coverage', action='store_true',
                        help='only find out what the unit and behaviour tests run of src/')
    arguments = parser.parse_args()

    os.chdir(ROOT)
    report = Report()
    if arguments.coverage:
        test_coverage(report, arguments.only, arguments.long)
        return report.close()
    test_here(report, arguments.only, arguments.long)
    if not arguments.quick and folders.has_tests(places.SYSTEM_TESTS, arguments.only):
        releases = [arguments.release] if arguments.release else system.RELEASES
        system.run(report, releases, arguments.only, arguments.long)
    return report.close()


if __name__ == '__main__':
    sys.exit(main())
