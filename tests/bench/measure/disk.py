# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the mailboxes lie: on an ext4 of their own, which is gone at once when it is done with.

Hundreds of thousands of files take minutes to remove one by one on some machines.
"""

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator, Optional

IMAGE_BYTES = 8 << 30  # of a file with holes
INODES = 1500000


@contextlib.contextmanager
def folder(where: Optional[Path]) -> Iterator[tuple[Path, str]]:
    """Makes a folder for the time being, and says in a few words what it is on.

    It lies in `where`. Without that it is an image in /var/tmp, mounted, or, where this machine
    mounts none, just a folder there.
    """
    made = Path(tempfile.mkdtemp(prefix='exim-quotad-bench-', dir=where or '/var/tmp'))
    try:
        made.chmod(0o755)  # the daemon becomes another user
        mounted = made / 'mounted'
        if where is None and _mount(made / 'image', mounted):
            try:
                yield mounted, 'ext4 on a loop device'
            finally:
                # Lazily: what was killed a moment ago may still be there.
                subprocess.run(['umount', '--lazy', str(mounted)], check=False)
        else:
            yield made, file_system(made)
    finally:
        # Much faster than Python, where there is much to remove.
        subprocess.run(['rm', '-rf', '--one-file-system', str(made)], check=False)


def _mount(image: Path, mounted: Path) -> bool:
    """Mounts a new file system, and says whether that worked."""
    mounted.mkdir()
    with open(image, 'wb') as file:
        file.truncate(IMAGE_BYTES)
    # Nothing is to be written in the background while something is measured.
    return _succeeds('mkfs.ext4', '-q', '-N', str(INODES), str(image)) and \
        _succeeds('mount', '-o', 'loop,noinit_itable', str(image), str(mounted))


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


def file_system(made: Path) -> str:
    """Returns the name of the file system that a folder is on."""
    found = subprocess.run(['findmnt', '--noheadings', '--output=FSTYPE', f'--target={made}'],
                           stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return found or 'an unknown file system'
