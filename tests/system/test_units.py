# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit files, as they are installed."""

import contextlib

from harness.scenario import Scenario
from harness.service import (ACCEPT_SOCKET, POSTFIX_SOCKET, POSTFIX_SOCKET_PATH, SERVICE, SOCKET,
                             Service)


class Units(Scenario):
    """What systemd says of the units, and does with them, without a query."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.active = cls.container.run('systemctl list-units --all --plain --no-legend '
                                       '--state=active "exim-quotad*"').stdout.splitlines()

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.container.run, ['systemctl', 'stop', SOCKET, ACCEPT_SOCKET])

    def test_verify_is_silent(self):
        units = self.container.run(
            'ls -d /usr/lib/systemd/system/exim-quotad*').stdout.split()
        print('\n'.join(units))
        names = {unit.rpartition('/')[2] for unit in units}
        self.assertLessEqual({SOCKET, SERVICE, ACCEPT_SOCKET, 'exim-quotad-accept@.service',
                              POSTFIX_SOCKET}, names)
        verified = self.container.run(['systemd-analyze', 'verify', *units], check=False)
        self.assertEqual((verified.stdout, verified.stderr, verified.returncode), ('', '', 0))

    def test_nothing_is_started_by_installing(self):
        self.assertEqual(self.active, [])

    def test_socket_takes_a_burst(self):
        for unit in (SOCKET, ACCEPT_SOCKET, POSTFIX_SOCKET):
            self.assertEqual(self.container.unit(unit, 'Backlog'), {'Backlog': '4096'}, unit)

    def test_each_socket_takes_over_from_the_other(self):
        for number in range(6):
            started, stopped = (SOCKET, ACCEPT_SOCKET) if number % 2 else (ACCEPT_SOCKET, SOCKET)
            self.container.run(['systemctl', 'start', started])
            self.container.connect_unix('/run/exim-quotad/socket').close()
            self.assertTrue(self.container.is_active(started))
            self.assertFalse(self.container.is_active(stopped))
            print(f'systemctl start {started}: it is active, {stopped} is not')


class PostfixSocket(Scenario):
    """The socket of Postfix, alone and beside those of Exim; Postfix itself is not needed."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.container.run(['systemctl', 'start', POSTFIX_SOCKET])
        assert not cls.container.is_active(POSTFIX_SOCKET), 'there is no Postfix'
        cls.container.run('! systemctl is-failed exim-quotad-postfix.socket')
        cls.container.run('! ls -d /var/spool/postfix')
        cls.container.run('useradd --system postfix')
        cls.container.run('install -d -o postfix -m 700 /var/spool/postfix/private')

    def setUp(self) -> None:
        super().setUp()
        self.service = Service(self.container)
        self.container.run(['systemctl', 'stop', SOCKET, ACCEPT_SOCKET, POSTFIX_SOCKET])

    def assert_serves(self, exim: bool, postfix: bool) -> None:
        """Fails unless the service replies on each socket that there is, and on no other."""
        with self.subTest(exim=exim, postfix=postfix):
            if exim:
                self.assertIn('status=ok', self.service.ask('ping'))
            else:
                with self.assertRaises(FileNotFoundError):
                    self.service.ask('ping')
            if not postfix:
                with self.assertRaises(FileNotFoundError):
                    self.container.connect_unix(POSTFIX_SOCKET_PATH)
                return
            with contextlib.closing(self.container.connect_unix(POSTFIX_SOCKET_PATH)) as client:
                for _ in range(2):
                    client.sendall(b'request=smtpd_access_policy\nrecipient=joe@example.org\n\n')
                    self.assertEqual(client.recv(100), b'action=DUNNO\n\n')

    def test_alone(self):
        self.container.run(['systemctl', 'start', POSTFIX_SOCKET])
        self.assertEqual(self.container.run(['stat', '-c', '%U %G %a', POSTFIX_SOCKET_PATH]).stdout,
                         'postfix postfix 660\n')
        self.assert_serves(exim=False, postfix=True)
        self.assertTrue(self.container.is_active(SERVICE))
        self.assertFalse(self.container.is_active(SOCKET))

    def test_beside_exim(self):
        self.container.run(['systemctl', 'start', SOCKET])
        self.assert_serves(exim=True, postfix=False)
        # The service runs, and systemd starts no socket of a running service.
        self.container.run(['systemctl', 'restart', POSTFIX_SOCKET])
        self.assert_serves(exim=True, postfix=True)
        self.container.run(['systemctl', 'restart', SOCKET])
        self.assert_serves(exim=True, postfix=True)
        self.container.run(['systemctl', 'stop', SOCKET])
        self.assert_serves(exim=False, postfix=True)
        self.container.run(['systemctl', 'restart', SOCKET])
        self.container.run(['systemctl', 'stop', POSTFIX_SOCKET])
        self.assert_serves(exim=True, postfix=False)

    def test_beside_a_process_for_each_connection(self):
        self.container.run(['systemctl', 'start', SOCKET, POSTFIX_SOCKET])
        self.assert_serves(exim=True, postfix=True)
        self.container.run(['systemctl', 'start', ACCEPT_SOCKET])
        self.assert_serves(exim=True, postfix=True)
        self.assertFalse(self.container.is_active(SOCKET))
        self.container.run(['systemctl', 'restart', SOCKET])
        self.assert_serves(exim=True, postfix=True)
        self.assertFalse(self.container.is_active(ACCEPT_SOCKET))

    def test_without_a_socket(self):
        started = self.container.run(['systemctl', 'start', SERVICE], check=False)
        self.assertNotEqual(started.returncode, 0)
        self.assertIn('there is no socket', self.journal('--unit', SERVICE))
        state = self.container.unit(SERVICE, 'ActiveState', 'SubState', 'NRestarts')
        self.assertEqual(state, {'ActiveState': 'failed', 'SubState': 'failed', 'NRestarts': '0'})
        self.container.run(['systemctl', 'start', POSTFIX_SOCKET])
        self.assert_serves(exim=False, postfix=True)
