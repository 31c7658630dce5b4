# SPDX-License-Identifier: GPL-2.0-or-later
"""Running without a service manager: in the background, with a pid file, as another user."""

import ctypes
import os
import pwd
import select
import signal
import subprocess
from pathlib import Path
from typing import Optional, Sequence

from daemon import (PATIENCE_SECONDS, Daemon, OwnSocketTestCase, Process, ask, needs_root,
                    wait_for)

PR_SET_CHILD_SUBREAPER = 36


def status_of(pid: int) -> dict[str, str]:
    """Returns what /proc/PID/status says."""
    lines = Path(f'/proc/{pid}/status').read_text('ascii', 'replace').splitlines()
    return {key: value.strip() for key, _, value in (line.partition(':') for line in lines)}


def be_subreaper(on: bool) -> None:
    """Makes orphans ours, so that the end of a daemon can be waited for, or no longer."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


class Orphan(Process):
    """A process that another one started, and that is ours since that one ended."""

    def __init__(self, pid: int):
        self._adopt(pid)


class OwnPidfileTest(OwnSocketTestCase):
    """A socket, and a pid file beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.pidfile = self.place / 'pid'
        be_subreaper(True)
        self.addCleanup(be_subreaper, False)

    def start_in_background(self, *options: str, wrapper: Sequence[str] = ()) -> Daemon:
        """Runs the command, and returns the daemon that it leaves behind."""
        return self.adopt(self.spawn(f'--socket={self.socket}', f'--pidfile={self.pidfile}',
                                     *options, wrapper=wrapper))

    def adopt(self, command: Daemon) -> Daemon:
        """Waits for the end of the command, and returns the daemon that it leaves behind."""
        self.assertEqual(command.process.wait(), 0, command.stderr())
        daemon = Daemon(Orphan(int(self.pidfile.read_text())), self.socket, command.folder,
                        command.log)
        self.addCleanup(self.end_daemon, daemon)
        return daemon

    def fail_to_start(self, *options: str, **how) -> str:
        """Runs the command, which fails with status 1 and one line, and returns the line."""
        return self.run_to_failure(1, f'--socket={self.socket}', *options, **how)


