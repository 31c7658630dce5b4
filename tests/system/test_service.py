# SPDX-License-Identifier: GPL-2.0-or-later
"""The service as systemd's: restarts, kills, reloads, idle exits, the watchdog."""

import contextlib
import re
import socket
import time
from typing import Iterator

from harness import project
from harness.container import wait_until
from harness.scenario import Scenario, is_long
from harness.service import (CONFIG_FILE, INSTALLED, SERVICE, SOCKET, SOCKET_PATH, Service,
                             answer_of, wait_for_new_main_process)

CLIENTS = 8
MAILBOXES = 100
MESSAGE_BYTES = 4321
THINK_MSEC = 2  # of each client between its questions: some are always on their way

IDLE_EXIT = r'idle \(--exit'


class ServiceScenario(Scenario):
    """A container with mailboxes and the service's socket, closed again after each test."""

    is_shared = True
    service: Service
    answers: dict[str, str]

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        paths = [f'/var/mail/vhosts/user{number}' for number in range(MAILBOXES)]
        cls.service.make_maildirs(paths, MESSAGE_BYTES)
        cls.answers = {path: str(MESSAGE_BYTES) for path in paths}

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)

    def assert_socket_never_failed(self) -> None:
        """The socket listens, and systemd has never said that it failed."""
        state = self.container.unit(SOCKET, 'ActiveState', 'Result')
        print(f'{SOCKET}: {state}')
        self.assertEqual(state, {'ActiveState': 'active', 'Result': 'success'})
        self.assertNotIn('Failed', self.journal('_PID=1', f'UNIT={SOCKET}'))


class Interruptions(ServiceScenario):
    """What clients notice of a service that comes and goes: the bare numbers, and no failures."""

    def setUp(self) -> None:
        super().setUp()
        self.service.start()

    def test_the_load_notices_a_wrong_answer(self):
        answers = {**self.answers, '/var/mail/vhosts/user7': str(MESSAGE_BYTES + 1)}
        with self.service.load(answers, CLIENTS, count=2 * len(answers)) as load:
            seen = load.wait()
        self.assertEqual((seen['queries'], seen['wrong'], seen['failed']),
                         (2 * len(answers) - 2, 2, 0))

    def test_restarts(self):
        number = 200 if is_long() else 10
        with self.service.load(self.answers, CLIENTS, think_msec=THINK_MSEC) as load:
            for _ in range(number):
                self.container.run(['systemctl', 'restart', SERVICE])
            seen = load.stop()

        started = self._count(r'exim-quotad .* answers on')
        print(f'{number} x systemctl restart, {started} starts')
        self.assertGreaterEqual(started, number)
        self._assert_flawless(seen)

    def test_kills(self):
        number = 200 if is_long() else 8
        killed = self.service.main_pid()
        with self.service.load(self.answers, CLIENTS, think_msec=THINK_MSEC) as load:
            for _ in range(number):
                killed = wait_for_new_main_process(self.service, killed)
                # As long as it takes to be answering again.
                self.assertEqual(self.service.ask('/var/mail/vhosts/user1'), str(MESSAGE_BYTES))
                self.container.run(['kill', '-KILL', str(killed)])
            seen = load.stop()

        in_flight = number * CLIENTS
        print(f'{number} x kill -9; {seen["failed"]:.0f} questions failed, of at most '
              f'{in_flight} in flight')
        self.assertGreater(seen['queries'], 0)
        self.assertEqual(seen['wrong'], 0)
        self.assertLessEqual(seen['failed'], in_flight)
        self.assert_socket_never_failed()

    def test_reloads(self):
        self.container.put_file('/etc/exim-quotad/limits', '*: 1G\n')
        self.service.change(options='--limits=/etc/exim-quotad/limits')
        reloads = 50 if is_long() else 8
        self.assertEqual(self.service.ask('/var/mail/vhosts/user1'), str(MESSAGE_BYTES))
        pid = self.service.main_pid()
        with self.service.load(self.answers, CLIENTS, think_msec=THINK_MSEC) as load:
            for _ in range(reloads):
                self.container.run(['systemctl', 'reload', SERVICE])
            seen = load.stop()

        state = self.container.unit(SERVICE, 'ActiveState', 'MainPID')
        loaded = self._count('1 limits loaded')
        print(f'{reloads} x systemctl reload, the limits read {loaded} times; {state}')
        self.assertEqual(loaded, 1 + reloads)
        self.assertEqual(state, {'ActiveState': 'active', 'MainPID': str(pid)})
        self._assert_flawless(seen)

    def test_reloads_of_other_options(self):
        reloads = 50 if is_long() else 6
        self.assertEqual(self.service.ask('/var/mail/vhosts/user1'), str(MESSAGE_BYTES))
        pids = [self.service.main_pid()]
        with self.service.load(self.answers, CLIENTS, think_msec=THINK_MSEC) as load:
            for number in range(1, reloads + 1):
                self.service.configure(f'--default-quota={number}K')
                self.container.run(['systemctl', 'reload', SERVICE])
                # Whoever asks from now on is answered by the new options.
                self.assertIn(f' limit={number * 1024} ',
                              self.service.ask('usage /var/mail/vhosts/user1'))
                pids.append(self.service.main_pid())
            seen = load.stop()

        state = self.container.unit(SERVICE, 'ActiveState', 'Result', 'NRestarts')
        print(f'{reloads} x systemctl reload, main processes {pids}; {state}')
        self.assertEqual(len(set(pids)), 1 + reloads)
        self.assertEqual(state, {'ActiveState': 'active', 'Result': 'success', 'NRestarts': '0'})
        self.assertEqual(self._count('the options in the configuration file have changed; ending'),
                         reloads)
        self._assert_flawless(seen)

    def test_idle_exits(self):
        self.service.change(options='--exit-idle-time=100ms')
        exits = 50 if is_long() else 4
        # Each client pauses so long that now and then all of them do.
        with self.service.load(self.answers, CLIENTS, think_msec=800) as load:
            wait_until(lambda: self._count(IDLE_EXIT) >= exits, 'idle exits', 300)
            seen = load.stop()

        print(f'{self._count(IDLE_EXIT)} idle exits at --exit-idle-time=100ms')
        self._assert_flawless(seen)

    def _assert_flawless(self, seen: dict) -> None:
        self.assertGreater(seen['queries'], 0)
        self.assertEqual((seen['wrong'], seen['failed']), (0, 0))
        self.assert_socket_never_failed()

    def _count(self, pattern: str) -> int:
        return len(re.findall(pattern, self.journal('-t', 'exim-quotad', '-o', 'cat')))


