# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md shows to be copied, for tests that run it as it stands there."""

import re
from functools import cache

from . import places


@cache
def text() -> str:
    """Returns the whole README."""
    return (places.SOURCES / 'README.md').read_text(encoding='utf-8')


def section(heading: str) -> str:
    """Returns what follows a heading, up to the next one of the same rank or a higher one."""
    found = re.search(rf'(?m)^(#+) {re.escape(heading)}\n', text())
    if found is None:
        raise AssertionError(f'README.md has no heading "{heading}"')
    rest = text()[found.end():]
    end = re.search(rf'(?m)^#{{1,{len(found[1])}}} ', rest)
    return rest[:end.start()] if end else rest


def blocks(heading: str) -> list[str]:
    """Returns the blocks of code in a section, without their indentation."""
    return [re.sub('(?m)^    ', '', block).strip('\n') + '\n'
            for block in re.findall(r'(?m)(?:^    .*\n|^\n(?=    ))+', section(heading))]


def block(heading: str, part: str) -> str:
    """Returns the one block of code in a section that has the part in it."""
    found = [each for each in blocks(heading) if part in each]
    if len(found) != 1:
        raise AssertionError(f'README.md, {heading}: {len(found)} blocks of code with "{part}"')
    return found[0]


def as_options(lines: str) -> str:
    """Returns what lines for exim-quotad.conf set, written as on a command line."""
    return re.sub('(?m)^(.*) = (.*)\n?', r'--\1=\2 ', lines).strip()


def row(heading: str, first_cell: str) -> list[str]:
    """Returns the other cells of a table's row in a section."""
    for line in section(heading).splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('|') and cells[0] == first_cell:
            return cells[1:]
    raise AssertionError(f'README.md, {heading}: no row "{first_cell}" in a table')