class BackgroundTest(OwnPidfileTest):
    """Without --foreground the command returns as soon as the daemon answers."""

    def test_command_returns_when_it_answers(self):
        for _ in range(10):
            daemon = self.start_in_background()
            self.assertEqual(ask(self.socket, self.path), b'123\n')
            self.stop(daemon)

    def test_configuration_file_by_a_relative_path(self):
        limits = self.folder / 'limits'
        limits.write_text('*: 1K\n')
        (self.folder / 'conf').write_text(f'limits = {limits}\n')
        daemon = self.start_in_background(
            '--config=conf', wrapper=('/usr/bin/env', f'--chdir={self.folder}'))
        self.assertEqual(daemon.usage(self.path)['limit'], '1024')
        limits.write_text('*: 2K\n')
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: daemon.usage(self.path)['limit'] == '2048', 'the limits are read again')

    def test_daemon_lets_go_of_everything(self):
        daemon = self.start_in_background()
        self.assertEqual(os.getsid(daemon.pid), daemon.pid)
        self.assertNotEqual(os.getsid(0), daemon.pid)
        self.assertEqual(os.readlink(f'/proc/{daemon.pid}/cwd'), '/')
        for fd in range(3):
            self.assertEqual(os.readlink(f'/proc/{daemon.pid}/fd/{fd}'), '/dev/null')

    def test_pipes_are_closed(self):
        # Whoever reads what the command says comes to the end of it.
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        command = self.spawn(f'--socket={self.socket}', f'--pidfile={self.pidfile}',
                             descriptors={1: write_end, 2: write_end})
        os.close(write_end)
        self.assertTrue(select.select([read_end], [], [], PATIENCE_SECONDS)[0])
        self.assertEqual(os.read(read_end, 100), b'')
        self.adopt(command)
        self.assertEqual(ask(self.socket, self.path), b'123\n')

    def test_closed_standard_streams(self):
        # What the daemon opens itself must not end up in their place.
        for closed in '<&-', '>&- 2>&-', '<&- >&- 2>&-':
            for how in (), ('--foreground',):
                with self.subTest(closed=closed, how=how):
                    daemon = self.start_with_streams_closed(closed, *how)
                    self.assertEqual(ask(self.socket, self.path), b'123\n')
                    daemon.ask('/etc')
                    self.assertEqual(len(daemon.warnings_about('/etc')), 1)
                    self.assertEqual(self.pidfile.read_text(), f'{daemon.pid}\n')
                    self.stop(daemon)

    def start_with_streams_closed(self, closed: str, *how: str) -> Daemon:
        """Starts a daemon, in the foreground or not, some of whose standard streams are closed."""
        wrapper = ('/bin/sh', '-c', f'exec "$0" "$@" {closed}')
        if not how:
            return self.start_in_background(wrapper=wrapper)
        return self.start_there(f'--pidfile={self.pidfile}', wrapper=wrapper)

    def test_relative_paths(self):
        daemon = self.adopt(self.spawn('--socket=socket', '--pidfile=pid', '--log=log',
                                       wrapper=('/usr/bin/env', f'--chdir={self.place}')))
        daemon.log = self.place / 'log'
        self.assertEqual(ask(self.socket, self.path), b'123\n')
        daemon.log.rename(self.place / 'log.1')
        daemon.process.send(signal.SIGHUP)
        wait_for(daemon.log.exists, 'the log file is made again')
        self.stop(daemon)
        self.assertEqual({file.name for file in self.place.iterdir()}, {'log', 'log.1'})

    def test_foreground(self):
        daemon = self.start()
        self.assertIsNone(daemon.process.wait(0))
        self.assertNotEqual(os.getsid(daemon.pid), daemon.pid)
        self.assertEqual(os.readlink(f'/proc/{daemon.pid}/cwd'), os.getcwd())

    def test_start_fails_after_the_fork(self):
        for option, said in (
                ('--user=no-such-user', '--user=no-such-user'),
                (f'--root={self.folder}/missing', f'--root={self.folder}/missing: No such file'),
                (f'--root={self.folder}/file', f'--root={self.folder}/file: Not a directory')):
            (self.folder / 'file').touch()
            with self.subTest(option=option):
                self.assertIn(said, self.fail_to_start(option, f'--pidfile={self.pidfile}'))
                self.assertEqual(list(self.place.iterdir()), [])

    def test_start_fails_before_the_fork(self):
        for options, said in (
                ((f'--log={self.folder}/missing/log',), f'{self.folder}/missing/log: No such file'),
                ((f'--log={self.folder}',), f'{self.folder}: Is a directory'),
                ((f'--pidfile={self.folder}/missing/pid',), f'--pidfile={self.folder}/missing'),
                ((f'--socket={self.folder}/missing/socket',), f'--socket={self.folder}/missing'),
                (('--socket=' + 'x' * 200,), 'File name too long')):
            with self.subTest(options=options):
                self.assertIn(said, self.fail_to_start(*options))
                self.assertEqual(list(self.place.iterdir()), [])


