# SPDX-License-Identifier: GPL-2.0-or-later
"""Making calls of a process fail, one at a time or at random: tests/faults/shim.c from without.

The variable FAULTS names the library. What is laid out here is its struct control.
"""

import errno
import mmap
import os
import struct
import subprocess
import tempfile
import unittest
import unittest.mock
from collections import Counter, defaultdict
from pathlib import Path
from typing import Iterable, Iterator, Mapping, NamedTuple

needs_faults = unittest.skipUnless(Path(os.environ.get('FAULTS', '')).is_file(),
                                   'the library that makes calls fail was not built')

# In place of an errno: a part of what was asked for; all of it, but so much later.
SHORT, SLOW = 1000, 1001
SLOW_SECONDS = 0.2

_RECORD, _NTH, _RANDOM = range(3)

_FUNCTIONS_MAX = 128
_MODULES_MAX = 64
_RECORDS_MAX = 65536
_SETTINGS = struct.Struct('=IIIIIiII')  # armed first
_INJECTED_AT = _SETTINGS.size
_RECORDS_COUNT_AT = _INJECTED_AT + 4
_MET_AT = _RECORDS_COUNT_AT + 4
_COUNTS_AT = _MET_AT + 4 * _FUNCTIONS_MAX
_FUNCTIONS_AT = _COUNTS_AT + 8
_FUNCTION = struct.Struct('=32s16i')
_MODULES_AT = _FUNCTIONS_AT + _FUNCTIONS_MAX * _FUNCTION.size
_MODULE = struct.Struct('=QQQ104s')
_RECORDS_AT = _MODULES_AT + _MODULES_MAX * _MODULE.size
_RECORD_ENTRY = struct.Struct('=QIi')
_SIZE = _RECORDS_AT + _RECORDS_MAX * _RECORD_ENTRY.size


class Call(NamedTuple):
    """A call that was met."""

    function: str
    nth: int    # the how many-th of that function, from 1
    site: int   # where it returns to
    error: int  # what it was made to fail with, 0 for nothing


class Fault(NamedTuple):
    """A call that is to fail."""

    function: str
    nth: int
    error: int


def name_of(error: int) -> str:
    """Returns the name of an errno, or of what stands in its place."""
    return 'short' if error == SHORT else errno.errorcode[error]


