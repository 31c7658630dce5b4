# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command in the surroundings that systemd-nspawn wants.

    launch.py CGROUP_FOLDERS COMMAND [ARGUMENT...]

CGROUP_FOLDERS are the folders of control groups, separated by colons, that the command shall be in.

`/` must be the root of a mount, which after a plain chroot it is not. Then the command gets mounts
of its own, in which the same folder is mounted on itself and the command confined to it again; no
other process sees that.
"""

import os
import sys
from pathlib import Path

from namespace import CLONE_NEWNS, libc_call

MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000


def root_is_mounted() -> bool:
    """Says whether `/` is the root of a mount."""
    mounts = Path('/proc/self/mountinfo').read_text(encoding='utf-8').splitlines()
    return any(mount.split()[4] == '/' for mount in mounts)


def mount_root() -> None:
    """Gives this process mounts of its own, with `/` as the root of one."""
    directory = os.getcwd()
    libc_call('unshare', CLONE_NEWNS)
    root = os.open('/', os.O_PATH | os.O_DIRECTORY)
    # Joining the namespace that one is in leads out of the chroot, where propagation can be ended.
    namespace = os.open('/proc/self/ns/mnt', os.O_RDONLY)
    libc_call('setns', namespace, CLONE_NEWNS)
    libc_call('mount', None, b'/', None, MS_REC | MS_PRIVATE, None)
    os.fchdir(root)
    libc_call('mount', b'.', b'.', None, MS_BIND | MS_REC, None)
    os.chdir(os.getcwd())  # the same path, but on the new mount
    os.chroot('.')
    os.chdir(directory)
    os.close(namespace)
    os.close(root)


if __name__ == '__main__':
    for folder in filter(None, sys.argv[1].split(':')):
        (Path(folder) / 'cgroup.procs').write_text(str(os.getpid()), encoding='ascii')
    if not root_is_mounted():
        mount_root()
    os.execvp(sys.argv[2], sys.argv[2:])
