# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotad as its unit runs it: confined, started by its socket, refusals in the journal."""

import contextlib
import functools
import statistics
from pathlib import Path

import figures
import mail
from bench import Bench, in_turn
from booted import Booted
from figures import median_of
from flatness import FEW_FULL, MANY_FULL
from harness.mailboxes import SPOOL
from results import Results, Section

CLIENTS = 16
MAILBOXES = 1000

BARE = 'bare, one thread'


def measure(bench: Bench, booted: Booted, results: Results) -> None:
    """Adds a section."""
    root = Path(SPOOL)
    plain = mail.group(root, mail.PLAIN, MAILBOXES)
    full = mail.full(root, MANY_FULL)
    booted.make(plain + full)
    path = booted.load('path', mail.path_questions(plain))
    service = booted.start_service()
    with contextlib.ExitStack() as stack:
        servers = {
            BARE: (stack.enter_context(booted.bare(1)), path),
            '`/path`': (service, path),
            '`check size=N user@domain`': (
                service, booted.load('address', mail.address_questions(plain))),
            f'refusals, {figures.count(FEW_FULL)} mailboxes, logged once a minute': (
                service, booted.load('few', mail.full_questions(full[:FEW_FULL]))),
            f'refusals, {figures.count(MANY_FULL)} mailboxes, each refusal logged': (
                service, booted.load('many', mail.full_questions(full))),
        }
        shares = {name: load.warm_up(server.address, CLIENTS, lambda name=name: (
            '' if name == BARE else booted.service.ask('stats')))
                  for name, (server, load) in servers.items()}
        measured = in_turn(bench.plan.rounds, {
            name: functools.partial(bench.sample, server, load, CLIENTS)
            for name, (server, load) in servers.items()})
    section = Section(f'As the unit runs it, in a container of {booted.release}, '
                      f'{CLIENTS} clients', (
                          'question', 'from memory', 'queries/s', 'of the bare', 'p50', 'p99',
                          'CPU per query', 'of the bare'))
    for name, samples in measured.items():
        section.rows.append((
            name, '' if name == BARE else f'{shares[name]:.1%}',
            figures.count(median_of(samples, lambda s: s.rate)),
            _of(samples, measured[BARE], lambda s: s.rate),
            *(figures.usec(median_of(samples, value)) for value in (
                lambda s: s.p50, lambda s: s.p99, lambda s: s.processor)),
            _of(samples, measured[BARE], lambda s: s.processor)))
    section.notes.append('The service is under its filter of system calls here, and both are '
                         'under that of the container. Refusals go to a real journald, which '
                         'runs on the same cores and keeps no more of them than its rate limit '
                         'allows.')
    results.sections.append(section)


def _of(samples: list[figures.Sample], others: list[figures.Sample], value) -> str:
    return f'{statistics.median(value(s) / value(o) for s, o in zip(samples, others)):.2f}'
