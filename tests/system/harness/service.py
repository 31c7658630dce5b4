# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotad inside a container, as systemd runs it: asking it, changing it, loading it."""

import os
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterable, Optional

from .container import Container, wait_until
from .project import SOURCES_INSIDE

SOCKET = 'exim-quotad.socket'
SERVICE = 'exim-quotad.service'
ACCEPT_SOCKET = 'exim-quotad-accept.socket'
POSTFIX_SOCKET = 'exim-quotad-postfix.socket'
ACCEPT_SERVICE = 'exim-quotad-accept@.service'
SOCKET_PATH = '/run/exim-quotad/socket'
POSTFIX_SOCKET_PATH = '/var/spool/postfix/private/exim-quotad'
DAEMON = '/usr/sbin/exim-quotad'
CONFIG_FILE = '/etc/exim-quotad/exim-quotad.conf'
DROP_IN_NAME = 'test.conf'

# What the file sets that is installed.
INSTALLED = {'root': ['/var/mail'], 'exit-idle-time': ['10min']}
REPEATABLE = ('root', 'mailbox', 'exclude-folder')

LOAD_PROGRAM = '/var/tmp/load'
LOAD_QUESTIONS = '/var/tmp/questions'
LOAD_SECONDS = 1800


def answer_of(connection: socket.socket) -> str:
    """Returns what comes up to the end of a connection, and closes it."""
    with connection, connection.makefile(encoding='utf-8') as stream:
        return stream.read()


def configuration(options: str = '') -> str:
    """Returns a configuration file: what the installed one sets, and options, which are written as
    on a command line.
    """
    values = {name: list(value) for name, value in INSTALLED.items()}
    for option in shlex.split(options):
        name, _, value = option.removeprefix('--').partition('=')
        values[name] = [*(values.get(name, []) if name in REPEATABLE else []), value or 'yes']
    return ''.join(f'{name} = {value}\n' for name, each in values.items() for value in each)


