# SPDX-License-Identifier: GPL-2.0-or-later
"""What queries about watched mailboxes cost, beside the bare server: each kind, and as they change.

Each kind has a service of its own, which has watches for all mailboxes of the kind.
"""

import contextlib
import functools
import statistics
from typing import Callable, Sequence

import calls
import figures
import kinds
import mail
import memory
import process
from bench import Bench, in_turn
from deliveries import Deliveries
from figures import Sample, median_of
from kinds import Kind
from results import Results, Section
from server import Server

CLIENTS = (16, 1)
DELIVERIES_PER_SECOND = 100

# accept4, recvfrom, poll for events, sendto and close.
CALLS_MAX = 5

BARE = 'bare, one thread'
QUIET, BUSY = 'none', f'{DELIVERIES_PER_SECOND} a second'


def measure(bench: Bench, results: Results) -> None:
    """Adds sections, and what is demanded of watched mailboxes."""
    made = kinds.make(bench, bench.plan.watched)
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(bench.start_bare(1))
        services = {}
        shares = {}
        for number, (name, kind) in enumerate(made.items()):
            before = process.kernel_kib()
            ours = stack.enter_context(bench.start_quotad(f'watched-{number}'))
            services[name] = ours
            shares[name] = kind.load.warm_up(ours.address, CLIENTS[0],
                                             functools.partial(ours.ask, 'stats'))
            if name == kinds.COUNTED:
                memory.watched(bench, ours, process.kernel_kib() - before, results)
        _beside_the_bare(bench, bare, made, services, shares, results)
        _calls(bench, made, services, results)
        _with_deliveries(bench, made, services, results)


def _beside_the_bare(bench: Bench, bare: Server, made: dict[str, Kind],
                     services: dict[str, Server], shares: dict[str, float],
                     results: Results) -> None:
    path = bench.load('watched-path', mail.path_questions(made[kinds.SUMMED].mailboxes))
    servers = {BARE: (bare, path)}
    servers.update((name, (services[name], kind.load)) for name, kind in made.items())
    section = Section(
        f'{figures.count(bench.plan.watched)} watched mailboxes of each kind',
        ('clients', 'mailboxes', 'from memory', 'queries/s', 'of the bare', 'p50', 'of the bare',
         'p99', 'CPU per query', 'of the bare'))
    for clients in CLIENTS:
        measured = in_turn(bench.plan.rounds, {
            name: functools.partial(bench.sample, server, load, clients)
            for name, (server, load) in servers.items()})
        for name, samples in measured.items():
            def of(value: Callable[[Sample], float], samples=samples,
                   bare=measured[BARE]) -> list[float]:
                return [value(s) / value(b) for s, b in zip(samples, bare)]
            section.rows.append((
                str(clients), name, '' if name == BARE else f'{shares[name]:.1%}',
                figures.count(median_of(samples, lambda s: s.rate)), _median(of(_rate)),
                figures.usec(median_of(samples, _p50)), _median(of(_p50)),
                figures.usec(median_of(samples, lambda s: s.p99)),
                figures.usec(median_of(samples, _processor)), _median(of(_processor))))
            if name != BARE:
                _judge(name, clients, of, results)
    section.notes.append('From memory: the part of the queries that needed no look at the file '
                         'system, before this was measured.')
    results.sections.append(section)


def _judge(name: str, clients: int, of: Callable[[Callable[[Sample], float]], list[float]],
           results: Results) -> None:
    if clients == 1:
        results.at_most(f'1 client: p50, times bare with one thread, watched, {name}', 1.25,
                        statistics.median(of(_p50)), figures.ratio(of(_p50)))
        return
    results.at_least(f'{clients} clients: queries/s, of bare with one thread, watched, {name}',
                     0.80, statistics.median(of(_rate)), figures.ratio(of(_rate)))
    results.at_most(f'{clients} clients: server CPU per query, times bare with one thread, '
                    f'watched, {name}', 1.35, statistics.median(of(_processor)),
                    figures.ratio(of(_processor)))


def _calls(bench: Bench, made: dict[str, Kind], services: dict[str, Server],
           results: Results) -> None:
    section = Section('System calls per query about a watched mailbox, under strace, 1 client',
                      ('mailboxes', 'calls', 'of which'))
    for name, kind in made.items():
        found = calls.count(bench, services[name], kind.load, 1)
        total = sum(found.values())
        section.rows.append((name, f'{total:.2f}', calls.listed(found)))
        results.at_most(f'system calls per query, watched, {name}', CALLS_MAX, total,
                        f'{total:.2f}')
    results.sections.append(section)


def _with_deliveries(bench: Bench, made: dict[str, Kind], services: dict[str, Server],
                     results: Results) -> None:
    """Compares each kind with itself, while messages arrive in the mailboxes."""
    section = Section(
        f'{figures.count(bench.plan.watched)} watched mailboxes with deliveries, '
        f'{CLIENTS[0]} clients',
        ('mailboxes', 'deliveries', 'from memory', 'queries/s', 'of those without', 'p50', 'p99',
         'CPU per query'))
    for name in (kinds.SUMMED, kinds.COUNTED):
        ours, kind = services[name], made[name]
        questions = [(question, answer.partition(' ')[0])
                     for question, answer in mail.check_questions(kind.mailboxes)]
        load = bench.load('changing', questions, '-b')
        deliveries = Deliveries(kind.mailboxes)
        shares: dict[str, list[float]] = {QUIET: [], BUSY: []}

        def sample(rate: float, how: str) -> Sample:
            with deliveries.at(rate):
                share, found = _share(ours, lambda: bench.sample(ours, load, CLIENTS[0]))
            shares[how].append(share)
            return found

        load.warm_up(ours.address, CLIENTS[0], functools.partial(ours.ask, 'stats'))
        measured = in_turn(bench.plan.rounds, {
            QUIET: functools.partial(sample, 0, QUIET),
            BUSY: functools.partial(sample, DELIVERIES_PER_SECOND, BUSY)})
        ratios = [busy.rate / quiet.rate
                  for busy, quiet in zip(measured[BUSY], measured[QUIET])]
        for how, samples in measured.items():
            section.rows.append((
                name, how, f'{statistics.median(shares[how]):.1%}',
                figures.count(median_of(samples, _rate)),
                '' if how == QUIET else _median(ratios), figures.usec(median_of(samples, _p50)),
                figures.usec(median_of(samples, lambda s: s.p99)),
                figures.usec(median_of(samples, _processor))))
        section.notes.append(f'{name}: {deliveries.rate():.0f} messages a second were delivered.')
        results.at_least(f'queries/s with {DELIVERIES_PER_SECOND} deliveries a second, of those '
                         f'without, {name}', 0.7, statistics.median(ratios), figures.ratio(ratios))
    results.sections.append(section)


def _share(ours: Server, run: Callable[[], Sample]) -> tuple[float, Sample]:
    """Returns which part of the queries was answered from memory meanwhile, and what run() did."""
    before = _pairs(ours)
    found = run()
    after = _pairs(ours)
    queries = after['queries'] - before['queries'] - 1
    return (after.get('watch_hits', 0) - before.get('watch_hits', 0)) / queries, found


def _pairs(ours: Server) -> dict[str, int]:
    return {key: int(value) for key, _, value in
            (pair.partition('=') for pair in ours.ask('stats').split(' ')) if value.isdigit()}


def _rate(sample: Sample) -> float:
    return sample.rate


def _p50(sample: Sample) -> float:
    return sample.p50


def _processor(sample: Sample) -> float:
    return sample.processor


def _median(ratios: Sequence[float]) -> str:
    return f'{statistics.median(ratios):.2f}'
