# SPDX-License-Identifier: GPL-2.0-or-later
"""The service answers Exim: on a booted systemd, real messages over SMTP, real mailboxes."""

import errno
import json
import os
import shutil

from harness import smtp
from harness.container import wait_until
from harness.identity import call_as, status_of
from harness.scenario import MailScenario, is_long
from harness.service import ACCEPT_SOCKET, SERVICE, SOCKET, SOCKET_PATH, Service

MESSAGE_BYTES = 20000
OVER_QUOTA = '451 Mailbox over quota'
CAP_DAC_READ_SEARCH = 1 << 2


class Answers(MailScenario):
    """What the tests below share: filling mailboxes and looking at replies.

    The units are as they are installed before each test, and then the unit of the class is started.
    """

    is_shared = True
    unit = ''

    def setUp(self) -> None:
        super().setUp()
        self.container.run(['systemctl', 'stop', SOCKET, SERVICE, ACCEPT_SOCKET])
        if self.unit:
            self.container.run(['systemctl', 'start', self.unit])

    def fill(self, address: str) -> list[str]:
        """Sends messages until one is not accepted; returns the replies, the refusal last."""
        replies = []
        while not replies or replies[-1].startswith('250'):
            self.assertLess(len(replies), 10, 'the mailbox never fills')
            replies.append(str(self.exim.send(address, MESSAGE_BYTES)))
        print(f'{address}, {MESSAGE_BYTES} bytes a message, quota {self.quota}:')
        print('\n'.join(f'  {reply}' for reply in replies))
        return replies

    def check(self, *addresses: str) -> list[str]:
        """Returns, and prints, the replies to the recipients, named in one session."""
        replies = [str(reply) for reply in self.exim.check(*addresses)]
        for address, reply in zip(addresses, replies):
            print(f'RCPT TO:<{address}>\n  {reply}')
        return replies

    def remove_messages(self, maildir: str) -> None:
        """Removes all messages of a Maildir, and does not tell maildirsize."""
        self.container.run(f'rm {maildir}/new/*', user='vmail')
        print(f'rm {maildir}/new/*; maildirsize says still '
              f'{self.mailboxes.maildirsize(maildir)!r}')

    def main_pid(self) -> int:
        """Returns the main process of the service, by its number inside."""
        return int(self.container.unit(SERVICE, 'MainPID')['MainPID'])


class Activation(Answers):
    """systemctl start exim-quotad.socket, and nothing else."""

    def test_first_recipient_starts_the_service(self):
        self.mailboxes.add_maildir('first@quota.example')
        self.container.run(['systemctl', 'start', SOCKET])
        self.assertEqual(self.container.unit(SERVICE, 'ActiveState'), {'ActiveState': 'inactive'})

        self.assertEqual(self.check('first@quota.example'), ['250 Accepted'])

        self.assertTrue(self.container.is_active(SERVICE))
        status = self.container.run(['systemctl', 'status', '--no-pager', '--full', SERVICE]).stdout
        print(status)
        self.assertRegex(status, r'(?m)^ +Active: active \(running\)')
        self.assertRegex(status, r'(?m)^ +Status: ".+"$')
        self.assertIn(SOCKET, status)
        activation = self.journal('_PID=1')
        print(activation)
        self.assertRegex(activation, f'Listening on {SOCKET}')
        self.assertRegex(activation, f'Started {SERVICE}')


