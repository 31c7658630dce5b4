# SPDX-License-Identifier: GPL-2.0-or-later
"""Delivery agents inside a container, and the service beside them.

An agent is a program that puts a message into a mailbox, or refuses to: Exim's appendfile transport
(tests/system/exim/agents.conf), Dovecot's LMTP server, Courier's deliverquota. All of them have the
same users.
"""

import os
import re
from typing import Mapping, NamedTuple

from .container import Container, wait_until
from .dovecot import Dovecot
from .exim import MAINLOG, Exim
from .mailboxes import SPOOL, Mailboxes
from .scenario import LIMITS_FILE, Scenario
from .service import SERVICE, SOCKET, Service

SENDER = 'sender@elsewhere.example'


class Delivery(NamedTuple):
    """What an agent did with a message."""

    taken: bool
    words: str  # what it said


class EximAgent:
    """Exim's appendfile transport."""

    def __init__(self, container: Container):
        self._container = container

    def deliver(self, address: str, _mailbox: str, content: str) -> Delivery:
        """Hands Exim a message that it delivers at once; one that has to wait is removed."""
        begin = len(self._container.read_file(MAINLOG))
        self._container.run(['exim4', '-odi', '-i', '-f', SENDER, address], input=content)
        # Where a queue runner has the message by then, it is that which delivers, a moment later.
        found = wait_until(lambda: re.search(r'(?m)^\S+ \S+ (\S+) (=>|==) (.*)$',
                                             self._container.read_file(MAINLOG)[begin:]),
                           'a delivery by Exim')
        message, mark, words = found.groups()
        if mark == '==':
            self._container.run(['exim4', '-Mrm', message])
        return Delivery(mark == '=>', words)


class LmtpAgent:
    """Dovecot's LMTP server."""

    def __init__(self, dovecot: Dovecot):
        self._dovecot = dovecot

    def deliver(self, address: str, _mailbox: str, content: str) -> Delivery:
        """Hands Dovecot a message, which it delivers before it replies."""
        reply = self._dovecot.deliver(address, content)
        return Delivery(reply.code == 250, str(reply))


class CourierAgent:
    """Courier's deliverquota, as the package maildrop has it."""

    def __init__(self, container: Container):
        self._container = container

    def deliver(self, _address: str, mailbox: str, content: str) -> Delivery:
        """Runs it on a message."""
        ended = self._container.run(['deliverquota.maildrop', mailbox], user='vmail',
                                    input=content, check=False)
        return Delivery(ended.returncode == 0, (ended.stdout + ended.stderr).strip())

    def set_quota(self, mailbox: str, quota: int) -> None:
        """Writes a limit (bytes) into maildirsize, and makes the mailbox if need be."""
        self._container.run(['maildirmake.maildrop', '-q', f'{quota}S', mailbox], user='vmail')


def pairs(reply: str) -> dict[str, str]:
    """Returns the pairs of a reply of the service."""
    return dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', reply))


def content_of(size: int) -> str:
    """Returns a message whose file has exactly that many bytes, unless headers are added."""
    head = 'From: sender@elsewhere.example\nSubject: A test\n\n'
    lines, rest = divmod(size - len(head), 72)
    return head + ('x' * 71 + '\n') * lines + ('x' * (rest - 1) + '\n' if rest else '')


class AgentScenario(Scenario):
    """A Scenario with the agents, whose quotas are their own, and the service.

    self.agents by name (exim, lmtp, courier), self.dovecot, self.mailboxes, self.service.
    """

    exim: Exim
    dovecot: Dovecot
    mailboxes: Mailboxes
    service: Service
    agents: dict
    limits: dict[str, int]

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.mailboxes = Mailboxes(cls.container)
        cls.exim = Exim(cls.container)
        cls.exim.configure('agents.conf')
        cls.dovecot = Dovecot(cls.container, cls.release)
        cls.service = Service(cls.container)
        cls.agents = {
            'exim': EximAgent(cls.container),
            'lmtp': LmtpAgent(cls.dovecot),
            'courier': CourierAgent(cls.container),
        }
        cls.limits = {}
        cls.container.put_file(LIMITS_FILE, '')

    def start_service(self, options: str = '') -> None:
        """Starts the service anew, with these options."""
        self.service.configure(f'--mailbox={SPOOL}/%d/%n {options}')
        self.container.run(['systemctl', 'restart', SOCKET, SERVICE])

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Changes limits (bytes) in the limits file, which Exim reads, too."""
        self.limits.update(limits)
        self.container.put_file(LIMITS_FILE, ''.join(
            f'{each}: {number}\n' for each, number in self.limits.items()))

    def age(self, path: str, seconds: int) -> None:
        """Lets time go by for a file: sets its times so many seconds back."""
        def set_back() -> None:
            written = os.stat(path).st_mtime - seconds
            os.utime(path, (written, written))

        self.container.call(set_back)

    def failure_report(self) -> str:
        return f"Exim's main log:\n{self.exim.mainlog()[-8000:]}\n" + super().failure_report()
