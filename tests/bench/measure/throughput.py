# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions a second, and how long they take: the bare server's, and exim-quotad's."""

import functools
import statistics
from typing import Callable, Sequence

import figures
import mail
from bench import Bench, in_turn
from figures import Sample, median_of
from results import Results, Section

CLIENTS = (1, 4, 16, 64)
MAILBOXES = 5000

BARE = 'bare, one thread'
BARE_THREADS = 'bare, {} threads'
PATH = '`/path`'
CHECK = '`check size=N /path`'
ADDRESS = '`check size=N user@domain`'
KINDS = (PATH, CHECK, ADDRESS)

Measured = dict[str, list[Sample]]


def measure(bench: Bench, results: Results) -> None:
    """Adds a section, and what is demanded of throughput, latency and processor time."""
    mailboxes = bench.make_plain(MAILBOXES)
    mail.settle()
    loads = {PATH: bench.load('path', mail.path_questions(mailboxes)),
             CHECK: bench.load('check', mail.check_questions(mailboxes)),
             ADDRESS: bench.load('address', mail.address_questions(mailboxes))}
    bare_threads = BARE_THREADS.format(bench.cores)
    with bench.start_bare(1) as one, bench.start_bare(bench.cores) as many, \
            bench.start_quotad() as ours:
        servers = {BARE: (one, loads[PATH]), PATH: (ours, loads[PATH]),
                   bare_threads: (many, loads[PATH]), CHECK: (ours, loads[CHECK]),
                   ADDRESS: (ours, loads[ADDRESS])}
        for server, load in servers.values():
            load.warm_up(server.address, CLIENTS[2], functools.partial(server.ask, 'stats'))
        measured = {clients: in_turn(bench.plan.rounds, {
            name: functools.partial(bench.sample, server, load, clients)
            for name, (server, load) in servers.items()}) for clients in CLIENTS}
    results.sections.append(_section(measured, (BARE, bare_threads)))
    _judge(measured, (BARE, bare_threads), results)


def _section(measured: dict[int, Measured], bares: Sequence[str]) -> Section:
    section = Section(f'Throughput and latency over {figures.count(MAILBOXES)} mailboxes', (
        'clients', 'server', 'queries/s', 'of the best bare', 'p50', 'p99', 'p99.9', 'longest',
        'CPU per query', 'switches'))
    for clients, samples in measured.items():
        best = best_of(samples, bares, lambda sample: sample.rate, max)
        for name in (*bares, *KINDS):
            of_best = [sample.rate / rate for sample, rate in zip(samples[name], best)]
            section.rows.append((
                str(clients), name, figures.count(median_of(samples[name], lambda s: s.rate)),
                f'{statistics.median(of_best):.2f}',
                *(figures.usec(median_of(samples[name], value)) for value in (
                    lambda s: s.p50, lambda s: s.p99, lambda s: s.p999, lambda s: s.longest,
                    lambda s: s.processor)),
                f'{median_of(samples[name], lambda s: s.switches):.2f}'))
    section.notes.append('CPU and switches (of contexts) are those of the server alone; the load '
                         'generator runs on the same cores.')
    return section


def _judge(measured: dict[int, Measured], bares: Sequence[str], results: Results) -> None:
    for what, limit, clients, value, better in (
            ('16 clients: queries/s, of the best bare', 0.80, 16, lambda s: s.rate, max),
            ('1 client: p50, times the best bare', 1.4, 1, lambda s: s.p50, min),
            ('64 clients: p99, times the best bare', 2, 64, lambda s: s.p99, min),
            ('16 clients: server CPU per query, times the best bare', 1.8, 16,
             lambda s: s.processor, min)):
        best = best_of(measured[clients], bares, value, better)
        for kind in KINDS:
            ratios = [value(sample) / bare for sample, bare in zip(measured[clients][kind], best)]
            note = results.at_least if better is max else results.at_most
            note(f'{what}, {kind}', limit, statistics.median(ratios), figures.ratio(ratios))


def best_of(samples: Measured, bares: Sequence[str], value: Callable[[Sample], float],
            better: Callable[..., float]) -> list[float]:
    """Returns, for each round, the better number of the bare servers."""
    return [better(value(sample) for sample in together)
            for together in zip(*(samples[name] for name in bares))]
