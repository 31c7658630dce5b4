# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command for which some system calls do not exist, as on an older kernel.

    without_calls.py NUMBER[,NUMBER...] COMMAND [ARGUMENT...]
"""

import ctypes
import errno
import os
import struct
import sys

OPENAT2 = 437  # on every architecture, as all newer calls
LANDLOCK_CREATE_RULESET = 444

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7fff0000
SECCOMP_RET_ERRNO = 0x00050000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


def command(*numbers: int) -> tuple[str, ...]:
    """Returns what a command is to be begun with."""
    return (sys.executable, os.path.abspath(__file__), ','.join(map(str, numbers)))


def refuse(numbers: list[int]) -> None:
    """Makes these calls fail with ENOSYS in this process from now on."""
    # The number of the call is the first word; each test skips the return behind it.
    code = struct.pack('HBBI', LOAD_WORD, 0, 0, 0)
    for number in numbers:
        code += struct.pack('HBBI', JUMP_IF_EQUAL, 0, 1, number)
        code += struct.pack('HBBI', RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.ENOSYS)
    code += struct.pack('HBBI', RETURN, 0, 0, SECCOMP_RET_ALLOW)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack('HP', len(code) // 8, ctypes.addressof(buffer))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                      (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)):
        if prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f'prctl {arguments[0]}')


if __name__ == '__main__':
    refuse([int(number) for number in sys.argv[1].split(',')])
    os.execvp(sys.argv[2], sys.argv[2:])