class PidfileTest(OwnPidfileTest):
    """--pidfile."""

    def test_life_of_a_pidfile(self):
        for options in (('--foreground',), ()):
            with self.subTest(options=options):
                daemon = self.start_with_pidfile(*options)
                self.assertEqual(self.pidfile.read_text(), f'{daemon.pid}\n')
                self.assertEqual(self.pidfile.stat().st_mode & 0o7777, 0o644)
                self.stop(daemon)
                self.assertFalse(self.pidfile.exists())

    def start_with_pidfile(self, *options: str) -> Daemon:
        """Starts a daemon with the pid file, in the foreground or not."""
        if '--foreground' not in options:
            return self.start_in_background(*options)
        return self.start(f'--pidfile={self.pidfile}')

    def test_process_that_lives(self):
        daemon = self.start_with_pidfile()
        for other in self.socket, self.place / 'other':
            with self.subTest(socket=other):
                said = self.fail_to_start(f'--pidfile={self.pidfile}', f'--socket={other}')
                self.assertIn(f'--pidfile={self.pidfile}', said)
                self.assertIn(f' ({daemon.pid}) ', said)
                self.assertEqual(self.pidfile.read_text(), f'{daemon.pid}\n')
        self.assertEqual(ask(self.socket, self.path), b'123\n')
        self.assertFalse((self.place / 'other').exists())

    def test_number_of_another_program_that_lives(self):
        # Numbers are used again: after a crash, the daemon's may be anybody's.
        for number in os.getpid(), 1:
            self.pidfile.write_text(f'{number}\n')
            daemon = self.start_with_pidfile()
            self.assertEqual(self.pidfile.read_text(), f'{daemon.pid}\n')
            self.stop(daemon)

    def test_stale(self):
        with subprocess.Popen(['/bin/true']) as gone:
            gone.wait()
        for text in (f'{gone.pid}\n', f'{gone.pid}', '', 'x\n', '-1\n', '0\n', '99999999999\n'):
            with self.subTest(text=text):
                self.pidfile.write_text(text)
                daemon = self.start_with_pidfile()
                self.assertEqual(self.pidfile.read_text(), f'{daemon.pid}\n')
                self.stop(daemon)
                self.assertFalse(self.pidfile.exists())

    def test_daemon_that_was_killed(self):
        daemon = self.start_with_pidfile()
        self.kill(daemon)
        self.assertTrue(self.pidfile.exists())
        self.start_with_pidfile()
        self.assertEqual(ask(self.socket, self.path), b'123\n')

    def test_what_is_no_pidfile(self):
        precious = self.folder / 'precious'
        precious.write_text('precious\n')
        self.pidfile.symlink_to(precious)
        self.assertIn('--pidfile', self.fail_to_start(f'--pidfile={self.pidfile}'))
        self.pidfile.unlink()
        os.link(precious, self.pidfile)
        self.assertIn('--pidfile', self.fail_to_start(f'--pidfile={self.pidfile}'))
        self.pidfile.unlink()
        self.assertEqual(precious.read_text(), 'precious\n')
        os.mkfifo(self.pidfile)
        self.assertIn('--pidfile', self.fail_to_start(f'--pidfile={self.pidfile}'))
        self.assertIn('--pidfile', self.fail_to_start(f'--pidfile={self.place}'))

    def test_pidfile_that_is_another_by_now(self):
        daemon = self.start_with_pidfile()
        self.pidfile.unlink()
        self.pidfile.write_text('1\n')
        self.stop(daemon)
        self.assertEqual(self.pidfile.read_text(), '1\n')

    @needs_root
    def test_folder_that_the_user_may_not_write(self):
        # What it may not remove it empties, and the next one takes it over.
        self.place.chmod(0o755)
        for _ in range(2):
            daemon = self.start_in_background('--user=nobody')
            self.assertEqual(self.pidfile.read_text(), f'{daemon.pid}\n')
            self.assertEqual(ask(self.socket, self.path), b'123\n')
            self.stop(daemon)
            self.assertEqual(self.pidfile.read_text(), '')

    def test_two_at_once(self):
        for _ in range(5):
            winners = self.start_two()
            self.assertEqual(self.pidfile.read_text(), f'{winners.pid}\n')
            self.stop(winners)

    def start_two(self) -> Daemon:
        """Starts two with one pid file and two sockets. Returns the one that runs."""
        two = [self.spawn('--foreground', f'--pidfile={self.pidfile}', f'--socket={path}',
                          address=path) for path in (self.socket, self.place / 'other')]
        winner = self.survivor_of(two, '--pidfile')
        wait_for(winner.answers, 'the other one answers')
        self.assertEqual(winner.ask(self.path), b'123\n')
        return winner


