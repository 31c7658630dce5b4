# SPDX-License-Identifier: GPL-2.0-or-later
"""Making the mailboxes that the tests ask about."""

import os
from pathlib import Path
from typing import Iterable

# Messages of a folder of a mailbox that takes long to count, and such folders.
SLOW_MESSAGES = 1000


def make_maildir(path: Path, sizes: Iterable[int] = ()) -> Path:
    """Makes a Maildir with messages of these sizes, which their names tell."""
    for name in ('cur', 'new', 'tmp'):
        (path / name).mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(sizes):
        (path / 'cur' / f'{number}.host,S={size}:2,S').touch()
    return path


def write_maildirsize(path: Path, header: str, *lines: str, age_seconds: int = 0) -> Path:
    """Writes a mailbox's maildirsize, so long ago."""
    file = path / 'maildirsize'
    file.write_text(''.join(f'{line}\n' for line in (header, *lines)), 'ascii')
    seen = file.stat().st_mtime - age_seconds
    os.utime(file, (seen, seen))
    return file


def make_questions(file: Path, root: Path, count: int) -> None:
    """Makes twice that many mailboxes, half of which need counting, and the questions about them.

    The file has them as tests/bench/load.c reads them.
    """
    lines = []
    for number in range(count):
        counted = make_maildir(root / f'counted-{number}', [number, 1, 2, 3])
        summed = make_maildir(root / f'summed-{number}')
        write_maildirsize(summed, '0S', f'{number} 1')
        lines += [f'{counted}\t{number + 6}\n', f'{summed}\t{number}\n']
    file.write_text(''.join(lines), 'utf-8')


def make_slow_maildir(path: Path, beside: Path, folders: int) -> tuple[int, int]:
    """Makes a Maildir that takes long to count, for it has to ask each message for its size.

    All its folders are one, which lies beside it in the same root, by many names. Returns the bytes
    and the messages that it holds.
    """
    make_maildir(path)
    shared = make_maildir(beside)
    for number in range(SLOW_MESSAGES):
        (shared / 'cur' / f'{number}.host:2,S').write_bytes(b'x')
    for number in range(folders):
        (path / f'.{number}').symlink_to(os.path.relpath(shared, path))
    return folders * SLOW_MESSAGES, folders * SLOW_MESSAGES