class RecipientCheck:
    """The answers themselves, whichever socket unit gives them."""

    def own(self, address: str) -> str:
        """Returns an address that no other class has."""
        return f'{type(self).__name__}.{address}'.lower()

    def test_full_maildir_is_refused_until_messages_are_deleted(self):
        alice, bob = self.own('alice@quota.example'), self.own('bob@quota.example')
        maildir = self.mailboxes.add_maildir(alice)
        self.mailboxes.add_maildir(bob)

        replies = self.fill(alice)
        print(f'maildirsize: {self.mailboxes.maildirsize(maildir)!r}')
        # The fourth message passes the quota, the fifth is one too many.
        self.assertEqual(replies[-1], OVER_QUOTA)
        self.assertEqual(len(replies), 5)
        self.assertEqual(len(self.mailboxes.messages(maildir)), 4)
        self.assertEqual(self.check(alice, bob, alice), [OVER_QUOTA, '250 Accepted', OVER_QUOTA])

        self.dovecot.expunge(alice, '1')
        print(f'doveadm expunge: {self.dovecot.usage(alice)}, '
              f'maildirsize {self.mailboxes.maildirsize(maildir)!r}')
        self.assertEqual(self.check(alice, bob), ['250 Accepted', '250 Accepted'])
        self.assertEqual(self.exim.send(alice, MESSAGE_BYTES).code, 250)
        self.assertEqual(self.check(alice), [OVER_QUOTA])


class RecipientChecks(RecipientCheck):
    """More of them: what made room, and other mailboxes."""

    def test_room_that_plain_rm_made_is_seen_at_once(self):
        erica = self.own('erica@quota.example')
        maildir = self.mailboxes.add_maildir(erica)
        self.assertEqual(self.fill(erica)[-1], OVER_QUOTA)
        before = self.mailboxes.maildirsize(maildir)

        self.remove_messages(maildir)
        self.assertEqual(self.mailboxes.maildirsize(maildir), before)
        # Nobody was delivered to, nobody has counted: the very next one gets in.
        self.assertEqual(self.check(erica), ['250 Accepted'])
        self.assertEqual(self.exim.send(erica, MESSAGE_BYTES).code, 250)
        self.assertEqual(len(self.mailboxes.messages(maildir)), 1)
        self.assertEqual(self.check(erica), ['250 Accepted'])

    def test_room_that_plain_rm_made_after_a_recount_is_seen_at_once(self):
        frida = self.own('frida@quota.example')
        maildir = self.mailboxes.add_maildir(frida)
        self.assertEqual(self.fill(frida)[-1], OVER_QUOTA)
        # What does not come over SMTP is not checked. Exim counts anew, and queues it.
        self.addCleanup(self.container.run, 'rm -f /var/spool/exim4/input/*')
        self.container.run(['exim4', '-odi', frida], input=smtp.message(MESSAGE_BYTES))
        self.assertEqual(self.exim.queue(), 1)
        before = self.mailboxes.maildirsize(maildir)
        self.assertEqual(len(before.splitlines()), 2)  # the limit and one sum, of just now
        self.assertEqual(self.check(frida), [OVER_QUOTA])

        self.remove_messages(maildir)
        self.assertEqual(self.mailboxes.maildirsize(maildir), before)
        self.assertEqual(self.check(frida), ['250 Accepted'])
        # Exim itself believes its sum for 15 minutes: so long, and no longer, does its queue wait.
        self.container.run(['exim4', '-qff'])
        self.assertEqual(self.exim.queue(), 1)
        self.container.run(['touch', '--date=-16min', f'{maildir}/maildirsize'])
        self.container.run(['exim4', '-qff'])
        self.exim.wait_for_deliveries()
        self.assertEqual(len(self.mailboxes.messages(maildir)), 1)

    def test_deletion_over_imap_makes_room(self):
        carol = self.own('carol@quota.example')
        self.mailboxes.add_maildir(carol)
        self.assertEqual(self.fill(carol)[-1], OVER_QUOTA)

        with self.dovecot.imap(carol) as imap:
            imap.select()
            imap.store('1:2', '+FLAGS', '\\Deleted')
            print(f'IMAP EXPUNGE: {imap.expunge()}')

        self.assertEqual(self.check(carol), ['250 Accepted'])

    def test_full_mbox_is_refused_until_it_is_emptied(self):
        dave = self.own('dave@mbox.example')
        mbox = self.mailboxes.add_mbox(dave)

        self.assertEqual(self.check(dave), ['250 Accepted'])
        replies = self.fill(dave)
        print(self.container.run(['stat', '--format=%n: %s bytes, %A %U:%G', mbox]).stdout)
        self.assertEqual(replies[-1], OVER_QUOTA)
        self.assertEqual(len(replies), 5)

        self.container.call(os.truncate, mbox, 0)
        self.assertEqual(self.check(dave), ['250 Accepted'])

    def test_unknown_and_foreign_recipients_are_left_to_exim(self):
        replies = self.check('nobody@quota.example', 'someone@elsewhere.example')
        self.assertEqual([reply[:3] for reply in replies], ['550', '550'])


