# SPDX-License-Identifier: GPL-2.0-or-later
"""What Exim says to a recipient and to a message: limits, sizes, counts, by the ACL files we ship.

Debian's own split configuration, real SMTP, real mailboxes.
"""

import itertools
import re
from pathlib import Path

from harness import smtp
from harness.container import wait_until
from harness.scenario import LIMITS_FILE, DebianScenario
from harness.service import SERVICE

ACCEPTED = '250 Accepted'
FULL = '452 4.2.2 Mailbox is full'
TOO_LARGE = '552 5.2.2 Message is larger than the mailbox may ever be'
NOBODY_HAS_ROOM = "452 4.2.2 No recipient's mailbox has room for this message"
NOBODY_EVER = "552 5.2.2 Message is larger than any recipient's mailbox may ever be"

SIGHUP = 1
SIGHUP_BIT = 1 << (SIGHUP - 1)


class Verdicts(DebianScenario):
    """The quota of a mailbox is 10000 bytes unless a test says something else."""

    limits = '*: 10000\n'

    def setUp(self):
        super().setUp()
        self.set_limits(self.limits)
        self.addCleanup(self.exim.clear_queue)

    def send(self, *recipients: str, size: int, announced: int = -1) -> list[str]:
        """Sends a message, whose size is announced if that is not negative; returns all replies."""
        with self.exim.session() as session:
            session.mail_from(size=announced if announced >= 0 else None)
            replies = [str(session.rcpt(recipient)) for recipient in recipients]
            if any(reply.startswith('250') for reply in replies):
                replies.append(re.sub(r' id=\S+', '', str(session.data(smtp.message(size)))))
        print(f'to {", ".join(sorted(set(recipients)))}: {size} bytes'
              + (f', announced as {announced}' if announced >= 0 else ''))
        for reply, same in itertools.groupby(replies):
            count = len(list(same))
            print(f'  {reply}' + (f' ({count} times)' if count > 1 else ''))
        return replies

    # Sizes.

    def test_announced_size_decides_at_rcpt(self):
        sized = 'sized@quota.example'
        self.filled(sized, 3000, 3000)
        for size, expected in ((0, ACCEPTED), (1, ACCEPTED), (4000, ACCEPTED), (4001, FULL),
                               (10000, FULL), (10001, TOO_LARGE)):
            with self.subTest(size=size):
                self.assertEqual(self.check(sized, size=size), [expected])
        self.assertEqual(self.check(sized), [ACCEPTED])

    def test_full_mailbox_is_refused_without_a_size(self):
        brim, over = 'brim@quota.example', 'over@quota.example'
        self.filled(brim, 10000)
        self.filled(over, 10001)
        self.assertEqual(self.check(brim, over), [ACCEPTED, FULL])

    def test_size_that_was_not_announced_is_checked_at_data(self):
        unsized = 'unsized@quota.example'
        maildir = self.filled(unsized, 6000)
        self.assertEqual(self.send(unsized, size=5000), [ACCEPTED, NOBODY_HAS_ROOM])
        self.assertEqual(self.send(unsized, size=20000), [ACCEPTED, NOBODY_EVER])
        self.assertEqual(self.send(unsized, size=5000, announced=100), [ACCEPTED, NOBODY_HAS_ROOM])
        self.assertEqual(self.send(unsized, size=3000), [ACCEPTED, '250 OK'])
        self.exim.wait_for_deliveries()
        self.assertEqual(len(self.mailboxes.messages(maildir)), 2)
        print(self.log())
        self.assertNotIn('not checked', self.log())

    def test_size_at_data_is_exact_to_the_byte(self):
        exact = 'exact@quota.example'
        self.filled(exact, 6000)
        self.assertEqual(self.send(exact, size=5000), [ACCEPTED, NOBODY_HAS_ROOM])
        size = int(re.search(r'rejected after DATA: size=(\d+), recipients: over', self.log())[1])
        print(f'Exim: $message_size is {size}')
        for limit, expected in ((6000 + size - 1, NOBODY_HAS_ROOM), (6000 + size, '250 OK')):
            self.set_limits(f'{exact}: {limit}\n{self.limits}')
            print(f'6000 bytes there, limit {limit}')
            self.assertEqual(self.send(exact, size=5000), [ACCEPTED, expected])

    # Several recipients.

    def test_of_three_recipients_the_full_one_is_refused(self):
        first, second, third = (f'{name}@quota.example' for name in ('one', 'two', 'three'))
        maildirs = [self.filled(first, 1000), self.filled(second, 9500), self.filled(third, 2000)]
        self.assertEqual(self.send(first, second, third, size=2000, announced=2000),
                         [ACCEPTED, FULL, ACCEPTED, '250 OK'])
        self.exim.wait_for_deliveries()
        self.assertEqual([len(self.mailboxes.messages(maildir)) for maildir in maildirs], [2, 1, 2])

    def test_at_data_one_recipient_with_room_saves_the_message(self):
        room, tight = 'room@quota.example', 'tight@quota.example'
        maildir = self.filled(room, 1000)
        self.filled(tight, 9500)
        self.assertEqual(self.send(tight, room, size=2000), [ACCEPTED, ACCEPTED, '250 OK'])
        wait_until(lambda: len(self.mailboxes.messages(maildir)) == 2, 'delivery to the one')

    def test_at_data_an_unchecked_recipient_counts_as_one_with_room(self):
        tight, new = 'tight2@quota.example', 'new@quota.example'
        self.filled(tight, 9500)
        self.mailboxes.add_maildir(new)
        self.assertEqual(self.send(tight, new, size=2000), [ACCEPTED, ACCEPTED, '250 OK'])

    def test_at_data_nobody_has_room(self):
        tight, tighter, small = (f'{name}@quota.example' for name in ('tight3', 'tight4', 'small'))
        self.filled(tight, 9000)
        self.filled(tighter, 9500)
        self.filled(small, 100)
        self.set_limits(f'{small}: 1500\n{self.limits}')
        self.assertEqual(self.send(tight, tighter, size=2000),
                         [ACCEPTED, ACCEPTED, NOBODY_HAS_ROOM])
        self.assertEqual(self.send(small, tighter, size=2000),
                         [ACCEPTED, ACCEPTED, NOBODY_HAS_ROOM])
        self.assertEqual(self.send(tight, small, tighter, size=20000),
                         [ACCEPTED, ACCEPTED, ACCEPTED, NOBODY_EVER])
        print(self.log())
        self.assertIn('recipients: toolarge over', self.log())
        self.assertIn('recipients: toolarge toolarge toolarge', self.log())

    def test_at_data_more_than_a_hundred_recipients_are_accepted(self):
        tight = 'tight5@quota.example'
        self.filled(tight, 9500)
        self.assertEqual(self.send(*[tight] * 100, size=2000)[-1], NOBODY_HAS_ROOM)
        self.assertEqual(self.send(*[tight] * 101, size=2000)[-1], '250 OK')

    # Limits.

    def test_limit_of_user_comes_before_domain_before_everybody(self):
        self.set_limits('user@quota.example: 2000\n'
                        '*@mbox.example: 3000\n'
                        'quota.example: 4000\n'
                        '*: 5000\n')
        self.filled('user@quota.example', 1)
        self.filled('other@quota.example', 1)
        self.filled('user@mbox.example', 1)
        self.filled('user@odd.example', 1)
        for address, limit in (('user@quota.example', 2000), ('other@quota.example', 4000),
                               ('user@mbox.example', 3000), ('user@odd.example', 5000),
                               ('USER@Quota.Example', 2000)):
            with self.subTest(address=address):
                self.assertEqual([self.check(address, size=size)[0]
                                  for size in (limit - 1, limit, limit + 1)],
                                 [ACCEPTED, FULL, TOO_LARGE])

    def test_message_count_refuses_at_the_exact_count(self):
        self.set_limits('three@mbox.example: 3C\n'
                        'both@mbox.example: 1G, 2C\n'
                        '*: 10000\n')
        for address, count in (('three@mbox.example', 3), ('both@mbox.example', 2)):
            maildir = self.mailboxes.add_maildir(address)
            replies = []
            for number in range(count + 2):
                self.mailboxes.drop(maildir, 10)
                replies += self.check(address, size=10)
            self.assertEqual(replies, [ACCEPTED] * (count - 1) + [FULL] * 3)

    def test_raised_limit_holds_for_the_very_next_recipient(self):
        raised = 'raised@quota.example'
        maildir = self.mailboxes.add_maildir(raised)
        self.assertEqual(self.send(raised, size=8000), [ACCEPTED, '250 OK'])
        self.exim.wait_for_deliveries()
        self.assertEqual(self.check(raised, size=4000), [FULL])

        self.set_limits(f'{raised}: 20000\n*: 10000\n')
        self.assertEqual(self.check(raised, size=4000), [ACCEPTED])

        header = self.mailboxes.maildirsize(maildir)
        print(f'maildirsize: {header!r}')
        self.assertTrue(header.startswith('10000S'), header)
        reloaded = self.journal('-t', 'exim-quotad')
        print(reloaded)
        self.assertIn(f'{LIMITS_FILE}: 2 limits loaded', reloaded)

    def test_reload_ends_when_the_limits_hold(self):
        slow = 'slow@quota.example'
        self.filled(slow, 9000)
        self.assertEqual(self.check(slow, size=2000), [FULL])
        self.container.put_file(LIMITS_FILE, f'{slow}: 20000\n{self.limits}')
        pid = int(self.container.unit(SERVICE, 'MainPID')['MainPID'])

        self.container.run(['kill', '-STOP', str(pid)])  # it has no time for the signal
        with self.container.popen(['systemctl', 'reload', SERVICE]) as reload:
            try:
                wait_until(lambda: self.is_pending(pid, SIGHUP_BIT), 'SIGHUP sent')
                wait_until(lambda: self.container.unit(SERVICE, 'ControlPID')['ControlPID'] == '0',
                           'end of the commands of ExecReload=')
                state = self.container.unit(SERVICE, 'ActiveState', 'SubState')
                print(f'the signal is sent, and not heard: {state}')
                self.assertEqual(state['ActiveState'], 'reloading')
                self.assertIsNone(reload.poll())
            finally:
                self.container.run(['kill', '-CONT', str(pid)])
            self.assertEqual(reload.wait(timeout=60), 0)
        self.assertEqual(self.check(slow, size=2000), [ACCEPTED])

    def is_pending(self, pid: int, signal_bit: int) -> bool:
        """Says whether a signal waits for the process, whose number is that inside."""
        status = self.container.run(['cat', f'/proc/{pid}/status']).stdout
        return bool(int(re.search(r'(?m)^ShdPnd:\s*(\w+)', status)[1], 16) & signal_bit)

    def test_bad_line_costs_its_own_key(self):
        broken, sound = 'broken@quota.example', 'sound@quota.example'
        for address in broken, sound:
            self.filled(address, 9000)
        for text, line in ((f'{broken}: 12000MM\n# a comment\n*: 10000\n', 1),
                           (f'# a comment\n{broken}:\n*: 10000\n', 2)):
            with self.subTest(text=text):
                start = self.container.journal_now()
                self.set_limits(text)
                journal = self.container.journal(start, '-t', 'exim-quotad')
                print(journal)
                self.assertIn(f'{LIMITS_FILE}:{line}: ', journal)
                self.assertIn('1 limits loaded, 1 unusable', journal)
                self.assertEqual(self.check(broken, sound, size=3000), [ACCEPTED, FULL])

        self.set_limits(f'{broken}: 10000\n*: 50000\n')
        self.assertEqual(self.check(broken, sound, size=3000), [FULL, ACCEPTED])

    # Who is not asked about, and who is only talked about.

    def test_alias_is_never_refused(self):
        big = 'big@quota.example'
        self.filled(big, 9000)
        self.set_limits(f'{big}: 50000\n*: 10000\n')
        self.container.put_file('/etc/aliases', f'info: {big}\nlist: {big}, sized@quota.example\n')
        for alias in ('info@quota.example', 'list@quota.example', 'info@mbox.example'):
            with self.subTest(alias=alias):
                self.assertEqual(self.check(alias), [ACCEPTED])
                self.assertEqual(self.check(alias, size=30000), [ACCEPTED])  # more than its `*`
        self.assertNotIn('not checked', self.log())

    def test_unknown_address_is_left_to_exim(self):
        left_over = self.filled('gone@quota.example', 20000)
        self.container.call(Path('/etc/exim4/maildirs').write_text, '')
        self.assertTrue(self.container.call(Path(left_over).is_dir))
        replies = self.check('gone@quota.example', 'never@quota.example', 'x@elsewhere.example',
                             size=200000)
        self.assertEqual([reply[:3] for reply in replies], ['550'] * 3)
        self.assertNotIn('Mailbox', ''.join(replies))

    def test_nearly_full_is_accepted_and_logged(self):
        warned = 'warned@quota.example'
        self.filled(warned, 9000)
        self.assertEqual(self.check(warned), [ACCEPTED])
        print(self.log())
        self.assertIn(f'mailbox of {warned} is nearly full: 90% of 10000 bytes', self.log())

    def test_refusals_are_logged_with_their_numbers(self):
        told = 'told@quota.example'
        maildir = self.filled(told, 9999)
        self.check(told, size=2)
        print(self.log())
        self.assertRegex(self.log(), rf'temporarily rejected RCPT <{told}>: size=2, status=over '
                                     rf'bytes=9999 messages=1 limit=10000 .* mailbox={maildir} ')
