# SPDX-License-Identifier: GPL-2.0-or-later
"""The service counts the same mailboxes as Exim and Dovecot do, and what they make of each.

Every difference is one of random_maildirs.Rule, and to the byte what that rule makes of what lies
in the mailbox. The seed of the mailboxes is printed; EXIM_QUOTAD_SEED makes the same ones again.
"""

import collections
import os
import secrets
import shlex
import textwrap
from pathlib import Path
from typing import Optional

import random_maildirs
from harness.dovecot import Dovecot, Usage
from harness.exim import Exim
from harness.mailboxes import DOVECOT_USERS, EXIM_MAILDIRS, PASSWORD, SPOOL, Mailboxes
from harness.scenario import Scenario, is_long
from harness.service import SOCKET_PATH
from random_maildirs import Count, Counter, Maildir, Rule

SEED_VARIABLE = 'EXIM_QUOTAD_SEED'
MAILBOXES = 400 if is_long() else 150
QUOTA = 2 ** 50


class Peers(Scenario):
    """The same mailboxes, counted by all three."""

    boxes: list[Maildir]

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        Mailboxes(cls.container)
        cls.exim = Exim(cls.container)
        cls.exim.configure('recount.conf', USERQUOTA=QUOTA)
        cls.dovecot = Dovecot(cls.container, cls.release)
        cls.dovecot.configure(QUOTA)
        cls.container.run(['systemctl', 'start', 'exim-quotad.socket'])
        cls.seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
        cls.boxes = cls.container.call(random_maildirs.make_maildirs, Path(SPOOL, 'quota.example'),
                                       MAILBOXES, cls.seed)
        cls.container.run(['chown', '-Rh', 'vmail:vmail', SPOOL])
        cls.container.put_file(EXIM_MAILDIRS, ''.join(
            f'{address(box)}: {box.asked}\n' for box in cls.boxes))
        cls.container.put_file(DOVECOT_USERS, ''.join(
            f'{address(box)}:{{PLAIN}}{PASSWORD}:vmail:vmail::{box.path}::\n' for box in cls.boxes))

    def setUp(self) -> None:
        super().setUp()
        self.take_maildirsizes()
        messages = [box.count(Counter.SERVICE).messages for box in self.boxes]
        print(f'{SEED_VARIABLE}={self.seed}: {len(self.boxes)} mailboxes with {min(messages)} to '
              f'{max(messages)} messages, {sum(messages)} in all')

    def test_exim(self) -> None:
        self.assert_service_is_right()
        replies = self.exim.check(*map(address, self.boxes))
        found = self.take_maildirsizes()
        self.assertEqual({str(reply) for reply in replies}, {'250 Accepted'})
        self.compare(Counter.EXIM, found)
        self.assert_service_is_right()

    def test_dovecot(self) -> None:
        self.assert_service_is_right()
        # It says that it failed, for there are mailboxes that it cannot count.
        self.container.run(['doveadm', 'quota', 'recalc', '-A'], check=False)
        told = self.dovecot.usage_of_all()
        found = self.take_maildirsizes()
        self.compare(Counter.DOVECOT, found)
        # What it tells is what it wrote, in KiB.
        for box in self.boxes:
            count = found[address(box)]
            if count and count.bytes < 2 ** 63:
                self.assertEqual(told[address(box)], Usage(-(-count.bytes // 1024) * 1024,
                                                           count.messages), address(box))
        self.assert_service_is_right()

    def assert_service_is_right(self) -> None:
        """Fails unless the service finds in each mailbox what was put there."""
        sources: dict[str, int] = collections.Counter()
        wrong = []
        for box in self.boxes:
            reply = self.ask(f'usage {box.asked}')
            if not box.directories and reply.get('reason') == 'not-a-mailbox':
                sources['not-a-mailbox'] += 1  # Dovecot has left a file there
                continue
            sources[reply['source']] += 1
            right_sources = ('scan', 'cache') if box.directories else ('scan', 'cache', 'none')
            told = Count(int(reply['bytes']), int(reply['messages']))
            if (told != box.count(Counter.SERVICE) or reply['mailbox'] != str(box.path)
                    or reply['source'] not in right_sources):
                wrong.append(f'{address(box)} {box.things}: {reply}, but there is '
                             f'{box.count(Counter.SERVICE)}')
        print(f'exim-quotad: {len(self.boxes) - len(wrong)} of {len(self.boxes)} mailboxes as they '
              f'were made; {dict(sources)}')
        self.assertEqual('\n'.join(wrong), '')

    def compare(self, peer: Counter, found: dict[str, Optional[Count]]) -> None:
        """Fails unless the peer's counts are the service's, but for what the rules explain."""
        reasons: dict[Rule, int] = collections.Counter()
        same, wrong = 0, []
        for box in self.boxes:
            count, rules = found[address(box)], box.rules(peer)
            expected = box.count(peer if rules else Counter.SERVICE)
            reasons.update(rules)
            same += count == box.count(Counter.SERVICE)
            if count != expected and peer not in box.unknown:
                wrong.append(f'{address(box)} {box.things}: {count}, but expected was {expected} '
                             f'by {rules or "no rule"}')
        print(f'{peer.value}: {same} of {len(self.boxes)} mailboxes as exim-quotad; of the others')
        for rule, mailboxes in sorted(reasons.items(), key=lambda reason: reason[0].name):
            print(textwrap.fill(f'{mailboxes:4} by {rule.name}: {rule.value}', 98,
                                subsequent_indent=' ' * 8))
        self.assertEqual('\n'.join(wrong), '')

    def take_maildirsizes(self) -> dict[str, Optional[Count]]:
        """Returns what every maildirsize says (None: there is none), and removes the files."""
        def take() -> dict[str, Optional[Count]]:
            found = {}
            for box in self.boxes:
                file = box.path / 'maildirsize'
                found[address(box)] = read_maildirsize(file.read_text('ascii')) if file.exists(
                    ) else None
                file.unlink(missing_ok=True)
            return found

        return self.container.call(take)

    def ask(self, request: str) -> dict[str, str]:
        """Asks the service and returns the pairs of its reply."""
        with self.container.connect_unix(SOCKET_PATH) as connection:
            connection.sendall(f'{request}\n'.encode())
            with connection.makefile(encoding='utf-8') as stream:
                return dict(pair.split('=', 1) for pair in shlex.split(stream.read()))


def address(box: Maildir) -> str:
    """Returns the address that a mailbox has with Exim and Dovecot."""
    return f'{box.path.name}@quota.example'


def read_maildirsize(text: str) -> Count:
    """Returns what a maildirsize says that was just written: a limit and one line."""
    _, line = text.splitlines()
    return Count(*map(int, line.split()))
