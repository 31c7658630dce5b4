# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotactl report beside Dovecot's own, and the example that warns users."""

import random
import re
import time
from pathlib import Path

from harness import readme
from harness.dovecot import Usage
from harness.mailboxes import DOVECOT_USERS, PASSWORD, SPOOL
from harness.scenario import MailScenario, is_long
from harness.service import Service

WARN = 'exim-quotad-warn.service'
SUBJECT = 'Subject: Your mailbox is nearly full\n'
SEED = 20261130


class Report(MailScenario):
    """One container for all, with the real Exim and Dovecot."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        Service(cls.container).configure(
            f'--mailbox={SPOOL}/%d/%n --default-quota={cls.quota}')
        commands = readme.block('Day to day', 'cp exim-quotad-warn /usr/local/sbin/')
        cls.container.run(f'set -e\n{commands}')

    def warn(self) -> None:
        """Runs the example as its timer does."""
        # forgets how often it was started in the last seconds, which systemd limits
        self.container.run(['systemctl', 'reset-failed', WARN], check=False)
        self.container.run(['systemctl', 'start', WARN])

    def warnings(self, maildir: str) -> list[str]:
        """Returns the warnings in a mailbox."""
        texts = [self.container.read_file(each) for each in self.mailboxes.messages(maildir)]
        return [text for text in texts if SUBJECT in text]

    def fill(self, maildir: str, percent: int) -> None:
        """Replaces what is in a mailbox, but for warnings, so that it is that full."""
        for each in self.mailboxes.messages(maildir):
            self.container.run(['rm', each])
        self.container.run(['rm', '-f', f'{maildir}/maildirsize'])
        self.mailboxes.drop(maildir, self.quota * percent // 100 + 1)

    def test_the_timer_is_there(self):
        self.assertTrue(self.container.is_active('exim-quotad-warn.timer'))

    def test_a_user_is_warned_once_for_each_time(self):
        ann = self.mailboxes.add_maildir('ann@quota.example')
        bob = self.mailboxes.add_maildir('bob@quota.example')
        self.fill(ann, 91)
        self.fill(bob, 50)
        self.warn()
        self.warn()
        [mail] = self.warnings(ann)
        print(mail)
        self.assertIn('Return-path: <>\n', mail)
        self.assertIn('Auto-Submitted: auto-generated\n', mail)
        self.assertIn('To: ann@quota.example\n', mail)
        self.assertIn('Your mailbox ann@quota.example is 91 % full.\n', mail)
        self.assertEqual(self.warnings(bob), [])
        for percent, warnings in ((85, 0), (92, 0), (70, 0), (92, 1)):
            with self.subTest(percent=percent):
                self.fill(ann, percent)
                self.warn()
                self.warn()
                self.assertEqual(len(self.warnings(ann)), warnings)
        self.assertEqual(self.container.run(['exim4', '-bpc']).stdout, '0\n')

    def test_a_mailbox_without_room_gets_no_mail(self):
        full = self.mailboxes.add_maildir('full@quota.example')
        self.fill(full, 101)
        before = self.exim.mainlog()
        self.warn()
        self.assertEqual(self.warnings(full), [])
        self.assertEqual(self.exim.mainlog(), before, 'Exim has got no mail')
        self.fill(full, 91)
        self.warn()
        self.assertEqual(len(self.warnings(full)), 1, 'there is room now')

    def test_a_mailbox_that_cannot_be_read_is_not_forgotten(self):
        joe = self.mailboxes.add_maildir('joe@quota.example')
        self.fill(joe, 91)
        self.warn()
        for path in (joe, str(Path(joe).parent)):
            self.container.run(f'mv {path} /var/mail/away && ln -s /etc {path}')
            self.warn()
            self.container.run(f'rm {path} && mv /var/mail/away {path}')
        self.container.run(f'mv {SPOOL} /var/mail/away && mkdir {SPOOL}')  # as if not mounted
        self.warn()
        self.container.run(f'rmdir {SPOOL} && mv /var/mail/away {SPOOL}')
        self.warn()
        self.assertEqual(len(self.warnings(joe)), 1)

    def test_an_address_that_looks_like_an_encoded_word(self):
        """It would decode to a line end, and one such name must not end the run for all others."""
        odd = self.mailboxes.add_maildir('=?utf-8?q?=0a?=@quota.example')
        self.fill(odd, 91)
        self.warn()
        self.assertEqual(len(self.warnings(odd)), 1)

    def test_beside_doveadm(self):
        """The same sums as `doveadm quota get -A`, and how long each of them takes."""
        draw = random.Random(SEED)
        users = {f'user{number}@many.example': [draw.randint(1, 9) * 1024 for _ in range(
            draw.randint(0, 5))] for number in range(1000 if is_long() else 200)}
        paths = {address: '{1}/{0}'.format(*address.split('@')) for address in users}

        def make() -> None:
            for address, sizes in users.items():
                path = Path(SPOOL, paths[address])
                for name in ('new', 'cur', 'tmp'):
                    (path / name).mkdir(parents=True)
                for number, size in enumerate(sizes):
                    (path / 'cur' / f'{number}.M1P1.mx,S={size},W={size}:2,S').write_bytes(
                        b'x' * size)
            with open(DOVECOT_USERS, 'a', encoding='utf-8') as file:
                file.writelines(f'{address}:{{PLAIN}}{PASSWORD}:vmail:vmail::{SPOOL}/{path}::\n'
                                for address, path in paths.items())

        self.container.call(make)
        self.mailboxes.give_away(f'{SPOOL}/many.example')
        self.dovecot.set_quotas({})  # it reads the users again
        self.dovecot.usage_of_all()  # which writes a maildirsize everywhere
        begin = time.monotonic()
        theirs = self.dovecot.usage_of_all()
        doveadm_seconds = time.monotonic() - begin
        begin = time.monotonic()
        table = self.container.run(['exim-quotactl', 'report', '--csv', 'many.example'],
                                   check=False).stdout
        seconds = time.monotonic() - begin
        ours = {found[1]: Usage(int(found[2]), int(found[3])) for found in re.finditer(
            r'(?m)^([^,]+@many\.example),\w+,(\d+),(\d+),', table)}
        self.assertEqual(ours, {address: Usage(sum(sizes), len(sizes))
                                for address, sizes in users.items()})
        self.assertEqual(ours, {address: usage for address, usage in theirs.items()
                                if address in users})
        print(f'{len(users)} mailboxes: doveadm {doveadm_seconds:.3f} s, report {seconds:.3f} s, '
              f'ratio {doveadm_seconds / seconds:.1f}')
