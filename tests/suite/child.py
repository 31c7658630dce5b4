# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs unittest files of one folder and tells the suite about each test as it ends.

    child.py FILE... [--only REGEX] [--list]

Standard output is one JSON object a test, with the members of report.Result; with --list, it is the
names of the files that hold tests to run. Whatever the tests print themselves, on either stream and
from whichever process, is collected in the file that standard error must be.

A test case with a method failure_report() is asked for more to show when it fails.
"""

import argparse
import faulthandler
import json
import os
import re
import sys
import time
import traceback
import unittest
from pathlib import Path
from typing import Iterator, TextIO


class Reporter(unittest.TestResult):
    """Writes a line about each test; a test with several failures is one that failed."""

    def __init__(self, stream: TextIO):
        super().__init__()
        self._stream = stream
        self._start = 0.0
        self._status = ''
        self._why: list[str] = []

    def startTest(self, test):
        super().startTest(test)
        self._begin()

    def stopTest(self, test):
        super().stopTest(test)
        self._end(test.id())

    def addSuccess(self, test):
        pass

    def addError(self, test, err):
        self._fail(test, err)

    def addFailure(self, test, err):
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._fail(test, err, subtest.id())

    def addUnexpectedSuccess(self, test):
        self._status = 'failed'
        self._why.append('was expected to fail and passed')

    def addExpectedFailure(self, test, err):
        pass

    def addSkip(self, test, reason):
        if isinstance(test, unittest.TestCase):
            self._status = self._status or 'skipped'
            self._why.append(reason)
            return
        self._begin()  # a whole class: nothing began it
        self._status, self._why = 'skipped', [reason]
        self._end(test.id())

    def _fail(self, test, err, title: str = '') -> None:
        fixture = not isinstance(test, unittest.TestCase)  # of a class or a module
        if fixture:
            self._begin()
        self._status = 'failed'
        self._why.append(title + '\n' * bool(title) + self._exc_info_to_string(err, test))
        if hasattr(test, 'failure_report'):
            try:
                self._why.append(test.failure_report())
            except Exception:
                self._why.append('No report on the failure:\n' + traceback.format_exc())
        if fixture:
            self._end(test.id())

    def _begin(self) -> None:
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)
        self._start = time.monotonic()
        self._status = ''
        self._why = []

    def _end(self, name: str) -> None:
        size = os.fstat(2).st_size
        result = {
            'name': name,
            'status': self._status or 'passed',
            'seconds': time.monotonic() - self._start,
            'output': os.pread(2, size, 0).decode(errors='replace'),
            'why': '\n'.join(self._why),
        }
        print(json.dumps(result), file=self._stream, flush=True)


def chosen_of(file: Path, only: re.Pattern) -> list[unittest.TestCase]:
    """Returns the tests of a file whose name the regular expression finds."""
    found = unittest.defaultTestLoader.discover(str(file.parent), file.name, str(file.parent))
    return [test for test in tests_of(found) if only.search(test.id())]


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Yields the tests in a suite, whatever suites it is made of."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests_of(each)
        else:
            yield each


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument('files', type=Path, nargs='+')
    parser.add_argument('--only', type=re.compile, default=re.compile(''))
    parser.add_argument('--list', action='store_true')
    arguments = parser.parse_args()

    with os.fdopen(os.dup(1), 'w', encoding='utf-8') as stream:
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True, errors='backslashreplace')
        faulthandler.enable()
        for file in arguments.files:
            chosen = chosen_of(file, arguments.only)
            if not arguments.list:
                unittest.TestSuite(chosen).run(Reporter(stream))
            elif chosen:
                print(file.name, file=stream)


if __name__ == '__main__':
    main()
