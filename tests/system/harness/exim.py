# SPDX-License-Identifier: GPL-2.0-or-later
"""Exim inside a container: its configuration, SMTP sessions with it, and its log."""

import re
from pathlib import Path
from typing import Optional

from . import places, smtp
from .container import Container, wait_until

CONFIGURATION = '/etc/exim4/exim4.conf'
MAINLOG = '/var/log/exim4/mainlog'
PANICLOG = '/var/log/exim4/paniclog'
QUEUE = '/var/spool/exim4/input'

# For a reply: the first one to hundreds of recipients at once may come when all are done.
REPLY_SECONDS = 120


class Exim:
    """The Exim of one container."""

    def __init__(self, container: Container, client_address: str = ''):
        """Its clients come from client_address, if that is not '': from 127.0.0.1 else."""
        self._container = container
        self._client_address = client_address
        self._sessions: list[smtp.Session] = []

    def configure(self, name: str = 'post.conf', **macros: object) -> None:
        """Installs tests/system/exim/NAME as Exim's whole configuration and restarts it.

        A macro given here replaces the value that the file defines.
        """
        text = (places.SYSTEM_TESTS / 'exim' / name).read_text(encoding='utf-8')
        for macro, value in macros.items():
            line = f'{macro} = {value}'
            text, found = re.subn(rf'^{macro} = .*$', lambda _: line, text, flags=re.MULTILINE)
            if found != 1:
                raise ValueError(f'{name} defines the macro {macro} {found} times')
        self._container.put_file(CONFIGURATION, text)
        self._container.run(['exim4', '-bV'])  # says what is wrong with the file
        self.restart()

    def restart(self) -> None:
        """Restarts it and waits until it listens."""
        # forgets how often it was started in the last seconds, which systemd limits
        self._container.run(['systemctl', 'reset-failed', 'exim4.service'])
        self._container.run(['systemctl', 'restart', 'exim4.service'])
        self._container.wait_for_tcp(25)

    def session(self) -> smtp.Session:
        """Opens an SMTP session, up to and with EHLO."""
        session = smtp.Session(self._container.connect_tcp(25, timeout=REPLY_SECONDS,
                                                           source=self._client_address))
        self._sessions.append(session)
        return session

    def check(self, *recipients: str, size: Optional[int] = None) -> list[smtp.Reply]:
        """Returns the replies to the RCPT of each recipient, in a session that sends nothing."""
        with self.session() as session:
            session.mail_from(size=size)
            return session.pipeline(f'RCPT TO:<{recipient}>' for recipient in recipients)

    def send(self, recipient: str, size: int) -> smtp.Reply:
        """Sends a message of size bytes and waits until it lies in the mailbox.

        Returns the reply that decided: the one that refused, or the one to the message.
        """
        with self.session() as session:
            session.mail_from()
            reply = session.rcpt(recipient)
            if reply.code == 250:
                reply = session.data(smtp.message(size))
        self.wait_for_deliveries()
        return reply

    def wait_for_deliveries(self) -> None:
        """Waits until the queue is empty: everything accepted so far is delivered."""
        wait_until(lambda: self.queue() == 0, "Exim's queue empty")

    def queue(self) -> int:
        """Returns the number of messages in the queue."""
        return self._container.call(lambda: sum(1 for _ in Path(QUEUE).rglob('*-H')))

    def mainlog(self) -> str:
        """Returns the main log, '' if there is none yet."""
        return self._log(MAINLOG)

    def paniclog(self) -> str:
        """Returns the log of what should never happen, '' if there is none."""
        return self._log(PANICLOG)

    def _log(self, path: str) -> str:
        return self._container.call(lambda: Path(path).read_text('utf-8', 'replace')
                                    if Path(path).exists() else '')

    def clear_queue(self) -> None:
        """Removes what is in the queue."""
        def clear() -> bool:
            if not self.queue():
                return True
            messages = re.findall(r'(?m)^ *\d+\w +\S+ +(\S+) <',
                                  self._container.run(['exim4', '-bp']).stdout)
            if messages:
                self._container.run(['exim4', '-Mrm', *messages], check=False)  # may be locked
            return False

        wait_until(clear, "Exim's queue cleared")

    def dialogues(self) -> str:
        """Returns what was said in the sessions since the last call, and forgets it."""
        sessions, self._sessions = self._sessions, []
        return '\n--\n'.join(session.dialogue() for session in sessions)
