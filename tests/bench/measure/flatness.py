# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether answers cost the same over many mailboxes, long maildirsizes, and refusals."""

import contextlib
import functools
import statistics
from typing import Sequence

import figures
import mail
from bench import Bench, in_turn
from figures import Sample, median_of
from load import Load
from results import Results, Section

CLIENTS = 16
MAILBOXES = 1000
LINES = (30, 300)

# A mailbox found full is told once a minute, as long as those are not more than 4096.
FEW_FULL, MANY_FULL = 1000, 5000


def measure(bench: Bench, results: Results) -> None:
    """Adds a section, and what is demanded of flatness."""
    loads = _loads(bench)
    with contextlib.ExitStack() as running:
        contestants = {}
        for number, (name, load) in enumerate(loads.items()):
            # Each has a server of its own, which so remembers refusals of its own alone.
            ours = running.enter_context(bench.start_quotad(f'quotad-{number}'))
            load.warm_up(ours.address, CLIENTS, functools.partial(ours.ask, 'stats'))
            contestants[name] = functools.partial(bench.sample, ours, load, CLIENTS)
        measured = in_turn(bench.plan.rounds, contestants)
    results.sections.append(_section(measured))
    names = list(measured)
    _judge(measured[names[0]], measured[names[len(bench.plan.spread) - 1]],
           max(bench.plan.spread), results)


def _loads(bench: Bench) -> dict[str, Load]:
    """Makes the mailboxes, and returns the questions about them by what they are."""
    loads = {}
    spread = bench.make_plain(max(bench.plan.spread))
    for count in bench.plan.spread:
        loads[f'{figures.count(count)}, maildirsize of 1 line'] = bench.load(
            f'spread-{count}', mail.check_questions(spread[:count]))
    others = []
    for lines in LINES:
        mailboxes = mail.group(bench.root, f'lines{lines}-', MAILBOXES, messages=lines)
        mail.make_summed(mailboxes)
        others += mailboxes
        loads[f'{figures.count(MAILBOXES)}, maildirsize of {lines} lines'] = bench.load(
            f'lines-{lines}', mail.check_questions(mailboxes))
    full = mail.full(bench.root, MANY_FULL)
    mail.make_whole(full)
    mail.write_limits(bench.limits, [*spread, *others, *full])
    mail.settle()
    for count, how in ((FEW_FULL, 'logged once a minute'), (MANY_FULL, 'each refusal logged')):
        loads[f'{figures.count(count)}, full, {how}'] = bench.load(
            f'full-{count}', mail.full_questions(full[:count]))
    return loads


def _section(measured: dict[str, list[Sample]]) -> Section:
    section = Section(f'The same over other mailboxes: `check size=N /path`, {CLIENTS} clients', (
        'mailboxes', 'queries/s', 'of the first', 'p50', 'p99', 'CPU per query',
        'of the first'))
    first = next(iter(measured.values()))
    for name, samples in measured.items():
        section.rows.append((
            name, figures.count(median_of(samples, lambda s: s.rate)),
            f'{statistics.median(_rates(samples, first)):.2f}',
            *(figures.usec(median_of(samples, value)) for value in (
                lambda s: s.p50, lambda s: s.p99, lambda s: s.processor)),
            f'{statistics.median(_costs(samples, first)):.2f}'))
    return section


def _judge(one: Sequence[Sample], most: Sequence[Sample], count: int, results: Results) -> None:
    slower = [1 / rate for rate in _rates(most, one)]
    costs = _costs(most, one)
    what = f'over {figures.count(count)} mailboxes, times that over 1'
    results.at_most(f'time per query {what}', 1.3, statistics.median(slower),
                    figures.ratio(slower))
    results.at_most(f'server CPU per query {what}', 1.3, statistics.median(costs),
                    figures.ratio(costs))


def _rates(samples: Sequence[Sample], first: Sequence[Sample]) -> list[float]:
    return [sample.rate / other.rate for sample, other in zip(samples, first)]


def _costs(samples: Sequence[Sample], first: Sequence[Sample]) -> list[float]:
    return [sample.processor / other.processor for sample, other in zip(samples, first)]
