# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has found out: tables, what was demanded of it, and what could not be measured."""

from dataclasses import dataclass, field
from typing import Optional, Sequence


@dataclass
class Section:
    """A part of the table: rows of the same kind, the first column saying what each is about."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Bound:
    """Something demanded of the service, and what it came to; met is None if nobody knows."""

    what: str
    limit: str
    measured: str
    met: Optional[bool]


@dataclass
class Results:
    """Everything, in the order in which it was measured."""

    sections: list[Section] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # on purpose
    missed: list[str] = field(default_factory=list)    # what could not be measured, and why

    def at_most(self, what: str, limit: float, measured: float, shown: str,
                unit: str = '') -> None:
        """Notes that something may be as large as the limit, and how large it is."""
        self.bounds.append(Bound(what, f'at most {limit:g}{unit}', shown, measured <= limit))

    def at_least(self, what: str, limit: float, measured: float, shown: str,
                 unit: str = '') -> None:
        """Notes that something must be as large as the limit, and how large it is."""
        self.bounds.append(Bound(what, f'at least {limit:g}{unit}', shown, measured >= limit))
