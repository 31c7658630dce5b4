# SPDX-License-Identifier: GPL-2.0-or-later
"""Postfix inside a container: its packages, its configuration, SMTP sessions with it."""

import re
from typing import Iterable, Mapping, Optional

from . import image, places
from .container import Container
from .mail_server import MailServer

FOLDER = '/etc/postfix'

# Postfix does not check mail from 127.0.0.1, which it would relay.
STRANGER = '127.0.0.2'

# What is missing in the image, in one release or the other.
_PACKAGES = 'postfix_*.deb cpio_*.deb libtlsrpt0_*.deb'


def install(container: Container) -> None:
    """Replaces Exim with Postfix as Debian packages it, neither configured nor started."""
    container.run(
        'set -e\n'
        'rm -f /var/lib/man-db/auto-update\n'  # which would take seconds
        'export DEBIAN_FRONTEND=noninteractive\n'
        'dpkg --force-unsafe-io --purge exim4-daemon-light exim4-base exim4-config\n'
        'echo postfix postfix/main_mailer_type select No configuration | debconf-set-selections\n'
        f'cd {image.PACKAGES_FOLDER}\n'
        f'dpkg --force-unsafe-io --install $(ls {_PACKAGES} 2>/dev/null)\n')


class Postfix(MailServer):
    """The Postfix of one container, where install() was called; its clients are strangers to it."""

    name = 'Postfix'

    def __init__(self, container: Container):
        super().__init__(container, client_address=STRANGER)

    def configure(self, lines: str, mailboxes: Iterable[str],
                  aliases: Optional[Mapping[str, str]] = None,
                  ports: Optional[Mapping[int, str]] = None) -> None:
        """Adds lines to tests/system/postfix/main.cf, and restarts Postfix.

        The addresses that have mailboxes, and those that lead to others, are as in SMTP. On each
        of the ports beside 25, the restrictions of recipients are others.
        """
        main = (places.SYSTEM_TESTS / 'postfix' / 'main.cf').read_text(encoding='utf-8')
        self._container.put_file(f'{FOLDER}/main.cf', f'{main}\n{lines}')
        self._container.put_file(f'{FOLDER}/mailboxes', ''.join(
            f'{address} {"/".join(reversed(address.split("@")))}/\n' for address in mailboxes))
        self._container.put_file(f'{FOLDER}/aliases', ''.join(
            f'{address} {target}\n' for address, target in (aliases or {}).items()))
        self._container.put_file(
            f'{FOLDER}/master.cf', self._container.read_file(f'{FOLDER}/master.cf.proto') + ''.join(
                f'{port} inet n - y - - smtpd -o {{ smtpd_recipient_restrictions = {value} }}\n'
                for port, value in (ports or {}).items()))
        self._container.run(['systemctl', 'restart', 'postfix.service'])
        for port in (25, *(ports or {})):
            self._container.wait_for_tcp(port)

    def queue(self) -> int:
        """Returns how many messages of the sessions since dialogues() are not delivered yet.

        (What postqueue lists may lack a message that is just being moved.)
        """
        said = '\n'.join(session.dialogue() for session in self._sessions)
        ended = self._container.journal('-t', 'postfix/qmgr', '-o', 'cat')
        return len(set(re.findall(r'queued as (\w+)', said)) -
                   set(re.findall(r'(?m)^(\w+): removed$', ended)))
