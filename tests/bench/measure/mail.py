# SPDX-License-Identifier: GPL-2.0-or-later
"""The mailboxes that are asked about, and what the answers must be."""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence, Union

BYTES = 500  # what the bare server says, too
LIMIT_BYTES = 1000000
FULL_LIMIT_BYTES = 400
MESSAGE_BYTES = 20000  # what a client announces

# So many mailboxes lie in one folder.
PER_DOMAIN = 1000

# Folders that mail programs make.
FOLDERS = ('.Archive', '.Drafts', '.Junk', '.Sent', '.Trash')

# What has just changed is not cached: STAMP_SETTLED_SEC, whole seconds, and a tick.
SETTLE_SECONDS = 3.1

# The group of those that have one line in their maildirsize.
PLAIN = 'plain'

TEMPLATE = '%d/%n'  # below the root


@dataclass(frozen=True)
class Mailbox:
    """A mailbox: the name of its group, its number in it, what it holds, and what it may."""

    root: Path
    group: str
    number: int
    messages: int = 1
    bytes: int = BYTES
    limit: int = LIMIT_BYTES
    source: str = 'maildirsize'  # and rule: what an answer says
    rule: str = 'trusted'

    @property
    def domain(self) -> str:
        return f'{self.group}{self.number // PER_DOMAIN}.example'

    @property
    def address(self) -> str:
        return f'user{self.number}@{self.domain}'

    @property
    def path(self) -> str:
        return f'{self.root}/{self.domain}/user{self.number}'


def group(root: Path, name: str, count: int, **more: Union[int, str]) -> list[Mailbox]:
    """Returns the mailboxes of a group, made or not; more is what Mailbox may have."""
    return [Mailbox(root, name, number, **more) for number in range(count)]


def full(root: Path, count: int) -> list[Mailbox]:
    """Returns mailboxes over their limit, made or not, whose messages are counted."""
    return group(root, 'full', count, limit=FULL_LIMIT_BYTES, source='cache', rule='over')


def make_summed(mailboxes: Iterable[Mailbox]) -> None:
    """Makes mailboxes that need no counting: a maildirsize with a line for each message.

    Those that are there stay as they are.
    """
    for mailbox in mailboxes:
        if os.path.exists(mailbox.path):
            continue
        os.makedirs(mailbox.path)
        _write(f'{mailbox.path}/maildirsize', _maildirsize(mailbox))


def make_whole(mailboxes: Iterable[Mailbox]) -> None:
    """Makes mailboxes whose maildirsize is younger than the rest of them.

    Those that are over their limit have a message, since it is counted. Those that are there are
    made anew.
    """
    for mailbox in mailboxes:
        for leaf in ('cur', 'new', 'tmp'):
            os.makedirs(f'{mailbox.path}/{leaf}', exist_ok=True)
            if leaf == 'cur' and mailbox.rule == 'over':
                _write(f'{mailbox.path}/cur/{message_name(mailbox.bytes)}', '')
            os.utime(f'{mailbox.path}/{leaf}', (1, 1))
        _write(f'{mailbox.path}/maildirsize', _maildirsize(mailbox))


def _maildirsize(mailbox: Mailbox) -> str:
    """Returns what is in the file: a line for each message, and more if it is to be counted."""
    last = mailbox.bytes - mailbox.messages + 1
    return (f'{mailbox.limit}S\n' + '1 1\n' * (mailbox.messages - 1) + f'{last} 1\n' +
            '0 0\n' * (mailbox.rule == 'over'))


def make_counted(mailboxes: Iterable[Mailbox], folders: Sequence[str]) -> None:
    """Makes mailboxes without a maildirsize: one message, and folders of these names, empty."""
    for mailbox in mailboxes:
        for folder in ('', *folders):
            for leaf in ('cur', 'new', *([] if folder else ['tmp'])):
                os.makedirs(f'{mailbox.path}/{folder}/{leaf}')
        _write(f'{mailbox.path}/cur/{message_name(mailbox.bytes)}', '')


def make_mboxes(mailboxes: Iterable[Mailbox]) -> None:
    """Makes a file of each mailbox."""
    for mailbox in mailboxes:
        os.makedirs(os.path.dirname(mailbox.path), exist_ok=True)
        _write(mailbox.path, 'x' * mailbox.bytes)


def message_name(size: int, number: int = 1) -> str:
    """Returns the name of a message in `cur` that says how large it is."""
    return f'{number}.M1P1.mx,S={size},W={size}:2,S'


def write_limits(file: Path, mailboxes: Iterable[Mailbox]) -> None:
    """Writes a file of limits: one for each domain, and one for all others."""
    limits = {mailbox.domain: mailbox.limit for mailbox in mailboxes}
    file.write_text(''.join(f'*@{domain}: {limit}\n' for domain, limit in sorted(limits.items()))
                    + '*: 1G\n', 'ascii')


def settle() -> None:
    """Waits until what was made is as old as what is asked about in life mostly is."""
    time.sleep(SETTLE_SECONDS)


# Questions, with their answers.

def path_questions(mailboxes: Iterable[Mailbox]) -> list[tuple[str, str]]:
    """Asks for the bytes at a path."""
    return _shuffled((mailbox.path, str(mailbox.bytes)) for mailbox in mailboxes)


def check_questions(mailboxes: Iterable[Mailbox]) -> list[tuple[str, str]]:
    """Asks for a verdict on a path."""
    return _shuffled((f'check size={MESSAGE_BYTES} {mailbox.path}', _room(mailbox))
                     for mailbox in mailboxes)


def full_questions(mailboxes: Iterable[Mailbox]) -> list[tuple[str, str]]:
    """Asks for a verdict on the path of a full mailbox."""
    return _shuffled((f'check {mailbox.path}', _verdict(mailbox, 'over', 'Mailbox is full'))
                     for mailbox in mailboxes)


def address_questions(mailboxes: Iterable[Mailbox]) -> list[tuple[str, str]]:
    """Asks for a verdict on an address, as exim-quotad.acl does."""
    return _shuffled((f'check size={MESSAGE_BYTES} quota= {mailbox.address}', _room(mailbox))
                     for mailbox in mailboxes)


def _room(mailbox: Mailbox) -> str:
    return _verdict(mailbox, 'ok', 'Mailbox has room')


def _verdict(mailbox: Mailbox, status: str, text: str) -> str:
    return (f'status={status} bytes={mailbox.bytes} messages={mailbox.messages} '
            f'limit={mailbox.limit} message_limit=0 percent={100 * mailbox.bytes // mailbox.limit} '
            f'source={mailbox.source} rule={mailbox.rule} limit_from=file mailbox={mailbox.path} '
            f'text="{text}"')


def _shuffled(questions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns the questions in an order that is not that in which the mailboxes were made."""
    shuffled = list(questions)
    random.Random(1).shuffle(shuffled)
    return shuffled


def _write(path: str, text: str) -> None:
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)
