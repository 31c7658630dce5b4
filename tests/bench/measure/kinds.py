# SPDX-License-Identifier: GPL-2.0-or-later
"""Mailboxes of each kind whose usage the service finds in another way, and questions about them."""

from typing import NamedTuple, Sequence

import mail
from bench import Bench
from load import Load
from mail import Mailbox

FOLDERS = tuple(f'.Folder{number:02}' for number in range(20))

SUMMED = 'maildirsize'
COUNTED = f'counted, {len(FOLDERS)} folders'
FULL = 'full: counted, refused'
MBOX = 'mbox'


class Kind(NamedTuple):
    """Mailboxes of a kind, and a question about each, with its answer."""

    mailboxes: Sequence[Mailbox]
    load: Load


def make(bench: Bench, count: int) -> dict[str, Kind]:
    """Makes so many mailboxes of each kind, and the file of limits for them."""
    root = bench.root
    summed = mail.group(root, 'summed', count)
    counted = mail.group(root, 'folders', count, source='cache', rule='missing')
    full = mail.full(root, count)
    mboxes = mail.group(root, 'mbox', count, messages=0, source='mbox')
    mail.make_whole([*summed, *full])
    mail.make_counted(counted, FOLDERS)
    mail.make_mboxes(mboxes)
    mail.write_limits(bench.limits, [*summed, *counted, *full, *mboxes])
    mail.settle()
    return {
        SUMMED: Kind(summed, bench.load('kind-summed', mail.check_questions(summed))),
        COUNTED: Kind(counted, bench.load('kind-counted', mail.check_questions(counted))),
        FULL: Kind(full, bench.load('kind-full', mail.full_questions(full))),
        MBOX: Kind(mboxes, bench.load('kind-mbox', mail.check_questions(mboxes))),
    }
