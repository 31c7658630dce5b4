# SPDX-License-Identifier: GPL-2.0-or-later
"""What a query takes after a delivery into a mailbox with very many messages."""

import functools
import os
import socket
import statistics
import time

import figures
import mail
from bench import Bench
from deliveries import Deliveries
from figures import CannotMeasure
from mail import Mailbox
from results import Results, Section
from server import Server

LINKS_MAX = 60000  # ext4 has no more of a file
LIMIT_BYTES = 1 << 40
DELIVERIES = 101

BARE = 'bare, one thread'
AFTER = 'after a delivery'
UNCHANGED = 'unchanged'


def measure(bench: Bench, results: Results) -> None:
    """Adds a section, and what is demanded of the query."""
    [mailbox] = mail.group(bench.root, 'million', 1, limit=LIMIT_BYTES)
    _make(mailbox, bench.plan.million)
    mail.write_limits(bench.limits, [mailbox])
    mail.settle()
    load = bench.load('million', [(f'check {mailbox.path}', 'status=ok')], '-b')
    deliveries = Deliveries([mailbox])
    with bench.start_bare(1) as bare, bench.start_quotad('million') as ours:
        load.warm_up(ours.address, 1, functools.partial(ours.ask, 'stats'))
        times: dict[str, list[float]] = {BARE: [], UNCHANGED: [], AFTER: []}
        for _ in range(DELIVERIES):
            for name, server in ((BARE, bare), (UNCHANGED, ours), (AFTER, ours)):
                if name == AFTER:
                    deliveries.one(mailbox)
                times[name].append(_query_usec(server, mailbox))
        messages = bench.plan.million + DELIVERIES
        answer = ours.ask(f'check {mailbox.path}')
    if f' messages={messages} ' not in answer:
        raise CannotMeasure(f'the service has lost count: not {messages}, but {answer}')
    section = Section(f'A mailbox with {figures.count(bench.plan.million)} messages', (
        'query', 'median', 'least', 'most'))
    for name, taken in times.items():
        section.rows.append((name, figures.usec(statistics.median(taken)),
                             figures.usec(min(taken)), figures.usec(max(taken))))
    section.notes.append('From connecting to the end of the reply, by a client in Python.')
    results.sections.append(section)
    after = statistics.median(times[AFTER])
    results.at_most(f'query after a delivery, {figures.count(bench.plan.million)} messages', 100,
                    after, figures.usec(after), ' µs')


def _query_usec(server: Server, mailbox: Mailbox) -> float:
    """Returns how long a query about the mailbox takes."""
    question = f'check {mailbox.path}\n'.encode()
    with socket.socket(socket.AF_UNIX) as connection:
        begin = time.perf_counter()
        connection.connect(str(server.address))
        connection.sendall(question)
        while connection.recv(4096):
            pass
        return (time.perf_counter() - begin) * 1e6


def _make(mailbox: Mailbox, count: int) -> None:
    """Makes the mailbox with so many messages, which are few files with many names each."""
    for leaf in ('cur', 'new', 'tmp'):
        os.makedirs(f'{mailbox.path}/{leaf}')
    cur = os.open(f'{mailbox.path}/cur', os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in range(count):
            name = mail.message_name(mailbox.bytes, number + 1)
            if number % LINKS_MAX == 0:
                first = name
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=cur))
            else:
                os.link(first, name, src_dir_fd=cur, dst_dir_fd=cur)
    finally:
        os.close(cur)
