# SPDX-License-Identifier: GPL-2.0-or-later
"""A root of the service that is mounted after its start, and unmounted while it is idle."""

from harness.container import wait_until
from harness.scenario import Scenario
from harness.service import ACCEPT_SOCKET, SERVICE, SOCKET, Service

ROOT = '/var/mail'
ELSEWHERE = '/mnt'
JOE = f'{ROOT}/joe'
ALIKE = [f'{ROOT}/alike/user{number}' for number in range(50)]
ALIKE_BYTES = 4321
BELOW_BYTES, ABOVE_BYTES = 123, 7
CLIENTS = 8
ROUNDS = 10

MOUNT_UNIT = f'''[Mount]
What={ELSEWHERE}
Where={ROOT}
Type=none
Options=bind
'''


class Mounts(Scenario):
    """/var/mail, over which another file system can be mounted: joe differs, the others do not."""

    service: Service

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        cls.container.run(['mount', '-t', 'tmpfs', 'tmpfs', ELSEWHERE])
        for root, joe in (ROOT, BELOW_BYTES), (ELSEWHERE, ABOVE_BYTES):
            cls.service.make_maildirs([JOE.replace(ROOT, root)], joe)
            cls.service.make_maildirs([path.replace(ROOT, root) for path in ALIKE], ALIKE_BYTES)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)
        self.addCleanup(self.container.run, ['umount', '-l', ROOT], check=False)

    def mount(self) -> None:
        """Mounts the other file system."""
        self.container.run(['mount', '--bind', ELSEWHERE, ROOT])

    def unmount(self) -> None:
        """Unmounts it, and not lazily."""
        wait_until(lambda: self.container.run(['umount', ROOT], check=False).returncode == 0,
                   f'{ROOT} is unmounted')

    def wait_for_answer(self, size: int) -> None:
        """Waits until joe has so many bytes: at once, but for queries that are being accepted."""
        wait_until(lambda: self.service.ask(JOE) == str(size), f'{size} bytes are the answer')

    def assert_ended_well(self) -> None:
        """The service ends by itself, and not because it failed."""
        wait_until(lambda: self.container.unit(SERVICE, 'ActiveState')['ActiveState'] == 'inactive',
                   'the service has ended')
        self.assertEqual(self.container.unit(SERVICE, 'Result')['Result'], 'success')

    def test_mounted_after_the_start_and_unmounted_while_idle(self):
        self.service.start()
        self.assertEqual(self.service.ask(JOE), str(BELOW_BYTES))
        self.mount()
        self.assertEqual(self.service.ask(JOE), str(ABOVE_BYTES))
        self.unmount()
        self.assert_ended_well()
        self.assertEqual(self.service.ask(JOE), str(BELOW_BYTES))
        print(self.journal('-o', 'cat', f'UNIT={SERVICE}', '+', f'_SYSTEMD_UNIT={SERVICE}'))
        self.assertEqual(self.journal().count(f'{ROOT} is another directory now'), 2)

    def test_mounted_under_load(self):
        self.service.start()
        answers = {path: str(ALIKE_BYTES) for path in ALIKE}
        with self.service.load(answers, CLIENTS) as load:
            for _ in range(ROUNDS):
                self.mount()
                self.wait_for_answer(ABOVE_BYTES)
                self.container.run(['umount', '-l', ROOT])
                self.wait_for_answer(BELOW_BYTES)
            seen = load.stop()
        noticed = self.journal().count(f'{ROOT} is another directory now')
        print(f'{ROUNDS} times mounted and unmounted, noticed {noticed} times')
        self.assertEqual((seen['wrong'], seen['failed']), (0, 0))
        self.assertGreater(noticed, ROUNDS)
        self.assertNotIn('Permission denied', self.journal(f'_SYSTEMD_UNIT={SERVICE}'))

    def test_is_mounted_first(self):
        self.container.put_file('/etc/systemd/system/var-mail.mount', MOUNT_UNIT)
        self.addCleanup(self.container.run, 'systemctl stop var-mail.mount; '
                        'rm /etc/systemd/system/var-mail.mount; systemctl daemon-reload')
        self.container.run(['systemctl', 'daemon-reload'])
        for socket in SOCKET, ACCEPT_SOCKET:
            with self.subTest(socket=socket):
                self.assertFalse(self.container.is_active('var-mail.mount'))
                self.container.run(['systemctl', 'start', socket])
                self.assertEqual(self.service.ask(JOE), str(ABOVE_BYTES))
                self.assertTrue(self.container.is_active('var-mail.mount'))
                self.service.reset()
                self.container.run(['systemctl', 'stop', 'var-mail.mount'])
