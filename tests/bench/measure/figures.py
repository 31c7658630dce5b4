# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers that were measured, and how they are written."""

import statistics
from dataclasses import dataclass
from typing import Callable, Sequence


class CannotMeasure(Exception):
    """Something that measuring needs is missing or does not work; the text says what."""


@dataclass
class Sample:
    """What one stretch of load on a server showed; times in microseconds."""

    rate: float  # right answers a second
    p50: float
    p99: float
    p999: float
    longest: float
    processor: float  # of the server, for each question
    switches: float   # of contexts, by the server, for each question


def median_of(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """Returns the median of one of the numbers over the samples."""
    return statistics.median(value(sample) for sample in samples)


def count(number: float) -> str:
    """Returns a whole number, with commas between the thousands."""
    return f'{number:,.0f}'


def usec(number: float) -> str:
    """Returns microseconds with about three digits that count."""
    if number >= 10000:
        return f'{number / 1000:,.0f} ms'
    if number >= 1000:
        return f'{number / 1000:.1f} ms'
    return f'{number:.0f} µs' if number >= 100 else f'{number:.1f} µs'


def ratio(numbers: Sequence[float]) -> str:
    """Returns the median of ratios, one a round, with the least and the most of them."""
    return f'{statistics.median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})'
