# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual mailboxes inside a container: who has one, where it lies, and messages put into it.

Exim and Dovecot read the same users. Everything belongs to the user vmail and is closed to others.
"""

import os
from pathlib import Path

from .container import Container

SPOOL = '/var/mail/vhosts'
PASSWORD = 'secret'
EXIM_MAILDIRS = '/etc/exim4/maildirs'
EXIM_MBOXES = '/etc/exim4/mboxes'
DOVECOT_USERS = '/etc/dovecot/users'


class Mailboxes:
    """The mailboxes of one container."""

    def __init__(self, container: Container):
        """Makes the user vmail, the spool, and files of no users."""
        self._container = container
        self._sequence = 0
        container.run(['systemd-sysusers', '-'],
                      input=f'u vmail - "Virtual mailboxes" {SPOOL}\n')
        self.uid, self.gid = (int(container.run(['id', option, 'vmail']).stdout)
                              for option in ('-u', '-g'))
        container.run(['install', '-d', '-o', 'vmail', '-g', 'vmail', '-m', '0700', SPOOL])
        for file in (EXIM_MAILDIRS, EXIM_MBOXES, DOVECOT_USERS):
            container.put_file(file, '')

    def add_maildir(self, address: str, below: str = '') -> str:
        """Gives the address a Maildir, which its first message will make, and returns its path.

        It is the address's own directory, or a directory below that.
        """
        path = self._path(address) + below
        self._append(EXIM_MAILDIRS, f'{address}: {path}\n')
        self._append(DOVECOT_USERS, f'{address}:{{PLAIN}}{PASSWORD}:vmail:vmail::{path}::\n')
        return path

    def add_mbox(self, address: str) -> str:
        """Gives the address an mbox, which its first message will make, and returns its path."""
        path = self._path(address)
        self._append(EXIM_MBOXES, f'{address}: {path}\n')
        return path

    def give_away(self, path: str) -> None:
        """Makes vmail the owner of path, of all below it and of the folders up to the spool."""
        def chown() -> None:
            above = [folder for folder in Path(path).parents if folder.is_relative_to(SPOOL)]
            for each in (*above, Path(path), *Path(path).rglob('*')):
                os.chown(each, self.uid, self.gid, follow_symlinks=False)

        self._container.call(chown)

    def drop(self, maildir: str, size: int, folder: str = '', name: str = '') -> str:
        """Puts a message of size bytes straight into `new`, maildirsize untouched.

        The folder is '' or as '.Trash'. The name defaults to a fresh one with a ,S= tag. Returns
        the path of the message.
        """
        self._sequence += 1
        base = f'{maildir}/{folder}' if folder else maildir
        path = f'{base}/new/{name or f"{self._sequence}.M{self._sequence}P1.mx,S={size}"}'

        def write() -> None:
            for each in ('new', 'cur', 'tmp'):
                os.makedirs(f'{base}/{each}', mode=0o700, exist_ok=True)
            if folder:
                Path(f'{base}/maildirfolder').touch()
            Path(path).write_bytes(b'x' * size)

        self._container.call(write)
        self.give_away(base)
        return path

    def maildirsize(self, maildir: str) -> str:
        """Returns what is in the Maildir's maildirsize."""
        return self._container.read_file(f'{maildir}/maildirsize')

    def messages(self, maildir: str) -> list[str]:
        """Returns the paths of the messages in `new` and `cur` of the Maildir itself."""
        return self._container.call(
            lambda: sorted(str(file) for each in ('new', 'cur')
                           for file in Path(maildir, each).glob('*')))

    def _path(self, address: str) -> str:
        local_part, _, domain = address.rpartition('@')
        return f'{SPOOL}/{domain}/{local_part}'

    def _append(self, path: str, line: str) -> None:
        def append() -> None:
            with open(path, 'a', encoding='utf-8') as file:
                file.write(line)

        self._container.call(append)