class Service:
    """The service of one container."""

    def __init__(self, container: Container):
        self._container = container

    # Units.

    def start(self) -> None:
        """Opens the socket: the first question starts the service."""
        self._container.run(['systemctl', 'start', SOCKET])

    def stop(self) -> None:
        """Stops the service; the socket stays open."""
        self._container.run(['systemctl', 'stop', SERVICE])

    def configure(self, options: str = '') -> None:
        """Writes the configuration file: see configuration()."""
        self._container.put_file(CONFIG_FILE, configuration(options))

    def change(self, drop_in: str = '', options: str = '', unit: str = SERVICE) -> None:
        """Stops everything, gives the unit a drop-in and the service further options, and opens
        the socket.
        """
        self._container.run(['systemctl', 'stop', SOCKET, SERVICE])
        self._container.put_file(f'/etc/systemd/system/{unit}.d/{DROP_IN_NAME}', drop_in)
        self.configure(options)
        self._container.run(['systemctl', 'daemon-reload'])
        self.start()

    def reset(self) -> None:
        """Takes back every change, and leaves everything stopped."""
        self._container.run(['systemctl', 'stop', SOCKET, SERVICE, ACCEPT_SOCKET])
        self._container.run('rm -f /etc/systemd/system/exim-quotad*.d/*')
        self.configure()
        self._container.run(['systemctl', 'daemon-reload'])

    def main_pid(self) -> int:
        """Returns the main process by its number inside, 0 if there is none."""
        return int(self._container.unit(SERVICE, 'MainPID')['MainPID'])

    def memory_kib(self) -> int:
        """Returns how much memory the main process has resident."""
        status = self._container.read_file(f'/proc/{self.main_pid()}/status')
        return int(status.partition('VmRSS:')[2].split()[0])

    def descriptors(self) -> int:
        """Returns how many descriptors the main process has open, but for that of its root, which
        it lets go of while nobody asks.
        """
        folder = f'/proc/{self.main_pid()}/fd'

        def count() -> int:
            files = 0
            for number in os.listdir(folder):
                try:
                    files += os.readlink(f'{folder}/{number}') != '/var/mail'
                except FileNotFoundError:
                    pass  # it was closed meanwhile
            return files

        return self._container.call(count)

    def descriptors_at_rest(self) -> int:
        """Returns the same once it does not change any more: clients have just left."""
        seen = [self.descriptors()]
        while len(seen) < 4 or len(set(seen[-4:])) > 1:
            time.sleep(0.1)
            seen.append(self.descriptors())
        return seen[-1]

    # Questions.

    def ask(self, question: str, path: str = SOCKET_PATH) -> str:
        """Asks, as root, and returns the answer without its LF; '' if there is none."""
        connection = self._container.connect_unix(path)
        connection.sendall(question.encode() + b'\n')
        connection.shutdown(socket.SHUT_WR)
        return answer_of(connection).rstrip('\n')

    def ask_as(self, user: str, question: str, path: str = SOCKET_PATH
               ) -> subprocess.CompletedProcess:
        """Asks as the user; the answer is standard output, an exception on standard error."""
        return self._container.run(
            ['python3', '-c',
             'import socket, sys\n'
             'with socket.socket(socket.AF_UNIX) as connection:\n'
             '    connection.connect(sys.argv[1])\n'
             '    connection.sendall(sys.argv[2].encode() + b"\\n")\n'
             '    print(connection.makefile().read(), end="")\n', path, question],
            user=user, check=False)

    def make_maildirs(self, paths: Iterable[str], size: int) -> None:
        """Makes Maildirs with one message of so many bytes, the bytes being in its name alone."""
        def make() -> None:
            for path in paths:
                for folder in ('new', 'cur', 'tmp'):
                    Path(path, folder).mkdir(mode=0o700, parents=True)
                Path(path, 'cur', f'1.M1P1.mx,S={size}:2,S').touch(mode=0o600)

        self._container.call(make)

    # Load.

    def load(self, answers: dict[str, str], clients: int, count: int = 0, think_msec: int = 0
             ) -> 'Load':
        """Lets clients ask the questions in turn, each answer being checked.

        The answers are by question. Without a count the clients ask until they are stopped; in
        between, each waits for think_msec on average.
        """
        self._container.put_file(LOAD_QUESTIONS, ''.join(
            f'{question}\t{answer}\n' for question, answer in answers.items()))
        if self._container.run(['test', '-x', LOAD_PROGRAM], check=False).returncode != 0:
            self._container.run(['gcc', '-O2', '-D_GNU_SOURCE', '-pthread', '-o', LOAD_PROGRAM,
                                 *(f'{SOURCES_INSIDE}/tests/bench/{name}.c'
                                   for name in ('load', 'times'))])
        return Load(self._container.popen(
            [LOAD_PROGRAM, SOCKET_PATH, LOAD_QUESTIONS, str(clients), str(count),
             str(think_msec)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


class Load:
    """Clients that are asking. `with` stops them."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def __enter__(self) -> 'Load':
        return self

    def __exit__(self, *_exception) -> None:
        if self._process.returncode is None:
            self.stop()

    def stop(self) -> dict[str, float]:
        """Lets every client end its question, prints what the load saw, and returns the numbers."""
        return self._finish('')

    def wait(self) -> dict[str, float]:
        """As stop(), once the number of questions is through."""
        return self._finish(None)

    def _finish(self, end_of_input: Optional[str]) -> dict[str, float]:
        if end_of_input is None:
            self._process.wait(LOAD_SECONDS)
        printed, shown = self._process.communicate(end_of_input, timeout=LOAD_SECONDS)
        print(printed.strip(), shown.strip(), sep='\n' if shown else '')
        return {name: float(value) for name, value in
                (word.split('=') for word in printed.split())}


def wait_for_new_main_process(service: Service, old: int) -> int:
    """Waits until the service has another main process than the old one, and returns it."""
    return wait_until(lambda: _other(service.main_pid(), old), 'a new main process', 60)


def _other(pid: int, old: int) -> Optional[int]:
    return pid if pid not in (0, old) else None
