# SPDX-License-Identifier: GPL-2.0-or-later
"""A mistake in the options of the units: mail goes on at once, and the administrator is told."""

import time

from harness.container import wait_until
from harness.mailboxes import SPOOL
from harness.scenario import DebianScenario, is_long
from harness.service import ACCEPT_SOCKET, CONFIG_FILE, SERVICE, SOCKET, Service

ACCEPTED = '250 Accepted'
FULL = '452 4.2.2 Mailbox is full'
JOURNAL_SECONDS, PAUSE_SECONDS = (30, 0.5) if is_long() else (6, 0.1)
JOURNAL_LINES = 5
RCPT_SECONDS = 8  # Exim waits ten for a reply that does not come
SENDERS = 4

RIGHT = f'--mailbox={SPOOL}/%d/%n --default-quota=1K'
WRONG = {
    '--defualt-quota=1K': f'{CONFIG_FILE}:5: there is no option defualt-quota',
    '--default-quota=1KB': f'{CONFIG_FILE}:4: default-quota = 1KB is not accepted: it takes',
    '--root=/srv/missing': '--root=/srv/missing: No such file or directory',
    '--log=/var/log/missing/log': 'cannot open the log /var/log/missing/log: No such file',
}


class Misconfigured(DebianScenario):
    """full@ holds more than its quota, as soon as the options are right."""

    options = RIGHT

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.service = Service(cls.container)
        cls.full = 'full@mbox.example'
        cls.mailboxes.drop(cls.mailboxes.add_maildir(cls.full), 2000)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.exim.clear_queue)
        self.addCleanup(self.service.reset)

    def begin_with(self, options: str) -> None:
        """Starts with these options from nothing."""
        self.service.reset()
        self.service.configure(options)
        self.service.start()

    def timed_check(self) -> tuple[float, str]:
        """Returns how long a RCPT takes, and the reply to it."""
        with self.exim.session() as session:
            session.mail_from()
            began = time.monotonic()
            [reply] = session.pipeline([f'RCPT TO:<{self.full}>'])
            return time.monotonic() - began, str(reply)

    def assert_accepts_at_once(self, seconds: float = RCPT_SECONDS) -> None:
        """Fails unless Exim accepts for the full mailbox, and says why."""
        before = len(self.exim.mainlog())
        took, reply = self.timed_check()
        print(f'RCPT: {took * 1000:.1f} ms, {reply}')
        self.assertEqual(reply, ACCEPTED)
        self.assertLess(took, seconds)
        self.assertIn('not checked: status=error reason=misconfigured text="misconfigured: ',
                      self.exim.mainlog()[before:])

    def test_each_mistake(self):
        for wrong, why in WRONG.items():
            with self.subTest(wrong):
                self.begin_with(f'{RIGHT} {wrong}')
                since = self.container.journal_now()
                for _ in range(SENDERS):
                    self.assert_accepts_at_once()
                self.assertIn(why, self.service.ask('ping'))
                state = self.container.unit(SERVICE, 'ActiveState', 'SubState', 'NRestarts',
                                            'StatusText')
                print(state)
                self.assertIn(f'misconfigured: {why}', state.pop('StatusText'))
                self.assertEqual(state, {'ActiveState': 'active', 'SubState': 'running',
                                         'NRestarts': '0'})
                entries = self.container.journal(since, '-t', 'exim-quotad', '-p', 'warning',
                                                 '-o', 'cat').splitlines()
                self.assertEqual(len(entries), 1)
                self.assertIn(why, entries[0])
                # The mistake is corrected.
                self.service.configure(RIGHT)
                self.container.run(['systemctl', 'restart', SERVICE])
                self.assertEqual(self.check(self.full), [FULL])

    def test_journal_is_not_flooded(self):
        self.begin_with(f'{RIGHT} --defualt-quota=1K')
        since, until = self.container.journal_now(), time.monotonic() + JOURNAL_SECONDS
        while time.monotonic() < until:
            self.assert_accepts_at_once()
            time.sleep(PAUSE_SECONDS)
        lines = self.container.journal(since, '-u', SERVICE, '-u', SOCKET).splitlines()
        print('\n'.join(lines))
        self.assertLessEqual(len(lines), JOURNAL_LINES)
        self.assertEqual(self.container.unit(SERVICE, 'NRestarts'), {'NRestarts': '0'})

    def test_status(self):
        self.begin_with(f'{RIGHT} --root=/srv/missing')
        self.assert_accepts_at_once()
        said = self.container.run(['systemctl', 'status', SERVICE]).stdout
        print(said)
        self.assertRegex(said, 'Status: "misconfigured: --root=/srv/missing: No such file')
        explained = self.journal('-t', 'exim-quotad', '-p', 'err', '-x')
        self.assertIn('Subject: The mailbox quota service is misconfigured', explained)

    def test_reload(self):
        self.begin_with(f'{RIGHT} --defualt-quota=1K')
        self.assert_accepts_at_once()
        pid = self.service.main_pid()
        failed = self.container.run(['systemctl', 'reload', SERVICE], check=False)
        print(failed.stderr)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn('there is no option defualt-quota',
                      self.journal('-t', 'exim-quotad', '-o', 'cat').splitlines()[-1])
        self.assertEqual(self.service.main_pid(), pid)
        self.assert_accepts_at_once()
        self.service.configure(RIGHT)
        self.container.run(['systemctl', 'reload', SERVICE])
        self.assertEqual(self.check(self.full), [FULL])
        self.assertNotEqual(self.service.main_pid(), pid)
        self.assertEqual(self.container.unit(SERVICE, 'NRestarts', 'Result'),
                         {'NRestarts': '0', 'Result': 'success'})

    def test_instance_for_each_connection(self):
        self.service.reset()
        self.service.configure(f'{RIGHT} --root=/srv/missing')
        self.container.run(['systemctl', 'start', ACCEPT_SOCKET])
        self.assert_accepts_at_once()
        self.assertEqual(self.service.ask('/var/mail/x'), '0')
        wait_until(lambda: not self.container.run(
            ['systemctl', 'list-units', '--no-legend', 'exim-quotad-accept@*']).stdout, 'the end')
        self.assertNotRegex(self.journal('-u', 'exim-quotad-accept@*'), 'Failed|exited')

    def test_what_is_left_of_its_rights(self):
        self.begin_with(f'{RIGHT} --root=/srv/missing --debug')
        self.assert_accepts_at_once()
        self.assertIn('confined by Landlock', self.journal('-t', 'exim-quotad', '-o', 'cat'))
