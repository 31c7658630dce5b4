# SPDX-License-Identifier: GPL-2.0-or-later
"""The table in README.md, which stands between two markers and is replaced as a whole."""

import os
import tempfile
from pathlib import Path

from figures import CannotMeasure

BEGIN = '<!-- tests/bench/run --readme writes what follows -->'
END = '<!-- tests/bench/run --readme has written what comes before -->'


def replaced(text: str, table: str) -> str:
    """Returns the text with the table between its markers.

    Raises CannotMeasure unless each marker is there once, on a line of its own and in order.
    """
    lines = text.splitlines(keepends=True)
    places = [[number for number, line in enumerate(lines) if line.rstrip('\n') == marker]
              for marker in (BEGIN, END)]
    for marker, found in zip((BEGIN, END), places):
        if len(found) != 1:
            raise CannotMeasure(f'there are {len(found)} lines {marker!r}, not one')
    (begin,), (end,) = places
    if begin > end:
        raise CannotMeasure(f'{BEGIN!r} does not come before {END!r}')
    return ''.join(lines[:begin + 1]) + '\n' + table.strip('\n') + '\n\n' + ''.join(lines[end:])


def check(file: Path) -> None:
    """Raises CannotMeasure if put() would."""
    try:
        replaced(file.read_text('utf-8'), '')
    except (OSError, UnicodeDecodeError, CannotMeasure) as why:
        raise CannotMeasure(f'{file}: {why}') from why


def put(file: Path, table: str) -> None:
    """Puts the table into the file, whole or not at all."""
    check(file)
    text = replaced(file.read_text('utf-8'), table)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f'.{file.name}-')
    try:
        with open(descriptor, 'w', encoding='utf-8') as new:
            new.write(text)
        os.chmod(name, file.stat().st_mode)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
