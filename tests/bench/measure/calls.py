# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls per query, as strace counts them."""

import functools
import re
import signal
import subprocess
import time
from pathlib import Path

import mail
from bench import Bench
from figures import CannotMeasure
from load import Load
from results import Results, Section
from server import Server

CLIENTS = (1, 16)
MAILBOXES = 100
ATTACH_SECONDS = 30

_ROW = re.compile(r'^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$', re.MULTILINE)


def measure(bench: Bench, results: Results) -> None:
    """Adds a section."""
    mailboxes = bench.make_plain(MAILBOXES)
    mail.settle()
    path = bench.load('calls-path', mail.path_questions(mailboxes))
    address = bench.load('calls-address', mail.address_questions(mailboxes))
    section = Section('System calls per query, under strace', ('server', 'clients', 'calls',
                                                               'of which'))
    with bench.start_bare(1) as bare, bench.start_quotad() as ours:
        for name, server, load in (('bare, one thread', bare, path), ('`/path`', ours, path),
                                   ('`check size=N user@domain`', ours, address)):
            load.warm_up(server.address, CLIENTS[-1], functools.partial(server.ask, 'stats'))
            for clients in CLIENTS:
                calls = count(bench, server, load, clients)
                section.rows.append((name, str(clients), f'{sum(calls.values()):.2f}',
                                     listed(calls)))
    section.notes.append('Under strace the server is slow, and more questions wait for it than '
                         'than usual.')
    results.sections.append(section)


def listed(calls: dict[str, float]) -> str:
    """Returns what the calls are, in words."""
    return ', '.join(f'{call} {number:.2f}' for call, number in calls.items() if number >= 0.01)


def count(bench: Bench, server: Server, load: Load, clients: int) -> dict[str, float]:
    """Returns the number of each call for each question, the most frequent first."""
    questions = bench.plan.strace_questions
    printed = bench.folder / 'strace'
    printed.unlink(missing_ok=True)
    attached = bench.folder / 'strace.stderr'
    with open(attached, 'wb') as stderr, subprocess.Popen(
            ['strace', '-c', '-f', '-p', str(server.pid), '-o', str(printed)],
            stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr) as strace:
        try:
            _wait_until_attached(strace, attached)
            load.ask(server.address, clients, questions)
        finally:
            strace.send_signal(signal.SIGINT)
    calls = {name: int(number) / questions
             for number, name in _ROW.findall(printed.read_text('utf-8', 'replace'))
             if name != 'total'}
    if not calls:
        raise CannotMeasure(f'strace has counted nothing: '
                            f'{attached.read_text("utf-8", "replace").strip()}')
    return dict(sorted(calls.items(), key=lambda call: -call[1]))


def _wait_until_attached(strace: subprocess.Popen, said: Path) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while 'attached' not in said.read_text('utf-8', 'replace'):
        if strace.poll() is not None or time.monotonic() > deadline:
            raise CannotMeasure(f'strace does not attach: '
                                f'{said.read_text("utf-8", "replace").strip()}')
        time.sleep(0.02)
