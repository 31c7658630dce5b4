# SPDX-License-Identifier: GPL-2.0-or-later
"""Postfix's policy protocol: what is replied, and connections that stay."""

from daemon import Daemon, DaemonTestCase
from mailboxes import make_maildir
from policy import DUNNO, OVER, TOO_LARGE, Policy


class PolicyTestCase(DaemonTestCase):
    """Mailboxes of addresses, and a socket for Postfix."""

    def setUp(self) -> None:
        super().setUp()
        self.root.joinpath('example.org').mkdir()
        make_maildir(self.root / 'example.org/joe', [100])
        make_maildir(self.root / 'example.org/full', [600, 600])
        self.line = self.listen(self.folder / 'line')
        self.policy = self.listen(self.folder / 'policy', backlog=4096)

    def start_policy(self, *options: str) -> Daemon:
        """Starts a service with a socket for Exim and one for Postfix."""
        return self.start_with([self.line, self.policy], f'--mailbox={self.root}/%d/%n',
                               '--default-quota=1000', *options, names=['query', 'policy'])

    def client(self) -> Policy:
        """Connects as Postfix does, until the test is over."""
        return Policy(self.connect(self.folder / 'policy'))


class ActionTest(PolicyTestCase):
    """What is replied to Postfix."""

    def test_actions(self):
        self.start_policy()
        client = self.client()
        self.assertEqual(client.ask('joe@example.org'), DUNNO)
        self.assertEqual(client.ask('joe@example.org', size=900), DUNNO)
        self.assertEqual(client.ask('joe@example.org', size=901), OVER)
        self.assertEqual(client.ask('joe@example.org', size=1001), TOO_LARGE)
        self.assertEqual(client.ask('full@example.org'), OVER)
        self.assertEqual(client.ask('nobody@example.org', size=10000), DUNNO)
