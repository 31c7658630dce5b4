# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit files, as they are installed."""

from harness.scenario import Scenario
from harness.service import ACCEPT_SOCKET, SOCKET


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
        self.assertLessEqual({SOCKET, 'exim-quotad.service', ACCEPT_SOCKET,
                              'exim-quotad-accept@.service'}, names)
        verified = self.container.run(['systemd-analyze', 'verify', *units], check=False)
        self.assertEqual((verified.stdout, verified.stderr, verified.returncode), ('', '', 0))

    def test_nothing_is_started_by_installing(self):
        self.assertEqual(self.active, [])

    def test_socket_takes_a_burst(self):
        for unit in (SOCKET, ACCEPT_SOCKET):
            self.assertEqual(self.container.unit(unit, 'Backlog'), {'Backlog': '4096'}, unit)

    def test_each_socket_takes_over_from_the_other(self):
        for number in range(6):
            started, stopped = (SOCKET, ACCEPT_SOCKET) if number % 2 else (ACCEPT_SOCKET, SOCKET)
            self.container.run(['systemctl', 'start', started])
            self.container.connect_unix('/run/exim-quotad/socket').close()
            self.assertTrue(self.container.is_active(started))
            self.assertFalse(self.container.is_active(stopped))
            print(f'systemctl start {started}: it is active, {stopped} is not')
