# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads of the test process that live inside a container.

Sockets and files that such a thread opens are the container's, and the test process goes on using
them from its other threads: a client library of Python talks to a server in the container without
a program in between.
"""

import concurrent.futures
import ctypes
import os
from typing import Any, Callable

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000


def libc_call(name: str, *arguments: Any) -> None:
    """Calls a function of the C library, and raises OSError if it does not return 0."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{name}: {os.strerror(error)}')


def enter(pid: int) -> None:
    """Moves the calling thread, for good, into the network and the file system of a process."""
    root = os.open(f'/proc/{pid}/root', os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        namespaces = [(os.open(f'/proc/{pid}/ns/{name}', os.O_RDONLY | os.O_CLOEXEC), kind)
                      for name, kind in (('net', CLONE_NEWNET), ('mnt', CLONE_NEWNS))]
        libc_call('unshare', CLONE_FS)
        for namespace, kind in namespaces:
            try:
                libc_call('setns', namespace, kind)
            finally:
                os.close(namespace)
        os.fchdir(root)
        os.chroot('.')
        os.chdir('/')
    finally:
        os.close(root)


class Inside:
    """A few threads inside the namespaces of a process, which carry out what they are handed."""

    def __init__(self, pid: int):
        self._threads = concurrent.futures.ThreadPoolExecutor(
            max_workers=4, thread_name_prefix='inside', initializer=enter, initargs=(pid,))

    def call(self, function: Callable, *arguments: Any, **keywords: Any) -> Any:
        """Calls the function in there and returns what it returns, or raises what it raises.

        Its file names are the container's; so are the modules that it would be the first to import:
        import before.
        """
        return self._threads.submit(function, *arguments, **keywords).result()

    def close(self) -> None:
        """Ends the threads: the container's file systems can go only when they have."""
        self._threads.shutdown(wait=True, cancel_futures=True)
