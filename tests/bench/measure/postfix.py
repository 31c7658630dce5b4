# SPDX-License-Identifier: GPL-2.0-or-later
"""What one check of a quota adds to an RCPT in Postfix: ours, and that of Dovecot's quota-status.

This comes last in a container: Postfix takes Exim's place.
"""

import statistics
from pathlib import Path

import figures
import mail
from bench import Bench, in_turn
from booted import LIMITS, OPTIONS, Booted
from figures import CannotMeasure
from harness.dovecot import Dovecot
from harness.mailboxes import SPOOL
from harness.postfix import Postfix, install
from harness.service import POSTFIX_SOCKET
from rcpt import NONE, added, rcpt_usec
from results import Results, Section

MAILBOXES = 100
FOLDERS = [f'.Folder{number}' for number in range(20)]

OURS = 'exim-quotad'
DOVECOT = "Dovecot's quota-status"

# The port of each check, and the restrictions there.
_POLICY = 'reject_unauth_destination, check_policy_service {{ unix:private/{}, timeout=10s }}'
PORTS = {NONE: 2500, OURS: 2501, DOVECOT: 2502}
RESTRICTIONS = {NONE: 'reject_unauth_destination', OURS: _POLICY.format('exim-quotad'),
                DOVECOT: _POLICY.format('quota-status')}


def measure(bench: Bench, booted: Booted, results: Results) -> None:
    """Adds a section, and what is demanded of the difference."""
    summed = mail.group(Path(SPOOL), 'summed', MAILBOXES)
    counted = mail.group(Path(SPOOL), 'counted', MAILBOXES)
    full = mail.group(Path(SPOOL), 'too-full', 1, bytes=2 * mail.LIMIT_BYTES)[0]
    server = _configure(booted, summed, counted, full)
    section = Section(f'An RCPT in Postfix, in a container of {booted.release}', (
        'mailboxes', 'check', 'an RCPT', 'added', 'times what ours adds'))
    section.notes.append('Medians, from the command to the reply, of many recipients in one '
                         'session; the client is part of each.')
    for name, mailboxes, variants, options in (
            ('maildirsize', summed, (), ''),
            (f'counted, {len(FOLDERS)} folders', counted, ('count',), ' --maildirsize=ignore')):
        Dovecot(booted.container, booted.release).configure(mail.LIMIT_BYTES, 'postfix', *variants)
        booted.service.configure(OPTIONS + options)
        booted.container.run(['systemctl', 'restart', 'exim-quotad.service'])
        addresses = [mailbox.address for mailbox in mailboxes]
        _must_check(server, addresses, full.address)
        mail.settle()
        _report(name, in_turn(2 * bench.plan.rounds, {
            check: lambda port=port: rcpt_usec(server.session(port), addresses)
            for check, port in PORTS.items()}), section, results)
    results.sections.append(section)


def _configure(booted: Booted, summed: list[mail.Mailbox], counted: list[mail.Mailbox],
               full: mail.Mailbox) -> Postfix:
    """Makes the mailboxes, Postfix and the sockets."""
    container = booted.container
    everybody = [*summed, *counted, full]
    container.call(mail.make_counted, counted, FOLDERS)
    booted.make([*summed, full])
    booted.mailboxes.drop(full.path, full.bytes)
    for mailbox in everybody:
        booted.mailboxes.add_maildir(mailbox.address)
    container.call(mail.write_limits, Path(LIMITS), everybody)
    install(container)
    server = Postfix(container)
    domains = sorted({mailbox.domain for mailbox in everybody})
    server.configure(f'virtual_mailbox_domains = {" ".join(domains)}',
                     (mailbox.address for mailbox in everybody),
                     ports={PORTS[check]: RESTRICTIONS[check] for check in PORTS})
    container.run(['systemctl', 'restart', POSTFIX_SOCKET])
    return server


def _must_check(server: Postfix, addresses: list[str], full: str) -> None:
    """Sees to it that a full mailbox, and no other, is refused where there is a check."""
    for check, port in PORTS.items():
        rcpt_usec(server.session(port), addresses)
        with server.session(port) as session:
            session.mail_from(size=mail.MESSAGE_BYTES)
            if (session.rcpt(full).code == 250) != (check == NONE):
                raise CannotMeasure(f'{check}: not as it should be:\n{session.dialogue()}')


def _report(name: str, measured: dict[str, list[float]], section: Section, results: Results
            ) -> None:
    adds = {check: statistics.median(added(measured, check)) for check in measured}
    if adds[OURS] <= 0:
        raise CannotMeasure('what our check adds to an RCPT is lost in the noise')
    for check, samples in measured.items():
        section.rows.append((
            name, check, figures.usec(statistics.median(samples)),
            *((figures.usec(adds[check]), f'{adds[check] / adds[OURS]:.1f}')
              if check != NONE else ('', ''))))
    times = adds[DOVECOT] / adds[OURS]
    results.at_least("added to an RCPT in Postfix by Dovecot's quota-status, times what ours adds, "
                     f'{name}', 5, times, f'{times:.1f}')
