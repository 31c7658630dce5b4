# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator reads: entries with fields, their explanations, and not too many of them."""

import json
import re

from harness import places
from harness.container import wait_until
from harness.scenario import Scenario
from harness.service import SERVICE, Service

MAILBOX = '/var/mail/joe'
NEIGHBOUR = '/var/mail/ann'
MESSAGE_BYTES = 7000
MANY = 3000

OVER = '43cc0c1a0ec24123ad01744da3fd02e6'
ENTRIES_LOST = 'e61efc2ccca44c2a85051620c93f8dbf'


class JournalScenario(Scenario):
    """A container with mailboxes of 7000 bytes and the service's socket."""

    is_shared = True

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        cls.service.make_maildirs(
            [MAILBOX, NEIGHBOUR, *(f'/var/mail/vhosts/user{number}' for number in range(MANY))],
            MESSAGE_BYTES)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)
        self.service.start()

    def entries(self, *matches: str) -> list[dict]:
        """Returns the service's entries of this test that match."""
        return [json.loads(line) for line in
                self.journal('-t', 'exim-quotad', '-o', 'json', *matches).splitlines()]


class Entries(JournalScenario):
    """Finding out why somebody was refused."""

    def test_who_is_over_quota(self):
        for answer, question in (('over', f'check size=1 quota=5000 {MAILBOX}'),
                                 ('ok', f'check size=1 quota=9000 {NEIGHBOUR}')):
            asked = self.service.ask_as('Debian-exim', question)
            self.assertRegex(asked.stdout, f'^status={answer} ')
        uid = self.container.run(['id', '-u', 'Debian-exim']).stdout.strip()

        entries = self.entries('QUOTA_STATUS=over')
        print(json.dumps(entries, indent=4))
        self.assertEqual(len(entries), 1)
        fields = {'QUOTA_MAILBOX': MAILBOX, 'QUOTA_STATUS': 'over', 'QUOTA_SOURCE': 'scan',
                  'QUOTA_BYTES': '7000', 'QUOTA_MESSAGES': '1', 'QUOTA_LIMIT': '5000',
                  'QUOTA_MESSAGE_LIMIT': '0', 'QUOTA_PERCENT': '140', 'QUOTA_SIZE': '1',
                  'QUOTA_PEER_UID': uid, 'MESSAGE_ID': OVER, 'PRIORITY': '5'}
        self.assertEqual({name: entries[0][name] for name in fields}, fields)
        self.assertRegex(entries[0]['QUOTA_USEC'], '^[0-9]+$')
        self.assertRegex(entries[0]['QUOTA_PEER_PID'], '^[0-9]+$')
        self.assertNotIn('QUOTA_REASON', entries[0])

    def test_explanations(self):
        self.service.ask(f'check quota=5000 {MAILBOX}')
        explained = self.journal('-x', '-t', 'exim-quotad', 'QUOTA_STATUS=over')
        print(explained)
        self.assertIn(f'Subject: Mailbox {MAILBOX} is over its quota', explained)
        self.assertIn('It holds 7000 bytes', explained)
        self.assertIn('Ask the owner to make room', explained)
        self.assertIn('man:exim-quotad(8)', explained)
        self.assertNotRegex(explained, '@QUOTA_[A-Z_]+@')

    def test_each_message_has_an_explanation_and_no_other_does(self):
        source = (places.SOURCES / 'src/system/journal.c').read_text(encoding='utf-8')
        written = re.findall(r'"([0-9a-f]{32})"', source)
        listed = self.container.run(['journalctl', '--list-catalog']).stdout
        explained = [line for line in listed.splitlines() if ' exim-quotad: ' in line]
        print('\n'.join(explained))
        self.assertGreater(len(written), 10)
        self.assertEqual(sorted(line.split()[0] for line in explained), sorted(written))

    def test_fields_of_source_manual_and_catalog(self):
        source, manual, catalog = (
            (places.SOURCES / path).read_text(encoding='utf-8')
            for path in ('src/system/journal.c', 'man/exim-quotad.8',
                         'systemd/exim-quotad.catalog'))
        written = set(re.findall('"(QUOTA_[A-Z_]+)"', source))
        print(', '.join(sorted(written)))
        self.assertIn('QUOTA_MAILBOX', written)
        self.assertEqual(set(re.findall(r'\.Va (QUOTA_[A-Z_]+)', manual)), written)
        self.assertLessEqual(set(re.findall('@([A-Z_]+)@', catalog)), written)


