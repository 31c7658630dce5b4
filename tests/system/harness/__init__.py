# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system tests stand on: images, the project in them, booted containers, mail servers.

A new test is a file tests/system/test_SUBJECT.py with classes derived from scenario.Scenario, or
from scenario.MailScenario where Exim and Dovecot are wanted:

    class Refusals(MailScenario):
        quota = 10000

        def test_full_mailbox(self):
            maildir = self.mailboxes.add_maildir('alice@quota.example')
            self.container.run(['systemctl', 'start', 'exim-quotad.socket'])
            self.exim.send('alice@quota.example', 20000)
            replies = self.exim.check('alice@quota.example')
            print(replies)
            self.assertEqual(replies[0].code, 451)

scenario.DebianScenario has Debian's own configuration of Exim instead, with the ACL files that we
install and a limits file. agents.AgentScenario has delivery agents that keep quotas of their own:
Exim, Dovecot's LMTP server and Courier. postfix.install() puts Postfix in Exim's place.

Each class has a freshly booted container to itself, or shares it (Scenario.is_shared). What a test
prints is shown, and with a failure the journal, the SMTP sessions and Exim's main log. Run it by
`tests/run --only test_SUBJECT`.
"""
