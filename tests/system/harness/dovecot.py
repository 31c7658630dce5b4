# SPDX-License-Identifier: GPL-2.0-or-later
"""Dovecot inside a container: its configuration, doveadm, and IMAP sessions."""

import imaplib
import socket
from typing import NamedTuple, Optional

from . import places
from .container import Container
from .mailboxes import PASSWORD

CONFIGURATION = '/etc/dovecot/dovecot.conf'


class Usage(NamedTuple):
    """What Dovecot says about a mailbox."""

    bytes: int
    messages: int


class Dovecot:
    """The Dovecot of one container, which is of the named Debian release."""

    def __init__(self, container: Container, release: str):
        self._container = container
        self._release = release

    def configure(self, quota: int) -> None:
        """Installs tests/system/dovecot/RELEASE.conf with a quota (bytes) and restarts Dovecot."""
        file = places.SYSTEM_TESTS / 'dovecot' / f'{self._release}.conf'
        text = file.read_text(encoding='utf-8').replace('@USERQUOTA@', str(quota))
        self._container.put_file(CONFIGURATION, text)
        self._container.run(['doveconf', '-n'])  # says what is wrong with the file
        self._container.run(['systemctl', 'restart', 'dovecot.service'])
        self._container.wait_for_tcp(143)

    def doveadm(self, *arguments: str) -> str:
        """Runs doveadm and returns what it prints."""
        return self._container.run(['doveadm', *arguments]).stdout

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
