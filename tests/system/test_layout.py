# SPDX-License-Identifier: GPL-2.0-or-later
"""--layout and --exclude-folder beside Dovecot, with the same layout and the same folder ignored.

What is in each mailbox is known from its making, so that both are compared with a third.
"""

import os
import random
import re
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

from harness.dovecot import CONFIGURATION, Dovecot
from harness.mailboxes import DOVECOT_USERS, PASSWORD, SPOOL, Mailboxes
from harness.scenario import Scenario
from harness.service import Service

MAILBOXES = 60
SEED_VARIABLE = 'EXIM_QUOTAD_SEED'
QUOTA = 1 << 50

# What Dovecot's configuration has beside that of the other tests, by release.
LAYOUT_FS = {'bookworm': ('mail_location = maildir:~', 'mail_location = maildir:~:LAYOUT=fs'),
             'trixie': ('mail_path = ~', 'mail_path = ~\nmailbox_list_layout = fs')}
IGNORE_TRASH = {
    'bookworm': ('quota_rule = ', 'quota_rule2 = Trash:ignore\n  quota_rule = '),
    'trixie': ('mail_path = ~', 'mail_path = ~\nnamespace inbox {\n  inbox = yes\n'
               '  mailbox Trash {\n    quota_ignore = yes\n  }\n}')}


class Sums(NamedTuple):
    """Bytes and messages."""

    bytes: int
    messages: int


class Layout(Scenario):
    """The same mailboxes, counted by both."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        Mailboxes(cls.container)
        cls.service = Service(cls.container)
        cls.dovecot = Dovecot(cls.container, cls.release)

    def test_fs(self):
        self.compare('/', [LAYOUT_FS], '--layout=fs', None)

    def test_fs_without_trash(self):
        self.compare('/', [LAYOUT_FS, IGNORE_TRASH], '--layout=fs --exclude-folder=Trash', 'Trash')

    def test_maildirpp_without_trash(self):
        self.compare('.', [IGNORE_TRASH], '--exclude-folder=Trash', 'Trash')

    def compare(self, separator: str, changes: list[dict[str, tuple[str, str]]], options: str,
                ignored: Optional[str]) -> None:
        """Fails unless both find in each mailbox what was put there, without the ignored folder."""
        self.configure(changes)
        self.service.change(options=options)
        seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(1 << 32))
        parent = Path(SPOOL, self.id().rpartition('.')[2])
        boxes = self.container.call(make_mailboxes, parent, separator, ignored, seed)
        self.container.run(['chown', '-Rh', 'vmail:vmail', SPOOL])
        self.container.put_file(DOVECOT_USERS, ''.join(
            f'{path.name}@quota.example:{{PLAIN}}{PASSWORD}:vmail:vmail::{path}::\n'
            for path in boxes))
        ours = {path: self.usage(path) for path in boxes}
        self.container.run(['doveadm', 'quota', 'recalc', '-A'])
        theirs = self.container.call(lambda: {path: read_maildirsize(path) for path in boxes})
        print(f'{SEED_VARIABLE}={seed}: {len(boxes)} mailboxes, '
              f'{sum(sums.messages for sums in boxes.values())} messages; as they were made '
              f'{sum(ours[path] == boxes[path] for path in boxes)} to the service, '
              f'{sum(theirs[path] == boxes[path] for path in boxes)} to Dovecot')
        self.assertEqual(ours, boxes)
        self.assertEqual(theirs, boxes)

    def configure(self, changes: list[dict[str, tuple[str, str]]]) -> None:
        """Gives Dovecot its usual configuration with these changes."""
        self.dovecot.configure(QUOTA)
        text = self.container.read_file(CONFIGURATION)
        for change in changes:
            old, new = change[self.release]
            self.assertEqual(text.count(old), 1, old)
            text = text.replace(old, new)
        self.container.put_file(CONFIGURATION, text)
        self.container.run(['doveconf', '-n'])
        self.container.run(['systemctl', 'restart', 'dovecot.service'])
        self.container.wait_for_tcp(143)

    def usage(self, path: Path) -> Sums:
        """Asks the service."""
        reply = self.service.ask(f'usage {path}')
        self.assertRegex(reply, '^status=ok .*source=scan')
        return Sums(*(int(re.search(rf'\b{name}=(\d+)', reply)[1])
                      for name in ('bytes', 'messages')))


def make_mailboxes(parent: Path, separator: str, ignored: Optional[str], seed: int
                   ) -> dict[Path, Sums]:
    """Makes mailboxes, and returns for each what is in it, without the ignored folder."""
    chance = random.Random(seed)
    boxes = {}
    for number in range(MAILBOXES):
        path = parent / f'{parent.name}-{number}'
        sums = Sums(*fill(chance, path))
        for name in folders(chance, separator):
            inside = fill(chance, path / (f'.{name}' if separator == '.' else name))
            if name != ignored:
                sums = Sums(sums.bytes + inside.bytes, sums.messages + inside.messages)
        boxes[path] = sums
    return boxes


def folders(chance: random.Random, separator: str) -> Iterator[str]:
    """Yields names of folders: some below others, some whose parent is none."""
    names = {'Trash'}
    for _ in range(chance.randrange(8)):
        depth = chance.randrange(1, 5)
        names.add(separator.join(chance.choice(('Trash', 'old', 'Deleted Items', 'Trashed', 'A',
                                                '&AOk-', 'a.b', 'cur2')) for _ in range(depth)))
    yield from sorted(names)


def fill(chance: random.Random, path: Path) -> Sums:
    """Makes a folder with messages, and returns what is in it."""
    total = messages = 0
    for part in ('cur', 'new', 'tmp'):
        (path / part).mkdir(mode=0o700, parents=True)
        for number in range(chance.randrange(5)):
            size = chance.randrange(100000)
            tag = chance.choice(('', f',S={size}'))
            with open(path / part / f'{number}.M1P1.mx{tag}', 'wb') as file:
                file.truncate(size)
            if part != 'tmp':
                total, messages = total + size, messages + 1
    return Sums(total, messages)


def read_maildirsize(path: Path) -> Sums:
    """Returns what a maildirsize says that was just written, and removes it."""
    file = path / 'maildirsize'
    _, line = file.read_text('ascii').splitlines()
    file.unlink()
    return Sums(*map(int, line.split()))
