# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls of the kernel that Python has no functions for: mounts, exchanges, files by their handles,
encrypted directories.
"""

import ctypes
import fcntl
import os
import struct
from pathlib import Path
from typing import Optional

AT_FDCWD = -100
RENAME_EXCHANGE = 2
MS_BIND = 4096
MNT_DETACH = 2
HANDLE_BYTES = 128

# Of <linux/fscrypt.h>.
_SET_POLICY = 0x800c6613
_ADD_KEY = 0xc0506617
_REMOVE_KEY = 0xc0406618
_KEY_BY_NAME = 2
_KEY_BYTES = 64

_LIBC = ctypes.CDLL(None, use_errno=True)


class _FileHandle(ctypes.Structure):
    _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int),
                ('handle', ctypes.c_ubyte * HANDLE_BYTES)]


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def mount_tmpfs(path: Path, options: str = 'mode=755') -> None:
    """Mounts a file system in memory there."""
    _check(_LIBC.mount(b'tmpfs', os.fsencode(path), b'tmpfs', ctypes.c_ulong(0),
                       options.encode()))


def bind(source: Path, path: Path) -> None:
    """Mounts a directory or file at another place, too."""
    _check(_LIBC.mount(os.fsencode(source), os.fsencode(path), None, ctypes.c_ulong(MS_BIND),
                       None))


def unmount(path: Path, detach: bool = False) -> None:
    """Unmounts what is mounted there last."""
    _check(_LIBC.umount2(os.fsencode(path), MNT_DETACH if detach else 0))


def mounts_below(folder: Path) -> list[Path]:
    """Returns what is mounted below a folder, the last at the end."""
    points = [Path(line.split()[4])
              for line in Path('/proc/self/mountinfo').read_text('utf-8').splitlines()]
    return [point for point in points if folder in point.parents]


def exchange(one: Path, other: Path) -> None:
    """Gives two files or directories each other's names."""
    _check(_LIBC.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other),
                           RENAME_EXCHANGE))


def add_key(mounted: Path) -> bytes:
    """Gives a file system the key of encrypted directories, always the same. Returns its name."""
    argument = bytearray(struct.pack('=II32sII32x', _KEY_BY_NAME, 0, b'', _KEY_BYTES, 0)
                         + b'k' * _KEY_BYTES)
    _control(mounted, _ADD_KEY, argument)
    return bytes(argument[8:24])


def remove_key(mounted: Path, key: bytes) -> None:
    """Takes it away again. Nothing must be open there."""
    argument = bytearray(struct.pack('=II32sI20x', _KEY_BY_NAME, 0, key, 0))
    _control(mounted, _REMOVE_KEY, argument)
    assert argument[40:44] == bytes(4), 'something is open'


def encrypt(folder: Path, key: bytes) -> None:
    """Has the names and files that will be in a directory encrypted."""
    _control(folder, _SET_POLICY, bytearray(struct.pack('=BBBB4x16s', 2, 1, 4, 3, key)))


def _control(folder: Path, request: int, argument: bytearray) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(file, request, argument)
    finally:
        os.close(file)


class Handle:
    """A file or directory that is opened without any name, as an NFS server does."""

    def __init__(self, path: Path):
        self._handle = _FileHandle(bytes=HANDLE_BYTES)
        mount_id = ctypes.c_int()
        _check(_LIBC.name_to_handle_at(AT_FDCWD, os.fsencode(path), ctypes.byref(self._handle),
                                       ctypes.byref(mount_id), 0))
        self._mount = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)

    def open(self, flags: int) -> int:
        """Returns a descriptor."""
        return _check(_LIBC.open_by_handle_at(self._mount, ctypes.byref(self._handle), flags))

    def append(self, data: bytes) -> None:
        """Appends to the file."""
        file = self.open(os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, data)
        finally:
            os.close(file)

    def close(self) -> None:
        """Lets go of its file system."""
        if self._mount >= 0:
            os.close(self._mount)
        self._mount = -1


def handle_of(path: Path) -> Optional[Handle]:
    """Returns the handle of what is there, or None where the file system has none."""
    try:
        return Handle(path)
    except OSError:
        return None
