# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the first question takes that starts the service, and each one with Accept=yes."""

import functools
import statistics
from pathlib import Path
from typing import Callable

import figures
import mail
from bench import Bench
from booted import OPTIONS, Booted
from harness.mailboxes import SPOOL
from harness.service import ACCEPT_SOCKET, SERVICE, SOCKET, SOCKET_PATH
from load import Load
from results import Results, Section

BOUND_MSEC = 30


def measure(bench: Bench, booted: Booted, results: Results) -> None:
    """Adds a section, and what is demanded of a cold start."""
    mailboxes = mail.group(Path(SPOOL), mail.PLAIN, 1)
    booted.make(mailboxes)
    load = booted.load('activation', mail.address_questions(mailboxes))
    run = booted.container.run
    section = Section(f'From connecting to the reply, with the service stopped, in a container '
                      f'of {booted.release}', ('socket', 'times', 'median', 'longest'))

    booted.start_service()
    _add(section, SOCKET, _times(bench, load, functools.partial(run, ['systemctl', 'stop',
                                                                      SERVICE])), results)
    run(['systemctl', 'stop', SOCKET, SERVICE])
    booted.service.configure(OPTIONS)
    run(['systemctl', 'start', ACCEPT_SOCKET])
    # An instance that has answered is gone, sooner or later: nothing is to be stopped.
    _add(section, ACCEPT_SOCKET, _times(bench, load, functools.partial(
        run, "while systemctl --quiet is-active 'exim-quotad-accept@*'; do sleep 0.01; done")),
        results)
    run(['systemctl', 'stop', ACCEPT_SOCKET])
    results.sections.append(section)


def _times(bench: Bench, load: Load, make_cold: Callable[[], object]) -> list[float]:
    """Returns what questions took, in microseconds, each after the service was made cold."""
    times = []
    for _ in range(bench.plan.starts):
        make_cold()
        times.append(load.ask(Path(SOCKET_PATH), 1, 1)['max_usec'])
    return times


def _add(section: Section, socket: str, times: list[float], results: Results) -> None:
    median = statistics.median(times)
    section.rows.append((socket, str(len(times)), figures.usec(median), figures.usec(max(times))))
    results.at_most(f'first reply through {socket}', BOUND_MSEC, median / 1000,
                    f'{figures.usec(median)} (longest {figures.usec(max(times))})', ' ms')