class Repetition(JournalScenario):
    """The same thing over and over."""

    def test_ten_thousand_questions_about_one_mailbox(self):
        self.service.change(options='--default-quota=5000')
        with self.service.load({MAILBOX: str(MESSAGE_BYTES)}, clients=8, count=10000) as load:
            seen = load.wait()
        self.assertEqual((seen['queries'], seen['wrong'], seen['failed']), (10000, 0, 0))
        self.service.ask(f'check quota=5000 {NEIGHBOUR}')
        self.service.ask(f'check quota=5000 size=6000 {NEIGHBOUR}')
        self.service.stop()

        # The count is found by the same fields as what it counts.
        messages = [entry['MESSAGE'] for entry in self.entries(f'QUOTA_MAILBOX={MAILBOX}',
                                                               'QUOTA_STATUS=over')]
        neighbours = [entry['MESSAGE'] for entry in self.entries(f'QUOTA_MAILBOX={NEIGHBOUR}')]
        print('\n'.join(messages + neighbours))
        told = [message for message in messages if 'repeated' not in message]
        repeated = [int(count) for message in messages
                    for count in re.findall('over quota, repeated ([0-9]+) times', message)]
        self.assertEqual(len(told), 1)
        self.assertEqual(sum(repeated), 9999)
        self.assertEqual(len(neighbours), 2)
        self.assertIn('over quota', neighbours[0])
        self.assertIn('larger than the quota', neighbours[1])

    def test_errors_are_counted_as_errors(self):
        for _ in range(3):
            self.assertEqual(self.service.ask('/etc/passwd'), '0')
        self.service.stop()
        entries = self.entries('QUOTA_STATUS=error', 'QUOTA_MAILBOX=/etc/passwd')
        print('\n'.join(entry['MESSAGE'] for entry in entries))
        self.assertEqual([entry['MESSAGE'] for entry in entries],
                         ['/etc/passwd: leads outside the roots; answered 0: the mail is accepted',
                          '/etc/passwd: outside the roots, repeated 2 times'])


class DeafJournal(JournalScenario):
    """journald takes nothing any more."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.container.run, ['systemctl', 'kill', '-s', 'CONT',
                                             'systemd-journald.service'])

    def lost(self) -> int:
        """Returns how many entries were lost, as far as the service has said so."""
        return sum(int(entry['MESSAGE'].partition(' ')[0])
                   for entry in self.entries(f'MESSAGE_ID={ENTRIES_LOST}'))

    def test_answers_go_on(self):
        questions = [f'check quota=5000 /var/mail/vhosts/user{number}' for number in range(MANY)]
        self.service.ask('ping')
        pid = self.service.main_pid()
        self.container.run(['systemctl', 'kill', '-s', 'STOP', 'systemd-journald.service'])

        answered = {self.service.ask(question).partition(' ')[0] for question in questions}
        self.container.run(['systemctl', 'kill', '-s', 'CONT', 'systemd-journald.service'])
        wait_until(self.lost, 'the journal has taken what was left')
        self.service.ask(f'check quota=5000 {MAILBOX}')

        self.assertEqual(answered, {'status=over'})
        self.assertEqual(self.service.main_pid(), pid)
        taken = len(self.entries(f'MESSAGE_ID={OVER}'))
        print(f'{MANY + 1} refusals, of which the journal took {taken} and not {self.lost()}')
        self.assertEqual(taken + self.lost(), MANY + 1)
        self.assertTrue(self.container.is_active(SERVICE))
