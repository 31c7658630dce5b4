# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be changed about the ACL file: its macros, exemptions, what comes after it."""

import os
import re
import socket

from harness import smtp
from harness.container import wait_until
from harness.debian_exim import RCPT_ACL
from harness.scenario import DebianScenario
from harness.service import SOCKET_PATH

ACCEPTED = '250 Accepted'
FULL = '452 4.2.2 Mailbox is full'
TOO_LARGE = '552 5.2.2 Message is larger than the mailbox may ever be'
NOBODY_HAS_ROOM = "452 4.2.2 No recipient's mailbox has room for this message"

OWN_ACL = '/etc/exim4/own.acl'
OWN_LIMITS = '/etc/exim4/own-limits'
BY_PATH = '${extract{mailbox}{$address_data}}'
INET_PORT = 3391
OWN_SOCKETS = '/etc/exim4/own-sockets'
SILENT_SOCKET = '/run/silent'


class AclOptions(DebianScenario):
    """Each test has a configuration of its own. The service has limits for everybody: 10000."""

    limits = '*: 10000\n'

    def setUp(self):
        super().setUp()
        self.addCleanup(self.exim.clear_queue)

    def configure(self, own_acl: str = '', **macros: str) -> None:
        """Restarts Exim with the macros, and with an ACL file that is not ours if there is one."""
        if own_acl:
            macros['CHECK_RCPT_LOCAL_ACL_FILE'] = OWN_ACL
        self.exim.configure_split(macros, {'own.acl': own_acl})

    def test_limit_from_a_lookup(self):
        looked_up, other = 'lookedup@quota.example', 'notlisted@quota.example'
        self.container.put_file(OWN_LIMITS, f'{looked_up}: 2000, 3C\n')  # mind the blank
        self.configure(MAILBOX_CHECK_LIMIT='${lookup{$local_part@$domain}lsearch{%s}}' % OWN_LIMITS)
        maildir = self.filled(looked_up, 1000)
        self.filled(other, 1000)
        self.assertEqual([self.check(looked_up, size=size)[0] for size in (1000, 1001, 2001)],
                         [ACCEPTED, FULL, TOO_LARGE])
        self.assertEqual([self.check(other, size=size)[0] for size in (2001, 9001)],
                         [ACCEPTED, FULL])
        for _ in range(2):
            self.mailboxes.drop(maildir, 1)
        self.assertEqual(self.check(looked_up), [FULL])

    def test_mailbox_from_the_router(self):
        self.configure(MAILBOX_CHECK_TARGET=BY_PATH + '${if eq{$local_part}{feed}{\\nx}}',
                       MAILBOX_CHECK_LIMIT='500')
        self.container.run(['useradd', '--create-home', 'unix'])
        self.container.put_file('/etc/aliases', 'info: behind@quota.example\n')
        self.filled('behind@quota.example', 1000)
        self.filled('feed@quota.example', 1000)
        # an alias is now checked for the mailbox behind it
        self.assertEqual(self.check('behind@quota.example', 'info@quota.example'), [FULL, FULL])
        # without a path there is no question; a line feed does not end one
        self.assertEqual(self.check('unix@quota.example', 'feed@quota.example'),
                         [ACCEPTED, ACCEPTED])
        self.assertNotIn('not checked', self.log())

    def test_unix_users_with_an_mbox(self):
        self.configure(MAILBOX_CHECK_TARGET='/var/mail/${lc:$local_part}',
                       MAILBOX_CHECK_LIMIT='1000')
        self.container.run(['useradd', 'dora'])
        self.container.put_file('/var/mail/dora', 'x' * 1000)
        self.assertEqual(self.check('Dora@quota.example'), [ACCEPTED])
        self.assertEqual(self.check('dora@quota.example', size=1), [FULL])
        self.assertEqual(self.check('dora@quota.example', size=1001), [TOO_LARGE])

    def test_socket_over_tcp(self):
        self.filled('tcp@quota.example', 1000)
        self.configure(MAILBOX_CHECK_SOCKET=f'inet:127.0.0.1:{INET_PORT}',
                       MAILBOX_CHECK_TARGET=BY_PATH, MAILBOX_CHECK_LIMIT='500')
        with self.exim.session() as session:
            for _ in range(2):
                session.mail_from()
                self.assertEqual(str(session.rcpt('tcp@quota.example')), ACCEPTED)
                self.assertEqual(session.data(smtp.message(500)).code, 250)
        print(self.log())
        self.assertEqual(self.log().count(f'no answer at inet:127.0.0.1:{INET_PORT}; to a ping: '
                                          'none'), 2)

        self.container.run(['systemd-run', '--unit=test-inet', 'systemd-socket-activate',
                            '--accept', '--inetd', '-l', f'127.0.0.1:{INET_PORT}',
                            '/usr/sbin/exim-quotad', '--root=/var/mail'])
        self.addCleanup(self.container.run, ['systemctl', 'stop', 'test-inet'])
        wait_until(lambda: self.listens(INET_PORT), 'a listener')
        self.assertEqual(self.check('tcp@quota.example'), [FULL])

    def test_socket_from_a_lookup(self):
        """Who is in a silent store is not asked about twice; the others are asked about."""
        self.container.put_file(OWN_SOCKETS, (f'silent: {SILENT_SOCKET}\nmute: {SILENT_SOCKET}\n'
                                              f'full: {SOCKET_PATH}\ntight: {SOCKET_PATH}\n'))
        self.configure(MAILBOX_CHECK_SOCKET='${lookup{$local_part}lsearch{%s}{$value}fail}'
                       % OWN_SOCKETS, MAILBOX_CHECK_TIMEOUT='3s')
        silent, mute, full, tight, unknown = (f'{name}@mbox.example' for name in (
            'silent', 'mute', 'full', 'tight', 'unknown'))
        for address in (silent, mute, full, unknown):
            self.filled(address, 11000)
        self.filled(tight, 9000)
        listener = self.container.call(_listen_in_silence)
        self.addCleanup(listener.close)

        for _ in range(2):  # what is remembered is forgotten with the message
            start = len(self.log())
            self.assertEqual(self.check(silent, full, mute, unknown, full),
                             [ACCEPTED, FULL, ACCEPTED, ACCEPTED, FULL])
            log = self.log()[start:]
            print(log)
            self.assertEqual(log.count('not checked'), 2)
            self.assertIn(f'{silent} not checked: no answer at {SILENT_SOCKET}; to a ping: none\n',
                          log)
            self.assertIn(f'{mute} not checked: not asked again for this message: no answer at '
                          f'{SILENT_SOCKET}\n', log)
        for recipients, reply in (((silent, tight), '250'), ((tight, silent), '250'),
                                  ((tight, unknown), '250'), ((tight,), NOBODY_HAS_ROOM)):
            with self.exim.session() as session:
                session.mail_from()
                for recipient in recipients:
                    self.assertEqual(str(session.rcpt(recipient)), ACCEPTED)
                self.assertEqual(str(session.data(smtp.message(2000)))[:len(reply)], reply)
        self.assertNotIn('not checked for a message', self.log())

    def listens(self, port: int) -> bool:
        """Says whether somebody listens on the port."""
        return f':{port:04X} 00000000:0000 0A' in self.container.run(
            ['cat', '/proc/net/tcp']).stdout

    def test_exemptions(self):
        text = self.container.read_file(RCPT_ACL)
        text, found = re.subn(r'(?m)^  # (!\w+ += .*)$', r'  \1', text)
        self.assertEqual(found, 3)
        self.exim.configure_split(
            {'CHECK_RCPT_LOCAL_ACL_FILE': OWN_ACL},
            {'own.acl': text,
             'conf.d/main/95_test_lists': 'hostlist trusted_hosts = 127.0.0.3\n'})
        for local_part in ('exempt', 'abuse'):
            self.filled(f'{local_part}@mbox.example', 20000)
        for sender, recipient, expected in (
                ('x@example.org', 'exempt', FULL),
                ('', 'exempt', ACCEPTED),
                ('postmaster@example.org', 'exempt', ACCEPTED),
                ('x@example.org', 'abuse', ACCEPTED)):
            with self.subTest(sender=sender, recipient=recipient), self.exim.session() as session:
                session.mail_from(sender)
                reply = str(session.rcpt(f'{recipient}@mbox.example'))
                print(f'MAIL FROM:<{sender}> RCPT TO:<{recipient}@mbox.example>: {reply}')
                self.assertEqual(reply, expected)

    def test_recipient_that_another_statement_refuses_has_no_say_at_data(self):
        self.configure('.include /usr/share/exim-quotad/exim-quotad.acl\n'
                       'deny local_parts = barred\n')
        tight, barred = 'tight@quota.example', 'barred@quota.example'
        self.filled(tight, 9500)
        self.filled(barred, 10)
        for recipients in ((barred, tight), (tight, barred), (barred, tight, barred, tight)):
            with self.exim.session() as session:
                session.mail_from()
                replies = [session.rcpt(recipient).code for recipient in recipients]
                self.assertEqual(replies, [550 if each == barred else 250 for each in recipients])
                reply = str(session.data(smtp.message(2000)))
                print(f'{", ".join(recipients)}: {replies}, {reply}')
                self.assertEqual(reply, NOBODY_HAS_ROOM)


def _listen_in_silence() -> socket.socket:
    """Returns a socket that lets clients connect, and says nothing."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SILENT_SOCKET)
    os.chmod(SILENT_SOCKET, 0o666)
    listener.listen(64)
    return listener
