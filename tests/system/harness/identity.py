# SPDX-License-Identifier: GPL-2.0-or-later
"""Doing something as a running process could: in its namespaces, as its user, with no more rights.

What a process has put on itself alone, a system-call filter or Landlock, is not taken over: that
can be tried only from within the process.
"""

import ctypes
import os
import pickle
import struct
import traceback
from pathlib import Path
from typing import Any, Callable

from .namespace import enter, libc_call

PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38
SYS_CAPSET = {'x86_64': 126, 'aarch64': 91}
CAPABILITY_VERSION_3 = 0x20080522


def status_of(pid: int) -> dict[str, str]:
    """Returns what /proc/PID/status says, a member for each line."""
    lines = Path(f'/proc/{pid}/status').read_text(encoding='utf-8', errors='replace').splitlines()
    return {name: value.strip() for name, _, value in (line.partition(':') for line in lines)}


def call_as(pid: int, function: Callable, *arguments: Any) -> Any:
    """Calls the function as the process could, pid being its number outside the container.

    It runs in a child process, so that what it returns, or raises, must be fit for pickle.
    """
    status = status_of(pid)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        outcome: tuple[bool, Any]
        try:
            os.close(read_end)
            _become(pid, status)
            outcome = (True, function(*arguments))
        except BaseException as exception:
            outcome = (False, exception)
        try:
            with os.fdopen(write_end, 'wb') as pipe:
                pipe.write(pickle.dumps(outcome))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, 'rb') as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    succeeded, value = pickle.loads(data)
    if succeeded:
        return value
    raise value


def _become(pid: int, status: dict[str, str]) -> None:
    enter(pid)
    os.setgroups([int(group) for group in status['Groups'].split()])
    uids = [int(number) for number in status['Uid'].split()[:3]]
    gids = [int(number) for number in status['Gid'].split()[:3]]
    os.setresgid(*gids)
    libc_call('prctl', PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresuid(*uids)
    _set_capabilities(int(status['CapEff'], 16), int(status['CapPrm'], 16))
    if status['NoNewPrivs'] == '1':
        libc_call('prctl', PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _set_capabilities(effective: int, permitted: int) -> None:
    header = ctypes.create_string_buffer(struct.pack('=Ii', CAPABILITY_VERSION_3, 0))
    low, high = 0xffffffff, 32
    data = ctypes.create_string_buffer(struct.pack(
        '=6I', effective & low, permitted & low, 0, effective >> high, permitted >> high, 0))
    libc_call('syscall', SYS_CAPSET[os.uname().machine], header, data)
