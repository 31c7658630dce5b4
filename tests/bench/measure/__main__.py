# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: measures exim-quotad beside the least that any server costs, and its neighbours.

tests/bench/run starts it, when everything that it needs is installed. It prints one table. Its
status is 0 if it could measure, be the numbers good or bad, and 1 if it could not.
"""

import argparse
import contextlib
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Sequence

TESTS = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TESTS / 'system'))  # where the package harness is

import activation  # noqa: E402
import booted  # noqa: E402
import build  # noqa: E402
import calls  # noqa: E402
import confined  # noqa: E402
import counting  # noqa: E402
import disk  # noqa: E402
import flatness  # noqa: E402
import machine  # noqa: E402
import memory  # noqa: E402
import million  # noqa: E402
import postfix  # noqa: E402
import rcpt  # noqa: E402
import table  # noqa: E402
import throughput  # noqa: E402
import watched  # noqa: E402
from bench import FULL, QUICK, Bench  # noqa: E402
from figures import CannotMeasure  # noqa: E402
from harness import image, places  # noqa: E402
from results import Results  # noqa: E402

# What is measured, in this order, and what for.
SUBJECTS = {
    'throughput': 'queries per second and their latency, beside the bare server',
    'flatness': 'the same over other mailboxes',
    'calls': 'system calls per query',
    'memory': 'resident memory',
    'watched': 'queries about watched mailboxes of each kind, and with deliveries',
    'million': 'a query after a delivery into a mailbox with a million messages',
    'counting': 'what counting a mailbox costs',
    'confined': 'the service as its unit runs it, with refusals in the journal',
    'rcpt': "what a check adds to an SMTP RCPT: ours, Exim's and Dovecot's",
    'activation': 'latency of the first query, which starts the service',
    'postfix': "what a check adds to an RCPT in Postfix: ours and Dovecot's",
}
HERE = {
    'throughput': throughput.measure,
    'flatness': flatness.measure,
    'calls': calls.measure,
    'memory': memory.measure,
    'watched': watched.measure,
    'million': million.measure,
    'counting': counting.measure,
}
IN_A_CONTAINER = {
    'confined': confined.measure,
    'rcpt': rcpt.measure,
    'activation': activation.measure,
    'postfix': postfix.measure,  # last, since it replaces Exim
}
RESULTS = places.SOURCES / 'tests/bench/RESULTS.md'
RESULTS_HEAD = '''\
# Benchmark results

Written by `tests/bench/run --results`. The bare server accepts, receives, sends and closes, and
does nothing else: no server that answers a connection can be faster. The load generator asks as
Exim does, one connection per query, and checks every reply. All servers take turns in each of
several rounds, so a busy machine slows all of them alike; ratios are those within a round, and
numbers are medians.

'''


@contextlib.contextmanager
def measuring(subject: str, results: Results) -> Iterator[None]:
    """Says how long it takes; that something cannot be measured hinders nothing that follows."""
    start = time.monotonic()
    print(f'{subject} ...', end='', file=sys.stderr, flush=True)
    try:
        yield
    except (CannotMeasure, *booted.FAILURES) as why:
        results.missed.append(f'{subject}: {why}')
    print(f' {time.monotonic() - start:.1f} s', file=sys.stderr, flush=True)


def run(bench: Bench, subjects: Sequence[str], release: str) -> Results:
    """Measures the subjects, one after the other."""
    results = Results()
    for subject in HERE:
        if subject in subjects:
            with measuring(subject, results):
                HERE[subject](bench, results)
    inside = [subject for subject in IN_A_CONTAINER if subject in subjects]
    if inside:
        with contextlib.ExitStack() as stack:
            container = None
            with measuring(f'a container of {release}', results):
                container = stack.enter_context(booted.boot(bench, release))
            for subject in inside if container is not None else ():
                with measuring(subject, results):
                    IN_A_CONTAINER[subject](bench, container, results)
    return results


def parse_arguments() -> argparse.Namespace:
    """Reads the command line; ends with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(prog='tests/bench/run',
                                     description=__doc__.partition('\n')[0])
    parser.add_argument('--quick', action='store_true',
                        help='measure less, and nothing that needs a container: below a minute')
    parser.add_argument('--results', action='store_true',
                        help='write the tables of a full run to tests/bench/RESULTS.md')
    parser.add_argument('--only', metavar='SUBJECT,...',
                        help='measure these alone: ' + '; '.join(
                            f'{subject}, {what}' for subject, what in SUBJECTS.items()))
    parser.add_argument('--rounds', type=int, choices=range(1, 1000), metavar='NUMBER',
                        help=f'default {FULL.rounds}, with --quick {QUICK.rounds}')
    parser.add_argument('--release', choices=tuple(image.RELEASES), default='trixie',
                        help='what the container is made of; default trixie')
    parser.add_argument('--daemon', type=Path, metavar='PATH',
                        help='measure this exim-quotad, outside the container')
    parser.add_argument('--where', type=Path, metavar='FOLDER',
                        help='make the mailboxes in this folder; default: in a file system of '
                        'their own, which lies in /var/tmp')
    arguments = parser.parse_args()
    if arguments.results and (arguments.quick or arguments.only or arguments.daemon):
        parser.error('--results takes a full run')
    arguments.subjects = list(HERE if arguments.quick else SUBJECTS)
    if arguments.only:
        arguments.subjects = arguments.only.split(',')
    for subject in arguments.subjects:
        if subject not in SUBJECTS:
            parser.error(f'{subject} is none of {", ".join(SUBJECTS)}')
    return arguments


def measure(arguments: argparse.Namespace, folder: Path, file_system: str
            ) -> tuple[str, list[str]]:
    """Measures what is wanted. Returns the table, and what could not be measured."""
    plan = QUICK if arguments.quick else FULL
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    heading = machine.describe(file_system, build.BUILD_TYPE, plan.rounds)
    programs = build.make()
    bench = Bench(plan, programs, arguments.daemon or programs / 'src/exim-quotad', folder,
                  machine.cores())
    bench.root.mkdir()
    results = run(bench, arguments.subjects, arguments.release)
    results.left_out = [f'{subject}: {what}' for subject, what in SUBJECTS.items()
                        if subject not in arguments.subjects]
    return table.of(results, heading), results.missed


def main() -> int:
    """Does what the command line says and returns the exit status."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and tidy up
    try:
        with disk.folder(arguments.where) as (folder, file_system):
            text, missed = measure(arguments, folder, file_system)
            print(text, end='', flush=True)
        for subject in missed:
            print(f'tests/bench/run: could not measure {subject}', file=sys.stderr)
        if missed:
            return 1
        if arguments.results:
            RESULTS.write_text(RESULTS_HEAD + text, 'utf-8')
    except (CannotMeasure, OSError) as why:
        print(f'tests/bench/run: {why}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