class Faults:
    """What one process does with the system, and what of it shall fail."""

    def __init__(self, path: Path):
        """Makes the file that is shared with the process."""
        self._path = path
        path.write_bytes(b'')
        os.truncate(path, _SIZE)
        with open(path, 'r+b') as file:
            self._shared = mmap.mmap(file.fileno(), _SIZE)

    def close(self) -> None:
        """Lets go of the file."""
        self._shared.close()

    def environment(self) -> dict[str, str]:
        """Returns what the environment of the process must hold."""
        return {'LD_PRELOAD': os.environ['FAULTS'], 'FAULTS': str(self._path)}

    def record(self) -> None:
        """Notes from now on which calls are met. Nothing fails."""
        self._arm(_RECORD)

    def fail(self, fault: Fault, times: int = 1) -> None:
        """Makes a call fail from now on, and as many in all that come behind it."""
        self._arm(_NTH, self._names().index(fault.function), fault.nth, times, fault.error)

    def fail_randomly(self, seed: int, per_million: int) -> None:
        """Makes so many calls of a million fail from now on."""
        self._arm(_RANDOM, per_million=per_million, seed=seed)

    def stop(self) -> int:
        """Lets everything work again. Returns how many calls have failed."""
        struct.pack_into('=I', self._shared, 0, 0)
        return self.injected()

    def injected(self) -> int:
        """Returns how many calls have failed since they were told to."""
        return struct.unpack_from('=I', self._shared, _INJECTED_AT)[0]

    def calls(self) -> list[Call]:
        """Returns the calls that were met since they were noted, in their order."""
        count = struct.unpack_from('=I', self._shared, _RECORDS_COUNT_AT)[0]
        assert count <= _RECORDS_MAX, f'{count} calls are more than there is room for'
        names = self._names()
        met: Counter[str] = Counter()
        calls = []
        for index in range(count):
            site, function, error = _RECORD_ENTRY.unpack_from(
                self._shared, _RECORDS_AT + index * _RECORD_ENTRY.size)
            met[names[function]] += 1
            calls.append(Call(names[function], met[names[function]], site, error))
        return calls

    def faults(self, calls: Iterable[Call], every: bool, sparse: bool = False) -> Iterator[Fault]:
        """Yields what may go wrong with these calls.

        That is each call with each errno that makes sense for it; or of the calls that a function
        gets from one place only the first and the last. In the sparse form each of these calls
        fails once, with one errno after the other.
        """
        errors = self._errors()
        turns: Counter[str] = Counter()
        chosen: dict[tuple[str, int], list[int]] = defaultdict(list)
        for call in calls:
            numbers = chosen[(call.function, call.site)]
            if not every and len(numbers) == 2:
                numbers.pop()
            numbers.append(call.nth)
        for (function, _), numbers in chosen.items():
            for nth in numbers:
                turns[function] += 1
                turn = turns[function] % len(errors[function])
                for error in errors[function][turn:turn + 1] if sparse else errors[function]:
                    yield Fault(function, nth, error)

    def places(self, sites: Iterable[int]) -> dict[int, str]:
        """Returns the names of the functions that these sites are in, or of the libraries."""
        places = {}
        for base, start, end, path in self._modules():
            offsets = {site: site - base for site in sites if start <= site < end}
            if not offsets:
                continue
            if path:
                places.update({site: Path(path).name.partition('.so')[0] for site in offsets})
            else:
                places.update(zip(offsets, self._symbols(offsets.values())))
        return places

    def _symbols(self, offsets: Iterable[int]) -> list[str]:
        # The place before the return is the call.
        done = subprocess.run(
            ['addr2line', '-f', '-e', os.environ['EXIM_QUOTAD'],
             *(hex(offset - 1) for offset in offsets)], stdout=subprocess.PIPE, text=True,
            check=True)
        return done.stdout.splitlines()[::2]

    def _arm(self, mode: int, function: int = 0, first: int = 0, times: int = 0, error: int = 0,
             per_million: int = 0, seed: int = 0) -> None:
        struct.pack_into('=I', self._shared, 0, 0)
        self._shared[_INJECTED_AT:_COUNTS_AT] = bytes(_COUNTS_AT - _INJECTED_AT)
        settings = (mode, function, first, times, error, per_million, seed)
        struct.pack_into('=IIIIiII', self._shared, 4, *settings)
        struct.pack_into('=I', self._shared, 0, 1)

    def _entries(self) -> list[tuple]:
        count = struct.unpack_from('=I', self._shared, _COUNTS_AT)[0]
        return [_FUNCTION.unpack_from(self._shared, _FUNCTIONS_AT + index * _FUNCTION.size)
                for index in range(count)]

    def _names(self) -> list[str]:
        return [_text(entry[0]) for entry in self._entries()]

    def _errors(self) -> dict[str, list[int]]:
        return {_text(name): [error for error in errors if error]
                for name, *errors in self._entries()}

    def _modules(self) -> Iterator[tuple[int, int, int, str]]:
        count = struct.unpack_from('=I', self._shared, _COUNTS_AT + 4)[0]
        for index in range(count):
            base, start, end, name = _MODULE.unpack_from(self._shared,
                                                         _MODULES_AT + index * _MODULE.size)
            yield base, start, end, _text(name)


class Table:
    """What came of each fault, for people: a line for each function and errno."""

    def __init__(self, title: str):
        self._title = title
        self._rows: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)

    def add(self, fault: Fault, outcome: str, log: str = '') -> None:
        """Adds what the client got, and what the log said."""
        self._rows[(fault.function, name_of(fault.error))].append((outcome, log))

    def print(self) -> None:
        """Prints the table."""
        count = sum(len(rows) for rows in self._rows.values())
        print(f'{self._title}: {count} faults')
        for (function, error), rows in sorted(self._rows.items()):
            outcomes = Counter(outcome for outcome, _ in rows)
            logs = sorted({log for _, log in rows if log})
            got = ', '.join(f'{number} {outcome}' for outcome, number in sorted(outcomes.items()))
            print(f'  {function:16} {error:12} {got}' + (f' | {"; ".join(logs)}' if logs else ''))


def _text(name: bytes) -> str:
    return name.partition(b'\0')[0].decode()


def preload(*environments: Mapping[str, str]) -> dict[str, str]:
    """Returns all of these environments as one, with the libraries of each."""
    merged = {name: value for each in environments for name, value in each.items()}
    merged['LD_PRELOAD'] = ' '.join(each['LD_PRELOAD'] for each in environments if each)
    return merged


def allow_preloading(test: unittest.TestCase) -> None:
    """Lets processes with a sanitizer have a library before it, for the time of the test."""
    given = os.environ.get('ASAN_OPTIONS')
    if given and 'verify_asan_link_order' not in given:
        patched = unittest.mock.patch.dict(os.environ, {
            'ASAN_OPTIONS': f'{given}:verify_asan_link_order=0'})
        patched.start()
        test.addCleanup(patched.stop)


def make_faults(test: unittest.TestCase) -> Faults:
    """Returns the means to make one process fail, for the time of the test."""
    allow_preloading(test)
    handle, path = tempfile.mkstemp(dir=test.folder, prefix='faults-')
    os.close(handle)
    os.chmod(path, 0o666)  # for daemons that become another user
    faults = Faults(Path(path))
    test.addCleanup(faults.close)
    return faults