@needs_root
class UserTest(OwnPidfileTest):
    """--user, and what is done without it."""

    def assert_is(self, daemon: Daemon, name: str, groups: Optional[set[int]] = None) -> None:
        """Fails unless every process id is that user's, with no more groups and no privilege."""
        user = pwd.getpwnam(name)
        status = status_of(daemon.pid)
        self.assertEqual(status['Uid'].split(), [str(user.pw_uid)] * 4)
        self.assertEqual(status['Gid'].split(), [str(user.pw_gid)] * 4)
        self.assertEqual(set(map(int, status['Groups'].split())),
                         groups or set(os.getgrouplist(name, user.pw_gid)))
        for kind in 'CapInh', 'CapPrm', 'CapEff', 'CapAmb':
            self.assertEqual(int(status[kind], 16), 0, kind)
        self.assertEqual(status['NoNewPrivs'], '1')
        for task in Path(f'/proc/{daemon.pid}/task').iterdir():
            self.assertEqual(status_of(int(task.name))['Uid'].split()[0], str(user.pw_uid))

    def test_user(self):
        for option in ('--user=nobody', '-unobody', f'--user={pwd.getpwnam("nobody").pw_uid}'):
            for how in (('--foreground',), ()):
                with self.subTest(option=option, how=how):
                    daemon = self.start_as(option, *how)
                    self.assertEqual(daemon.ask(self.path), b'123\n')
                    self.assert_is(daemon, 'nobody')
                    self.stop(daemon)

    def start_as(self, *options: str) -> Daemon:
        """Starts a daemon in the foreground or not, as one that has groups to lose."""
        wrapper = ('/usr/bin/setpriv', '--groups=0,4,5,42')
        if '--foreground' in options:
            return self.start(*options, wrapper=wrapper)
        return self.start_in_background(*options, wrapper=wrapper)

    def test_default(self):
        self.assert_is(self.start_as('--foreground'), 'mail')
        self.assert_is(self.start_as(), 'mail')

    def test_supplementary_groups(self):
        # A group file of our own, in a mount namespace of the daemon's own.
        groups = self.folder / 'group'
        groups.write_text(Path('/etc/group').read_text() + 'quota-a:x:4711:nobody\n'
                          'quota-b:x:4712:mail,nobody\nquota-c:x:4713:mail\n')
        daemon = self.start('--user=nobody', wrapper=(
            '/usr/bin/unshare', '--mount', '/bin/sh', '-ec',
            f'mount --bind {groups} /etc/group; exec "$0" "$@"'))
        gid = pwd.getpwnam('nobody').pw_gid
        self.assert_is(daemon, 'nobody', {gid, 4711, 4712})

    def test_socket_is_bound_before(self):
        # In a folder where only root may, and by root.
        self.place.chmod(0o755)
        self.start_in_background('--user=nobody')
        self.assertEqual(self.socket.stat().st_uid, 0)
        self.assertEqual(ask(self.socket, self.path), b'123\n')

    def test_root(self):
        daemon = self.start('--user=root')
        [warning] = daemon.warnings()
        self.assertIn('--user=root', warning)
        self.assertEqual(status_of(daemon.pid)['Uid'].split(), ['0'] * 4)

    def test_unknown_user(self):
        for name in 'no-such-user', '4294967295', '-1', '99999999999999999999', '0x0':
            with self.subTest(name=name):
                self.assertIn(f'--user={name}: there is no such user',
                              self.fail_to_start(f'--user={name}', '--foreground'))
                self.assertFalse(self.socket.exists())

    def test_who_is_not_root(self):
        nobody = ('/usr/bin/setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups')
        self.assertIn('--user=mail: only root', self.fail_to_start('--user=mail', wrapper=nobody))
        for options in (('--user=nobody',), ()):
            with self.subTest(options=options):
                daemon = self.start(f'--socket={self.socket}', *options, wrapper=nobody)
                self.assertEqual(ask(self.socket, self.path), b'123\n')
                uid = str(pwd.getpwnam('nobody').pw_uid)
                self.assertEqual(status_of(daemon.pid)['Uid'].split(), [uid] * 4)
                self.stop(daemon)

    def test_passed_sockets(self):
        # Whoever passes sockets has chosen the user already; --user still holds.
        listener = self.listen(self.folder / 'passed')
        os.chmod(self.folder / 'passed', 0o666)
        self.assertEqual(status_of(self.start_with([listener]).pid)['Uid'].split(), ['0'] * 4)
        self.assert_is(self.start_with([listener], '--user=nobody'), 'nobody')
