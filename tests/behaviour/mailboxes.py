# SPDX-License-Identifier: GPL-2.0-or-later
"""Making the mailboxes that the tests ask about."""

import os
from pathlib import Path
from typing import Iterable

# The way to each message of a mailbox that takes long to count. (Up and down would be a longer one,
# but the kernel lets nobody go up, below a root, while others rename anything.)
SLOW_WAY = 'd/' * 450
MESSAGES_PER_SLOWNESS = 6

# The kernel follows at most this many links on one path.
LINKS_MAX = 40


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


def make_slow_maildir(path: Path, beside: Path, slowness: int) -> tuple[int, int]:
    """Makes a Maildir that takes long to count: some milliseconds for each ten of slowness.

    Each message is a symbolic link that goes a long way to a file beside the mailbox, in the same
    root, and has to be examined for its size. Returns the bytes and the messages that it holds.
    """
    make_maildir(path)
    end = beside / SLOW_WAY
    os.makedirs(end)
    (end / 'message').write_bytes(b'x')
    way = f'{os.path.relpath(beside, path / "cur")}/{SLOW_WAY}message'
    messages = MESSAGES_PER_SLOWNESS * slowness
    first = path / 'cur' / '0.host:2,S'
    first.symlink_to(way)
    for number in range(1, messages):
        os.link(first, first.with_name(f'{number}.host:2,S'), follow_symlinks=False)
    return messages, messages


def make_chain(folder: Path, links: int) -> Path:
    """Makes as many links that lead to each other, each a long way, and the last one to `end`."""
    (folder / 'a').mkdir(parents=True)
    (folder / 'end').mkdir()
    for number in range(links):
        name = 'end' if number == links - 1 else f'{number + 1}'
        (folder / f'{number}').symlink_to('a/../' * 800 + name)
    return folder / '0'
