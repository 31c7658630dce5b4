# SPDX-License-Identifier: GPL-2.0-or-later
"""What one check of a quota adds to an SMTP RCPT: ours, Exim's own, and a question to Dovecot."""

import functools
import statistics
import time
from pathlib import Path
from typing import Iterable

import figures
import mail
from bench import Bench, in_turn
from booted import Booted
from figures import CannotMeasure
from harness import places
from harness.container import wait_until
from harness.dovecot import CONFIGURATION as DOVECOT_CONFIGURATION
from harness.exim import CONFIGURATION as EXIM_CONFIGURATION
from harness.mailboxes import DOVECOT_USERS, EXIM_MAILDIRS, PASSWORD, SPOOL
from harness.service import SERVICE, SOCKET, SOCKET_PATH
from harness.smtp import Session
from results import Results, Section

NEIGHBOURS = places.SOURCES / 'tests' / 'bench' / 'neighbours'
DOMAINS = '/etc/exim4/domains'
DOVECOT_SOCKET = Path('/run/dovecot/quota-status')
MAILBOXES = 100

NONE = 'no check'
OURS = 'exim-quotad, by exim-quotad.acl'
MINIMAL = 'exim-quotad, by the minimal variant'
EXIM = "Exim's `verify = recipient/quota=no_cache`"
DOVECOT = "Dovecot's quota-status, by `${readsocket}`"

FLOOR = 'the bare server in its place, by the minimal variant'

# The port of each check in neighbours/exim.conf, and how many recipients a session names.
CHECKS = {NONE: (25, 100), OURS: (2501, 100), MINIMAL: (2502, 100), EXIM: (2503, 20),
          DOVECOT: (2504, 50)}

DOVECOT_CLIENTS = (1, 4)


def measure(bench: Bench, booted: Booted, results: Results) -> None:
    """Adds sections, and what is demanded of the difference."""
    mailboxes = mail.group(Path(SPOOL), mail.PLAIN, MAILBOXES)
    full = mail.group(Path(SPOOL), 'too-full', 1, bytes=2 * mail.LIMIT_BYTES)[0]
    booted.make([*mailboxes, full])
    booted.mailboxes.drop(full.path, full.bytes)  # nobody is refused uncounted
    _configure(booted, [*mailboxes, full])
    booted.start_service()
    addresses = [mailbox.address for mailbox in mailboxes]
    for check, (port, _) in CHECKS.items():
        _must_check(booted, check, port, addresses[0], full.address)
    measured = _measure_checks(bench, booted, addresses, CHECKS)
    floor = _measure_floor(bench, booted, addresses)
    _report(measured, floor, booted, results)
    _measure_dovecot(bench, booted, addresses, results)


def _configure(booted: Booted, mailboxes: list[mail.Mailbox]) -> None:
    """Makes Exim and Dovecot know the mailboxes, and each answer in its way."""
    container = booted.container
    container.put_file(DOMAINS, ''.join(f'{domain}\n' for domain in
                                        sorted({mailbox.domain for mailbox in mailboxes})))
    container.put_file(EXIM_MAILDIRS, ''.join(f'{mailbox.address}: {mailbox.path}\n'
                                              for mailbox in mailboxes))
    container.put_file(DOVECOT_USERS, ''.join(
        f'{mailbox.address}:{{PLAIN}}{PASSWORD}:vmail:vmail::{mailbox.path}::\n'
        for mailbox in mailboxes))
    container.put_file(EXIM_CONFIGURATION, (NEIGHBOURS / 'exim.conf').read_text('utf-8'))
    shared = places.SYSTEM_TESTS / 'dovecot' / f'{booted.release}.conf'
    container.put_file(DOVECOT_CONFIGURATION, shared.read_text('utf-8').replace(
        '@USERQUOTA@', str(mail.LIMIT_BYTES)) + (
            NEIGHBOURS / f'dovecot-{booted.release}.conf').read_text('utf-8'))
    container.run(['exim4', '-bV'])
    container.run(['doveconf', '-n'])
    container.run(['systemctl', 'restart', 'exim4.service', 'dovecot.service'])
    container.run(f'until [ -S {DOVECOT_SOCKET} ]; do sleep 0.02; done')
    for port, _ in CHECKS.values():
        wait_until(functools.partial(_listens, booted, port), f'Exim listening on port {port}')


def _listens(booted: Booted, port: int) -> bool:
    try:
        booted.container.connect_tcp(port).close()
        return True
    except ConnectionRefusedError:
        return False


