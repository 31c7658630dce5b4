# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory exim-quotad has resident: idle, with counts to remember, after many mailboxes."""

import figures
import mail
import process
from bench import Bench
from figures import CannotMeasure
from results import Results, Section
from server import Server

CLIENTS = 16
KIB_PER_MIB = 1024

# The bound for memory is meant for so many mailboxes.
DEMANDED_MAILBOXES = 10000


def measure(bench: Bench, results: Results) -> None:
    """Adds a section, and what is demanded of memory."""
    counted = mail.group(bench.root, 'counted', bench.plan.cached)
    mail.make_counted(counted, bench.plan.folders)
    summed = bench.make_plain(max(bench.plan.spread))
    remember = bench.load('counted', mail.path_questions(counted))
    pass_by = bench.load('passed-by', mail.path_questions(summed))
    mail.settle()

    with bench.start_quotad() as ours:
        ours.ask(summed[0].path)
        idle = process.resident_kib(ours.pid)
        remember.ask_all(ours.address, CLIENTS)
        _must_remember(ours, len(counted))
        cached = process.resident_kib(ours.pid)
    with bench.start_quotad() as ours:
        pass_by.ask_all(ours.address, CLIENTS)
        passed = process.resident_kib(ours.pid)

    folders = f' with {len(bench.plan.folders)} folders each' if bench.plan.folders else ''
    what = f'with {figures.count(len(counted))} mailboxes{folders} cached'
    section = Section('Resident memory of exim-quotad', ('when', 'memory'))
    section.rows = [
        ('idle', _mib(idle)), (what, _mib(cached)),
        (f'after {figures.count(len(summed))} mailboxes with a maildirsize', _mib(passed))]
    results.sections.append(section)
    results.at_most('resident memory, idle', 4, idle / KIB_PER_MIB, _mib(idle), ' MiB')
    if len(counted) >= DEMANDED_MAILBOXES:
        results.at_most(f'resident memory, {what}', 16, cached / KIB_PER_MIB,
                        _mib(cached), ' MiB')


def _must_remember(ours: Server, count: int) -> None:
    """Sees to it that the service remembers so many mailboxes, else there is nothing to measure."""
    answer = ours.ask('stats')
    pairs = dict(pair.split('=', 1) for pair in answer.split(' '))
    if pairs.get('mailboxes') != str(count):
        raise CannotMeasure(f'the service does not remember {count} mailboxes: {answer}')


def _mib(kib: int) -> str:
    return f'{kib / KIB_PER_MIB:.1f} MiB'
