# SPDX-License-Identifier: GPL-2.0-or-later
"""A control group for each container, where there is no systemd to make one.

Without it all containers would share one, and the systemd of one could end the services of another.
"""

import errno
import os
import secrets
import time
from pathlib import Path

REMOVE_SECONDS = 10


class Cgroup:
    """A control group beneath that of this process, in each hierarchy that systemd may use."""

    def __init__(self) -> None:
        name = f'exim-quotad-test-{os.getpid()}-{secrets.token_hex(4)}'
        self.folders = [parent / name for parent in _own_folders()]
        for folder in self.folders:
            folder.mkdir()

    def remove(self) -> None:
        """Removes the group and what was made in it, once the last process there has ended.

        Raises OSError (EBUSY) if that does not come about within REMOVE_SECONDS.
        """
        deadline = time.monotonic() + REMOVE_SECONDS
        while self.folders:
            try:
                for path, _, _ in os.walk(self.folders[-1], topdown=False):
                    os.rmdir(path)
                self.folders.pop()
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


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
