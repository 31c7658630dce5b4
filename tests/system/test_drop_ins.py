# SPDX-License-Identifier: GPL-2.0-or-later
"""The drop-ins and options that exim-quotad(8) shows, as it shows them."""

import json
import re
import unittest

from harness import places
from harness.identity import status_of
from harness.scenario import Scenario
from harness.service import SERVICE, SOCKET, SOCKET_PATH, Service, answer_of

MESSAGE_BYTES = 1234
PORT = 3391


def shown_in_manual(section: str, first_line: str) -> str:
    """Returns the drop-in for that section of a unit that begins so, as the manual shows it."""
    manual = (places.SOURCES / 'man/exim-quotad.8').read_text(encoding='utf-8')
    for shown in re.findall(r'\n\.Bd -literal[^\n]*\n(.*?)\.Ed\n', manual, re.DOTALL):
        if shown.startswith(f'[{section}]\n{first_line}'):
            return shown.replace('\\e', '\\')
    raise AssertionError(f'the manual shows no drop-in [{section}] {first_line}')


class DropIns(Scenario):
    """One at a time, on a fresh service."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        cls.container.run(['useradd', '--system', '--user-group', 'vmail'])

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)

    def usage(self, path: str) -> tuple[str, str]:
        """Returns the bytes and the source of the answer about the mailbox."""
        answer = self.service.ask(f'usage {path}')
        print(answer)
        return tuple(re.search(f' {key}=([^ ]+)', answer)[1] for key in ('bytes', 'source'))

    def test_one_owner_and_no_capability(self):
        owned, foreign = '/var/mail/vmail/joe', '/var/mail/root/joe'
        self.service.make_maildirs([owned, foreign], MESSAGE_BYTES)
        self.container.run(['chown', '-R', 'vmail:vmail', '/var/mail/vmail'])
        self.container.run(['chmod', '-R', 'go=', '/var/mail/vmail', '/var/mail/root'])
        drop_in = shown_in_manual('Service', 'User=vmail')
        print(drop_in)

        self.service.change(drop_in)

        self.assertEqual(self.usage(owned), (str(MESSAGE_BYTES), 'scan'))
        status = status_of(self.container.pid_outside(self.service.main_pid()))
        print({name: status[name] for name in ('Uid', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')})
        for name in ('CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status['Uid'].split()[0],
                         self.container.run(['id', '-u', 'vmail']).stdout.strip())
        self.assertIn('reason=permission-denied', self.service.ask(f'usage {foreign}'))

    def test_home_directories(self):
        mailbox = '/home/joe/Maildir'
        self.service.make_maildirs([mailbox], MESSAGE_BYTES)
        self.service.change(options='--root=/home')
        self.assertEqual(self.usage(mailbox)[1], 'none', 'there is nothing to see without it')
        said = self.journal('-t', 'exim-quotad', '-p', 'warning', '-o', 'cat')
        print(said)
        self.assertIn('--root=/home: /home is an empty tmpfs; ProtectHome= or InaccessiblePaths= '
                      'of the unit may hide the real directory', said)
        explained = self.container.run(['exim-quotactl', 'explain', mailbox]).stdout
        print(explained)
        for line in (rf'  Tried +{mailbox}: nothing is there',
                     r'  Note +--root=/home: /home is an empty tmpfs',
                     r'  Difference +what is there: nothing for the service, maildir read directly',
                     r' +the unit may hide the mailbox \(ProtectHome=\)'):
            self.assertRegex(explained, re.compile(f'^{line}', re.MULTILINE))
        drop_in = shown_in_manual('Service', 'ProtectHome=')
        print(drop_in)

        self.service.change(drop_in, options='--root=/home')

        self.assertEqual(self.usage(mailbox), (str(MESSAGE_BYTES), 'scan'))
        explained = self.container.run(['exim-quotactl', 'explain', mailbox]).stdout
        print(explained)
        self.assertIn('  Direct       the same without the service\n', explained)

    def test_another_root(self):
        self.service.make_maildirs(['/srv/mail/joe', '/var/mail/ann'], MESSAGE_BYTES)
        self.service.start()
        self.assertIn('reason=outside-root', self.service.ask('usage /srv/mail/joe'))

        self.service.change(options='--root=/srv/mail --default-quota=2G')

        self.assertEqual(self.usage('/srv/mail/joe'), (str(MESSAGE_BYTES), 'scan'))
        self.assertEqual(self.usage('/var/mail/ann'), (str(MESSAGE_BYTES), 'scan'))

    def test_tcp_for_remote_exims(self):
        self.service.make_maildirs(['/var/mail/tcp'], MESSAGE_BYTES)
        drop_in = shown_in_manual('Socket', 'ListenStream=')
        print(drop_in)
        # The container has no other address.
        drop_in, changes = re.subn(r'192\.0\.2\.1:', '127.0.0.1:', drop_in)
        self.assertEqual(changes, 1)
        drop_in, changes = re.subn(r'192\.0\.2\.2\b', '127.0.0.1', drop_in)
        self.assertEqual(changes, 1)

        self.service.change(drop_in, unit=SOCKET)

        connection = self.container.connect_tcp(PORT)
        connection.sendall(b'/var/mail/tcp\n')
        answer = answer_of(connection)
        print(f'127.0.0.1:{PORT}: {answer}')
        self.assertEqual(answer, f'{MESSAGE_BYTES}\n')
        self.assertEqual(self.service.ask('/var/mail/tcp'), str(MESSAGE_BYTES))
        # The service itself has no network all the same.
        private = self.container.run(
            ['nsenter', '--target', str(self.service.main_pid()), '--net',
             'cat', '/proc/net/dev']).stdout
        self.assertEqual(re.findall(r'^ *(\w+):', private, re.MULTILINE), ['lo'])
        self.assertNotEqual(*(self.container.run(
            ['readlink', f'/proc/{pid}/ns/net']).stdout for pid in (1, self.service.main_pid())))

    def test_a_socket_for_another_group(self):
        self.service.make_maildirs(['/var/mail/group'], MESSAGE_BYTES)
        unit = shown_in_manual('Socket', 'ListenStream=/run')
        print(unit)
        path = re.search('ListenStream=(.*)', unit)[1]
        name = f'{path.rpartition("/")[2]}.socket'
        self.service.stop()
        self.container.put_file(f'/etc/systemd/system/{name}', unit)
        self.container.run(['systemctl', 'daemon-reload'])
        self.addCleanup(self.container.run, ['rm', f'/etc/systemd/system/{name}'])
        self.addCleanup(self.container.run, ['systemctl', 'disable', '--now', name])

        self.container.run(['systemctl', 'enable', '--now', name, SOCKET])

        for user, asked, answered in (('www-data', path, True), ('www-data', SOCKET_PATH, False),
                                      ('Debian-exim', SOCKET_PATH, True),
                                      ('Debian-exim', path, False), ('news', path, False)):
            with self.subTest(user=user, path=asked):
                reply = self.service.ask_as(user, '/var/mail/group', asked)
                self.assertEqual(reply.stdout, f'{MESSAGE_BYTES}\n' if answered else '')
                self.assertEqual('PermissionError' in reply.stderr, not answered, reply.stderr)
        self.service.stop()
        # Each of the two starts the service, which then answers on both.
        self.assertEqual(self.service.ask('/var/mail/group', path), str(MESSAGE_BYTES))
        self.assertEqual(self.service.ask('/var/mail/group'), str(MESSAGE_BYTES))

    def test_a_socket_inside_a_chroot(self):
        self.service.make_maildirs(['/var/mail/chroot'], MESSAGE_BYTES)
        drop_in = shown_in_manual('Socket', 'ListenStream=/')
        print(drop_in)
        path = re.search('ListenStream=(.*)', drop_in)[1]

        self.service.change(drop_in, unit=SOCKET)

        chroot, inside = re.fullmatch('(/.*?)(/run/.*)', path).groups()
        asked = self.container.run(
            ['python3', '-c',
             'import os, socket, sys\n'
             'os.chroot(sys.argv[1])\n'
             'with socket.socket(socket.AF_UNIX) as connection:\n'
             '    connection.connect(sys.argv[2])\n'
             '    connection.sendall(b"/var/mail/chroot\\n")\n'
             '    print(connection.recv(100).decode(), end="")\n', chroot, inside])
        print(f'chroot {chroot}, {inside}: {asked.stdout}')
        self.assertEqual(asked.stdout, f'{MESSAGE_BYTES}\n')
        for each in (path, SOCKET_PATH):
            self.assertEqual(self.container.run(
                ['stat', '--format=%A %U:%G', each]).stdout, 'srw-rw---- root:Debian-exim\n')
            self.assertEqual(self.service.ask('/var/mail/chroot', each), str(MESSAGE_BYTES))

    def test_reload_by_signal(self):
        if self.release == 'bookworm':
            raise unittest.SkipTest('systemd 252 knows no notify-reload')
        self.container.put_file('/etc/exim-quotad/limits', '*: 1G\n')
        drop_in = shown_in_manual('Service', 'Type=notify-reload')
        print(drop_in)
        self.service.change(drop_in, options='--limits=/etc/exim-quotad/limits')
        self.service.ask('ping')
        pid = self.service.main_pid()

        self.container.put_file('/etc/exim-quotad/limits', '*: 2G\n')
        self.container.run(['systemctl', 'reload', SERVICE])

        self.assertIn(' limit=2147483648 ', self.service.ask('usage /var/mail/nobody'))
        self.assertEqual(self.container.unit(SERVICE, 'ActiveState', 'SubState', 'MainPID'), {
            'ActiveState': 'active', 'SubState': 'running', 'MainPID': str(pid)})

        for number in range(1, 6):  # other options
            self.service.configure(f'--default-quota={number}K')
            self.container.run(['systemctl', 'reload', SERVICE])
            self.assertIn(f' limit={number * 1024} ', self.service.ask('usage /var/mail/nobody'))
            self.assertNotEqual(self.service.main_pid(), pid)
            pid = self.service.main_pid()
        self.assertEqual(self.container.unit(SERVICE, 'Result', 'NRestarts'),
                         {'Result': 'success', 'NRestarts': '0'})

    def test_other_descriptors_are_closed_with_a_warning(self):
        self.service.change('[Socket]\nListenFIFO=/run/exim-quotad/fifo\n', unit=SOCKET)
        self.assertRegex(self.service.ask('ping'), '^status=ok ')
        entries = [json.loads(line) for line in self.journal(
            '-t', 'exim-quotad', '-p', 'warning', '-o', 'json').splitlines()]
        messages = [entry['MESSAGE'] for entry in entries]
        print('\n'.join(messages))
        self.assertEqual(len(messages), 1)
        self.assertRegex(messages[0], 'closed descriptor [0-9]+, .*it is not a stream socket')
        opened = self.container.run(['ls', '-l', f'/proc/{self.service.main_pid()}/fd']).stdout
        self.assertNotIn('fifo', opened)