class Limits(ServiceScenario):
    """`systemctl reload` of a limits file that was changed."""

    file = '/etc/exim-quotad/limits'

    def setUp(self) -> None:
        super().setUp()
        self.container.put_file(self.file, 'user1@example.org: 5000\n*: 4K\n')
        self.options = f'--mailbox=/var/mail/vhosts/%n --limits={self.file}'
        self.service.change(options=self.options)

    def limit_of(self, number: int) -> str:
        """Returns the limit of the answer about that user."""
        answer = self.service.ask(f'usage user{number}@example.org')
        return re.search(' limit=([0-9]+) ', answer)[1]

    def reload(self) -> tuple[int, list[str]]:
        """Reloads the service. Returns the status, and what its journal says then of the file."""
        self.service.ask('ping')
        start = self.container.journal_now()
        ended = self.container.run(['systemctl', 'reload', SERVICE], check=False)
        said = self.container.journal(start, '-t', 'exim-quotad', '-o', 'cat')
        lines = [line for line in said.splitlines() if self.file in line]
        print(f'systemctl reload: status {ended.returncode} {ended.stderr}\n' + '\n'.join(lines))
        return ended.returncode, lines

    def test_wrong_line_costs_its_own_key(self):
        self.container.put_file(
            self.file, 'user1@example.org: 0MM\nuser2@example.org: 6000\n*: 4K\n')
        status, said = self.reload()
        self.assertEqual((status, len(said)), (0, 2))
        self.assertTrue(said[0].startswith(f'{self.file}:1: "0MM" is not a limit; '))
        self.assertEqual(said[1], f'{self.file}: 2 limits loaded, 1 unusable')
        self.assertEqual([self.limit_of(number) for number in range(3)], ['4096', '0', '6000'])

    def test_file_that_cannot_be_read_changes_nothing(self):
        self.service.change(options=f'{self.options} --exit-idle-time=4s --timeout=60000')
        with self.busy():
            self.assertEqual(self.limit_of(1), '5000')
            pid = self.service.main_pid()
            self.container.run(['rm', self.file])
            status, said = self.reload()

        self.assertNotEqual(status, 0)
        self.assertEqual(said, [f'exim-quotad: --limits={self.file}: cannot be opened: No such '
                                'file or directory'])
        time.sleep(6)  # it is idle for long enough, and would lose them
        self.assertEqual([self.limit_of(number) for number in range(2)], ['4096', '5000'])
        self.assertEqual(self.container.unit(SERVICE, 'ActiveState', 'MainPID'),
                         {'ActiveState': 'active', 'MainPID': str(pid)})

        with self.busy():
            self.container.put_file(self.file, 'user1@example.org: 7000\n')
            self.assertEqual(self.reload()[0], 0)
        self.assertEqual(self.limit_of(1), '7000')

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Has the service wait for a client, so that it is not idle."""
        with self.container.connect_unix(SOCKET_PATH) as client:
            client.sendall(b'usage ')
            self.service.ask('ping')  # it is accepted
            yield

    def test_start_without_the_file(self):
        self.service.stop()
        self.container.run(['rm', self.file])
        self.assertEqual(self.limit_of(1), '0')
        said = self.journal('-t', 'exim-quotad', '-p', 'err', '-o', 'cat')
        print(said)
        self.assertIn(f'{self.file}: cannot be opened: No such file or directory; there are no '
                      'limits until a reload can read it', said)
        self.container.put_file(self.file, 'user1@example.org: 7000\n')
        self.assertEqual(self.reload()[0], 0)
        self.assertEqual(self.limit_of(1), '7000')

    def test_many_wrong_lines(self):
        self.container.put_file(self.file, ''.join(
            f'user{number}@example.org: {number}{"MM" if number % 100 == 2 else ""}\n'
            for number in range(100_000)))
        status, said = self.reload()
        self.assertEqual(status, 0)
        self.assertLessEqual(len(said), 21)
        self.assertEqual(said[-1], f'{self.file}: 99000 limits loaded, 1000 unusable')
        self.assertEqual([self.limit_of(number) for number in (1, 2, 3, 99_999)],
                         ['1', '0', '3', '99999'])

    def test_wrong_options(self):
        self.service.ask('ping')
        pid = self.service.main_pid()
        self.container.put_file(self.file, '*: 8K\n')
        self.service.configure(f'{self.options} --default-quota=2GB')
        self.assertNotEqual(self.reload()[0], 0)
        self.assertEqual(self.limit_of(1), '5000')
        self.assertIn(f'{CONFIG_FILE}:5: default-quota = 2GB is not accepted',
                      self.journal('-t', 'exim-quotad'))
        # The same by hand: what is not checked beforehand.
        self.container.run(['systemctl', 'kill', '--signal=HUP', SERVICE])
        wait_until(lambda: 'the old options and limits stay in force' in self.journal(
            '-t', 'exim-quotad', '-p', 'err'), 'it is reported')
        self.assertEqual(self.limit_of(1), '5000')
        self.assertEqual(self.service.main_pid(), pid)
        self.service.configure(self.options)
        self.assertEqual(self.reload()[0], 0)
        self.assertEqual(self.limit_of(1), '8192')
        self.assertEqual(self.service.main_pid(), pid)

    def test_other_options_while_a_client_is_slow(self):
        options = f'{self.options} --timeout=60000'
        self.service.change(options=options)
        self.assertEqual(self.limit_of(1), '5000')
        pid = self.service.main_pid()
        with self.container.connect_unix(SOCKET_PATH) as slow:
            slow.sendall(b'usage user1@')
            self.service.ask('ping')  # it is accepted
            self.service.configure(f'{options} --default-quota=2G --grace=1M')
            reload = self.container.popen(['systemctl', 'reload', SERVICE])
            wait_until(lambda: 'have changed; ending' in self.journal('-t', 'exim-quotad'),
                       'it has read them')
            queued = self.container.connect_unix(SOCKET_PATH)
            queued.sendall(b'usage user1@example.org\n')
            self.assertEqual(self.service.main_pid(), pid, 'it waits for the slow one')
            slow.sendall(b'example.org\n')
            self.assertIn(' limit=5000 ', answer_of(slow.dup()))
        self.assertIn(' limit=5000 ', answer_of(queued))
        self.assertEqual(reload.wait(), 0)
        self.assertNotEqual(self.service.main_pid(), pid)
        self.assertEqual(self.container.unit(SERVICE, 'Result', 'NRestarts'),
                         {'Result': 'success', 'NRestarts': '0'})

    def test_direct_needs_no_options(self):
        """exim-quotactl --direct reads what the service reads, and asking it needs none of that."""
        direct = ['exim-quotactl', '--raw', '--direct', 'usage', 'user1@example.org']
        asked = ['exim-quotactl', '--raw', 'usage', 'user1@example.org']
        expected = self.container.run(asked).stdout
        self.assertIn(' limit=5000 ', expected)
        self.assertEqual(self.container.run(direct).stdout, expected)
        self.container.put_file(CONFIG_FILE, 'nonsense\n')
        self.assertEqual(self.container.run(asked).stdout.replace('=cache', '=scan'), expected)
        ended = self.container.run(direct, check=False)
        self.assertEqual((ended.returncode, ended.stdout), (2, ''))
        self.assertIn(f'{CONFIG_FILE}:1: there is no option nonsense', ended.stderr)

    def test_installing_keeps_the_file(self):
        """The file is the administrator's, once it is there."""
        example = '/usr/share/doc/exim-quotad/examples/exim-quotad.conf'
        self.container.put_file(CONFIG_FILE, '# mine\n')
        project.install(self.container)
        self.assertEqual(self.container.read_file(CONFIG_FILE), '# mine\n')
        self.container.run(['rm', CONFIG_FILE])
        project.install(self.container)
        self.container.run(['cmp', CONFIG_FILE, example])
        self.assertEqual(self.container.run(['stat', '--format=%a %U', CONFIG_FILE]).stdout,
                         '644 root\n')
        values = re.findall('(?m)^([a-z-]+) = (.*)', self.container.read_file(CONFIG_FILE))
        self.assertEqual(values, [(name, value) for name, each in INSTALLED.items()
                                  for value in each])


