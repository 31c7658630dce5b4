# SPDX-License-Identifier: GPL-2.0-or-later
"""Making a running process call functions: what an attacker who has taken it over could do.

Unlike identity.call_as(), this is the process itself: its system-call filter and its Landlock
domain hold.
"""

import errno
import re
from dataclasses import dataclass
from typing import Sequence, Union

from .container import Container

Argument = Union[int, str]

PROGRAM = '/usr/sbin/exim-quotad'  # as it is installed


@dataclass
class Call:
    """A call of a function of the C library, and what came of it."""

    function: str
    arguments: tuple[Argument, ...]
    returned: int
    errno: int  # of a call that returned -1

    def __str__(self) -> str:
        outcome = errno.errorcode[self.errno] if self.returned == -1 else str(self.returned)
        return f'{self.function}({", ".join(map(_written, self.arguments))}) = {outcome}'


def call_in(container: Container, pid: int, calls: Sequence[Sequence[Argument]]) -> list[Call]:
    """Lets the process (its number inside) make the calls, each a function and its arguments.

    Arguments are ints and strings; every function is taken for one that returns an int.
    """
    script = ['set pagination off', 'set debuginfod enabled off']
    for function, *arguments in calls:
        script.append(f'print ((int (*)()) {function})({", ".join(map(_written, arguments))})')
        script.append('print *((int *(*)()) __errno_location)()')
    container.put_file('/var/tmp/calls.gdb', '\n'.join(script) + '\n')
    # gdb cannot always enter the file system of the service, nor find its program by itself; the
    # files are those of the container.
    said = container.run(['gdb', '-batch', '-nx', '-iex', 'set sysroot /',
                          f'--pid={pid}', '--command=/var/tmp/calls.gdb', PROGRAM], check=False)
    numbers = [int(number) for number in re.findall(r'^\$\d+ = (-?\d+)$', said.stdout,
                                                    re.MULTILINE)]
    if len(numbers) != 2 * len(calls):
        raise AssertionError(f'gdb could not make every call:\n{said.stdout}{said.stderr}')
    return [Call(function, tuple(arguments), numbers[2 * number], numbers[2 * number + 1])
            for number, (function, *arguments) in enumerate(calls)]


def _written(argument: Argument) -> str:
    if isinstance(argument, int):
        return str(argument)
    escaped = ''.join(char if char.isprintable() and char not in '"\\' else f'\\{ord(char):03o}'
                      for char in argument)
    return f'"{escaped}"'
