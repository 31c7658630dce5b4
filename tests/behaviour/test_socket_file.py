# SPDX-License-Identifier: GPL-2.0-or-later
"""The file of --socket: its mode, what may stand there before, and what is left behind."""

import os
import socket
import stat
import threading
from pathlib import Path

from daemon import OwnSocketTestCase, ask, connect, needs_root


def identity_of(path: Path) -> tuple[int, ...]:
    """Returns what changes when a file does or is another one, and not when it is connected to."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mode, found.st_ctime_ns


class SocketFileTest(OwnSocketTestCase):
    """A socket at a path, in a folder that the daemon may write."""

    def fail_to_start(self, path: Path) -> str:
        """Starts a daemon, which fails with status 1 and one line. Returns the line."""
        said = self.run_to_failure(1, '--foreground', f'--socket={path}')
        self.assertRegex(said, r'\Aexim-quotad: --socket=')
        return said

    def make_dead(self) -> os.stat_result:
        """Leaves a socket file behind on which nobody answers."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.socket))
            dead.listen()
        return self.socket.stat()

    def test_mode(self):
        for options, mode in (((), 0o666), (('-m600',), 0o600), (('--socketmode=0660',), 0o660),
                              (('--mode=770',), 0o770), (('-m', '0'), 0), (('-m777',), 0o777),
                              (('-m', '640', '--mode=644'), 0o644)):
            for umask in 0o000, 0o077, 0o777:
                with self.subTest(options=options, umask=oct(umask)):
                    daemon = self.start_there(*options, wrapper=(
                        '/bin/sh', '-c', f'umask {umask:o}; exec "$0" "$@"'))
                    self.assertEqual(stat.S_IMODE(self.socket.stat().st_mode), mode)
                    self.stop(daemon)

    def test_mode_right_from_the_start(self):
        for _ in range(5):
            seen = set()
            stopped = threading.Event()

            def look():
                while not stopped.is_set():
                    try:
                        seen.add(oct(stat.S_IMODE(os.lstat(self.socket).st_mode)))
                    except FileNotFoundError:
                        pass

            looking = threading.Thread(target=look)
            looking.start()
            try:
                self.stop(self.start_there('--socketmode=640', wrapper=(
                    '/bin/sh', '-c', 'umask 0; exec "$0" "$@"')))
            finally:
                stopped.set()
                looking.join()
            self.assertLessEqual(seen, {'0o640'})

    @needs_root
    def test_mode_decides_who_may_connect(self):
        daemon = self.start_there('--socketmode=600')
        ping = ('import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);'
                's.sendall(b"ping\\n"); sys.exit(s.recv(9) != b"status=ok")')
        for mode, admitted in (0o600, False), (0o666, True):
            self.socket.chmod(mode)
            status = os.spawnv(os.P_WAIT, '/usr/bin/setpriv', [
                'setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups',
                '/bin/sh', '-c', 'exec 2>/dev/null; exec "$0" "$@"', '/usr/bin/python3', '-c',
                ping, str(daemon.address)])
            self.assertEqual(status == 0, admitted)

    def test_removed_at_the_end(self):
        daemon = self.start_there()
        self.assertTrue(self.socket.is_socket())
        self.stop(daemon)
        self.assertEqual(list(self.place.iterdir()), [])

    def test_dead_socket_is_replaced(self):
        before = self.make_dead()
        daemon = self.start_there()
        self.assertNotEqual(self.socket.stat().st_ctime_ns, before.st_ctime_ns)
        self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_killed_daemon_is_replaced(self):
        daemon = self.start_there()
        self.kill(daemon)
        self.assertTrue(self.socket.exists())
        self.assertEqual(self.start_there().ask(self.path), b'123\n')

    def test_another_daemon_answers(self):
        daemon = self.start_there()
        before = identity_of(self.socket)
        self.assertIn('another process answers', self.fail_to_start(self.socket))
        self.assertEqual(identity_of(self.socket), before)
        self.assertEqual(daemon.ask(self.path), b'123\n')

    def test_another_program_answers(self):
        for backlog in 8, 0:
            with self.subTest(backlog=backlog):
                listener = self.listen(self.socket, backlog=backlog)
                if backlog == 0:
                    self.fill_queue()
                self.assertIn('another process answers', self.fail_to_start(self.socket))
                connected = backlog and self.connect(self.socket)
                listener.close()
                self.socket.unlink()
                self.assertIsNotNone(connected)

    def fill_queue(self) -> None:
        """Connects until the listener's queue is full."""
        while True:
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            try:
                client.connect(str(self.socket))
            except BlockingIOError:
                return

    def test_datagram_socket(self):
        self.listen(self.socket, socket.SOCK_DGRAM)
        before = identity_of(self.socket)
        self.fail_to_start(self.socket)
        self.assertEqual(identity_of(self.socket), before)

    def test_what_is_no_socket(self):
        self.socket.write_text('precious\n')
        said = self.fail_to_start(self.socket)
        self.assertIn('not a socket', said)
        self.assertEqual(self.socket.read_text(), 'precious\n')
        self.socket.unlink()
        self.socket.mkdir()
        self.assertIn('not a socket', self.fail_to_start(self.socket))
        self.socket.rmdir()
        os.mkfifo(self.socket)
        self.assertIn('not a socket', self.fail_to_start(self.socket))
        self.assertTrue(self.socket.is_fifo())

    def test_symbolic_link(self):
        other = self.folder / 'other'
        for target in other, self.folder / 'missing':
            other.write_text('precious\n')
            self.socket.symlink_to(target)
            self.assertIn('not a socket', self.fail_to_start(self.socket))
            self.assertTrue(self.socket.is_symlink())
            self.socket.unlink()
        self.assertEqual(other.read_text(), 'precious\n')

    def test_socket_that_is_another_by_now(self):
        daemon = self.start_there()
        self.socket.unlink()
        listener = self.listen(self.socket)
        before = identity_of(self.socket)
        self.stop(daemon)
        self.assertEqual(identity_of(self.socket), before)
        connect(self.socket).close()
        listener.close()

    def test_file_that_is_there_instead_by_now(self):
        daemon = self.start_there()
        self.socket.unlink()
        self.socket.write_text('precious\n')
        self.stop(daemon)
        self.assertEqual(self.socket.read_text(), 'precious\n')

    def test_socket_that_was_moved(self):
        # Its name belongs to whoever moved it.
        daemon = self.start_there()
        moved = self.socket.rename(self.place / 'moved')
        self.assertEqual(ask(moved, self.path), b'123\n')
        self.stop(daemon)
        self.assertTrue(moved.exists())

    def test_folder_that_was_moved(self):
        daemon = self.start_there()
        moved = self.place.rename(self.folder / 'moved')
        self.stop(daemon)
        self.assertEqual(list(moved.iterdir()), [])

    @needs_root
    def test_folder_that_the_user_may_not_write(self):
        # The file cannot be removed; the next one replaces it.
        self.place.chmod(0o755)
        for _ in range(2):
            daemon = self.start_there('--user=nobody')
            self.assertEqual(daemon.ask(self.path), b'123\n')
            self.stop(daemon)
            with self.assertRaises(ConnectionRefusedError):
                connect(self.socket)

    def test_two_at_once(self):
        # Exactly one of them answers, whatever was there before.
        for dead in False, True, False, True, False, True:
            with self.subTest(dead=dead):
                if dead:
                    self.make_dead()
                two = [self.spawn('--foreground', f'--socket={self.socket}', address=self.socket)
                       for _ in range(2)]
                winner = self.survivor_of(two, 'another process answers')
                self.assertEqual(winner.ask(self.path), b'123\n')
                self.stop(winner)
                self.assertFalse(self.socket.exists())

    def test_paths(self):
        long_ = self.folder / ('x' * (106 - len(str(self.folder))))
        self.assertEqual(len(str(long_)), 107)  # as much as a socket's address holds
        daemon = self.start(f'--socket={long_}')
        self.assertEqual(ask(long_, self.path), b'123\n')
        self.stop(daemon)
        self.assertIn('too long', self.fail_to_start(Path(f'{long_}x')))
        self.assertIn('No such file', self.fail_to_start(self.folder / 'missing' / 'socket'))
        self.assertIn('Not a directory', self.fail_to_start(Path('/etc/passwd/socket')))
        self.fail_to_start(Path(f'{self.place}/'))