class Failures(ServiceScenario):
    """A service that hangs, or cannot start."""

    def test_stopped_process_is_replaced_and_the_queue_answered(self):
        self.service.change('[Service]\nWatchdogSec=3s\n')
        self.assertEqual(self.service.ask('/var/mail/vhosts/user1'), str(MESSAGE_BYTES))
        hung = self.service.main_pid()

        self.container.run(['kill', '-STOP', str(hung)])
        queued = self._ask_many()
        answers = [answer_of(connection) for connection in queued]

        said = self.journal('_PID=1', f'UNIT={SERVICE}', '-o', 'cat')
        print(f'kill -STOP {hung}; 20 clients asked: {sorted(set(answers))}; '
              f'then {self.service.main_pid()}:\n{said}')
        self.assertEqual(answers, [f'{MESSAGE_BYTES}\n'] * 20)
        self.assertNotEqual(self.service.main_pid(), hung)
        self.assertIn('Watchdog timeout', said)
        self.assert_socket_never_failed()

    def test_reload_of_a_service_that_ends_meanwhile(self):
        """As one does that was idle for long enough: nobody waits for it."""
        first, *others = re.findall('(?m)^ExecReload=.*', self.container.run(
            ['systemctl', 'cat', SERVICE]).stdout)
        end = 'ExecReload=+sh -c \'kill $$MAINPID; while kill -0 $$MAINPID; do sleep 0.1; done\''
        self.service.change('\n'.join(['[Service]', 'ExecReload=', first, end, *others, '']))
        self.service.ask('ping')
        ended = self.service.main_pid()

        self.container.run(['systemctl', 'reload', SERVICE])

        self.assertEqual(self.service.ask('/var/mail/vhosts/user1'), str(MESSAGE_BYTES))
        self.assertNotIn(self.service.main_pid(), (0, ended))
        self.assertEqual(self.container.unit(SERVICE, 'Result', 'NRestarts'),
                         {'Result': 'success', 'NRestarts': '0'})

    def test_queue_outlives_starts_that_fail(self):
        failures, mended = 30, '/var/tmp/mended'
        self.service.change('[Service]\nRestartSec=20ms\n'
                            f'ExecStartPre=+/usr/bin/test -e {mended}\n')
        queued = self._ask_many()
        wait_until(lambda: self._restarts() >= failures, f'{failures} failed starts')
        print(f'{self._restarts()} starts failed')
        self.assert_socket_never_failed()

        self.container.put_file(mended, '')
        answers = [answer_of(connection) for connection in queued]

        print(f'mended, 20 clients that had asked before: {sorted(set(answers))}')
        self.assertEqual(answers, [f'{MESSAGE_BYTES}\n'] * 20)
        self.assert_socket_never_failed()

    def _ask_many(self) -> list[socket.socket]:
        """Returns connections on which questions were asked, and not yet answered."""
        queued = [self.container.connect_unix(SOCKET_PATH, timeout=60) for _ in range(20)]
        for number, connection in enumerate(queued):
            connection.sendall(f'/var/mail/vhosts/user{number}\n'.encode())
            connection.shutdown(socket.SHUT_WR)
        return queued

    def _restarts(self) -> int:
        return int(self.container.unit(SERVICE, 'NRestarts')['NRestarts'])