def _must_check(booted: Booted, check: str, port: int, roomy: str, full: str) -> None:
    """Sees to it that a full mailbox, and no other, is refused where there is a check."""
    with Session(booted.container.connect_tcp(port)) as session:
        session.mail_from(size=mail.MESSAGE_BYTES)
        codes = [session.rcpt(address).code // 100 for address in (roomy, full)]
        if codes[0] != 2 or (codes[1] == 2) != (check == NONE):
            raise CannotMeasure(f'{check}: not as it should be:\n{session.dialogue()}\n'
                                f'{booted.container.journal("-n", "20")}')


def _measure_checks(bench: Bench, booted: Booted, addresses: list[str],
                    checks: Iterable[str]) -> dict[str, list[float]]:
    """Returns what an RCPT took with each of the checks, in turn, in µs."""
    return in_turn(2 * bench.plan.rounds, {
        check: lambda port=CHECKS[check][0], count=CHECKS[check][1]:
        rcpt_usec(Session(booted.container.connect_tcp(port)), addresses[:count])
        for check in checks})


def _measure_floor(bench: Bench, booted: Booted, addresses: list[str]) -> list[float]:
    """Returns what an RCPT took more than without a check, in µs, with the least of all servers."""
    booted.container.run(['systemctl', 'stop', SOCKET, SERVICE])
    with booted.bare(1, SOCKET_PATH):
        measured = _measure_checks(bench, booted, addresses, (NONE, MINIMAL))
    booted.start_service()
    return added(measured, MINIMAL)


def added(measured: dict[str, list[float]], check: str) -> list[float]:
    """Returns what the check added to an RCPT in each round."""
    return [with_check - without for with_check, without in zip(measured[check], measured[NONE])]


def rcpt_usec(session: Session, addresses: Iterable[str]) -> float:
    """Names the recipients in a session, which is closed then.

    Returns the median of how long each took, in µs.
    """
    times = []
    with session:
        session.mail_from(size=mail.MESSAGE_BYTES)
        for address in addresses:
            begin = time.monotonic()
            reply = session.rcpt(address)
            times.append((time.monotonic() - begin) * 1e6)
            if reply.code != 250:
                raise CannotMeasure(f'a recipient was refused: {reply}')
    return statistics.median(times)


def _report(measured: dict[str, list[float]], floor: list[float], booted: Booted,
            results: Results) -> None:
    adds = {check: statistics.median(added(measured, check)) for check in measured}
    if adds[OURS] <= 0:
        raise CannotMeasure('what our check adds to an RCPT is lost in the noise')
    section = Section(f'An SMTP RCPT, in a container of {booted.release}', (
        'check', 'an RCPT', 'added', 'times what ours adds'))
    for check, samples in measured.items():
        times = f'{adds[check] / adds[OURS]:.1f}' if check != NONE else ''
        section.rows.append((check, figures.usec(statistics.median(samples)),
                             figures.usec(adds[check]) if check != NONE else '', times))
    adds[FLOOR] = statistics.median(floor)
    section.rows.append((FLOOR, '', figures.usec(adds[FLOOR]), f'{adds[FLOOR] / adds[OURS]:.1f}'))
    section.notes.append('Medians, from the command to the reply; the client is part of each. '
                         'No server that Exim asks by `${readsocket}` can add less than the bare '
                         'one.')
    results.sections.append(section)
    for check, limit in ((EXIM, 50), (DOVECOT, 20)):
        times = adds[check] / adds[OURS]
        results.at_least(f'added to an RCPT by {check}, times what ours adds', limit, times,
                         f'{times:.1f}')


def _measure_dovecot(bench: Bench, booted: Booted, addresses: list[str], results: Results) -> None:
    """Asks Dovecot itself, without Exim, as often as exim-quotad is asked elsewhere."""
    # A vertical tab stands for a line feed, see load.c.
    load = booted.load('dovecot', [
        (f'request=smtpd_access_policy\vprotocol_state=RCPT\vrecipient={address}\v'
         f'size={mail.MESSAGE_BYTES}\v', 'action=DUNNO\v') for address in addresses], '-m')
    section = Section("Dovecot's quota-status itself", ('clients', 'queries/s', 'p50', 'p99'))
    for clients in DOVECOT_CLIENTS:
        load.ask_all(DOVECOT_SOCKET, clients)
        numbers = load.ask(DOVECOT_SOCKET, clients, bench.plan.rounds * MAILBOXES)
        section.rows.append((str(clients), figures.count(numbers['rate']),
                             figures.usec(numbers['p50_usec']), figures.usec(numbers['p99_usec'])))
    results.sections.append(section)
