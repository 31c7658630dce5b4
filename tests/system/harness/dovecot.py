# SPDX-License-Identifier: GPL-2.0-or-later
"""Dovecot inside a container: its configuration, doveadm, IMAP sessions and LMTP deliveries."""

import imaplib
import socket
from pathlib import Path
from typing import Mapping, NamedTuple, Optional

from . import places, smtp
from .container import Container
from .mailboxes import DOVECOT_USERS, PASSWORD

CONFIGURATION = '/etc/dovecot/dovecot.conf'
LMTP_SOCKET = '/run/dovecot/lmtp'

# How a line of the users' file gives a user a limit of so many bytes.
QUOTA_FIELDS = {
    'bookworm': 'userdb_quota_rule=*:bytes={}',
    'trixie': 'userdb_quota_storage_size={}B',
}


class Usage(NamedTuple):
    """What Dovecot says about a mailbox."""

    bytes: int
    messages: int


class Dovecot:
    """The Dovecot of one container, which is of the named Debian release."""

    def __init__(self, container: Container, release: str):
        self._container = container
        self._release = release

    def configure(self, quota: int, *variants: str) -> None:
        """Installs tests/system/dovecot/RELEASE.conf with a quota (bytes) and restarts Dovecot.

        Of each variant, RELEASE-VARIANT.conf follows, what it says taking the place of the same
        before it.
        """
        names = [self._release, *(f'{self._release}-{variant}' for variant in variants)]
        text = '\n'.join((places.SYSTEM_TESTS / 'dovecot' / f'{name}.conf').read_text(
            encoding='utf-8') for name in names).replace('@USERQUOTA@', str(quota))
        self._container.put_file(CONFIGURATION, text)
        self._container.run(['doveconf', '-n'])  # says what is wrong with the file
        self._restart()

    def set_quotas(self, quotas: Mapping[str, int]) -> None:
        """Gives users of Mailboxes limits (bytes) of their own, and restarts Dovecot.

        (It would find that the file has changed, but looks once a second only.)
        """
        def change() -> None:
            file = Path(DOVECOT_USERS)
            users = dict(line.split(':', 1) for line in file.read_text('utf-8').splitlines())
            for address, quota in quotas.items():
                *fields, _ = users[address].split(':', 6)
                users[address] = ':'.join((*fields, QUOTA_FIELDS[self._release].format(quota)))
            file.write_text(''.join(f'{user}:{rest}\n' for user, rest in users.items()), 'utf-8')

        self._container.call(change)
        self._restart()

    def _restart(self) -> None:
        """Restarts it and waits until it listens."""
        # Asked to stop, 2.3 takes more than a second. Nor shall systemd's limit of starts count.
        self._container.run('systemctl kill --signal=KILL dovecot.service;'
                            'systemctl reset-failed dovecot.service;'
                            'exec systemctl restart dovecot.service')
        self._container.wait_for_tcp(143)

    def doveadm(self, *arguments: str, input: Optional[str] = None) -> str:
        """Runs doveadm and returns what it prints."""
        return self._container.run(['doveadm', *arguments], input=input).stdout

    def deliver(self, recipient: str, content: str) -> smtp.Reply:
        """Hands a message over by LMTP and returns the reply that decided.

        Dovecot delivers before it replies.
        """
        with smtp.Session(self._container.connect_unix(LMTP_SOCKET), 'LHLO') as session:
            session.mail_from()
            reply = session.rcpt(recipient)
            return session.data(content) if reply.code == 250 else reply

    def expunge(self, address: str, *query: str) -> None:
        """Deletes the user's messages that the search query finds (all, without one)."""
        self.doveadm('expunge', '-u', address, 'mailbox', 'INBOX', *(query or ('all',)))

    def recalculate(self, address: str) -> None:
        """Makes Dovecot count the mailbox anew."""
        self.doveadm('quota', 'recalc', '-u', address)

    def usage(self, address: str) -> Usage:
        """Returns what Dovecot holds to be in the mailbox; its bytes are exact to a KiB only."""
        return _usages(self.doveadm('-f', 'tab', 'quota', 'get', '-u', address))['']

    def usage_of_all(self) -> dict[str, Usage]:
        """Returns what Dovecot holds to be in each user's mailbox, but for those it cannot read."""
        return _usages(self._container.run(['doveadm', '-f', 'tab', 'quota', 'get', '-A'],
                                           check=False).stdout)

    def imap(self, address: str) -> imaplib.IMAP4:
        """Returns an IMAP session of the user, logged in."""
        session = _Imap(self._container)
        session.login(address, PASSWORD)
        return session


def _usages(table: str) -> dict[str, Usage]:
    """Returns what a table of doveadm says of each user ('' where it is about one)."""
    head, *lines = table.splitlines()
    usages: dict[str, Usage] = {}
    for line in lines:
        row = dict(zip(head.split('\t'), line.split('\t')))
        user = row.get('Username', '')
        usage = usages.get(user, Usage(0, 0))
        if row['Value'] == 'error':
            continue
        if row['Type'] == 'STORAGE':
            usages[user] = usage._replace(bytes=int(row['Value']) * 1024)
        elif row['Type'] == 'MESSAGE':
            usages[user] = usage._replace(messages=int(row['Value']))
    return usages


class _Imap(imaplib.IMAP4):
    """An IMAP session with port 143 of a container."""

    def __init__(self, container: Container):
        self._container = container
        super().__init__()

    def _create_socket(self, timeout: Optional[float]) -> socket.socket:
        return self._container.connect_tcp(143, timeout=timeout or 30)