class OneService(RecipientChecks, Answers):
    """The answers of the service that stays."""

    unit = SOCKET


class OneInstanceAQuery(RecipientChecks if is_long() else RecipientCheck, Answers):
    """The same answers from an instance for each connection."""

    unit = ACCEPT_SOCKET

    def test_each_query_has_an_instance_and_leaves_none_behind(self):
        addresses = [f'user{number}@quota.example' for number in range(10)]
        for address in addresses:
            self.mailboxes.add_maildir(address)
        before = self._accepted()

        self.assertEqual(set(self.check(*addresses)), {'250 Accepted'})

        accepted = self._accepted() - before
        wait_until(lambda: not self._instances_loaded(), 'no instance left behind')
        started = self._instances_started()
        print(f'{len(addresses)} queries, {accepted} connections accepted, '
              f'{len(started)} instances started, none left:')
        print('\n'.join(f'  {unit}' for unit in sorted(started)))
        self.assertEqual(accepted, len(addresses))
        self.assertEqual(len(started), len(addresses))
        self.assertEqual(self.container.run('systemctl list-units --failed --no-legend').stdout, '')

    def _accepted(self) -> int:
        return int(self.container.unit(ACCEPT_SOCKET, 'NAccepted')['NAccepted'])

    def _instances_loaded(self) -> str:
        return self.container.run(['systemctl', 'list-units', '--all', '--no-legend',
                                   'exim-quotad-accept@*']).stdout

    def _instances_started(self) -> set[str]:
        entries = self.journal('--output=json', '_PID=1', 'JOB_TYPE=start').splitlines()
        units = (json.loads(entry).get('UNIT', '') for entry in entries)
        return {unit for unit in units if unit.startswith('exim-quotad-accept@')}


