# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing results as Markdown that reads well as plain text, too."""

from typing import Iterable, Sequence

from results import Results, Section

VERDICTS = {True: 'met', False: '**missed**', None: 'not measured'}


def of(results: Results, heading: Iterable[str]) -> str:
    """Returns the whole table below the lines of the heading."""
    parts = ['\n'.join(heading)]
    if results.bounds:
        bounds = Section('Targets', ('what', 'bound', 'measured', ''))
        bounds.rows = [(bound.what, bound.limit, bound.measured, VERDICTS[bound.met])
                       for bound in results.bounds]
        parts.append(_section(bounds))
    parts.extend(_section(section) for section in results.sections)
    for title, texts in (('Left out', results.left_out), ('Could not be measured', results.missed)):
        if texts:
            parts.append('\n'.join([f'{title}:', '', *(f'- {text}' for text in texts)]))
    return '\n\n'.join(parts) + '\n'


def _section(section: Section) -> str:
    lines = [f'**{section.title}**', '', *_rows([section.columns, *section.rows])]
    for note in section.notes:
        lines.extend(['', note])
    return '\n'.join(lines)


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose first row is its head.

    Numbers stand to the right, but in the first column.
    """
    columns = [[cell.replace('|', '\\|') for cell in column] for column in zip(*rows)]
    padded = []
    for place, (head, *cells) in enumerate(columns):
        numbers = place > 0 and all(cell[:1].isdigit() for cell in cells if cell)
        width = max(3, *map(len, (head, *cells)))
        rule = '-' * (width - 1) + ':' if numbers else '-' * width
        padded.append([cell.rjust(width) if numbers else cell.ljust(width)
                       for cell in (head, rule, *cells)])
    return ['| ' + ' | '.join(row) + ' |' for row in zip(*padded)]
