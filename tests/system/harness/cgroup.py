# SPDX-License-Identifier: GPL-2.0-or-later
"""A control group for each container, where there is no systemd to make one.

Without it all containers would share one, and the systemd of one could end the services of another.
"""

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path

PREFIX = 'exim-quotad-test-'
REMOVE_SECONDS = 60


class Cgroup:
    """A control group below that of this process, in each hierarchy that systemd may use."""

    def __init__(self) -> None:
        name = f'{PREFIX}{os.getpid()}-{secrets.token_hex(4)}'
        parents = _own_folders()
        _remove_those_left_behind(parents)
        self.folders = [parent / name for parent in parents]
        for folder in self.folders:
            folder.mkdir()

    def remove(self) -> None:
        """Removes the group and what was made in it, once the last process there has ended.

        Raises OSError (EBUSY) if that does not come about within REMOVE_SECONDS.
        """
        deadline = time.monotonic() + REMOVE_SECONDS
        while self.folders:
            try:
                _remove_tree(self.folders[-1])
                self.folders.pop()
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def _remove_tree(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        os.rmdir(path)


def _remove_those_left_behind(parents: list[Path]) -> None:
    """Removes the groups of test processes that were killed; those still in use stay."""
    for parent in parents:
        for folder in parent.glob(f'{PREFIX}*'):
            pid = folder.name[len(PREFIX):].partition('-')[0]
            if not Path('/proc', pid).exists():
                with contextlib.suppress(OSError):
                    _remove_tree(folder)


def _own_folders() -> list[Path]:
    """Returns the folders of the groups of this process: version 2, and version 1 of systemd."""
    groups = {}
    for line in Path('/proc/self/cgroup').read_text(encoding='utf-8').splitlines():
        _, name, path = line.split(':', 2)
        groups[name] = path
    folders = []
    for line in Path('/proc/self/mountinfo').read_text(encoding='utf-8').splitlines():
        fields = line.split()
        root, mount_point = fields[3:5]
        kind, _, options = fields[fields.index('-') + 1:]
        if kind == 'cgroup2':
            path = groups['']
        elif kind == 'cgroup' and 'name=systemd' in options.split(','):
            path = groups['name=systemd']
        else:
            continue
        folders.append(Path(mount_point) / os.path.relpath(path, root))
    return folders
