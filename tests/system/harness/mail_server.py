# SPDX-License-Identifier: GPL-2.0-or-later
"""SMTP sessions with a mail server inside a container, whichever it is."""

from typing import Optional

from . import smtp
from .container import Container, wait_until

# For a reply: the first one to hundreds of recipients at once may come when all are done.
REPLY_SECONDS = 120


class MailServer:
    """The mail server of one container: Exim or Postfix."""

    name: str

    def __init__(self, container: Container, client_address: str = ''):
        """Its clients come from client_address, if that is not '': from 127.0.0.1 else."""
        self._container = container
        self._client_address = client_address
        self._sessions: list[smtp.Session] = []

    def session(self, port: int = 25) -> smtp.Session:
        """Opens an SMTP session, up to and with EHLO."""
        session = smtp.Session(self._container.connect_tcp(port, timeout=REPLY_SECONDS,
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
        wait_until(lambda: self.queue() == 0, f"{self.name}'s queue empty")

    def queue(self) -> int:
        """Returns the number of messages in the queue."""
        raise NotImplementedError

    def dialogues(self) -> str:
        """Returns what was said in the sessions since the last call, and forgets it."""
        sessions, self._sessions = self._sessions, []
        return '\n--\n'.join(session.dialogue() for session in sessions)