class Privileges(Answers):
    """Who can read the mailboxes, who can write them, and who may ask."""

    unit = SOCKET

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.maildir = cls.mailboxes.add_maildir('erin@quota.example')
        cls.mbox = cls.mailboxes.add_mbox('frank@mbox.example')
        cls.exim.send('erin@quota.example', MESSAGE_BYTES)
        cls.exim.send('frank@mbox.example', MESSAGE_BYTES)

    def setUp(self) -> None:
        super().setUp()
        Service(self.container).ask('ping')  # it runs

    def test_exim_cannot_read_the_mailboxes(self):
        message = self.mailboxes.messages(self.maildir)[0]
        for command in (['cat', f'{self.maildir}/maildirsize'], ['cat', message],
                        ['cat', self.mbox], ['ls', self.maildir]):
            with self.subTest(command=command):
                self.container.run(command)  # root can: it is there
                refused = self.container.run(command, user='Debian-exim', check=False)
                print(f'Debian-exim$ {" ".join(command)}\n  {refused.stderr.strip()}')
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn('Permission denied', refused.stderr)
                self.assertEqual(refused.stdout, '')

    def test_service_has_one_capability(self):
        status = status_of(self.container.pid_outside(self.main_pid()))
        user = self.container.run(['id', '-u', 'exim-quotad']).stdout.strip()
        for name in ('Uid', 'NoNewPrivs', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            print(f'{name}: {status[name]}')
        self.assertEqual(set(status['Uid'].split()), {user})
        self.assertEqual(status['NoNewPrivs'], '1')
        for name in ('CapPrm', 'CapEff', 'CapBnd'):
            self.assertEqual(int(status[name], 16), CAP_DAC_READ_SEARCH, name)

    def test_service_reads_the_mailboxes_and_cannot_write_them(self):
        message = self.mailboxes.messages(self.maildir)[0]
        before = self._everything()
        service = self.container.pid_outside(self.main_pid())

        read = call_as(service, _read, f'{self.maildir}/maildirsize')
        print(f'as the service: read maildirsize: {read!r}')
        self.assertEqual(read, self.mailboxes.maildirsize(self.maildir))
        for name, function, arguments in (
                ('create a message', _append, (f'{self.maildir}/new/1.M1P1.mx',)),
                ('append to maildirsize', _append, (f'{self.maildir}/maildirsize',)),
                ('append to an mbox', _append, (self.mbox,)),
                ('delete a message', os.unlink, (message,)),
                ('rename a message', os.rename, (message, f'{message}2')),
                ('truncate an mbox', os.truncate, (self.mbox, 0)),
                ('change a mode', os.chmod, (self.mbox, 0o666)),
                ('make a folder', os.mkdir, (f'{self.maildir}/.Folder',)),
                ('remove the mailbox', shutil.rmtree, (self.maildir,))):
            with self.subTest(name):
                with self.assertRaises(OSError) as refused:
                    call_as(service, function, *arguments)
                print(f'as the service: {name}: {refused.exception}')
                self.assertIn(refused.exception.errno, (errno.EROFS, errno.EACCES, errno.EPERM))
        self.assertEqual(self._everything(), before)

    def test_socket_is_for_exims_group(self):
        permissions = self.container.run(
            ['stat', '--format=%A %U:%G', SOCKET_PATH]).stdout.strip()
        print(f'{SOCKET_PATH}: {permissions}')
        self.assertEqual(permissions, 'srw-rw---- root:Debian-exim')
        service = Service(self.container)
        answered = service.ask_as('Debian-exim', self.maildir)
        print(f'Debian-exim asks: {answered.stdout.strip()}')
        self.assertGreater(int(answered.stdout), MESSAGE_BYTES)
        refused = service.ask_as('www-data', self.maildir)
        print(f'www-data asks: {refused.stderr.splitlines()[-1]}')
        self.assertIn('PermissionError', refused.stderr)

    def _everything(self) -> str:
        return self.container.run(['find', '/var/mail', '-printf', '%p %m %u %s %T@\n']).stdout


class Failures(Answers):
    """What becomes of mail while the service is not well."""

    def test_mail_flows_while_socket_and_service_are_stopped(self):
        grace = 'grace@quota.example'
        maildir = self.mailboxes.add_maildir(grace)
        self.container.run(['systemctl', 'stop', SOCKET, SERVICE])
        self.assertFalse(self.container.is_active(SOCKET))
        self.assertFalse(self.container.is_active(SERVICE))

        reply = self.exim.send(grace, MESSAGE_BYTES)
        print(f'stopped: {reply}')

        self.assertEqual(reply.code, 250)
        self.assertEqual(len(self.mailboxes.messages(maildir)), 1)

    def test_killed_service_answers_the_next_recipient(self):
        heidi, ivan = 'heidi@quota.example', 'ivan@quota.example'
        self.mailboxes.add_maildir(heidi)
        self.mailboxes.add_maildir(ivan)
        self.container.run(['systemctl', 'start', SOCKET])
        self.assertEqual(self.fill(heidi)[-1], OVER_QUOTA)
        killed = self.main_pid()
        self.assertGreater(killed, 0)

        self.container.run(['kill', '-KILL', str(killed)])
        replies = self.check(heidi, ivan)

        print(f'main process {killed} killed, then {self.main_pid()}')
        self.assertEqual(replies, [OVER_QUOTA, '250 Accepted'])
        self.assertNotEqual(self.main_pid(), killed)
        self.assertTrue(self.container.is_active(SOCKET))


def _read(path: str) -> str:
    with open(path, encoding='ascii') as file:
        return file.read()


def _append(path: str) -> None:
    with open(path, 'a', encoding='ascii') as file:
        file.write('0 0\n')
